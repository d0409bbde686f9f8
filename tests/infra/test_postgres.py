"""Connections: given out, taken back, thrown away after a failure, and waited for with an end."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from domain.errors import ServiceUnavailable
from infra.encryption import KeyRing
from infra.postgres.pool import ConnectionPool
from infra.store.aggregate_loader import AggregateLoader
from infra.store.context_loader import ContextLoader
from services.context import ContextQuery
from tests.faults.acknowledged_log import begun
from tests.faults.proxy import proxied
from tests.fixtures.ledgers import ZONE, commit_of, connection_pool, group_committer, record, rename
from tests.fixtures.read_models import connection
from tests.fixtures.service import environment, run_in_process

ASLEEP = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"

WAKE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"


async def pid(own: ConnectionPool) -> int:
    return int(await own.read(lambda connection: connection.fetchval("SELECT pg_backend_pid()")))


async def test_a_connection_is_kept_and_thrown_away_after_a_failure(database: str) -> None:
    async with connection_pool(database, 1) as own:
        first = await pid(own)
        assert await pid(own) == first
        with pytest.raises(asyncpg.DivisionByZeroError):
            await own.read(lambda connection: connection.fetchval("SELECT 1 / 0"))
        second = await pid(own)
        assert second != first
        task = asyncio.create_task(own.read(lambda c: c.fetchval("SELECT pg_sleep(60)")))
        async with asyncio.timeout(60), connection(database) as other:
            while not await other.fetchval(ASLEEP):
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert await pid(own) != second
        assert own._free.qsize() == 1
    # The server would go on sleeping for a caller who has gone.
    async with connection(database) as other:
        await other.execute(WAKE)


async def test_a_read_survives_the_loss_of_its_connection(database: str) -> None:
    async with connection_pool(database, 1) as own:
        killer = await asyncpg.connect(database)
        for _ in range(3):
            first = await pid(own)
            await killer.execute("SELECT pg_terminate_backend($1)", first)
            assert await pid(own) != first
        await killer.close()


async def test_waiting_for_a_connection_has_an_end(database: str) -> None:
    async with connection_pool(database, 1, acquire_timeout=0.1) as own:
        async with own.acquire():
            with pytest.raises(ServiceUnavailable, match="waiting") as refused:
                await pid(own)
            assert refused.value.retry_after
        assert await pid(own)


async def test_a_server_that_is_away_is_waited_for_and_then_said_to_be_away(database: str) -> None:
    async with (
        proxied(database) as proxy,
        connection_pool(proxy.url, 1, acquire_timeout=0.1) as own,
    ):
        proxy.leave()
        with pytest.raises(ServiceUnavailable, match="away"):
            await pid(own)
        proxy.come_back()
        assert await pid(own)
    async with proxied(database) as proxy, connection_pool(proxy.url, 1, acquire_timeout=60) as own:
        proxy.leave()
        task = asyncio.create_task(pid(own))
        await proxy.turned_away.wait()
        proxy.come_back()
        assert await task


async def test_a_key_that_cannot_be_opened_harms_only_its_own_contact(database: str) -> None:
    async with run_in_process(database) as service:
        journal = await begun(service, contacts=2)
        broken, sound = journal.contacts
    owner = await asyncpg.connect(database)
    await owner.execute(
        "UPDATE ledger.personal_keys SET wrapped = '\\x00' || wrapped WHERE subject = $1::uuid",
        broken,
    )
    rows = await owner.fetch("SELECT $1::uuid AS b, $2::uuid AS s", broken, sound)
    await owner.close()
    ring = KeyRing(environment(database)["CRMLEDGER_SERVICE_KEY"])
    async with connection_pool(database, 1) as own:
        loader = AggregateLoader(own, ring)
        results = await asyncio.gather(
            *(
                loader.load(journal.organisation, [row], [], [])
                for row in (rows[0]["b"], rows[0]["s"])
            ),
            return_exceptions=True,
        )
    assert isinstance(results[0], ValueError)
    assert not isinstance(results[1], BaseException)
    assert rows[0]["s"] in results[1].aggregates


async def test_the_set_up_of_a_call_does_not_change_under_it(database: str) -> None:
    async with connection_pool(database, 2) as own, group_committer(database) as one:
        industry = record("A")
        await one.append("LEDGER", commit_of(industry))
        questions = ContextLoader(own, KeyRing("k" * 32), ZONE)
        before = (await questions.load("LEDGER", ContextQuery())).directory
        await one.append("LEDGER", commit_of(rename(industry, "New")))
        after = (await questions.load("LEDGER", ContextQuery())).directory
        assert before.fields("industry", "A")["name"] == "A"
        assert after.fields("industry", "A")["name"] == "New"
        assert (await questions.load("LEDGER", ContextQuery())).directory is after
