"""Fault 18: a ledger that was dumped and restored into a new database is the same ledger."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import asyncpg
import pytest

from infra.audit.seal_verification import SealVerifier
from infra.audit.sealer import backlogs
from infra.ledger.feed import Feed
from infra.postgres.embedded.server import EmbeddedPostgres, wheel_binaries
from infra.projections.projector import Projector, lags
from tests.fixtures import databases
from tests.fixtures.audit import EVENTS, ledger, seal_all, verify_output
from tests.fixtures.ledgers import (
    ORGANISATION,
    call_append,
    commit_of,
    connection_pool,
    ledger_problems,
    record,
    rename,
)
from tests.fixtures.service import RING


def run(program: str, *words: str, **streams: object) -> None:
    binaries = databases.binaries() or wheel_binaries()
    done = subprocess.run(
        [str(binaries / program), *words],
        env={"PATH": os.environ["PATH"], "HOME": "/"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


async def test_a_restored_ledger_goes_on_where_it_was(
    database: str, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    records, seals = await ledger(database)
    projector = Projector(database, RING)
    await projector.once()
    await projector.close()
    dump = str(tmp_path / "dump")
    run("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={database}")
    async with databases.database(postgres, "template0") as restored:
        run("pg_restore", "--exit-on-error", f"--dbname={restored}", dump)
        assert await ledger_problems(restored) == []
        found = await verify_output(restored, seals)
        assert isinstance(found, SealVerifier)
        assert (found.position, found.sealed, found.seals) == (EVENTS, EVENTS, 3)
        owner = await asyncpg.connect(restored)
        # A reader's and the views' checkpoints hold, and what is written next is delivered next.
        async with connection_pool(restored) as own:
            feed = Feed(own, RING)
            assert await feed.read(ORGANISATION, EVENTS, 10) == []
            assert [lag.positions for lag in await lags(owner, "daily_events")] == [0]
            await call_append(owner, commit_of(rename(records[0])), commit_of(record()))
            assert [f.position for f in await feed.read(ORGANISATION, EVENTS, 10)] == [11, 12]
        projector = Projector(restored, RING)
        await projector.once()
        await projector.close()
        assert [lag.positions for lag in await lags(owner, "daily_events")] == [0]
        assert [backlog.events for backlog in await backlogs(owner)] == [2]
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
            await owner.execute("DELETE FROM ledger.seals")
        await owner.close()
        assert len(await seal_all(restored)) == 1
        assert isinstance(await verify_output(restored, seals), SealVerifier)
