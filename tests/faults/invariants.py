"""Did the ledger keep its promises? The clients' journal against the store against the views.

I1  what was acknowledged is stored once         I4  versions are dense
I2  what was refused is not stored               I5  positions are dense, followers saw each once
I3  what was not answered is stored at most      I6  a view's row is the fold of its events
    once; its key gives one answer               I7  events have the hash they were stored with
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import orjson

from domain.reference.records import Record
from infra.encryption import KeyRing
from infra.ledger.feed import Feed, stored_event
from infra.ledger.integrity import EVENTS, integrity_problems
from infra.ledger.mapper import StoredEvent, replay
from infra.postgres.pool import ConnectionPool
from infra.settings import Settings
from services.projections import project
from tests.faults.acknowledged_log import ACKNOWLEDGED, CREATE, REFUSED, Attempt, Journal
from tests.fixtures.service import OPERATOR_KEY, PASSWORD, RING, environment

__all__ = ["Follower", "following", "sound", "violations"]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

TABLES = (
    "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('ledger', 'views')"
)

NUMBERS = """
SELECT kind, value FROM views.identifiers
 WHERE organisation = $1 AND field = 'number' AND kind IN ('contact_information', 'communication', 'service_request')
 GROUP BY kind, value HAVING count(*) > 1
"""


class Follower:
    """A reader of the feed from its beginning to its end."""

    def __init__(self, url: str, organisation: str) -> None:
        self.organisation = organisation
        self.seen: list[int] = []
        self._lanes = ConnectionPool(url, 1)

    async def run(self) -> None:
        async for events in Feed(self._lanes, RING).follow(self.organisation, 0):
            self.seen += [event.position for event in events]

    async def reaches(self, position: int) -> None:
        async with asyncio.timeout(60):
            while not self.seen or self.seen[-1] < position:
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        await self._lanes.close()


@asynccontextmanager
async def following(url: str, organisation: str) -> AsyncIterator[Follower]:
    """A follower that runs beside the body; what it raises ends the test."""
    follower = Follower(url, organisation)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(follower.run())
        yield follower
        task.cancel()
    await follower.close()


async def sound(journal: Journal, url: str, follower: Follower | None = None) -> None:
    """Fails with everything that is wrong."""
    found = await violations(journal, url, follower)
    assert not found, "\n".join(found)


async def violations(journal: Journal, url: str, follower: Follower | None = None) -> list[str]:
    """Every broken promise, in words; empty if all were kept."""
    connection = await asyncpg.connect(url)
    try:
        events = [stored_event(row) for row in await connection.fetch(EVENTS, journal.organisation)]
        found = _journal(journal, events) + await integrity_problems(
            connection, journal.organisation, RING
        )
        found += await _folds(connection, journal.organisation, events)
        found += await _numbers(connection, journal.organisation)
        found += await _secrets(connection, journal)
    finally:
        await connection.close()
    if follower and events:
        with suppress(TimeoutError):
            await follower.reaches(events[-1].position)
        if follower.seen != [event.position for event in events]:
            found.append(f"the follower saw {len(follower.seen)} of {len(events)} events")
    return found


def _journal(journal: Journal, events: list[StoredEvent]) -> list[str]:
    """I1 to I3."""
    commands: dict[str, set[str]] = defaultdict(set)
    streams: dict[str, set[UUID]] = defaultdict(set)
    for event in events:
        said = orjson.loads(event.metadata)
        commands[said.get("request", "")].add(said["command"])
        streams[said.get("request", "")].add(event.stream)
    found = [
        f"{attempt.path} was {attempt.outcome} and is stored {stored} times"
        for attempt in journal.attempts
        for stored in (len(commands[attempt.id]),)
        if stored not in _allowed(attempt)
    ]
    found += [
        f"{attempt.data['id']} was acknowledged and is not what was stored"
        for attempt in journal.attempts
        if attempt.path == CREATE and attempt.outcome == ACKNOWLEDGED and not attempt.key
        if UUID(attempt.data["id"]) not in streams[attempt.id]
    ]
    for key, attempts in journal.keyed().items():
        found += _key(key, attempts, sum(len(commands[attempt.id]) for attempt in attempts))
    return found


def _allowed(attempt: Attempt) -> tuple[int, ...]:
    if attempt.outcome == REFUSED:
        return (0,)
    return (1,) if attempt.outcome == ACKNOWLEDGED and not attempt.key else (0, 1)


def _key(key: str, attempts: list[Attempt], stored: int) -> list[str]:
    """All answers to one key are the same, and stand for one command."""
    answers = [attempt.data for attempt in attempts if attempt.outcome == ACKNOWLEDGED]
    found = []
    if any(answer != answers[0] for answer in answers):
        found.append(f"key {key} has several answers")
    if stored > 1 or (answers and stored != 1):
        found.append(f"key {key} has {len(answers)} answers and is stored {stored} times")
    return found


async def _numbers(connection: Connection, organisation: str) -> list[str]:
    """Numbers are given out once."""
    rows = await connection.fetch(NUMBERS, organisation)
    return [f"{row['kind']} number {row['value']} was given out twice" for row in rows]


async def _folds(connection: Connection, organisation: str, events: list[StoredEvent]) -> list[str]:
    """I6: every row of every view, folded from the events once more."""
    settings = Settings.from_environment(environment("postgresql://"))
    ring, zone = KeyRing(*settings.service_keys), ZoneInfo(settings.time_zone)
    wrapped = await connection.fetch(
        "SELECT subject, wrapped FROM ledger.personal_keys WHERE organisation = $1", organisation
    )
    keys = {UUID(str(row["subject"])): ring.unwrap(row["wrapped"]) for row in wrapped}
    streams: dict[UUID, list[StoredEvent]] = defaultdict(list)
    for event in events:
        streams[event.stream].append(event)
    aggregates = [replay(stored, keys) for stored in streams.values()]
    records = [a for a in aggregates if isinstance(a, Record) and a.kind == "organisation"]
    rules = records[0].fields if records else {}
    folded: dict[tuple[str, str], Any] = {}
    for aggregate in aggregates:
        for row in project(aggregate, rules, zone).rows:
            kind = row.columns.get("kind")
            id_ = (
                f"{kind}/{row.columns['id']}"
                if row.view != "sessions" and kind
                else row.columns["id"]
            )
            folded[row.view, id_] = row.document.decode() if row.document else None
    return _differences(folded, await _rows(connection, organisation))


async def _rows(connection: Connection, organisation: str) -> dict[tuple[str, str], Any]:
    rows = await connection.fetch(
        """
        SELECT 'entities' AS view, ref AS id, document::text FROM views.entities WHERE organisation = $1
        UNION ALL SELECT 'records', kind || '/' || id, document::text FROM views.records WHERE organisation = $1
        UNION ALL SELECT 'contacts', id, document::text FROM views.contacts WHERE organisation = $1
        UNION ALL SELECT 'communications', id, document::text FROM views.communications WHERE organisation = $1
        UNION ALL SELECT 'queue_entries', id, document::text FROM views.queue_entries WHERE organisation = $1
        UNION ALL SELECT 'access_tokens', id, document::text FROM views.access_tokens WHERE organisation = $1
        UNION ALL SELECT 'service_requests', id, document::text FROM views.service_requests WHERE organisation = $1
        UNION ALL SELECT 'sessions', id, NULL FROM views.sessions WHERE organisation = $1
        """,
        organisation,
    )
    return {(row["view"], row["id"]): row["document"] for row in rows}


def _differences(
    folded: dict[tuple[str, str], Any], shown: dict[tuple[str, str], Any]
) -> list[str]:
    found = [
        f"{view} {id_} is not the fold"
        for (view, id_), doc in folded.items()
        if shown.get((view, id_), "") != doc
    ]
    return found + [f"{view} {id_} has no events" for view, id_ in shown.keys() - folded.keys()]


async def _secrets(connection: Connection, journal: Journal) -> list[str]:
    """No secret stands anywhere, and no person's name stands in the events."""
    settings = environment("")
    secrets = [PASSWORD, OPERATOR_KEY, settings["CRMLEDGER_TOKEN_SECRET"]]
    secrets += [settings["CRMLEDGER_SERVICE_KEY"], journal.api.token]
    found = []
    for (table,) in await connection.fetch(TABLES):
        names = ["Lannister-"] if table == "ledger.events" else []
        for secret in secrets + names:
            sql = f"SELECT count(*) FROM {table} t WHERE position($1 IN t::text) > 0"
            if await connection.fetchval(sql, secret):
                found.append(f"{table} holds {secret[:12]}... in clear")
    return found
