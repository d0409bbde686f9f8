"""Faults 14 and 15: a late commit below the head, and positions that failed commands might burn."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from infra.ledger.feed import Feed, GapError
from tests.faults.failpoints import LOCK, patched
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

NEXT = "head + u.n"


async def interleaved(url: str) -> tuple[bool, list[list[int]]]:
    """Two appends, the first of which commits last: did the second wait, and what was seen when."""
    first, second = await asyncpg.connect(url), await asyncpg.connect(url)
    seen: list[list[int]] = []
    async with connection_pool(url) as own:
        feed = Feed(own, RING)

        async def look() -> None:
            after = seen[-1][-1] if seen and seen[-1] else 0
            events = await feed.read(ORGANISATION, after, 100)
            seen.append([*(seen[-1] if seen else []), *(event.position for event in events)])

        try:
            assert await call_append(first, commit_of(record())) == ["WRITTEN"]
            await look()
            transaction = first.transaction()
            await transaction.start()
            assert await call_append(first, commit_of(record(), record())) == ["WRITTEN"]
            # Held open, too, so that each look has one outcome.
            held = second.transaction()
            await held.start()
            other = asyncio.create_task(call_append(second, commit_of(record())))
            waited = await _blocked_or_done(first, second, other)
            if not waited:
                await held.commit()
            await look()
            await transaction.commit()
            await look()
            assert await other == ["WRITTEN"]
            if waited:
                await held.commit()
            await look()
        finally:
            await first.close()
            await second.close()
    return waited, seen


async def _blocked_or_done(
    first: asyncpg.Connection, second: asyncpg.Connection, other: asyncio.Task[list[str]]
) -> bool:
    """Whether the second connection waits for the first one."""
    sql = "SELECT $1 = ANY (pg_blocking_pids($2))"
    async with asyncio.timeout(60):
        while not other.done():
            pids = first.get_server_pid(), second.get_server_pid()
            if await first.fetchval(sql, *pids):
                return True
            await asyncio.sleep(0.01)
    return False


async def test_a_late_commit_is_never_below_the_head(database: str) -> None:
    waited, seen = await interleaved(database)
    assert waited
    assert seen == [[1], [1], [1, 2, 3], [1, 2, 3, 4]]
    assert await ledger_problems(database) == []


async def test_revert_without_the_lock_positions_collide(database: str) -> None:
    connection = await asyncpg.connect(database)
    await patched(connection, "append", LOCK, "")
    await connection.close()
    # The key of the table is the second guard: the second one is refused, not written elsewhere.
    with pytest.raises(asyncpg.UniqueViolationError):
        await interleaved(database)


async def test_revert_positions_of_a_sequence_without_the_lock_leave_a_hole(database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE SEQUENCE ledger.positions")
    await patched(connection, "append", LOCK, "")
    await patched(connection, "append", NEXT, "nextval('ledger.positions')")
    await connection.close()
    with pytest.raises(GapError, match="at position 2") as raised:
        await interleaved(database)
    assert raised.value.position == 2


async def test_a_command_that_fails_burns_no_position(database: str) -> None:
    connection = await asyncpg.connect(database)
    claim = [{"claim": "name=A", "stream": str(record("A").id), "at": "name"}]
    theirs = [{"claim": "name=A", "stream": str(record("B").id), "at": "name"}]
    existing = record("A")
    assert await call_append(connection, commit_of(existing, take=claim)) == ["WRITTEN"]
    stale = rename(record("A"))
    batch = [
        commit_of(record("C")),
        commit_of(stale),
        commit_of(record("B"), take=theirs),
        commit_of(rename(existing)),
    ]
    verdicts = ["WRITTEN", "CONFLICT", "CLAIMED", "WRITTEN"]
    assert await call_append(connection, *batch) == verdicts
    unreadable = [{"claim": "\0", "stream": str(record("D").id), "at": "name"}]
    broken = commit_of(record("D"), take=unreadable)
    with pytest.raises(asyncpg.PostgresError):
        await call_append(connection, broken)
    assert await call_append(connection, commit_of(record("E"))) == ["WRITTEN"]
    positions = await connection.fetch("SELECT position FROM ledger.events ORDER BY position")
    await connection.close()
    assert [row["position"] for row in positions] == [1, 2, 3, 4]
    assert await ledger_problems(database) == []


async def test_revert_a_sequence_burns_the_positions_of_failed_commands(database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE SEQUENCE ledger.positions")
    await patched(connection, "append", NEXT, "nextval('ledger.positions')")
    transaction = connection.transaction()
    await transaction.start()
    await call_append(connection, commit_of(record()))
    await transaction.rollback()
    await call_append(connection, commit_of(record()))
    await connection.close()
    assert await ledger_problems(database) == ["position 1 is missing: 2 follows"]


async def test_revert_without_the_check_of_versions_a_change_is_lost(database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(
        "ALTER TABLE ledger.events DROP CONSTRAINT events_organisation_stream_id_version_key"
    )
    await patched(
        connection, "rejected_commands", "WHERE f.first - 1 <>", "WHERE false AND f.first - 1 <>"
    )
    one, same = record("A"), record("A")
    await call_append(connection, commit_of(one))
    same.collect_events()
    changes = [commit_of(rename(one)), commit_of(rename(same))]
    for change in changes:
        change.rows.clear()
        assert await call_append(connection, change) == ["WRITTEN"]
    await connection.close()
    assert any("version 2" in found for found in await ledger_problems(database))
