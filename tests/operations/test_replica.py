"""Reads from a real streaming replica: only for who allows it, only while it is fresh enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from infra.postgres.embedded.placement import (
    chown,
    locate_cluster,
    reachable_binaries,
    run_as,
    wheel_binaries,
)
from infra.postgres.embedded.server import EmbeddedPostgres
from services.pipeline.method import BASE
from tests.fixtures import databases
from tests.fixtures.access_tokens import TokensClient, tokens_client
from tests.fixtures.read_models import connection
from tests.fixtures.service import run_in_process

PROGRAM = "pg_basebackup"
READS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'crmledger'"


@contextmanager
def standby(primary: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """A server that follows another one."""
    binaries = databases.binaries() or wheel_binaries()
    if not (binaries / PROGRAM).exists():
        pytest.skip(f"REPLICAS WERE NOT TESTED: there is no {PROGRAM} in {binaries}")
    with databases.folder() as path:
        _copy(primary, path, binaries)
        options = databases.NOT_DURABLE
        with EmbeddedPostgres.start(path, options=options, binaries=databases.binaries()) as server:
            yield server


def _copy(primary: EmbeddedPostgres, path: Path, binaries: Path) -> None:
    cluster, account = locate_cluster(path)
    program = str(reachable_binaries(binaries, account) / PROGRAM)
    cluster.mkdir(mode=0o700)
    chown(cluster, account)
    words = ["-D", str(cluster), "-R", "-c", "fast", "--no-sync", "-d", primary.url]
    done = run_as([program, *words], account)
    assert done.returncode == 0, done.stderr
    # The primary's socket is in the folder that was copied.
    for left in cluster.glob(".s.PGSQL.*"):
        left.unlink()


@dataclass
class Pair:
    """An organisation on a service that may read from a replica, which can be held back."""

    desk: TokensClient
    replica: asyncpg.Connection

    async def see(self, communication: Mapping[str, Any], allowed: str | None) -> tuple[Any, Any]:
        """The answer to a read that may be so old, and its headers."""
        api = self.desk.api
        api.token = api.token or await api.login()
        named = f"id={communication['id']}"
        _, answer, headers = await api.service.send(
            "GET",
            f"{BASE}communications/show",
            query={"token": api.token, "communication_identifier": named},
            headers={"X-Max-Staleness": allowed} if allowed else {},
        )
        return answer, headers

    async def caught_up(self) -> None:
        """Waits until the replica has replayed all that is there now."""
        async with connection(self.desk.api.service.database) as owner:
            written = await owner.fetchval("SELECT pg_current_wal_insert_lsn()")
        async with asyncio.timeout(60):
            while not await self.replica.fetchval(
                "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", written
            ):
                await asyncio.sleep(0.02)


@pytest_asyncio.fixture(scope="module")
async def pair() -> AsyncIterator[Pair]:
    with databases.server() as primary:
        await databases.build_template(primary)
        with standby(primary) as server:
            replica_url = server.url_of(databases.TEMPLATE)
            settings = {"CRMLEDGER_REPLICA_URL": replica_url, "CRMLEDGER_REPLICA_STALENESS": "60"}
            async with (
                run_in_process(primary.url_of(databases.TEMPLATE), **settings) as service,
                connection(replica_url) as replica,
            ):
                yield Pair(await tokens_client(service), replica)


async def test_who_allows_it_reads_from_a_fresh_replica(pair: Pair) -> None:
    said = await pair.desk.create(subject="First")
    await pair.caught_up()
    answer, headers = await pair.see(said, "3600")
    assert answer["data"]["subject"] == "First"
    assert 0 <= float(headers["X-Staleness"]) < 30
    async with connection(pair.desk.api.service.database) as owner:
        sql = "SELECT max(position) FROM ledger.events WHERE organisation = $1"
        assert int(headers["X-Position"]) == await owner.fetchval(sql, pair.desk.api.organisation)
    assert await pair.replica.fetchval(READS) > 0


async def test_others_and_writes_know_of_none(pair: Pair) -> None:
    said = await pair.desk.create(subject="Mine")
    answer, headers = await pair.see(said, None)
    assert answer["data"]["subject"] == "Mine"
    assert not {"X-Staleness", "X-Position"} & set(headers)
    answer = await pair.desk.api.call(
        "POST",
        "communications/create",
        body=pair.desk.creation_body(),
        headers={"X-Max-Staleness": "60"},
    )
    assert answer["status"]["code"] == "OK"


async def test_a_replica_that_has_fallen_behind_is_not_asked(pair: Pair) -> None:
    said = await pair.desk.create_draft(subject="Before")
    await pair.caught_up()
    await pair.replica.execute("SELECT pg_wal_replay_pause()")
    try:
        await asyncio.sleep(0.5)
        await pair.desk.call("update", said, subject="After")
        stale, headers = await pair.see(said, "3600")
        assert (stale["data"]["subject"], float(headers["X-Staleness"]) > 0.4) == ("Before", True)
        fresh, headers = await pair.see(said, "0.2")
        assert (fresh["data"]["subject"], headers["X-Staleness"]) == ("After", "0")
        assert "X-Position" not in headers
    finally:
        await pair.replica.execute("SELECT pg_wal_replay_resume()")


async def test_a_released_session_is_refused_at_once_everywhere(pair: Pair) -> None:
    said = await pair.desk.create()
    await pair.caught_up()
    await pair.replica.execute("SELECT pg_wal_replay_pause()")
    try:
        await pair.desk.api.call("POST", "authentication/token/release", body={})
        answer, _ = await pair.see(said, "3600")
        assert "INVALIDTOKEN" in answer["status"]["code"]
    finally:
        pair.desk.api.token = ""
        await pair.replica.execute("SELECT pg_wal_replay_resume()")


async def test_customers_are_shown_nothing_old(pair: Pair) -> None:
    api = (await pair.desk.consumer_session()).api
    await pair.caught_up()
    _, answer, headers = await api.service.send(
        "GET",
        f"{BASE}service_requests/get_pending",
        query={"token": api.token},
        headers={"X-Max-Staleness": "60"},
    )
    assert (answer["status"]["code"], headers["X-Staleness"]) == ("OK", "0")


@pytest.mark.parametrize("wrong", ["-1", "soon", "1e3", "NaN", "99999999"])
async def test_what_is_no_number_of_seconds_is_refused(pair: Pair, wrong: str) -> None:
    answer, _ = await pair.see(await pair.desk.create(), wrong)
    assert "INVALIDREQUEST" in answer["status"]["code"]
    assert answer["status"]["description"] == "X-Max-Staleness"


async def test_a_replica_that_is_away_is_not_missed(database: str) -> None:
    gone = "postgresql://nobody@127.0.0.1:1/nothing"
    async with run_in_process(database, CRMLEDGER_REPLICA_URL=gone) as service:
        made = await tokens_client(service)
        async with connection(database) as owner:
            alone = Pair(made, owner)
            said = await made.create(subject="Here")
            for _ in range(3):
                answer, headers = await alone.see(said, "30")
                assert (answer["data"]["subject"], headers["X-Staleness"]) == ("Here", "0")
