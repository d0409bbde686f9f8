"""The feed: every event once and in order, or a named error; and the check of a whole ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from infra.ledger.event_hash import event_hash
from infra.ledger.feed import Feed, GapError, TruncatedLedgerError
from infra.ledger.integrity import integrity_problems
from infra.ledger.mapper import StoredEvent
from tests.fixtures.ledgers import (
    ORGANISATION,
    Connection,
    call_append,
    commit_of,
    connection_pool,
    ledger_problems,
    record,
    rename,
)
from tests.fixtures.service import RING


@asynccontextmanager
async def ledger(url: str, events: int) -> AsyncIterator[tuple[Feed, Connection]]:
    """A feed of so many events, and a connection that may do anything to them."""
    connection = await asyncpg.connect(url)
    await connection.set_type_codec(
        "json", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary"
    )
    for _ in range(events):
        await call_append(connection, commit_of(record()))
    await connection.execute("ALTER TABLE ledger.events DISABLE TRIGGER USER")
    async with connection_pool(url) as own:
        yield Feed(own, RING), connection
    await connection.close()


def positions(events: list[StoredEvent]) -> list[int]:
    return [event.position for event in events]


async def test_reads_page_by_page(database: str) -> None:
    async with ledger(database, 5) as (feed, _):
        assert positions(await feed.read(ORGANISATION, 0, 3)) == [1, 2, 3]
        assert positions(await feed.read(ORGANISATION, 3, 3)) == [4, 5]
        assert await feed.read(ORGANISATION, 5, 3) == []
        assert await feed.read("NOBODY", 0, 3) == []
        for after, limit in ((-1, 1), (0, 0)):
            with pytest.raises(ValueError, match="feed"):
                await feed.read(ORGANISATION, after, limit)


async def test_follows_what_is_written_and_goes_on_where_it_was(database: str) -> None:
    async with ledger(database, 3) as (feed, connection):
        seen: list[int] = []

        async def follow(after: int) -> None:
            async for events in feed.follow(ORGANISATION, after):
                seen.extend(positions(events))

        async def until(count: int) -> None:
            async with asyncio.timeout(60):
                while len(seen) < count:
                    await asyncio.sleep(0.005)

        task = asyncio.create_task(follow(0))
        await until(3)
        await call_append(connection, commit_of(record()), commit_of(record()))
        await until(5)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await call_append(connection, commit_of(record()))
        task = asyncio.create_task(follow(seen[-1]))
        await until(6)
        task.cancel()
        await asyncio.wait([task])
    assert seen == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("lost", [1, 3])
async def test_a_hole_stops_the_reader(database: str, lost: int) -> None:
    async with ledger(database, 5) as (feed, connection):
        await connection.execute("DELETE FROM ledger.events WHERE position = $1", lost)
        with pytest.raises(GapError, match=f"at position {lost}") as raised:
            await feed.read(ORGANISATION, 0, 10)
        assert raised.value.position == lost
        with pytest.raises(GapError):
            await feed.read(ORGANISATION, lost, 10)
        with pytest.raises(GapError):
            await anext(feed.follow(ORGANISATION, 0))


async def test_a_lost_tail_stops_the_reader(database: str) -> None:
    async with ledger(database, 5) as (feed, connection):
        await connection.execute("DELETE FROM ledger.events WHERE position > 3")
        assert await feed.read(ORGANISATION, 3, 10) == []
        for read in (feed.read(ORGANISATION, 5, 10), anext(feed.follow(ORGANISATION, 5))):
            with pytest.raises(TruncatedLedgerError) as raised:
                await read
            assert raised.value.position == 4
        # Numbers that are given out again are found as soon as the reader's own is missing.
        await call_append(connection, commit_of(record()))
        with pytest.raises(TruncatedLedgerError):
            await feed.read(ORGANISATION, 5, 10)


async def test_the_hash_is_the_databases(database: str) -> None:
    async with ledger(database, 1) as (feed, connection):
        odd = record("ODD")
        rename(odd, 'Ünï\u2028"\\ 漢 \U0001f600')
        await call_append(connection, commit_of(odd))
        stored = await connection.fetch("SELECT event_hash FROM ledger.events ORDER BY position")
        events = await feed.read(ORGANISATION, 0, 10)
        hashes = [event_hash(ORGANISATION, event) for event in events]
        assert hashes == [row["event_hash"] for row in stored]
        assert len(set(hashes)) == 3
        assert event_hash("ANOTHER", events[0]) != hashes[0]


def test_a_event_that_was_never_recorded_has_no_hash() -> None:
    event = StoredEvent(record().id, 1, "record.registered", 1, None, b"{}", b"{}")
    with pytest.raises(ValueError, match="time"):
        event_hash(ORGANISATION, event)


EVENT = "UPDATE ledger.events SET"
DAMAGE = [
    ("DELETE FROM ledger.events WHERE position = 2", "position 2 is missing"),
    (f"{EVENT} position = 9 WHERE position = 3", "position 3 is missing"),
    (f"{EVENT} version = 7 WHERE position = 2", "version 7"),
    (f"{EVENT} payload = '{{}}' WHERE position = 2", "position 2: the hash does not fit"),
    (f"{EVENT} metadata = '{{}}' WHERE position = 1", "position 1: the hash does not fit"),
    (f"{EVENT} recorded_at = now() WHERE position = 1", "position 1: the hash does not fit"),
    (f"{EVENT} subject = stream_id WHERE position = 3", "position 3: the hash does not fit"),
    (f"{EVENT} topic = 'record.moved' WHERE position = 3", "position 3: the hash does not fit"),
    ("DELETE FROM views.records WHERE created = 2", "is not shown"),
    ("UPDATE views.records SET version = 2 WHERE created = 2", "as of version 2"),
    ("UPDATE views.records SET created = 3 WHERE created = 2", "created at 3"),
    ("UPDATE views.records SET id = 'NONE' WHERE created = 2", "has no events"),
    ("INSERT INTO ledger.claims VALUES ('LEDGER', 'c', gen_random_uuid())", "does not exist"),
    (
        "INSERT INTO ledger.global_claims VALUES ('c', 'LEDGER', gen_random_uuid(), 'x')",
        "does not exist",
    ),
]


def saved(table: str) -> str:
    return f"saved_{table.replace('.', '_')}"


DAMAGED = ("ledger.events", "ledger.claims", "ledger.global_claims", "views.records")


async def test_the_check_finds_damage(database: str) -> None:
    async with ledger(database, 3) as (_, connection):
        for table in DAMAGED:
            await connection.execute(f"CREATE TABLE {saved(table)} AS SELECT * FROM {table}")
        for damage, problem in DAMAGE:
            assert await integrity_problems(connection, ORGANISATION, RING) == []
            await connection.execute(damage)
            problems = await integrity_problems(connection, ORGANISATION, RING)
            assert any(problem in each for each in problems), (damage, problems)
            # Whoever looks, with whatever codec, sees the same.
            assert await ledger_problems(database) == problems
            for table in DAMAGED:
                await connection.execute(f"TRUNCATE {table}")
                await connection.execute(f"INSERT INTO {table} SELECT * FROM {saved(table)}")
