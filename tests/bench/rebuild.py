"""Rebuilding: facts into documents, beside the server's own speed at handing out the same rows."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg

from infra.embedded import EmbeddedPostgres
from infra.ledger.mapper import StoredFact, replayed
from infra.postgres import Lane
from services.ids import new_id
from services.ports import Change
from services.views import project
from tests.bench.append import ledger_on
from tests.bench.examples import caught, facts_only, fresh
from tests.bench.measure import Cell, Plan, Progress, Run, in_tasks, measured
from tests.bench.results import Outcome, Table
from tests.databases import database

__all__ = ["rebuild"]

ZONE = ZoneInfo("Asia/Nicosia")
WRITERS = 256
PAGE = 5000
COLUMNS = "stream_id, version, topic, schema_version, subject, payload, metadata, position"
ROWS = (
    f"SELECT {COLUMNS} FROM ledger.events WHERE organisation = 'BENCH' ORDER BY stream_id, version"
)
NOTE = (
    "{facts} facts of {streams} communications, two each (received, viewed). Ours: reading, opening the "
    "encrypted part, replay and projection into documents, in process and not written. COPY: the same "
    "rows in binary, dropped as they arrive."
)


async def rebuild(postgres: EmbeddedPostgres, plan: Plan, progress: Progress) -> list[Table]:
    """One table."""
    async with database(postgres) as url:
        progress("Rebuild: writing the facts")
        keys = await _written(url, plan.facts)
        cells = [
            Cell("ours", "replay and project", _replaying(url, keys, plan.facts), ours=True),
            Cell("copy", "binary COPY", _copying(url, plan.facts)),
        ]
        note = NOTE.format(facts=plan.facts, streams=plan.facts // 2)
        title = "Rebuild of the views"
        return [await measured(plan, progress, "rebuild", title, "facts/s", cells, note)]


async def _written(url: str, facts: int) -> dict[UUID, bytes]:
    """Fills the ledger; returns the contacts' keys."""
    life, ledger = await caught(url), ledger_on(url)
    streams = [new_id() for _ in range(facts // 2)]

    def writing(change: Change) -> Callable[[int, UUID], Awaitable[object]]:
        async def act(_: int, stream: UUID) -> None:
            await ledger.append("BENCH", fresh(facts_only(change), stream))

        return act

    for change in (life.received, life.seen):
        await in_tasks(streams, writing(change), WRITERS, 3600)
    await ledger.close()
    (written,) = life.received.written
    assert written.subject is not None
    assert written.key is not None
    return {written.subject: written.key}


def _replaying(url: str, keys: dict[UUID, bytes], facts: int) -> Run:
    async def run(_: float) -> Outcome:
        lane = await Lane.open(url, 600)
        begun = time.perf_counter()
        try:
            async with lane.connection.transaction():
                await _replay(lane.connection, keys)
        finally:
            await lane.connection.close()
        return Outcome(facts / (time.perf_counter() - begun))

    return run


async def _replay(connection: asyncpg.Connection, keys: dict[UUID, bytes]) -> None:
    stream: list[StoredFact] = []
    async for row in connection.cursor(ROWS, prefetch=PAGE):
        fact = _stored(row)
        if stream and stream[0].stream != fact.stream:
            project(replayed(stream, keys), {}, ZONE)
            stream = []
        stream.append(fact)
    project(replayed(stream, keys), {}, ZONE)


def _stored(row: asyncpg.Record) -> StoredFact:
    stream, subject = UUID(bytes=row[0].bytes), UUID(bytes=row[4].bytes)
    return StoredFact(stream, row[1], row[2], row[3], subject, row[5], row[6], row[7])


def _copying(url: str, facts: int) -> Run:
    async def drop(_: bytes) -> None:
        return None

    async def run(_: float) -> Outcome:
        connection = await asyncpg.connect(url)
        begun = time.perf_counter()
        await connection.copy_from_query(ROWS, output=drop, format="binary")
        seconds = time.perf_counter() - begun
        await connection.close()
        return Outcome(facts / seconds)

    return run
