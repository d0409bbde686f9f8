"""The integrity check of a ledger: what must hold whatever happened to the processes that wrote it.

It reads everything of one organisation in one snapshot and trusts nothing that the database computed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

import asyncpg

from infra.encryption import KeyRing
from infra.ledger.event_hash import event_hash
from infra.ledger.event_mac import is_authentic
from infra.ledger.feed import STORED_COLUMNS, stored_event
from infra.ledger.stored_event import StoredEvent
from services.ids import record_stream_id

__all__ = ["integrity_problems"]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

EVENTS = f"""
SELECT event_hash, {STORED_COLUMNS}
  FROM ledger.events WHERE organisation = $1 ORDER BY position
"""  # noqa: S608 (names of columns)
CLAIMS = """
SELECT claim, stream_id FROM ledger.claims WHERE organisation = $1
UNION ALL SELECT claim, stream_id FROM ledger.global_claims WHERE organisation = $1
"""
ROWS = """
SELECT 'contact_information' AS kind, id, version, created FROM views.contacts WHERE organisation = $1
UNION ALL SELECT 'communication', id, version, created FROM views.communications WHERE organisation = $1
UNION ALL SELECT 'queue_entry', id, version, created FROM views.queue_entries WHERE organisation = $1
UNION ALL SELECT 'access_token', id, version, created FROM views.access_tokens WHERE organisation = $1
UNION ALL SELECT 'service_request', id, version, created FROM views.service_requests WHERE organisation = $1
UNION ALL SELECT 'session', id, version, created FROM views.sessions WHERE organisation = $1
UNION ALL SELECT kind, id, version, created FROM views.records WHERE organisation = $1
"""
ENTITIES = frozenset(
    {
        "access_token",
        "contact_information",
        "communication",
        "queue_entry",
        "service_request",
        "session",
    }
)
"""Topics of the aggregates whose rows' ids are their streams; the other rows are records."""


@dataclass(slots=True)
class _Stream:
    """One entity, by its events."""

    topic: str
    first: int
    version: int = 0


@dataclass(slots=True)
class _Ledger:
    """An organisation, by its events, and the problems that were found."""

    organisation: str
    head: int = 0
    streams: dict[UUID, _Stream] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


async def integrity_problems(connection: Connection, organisation: str, ring: KeyRing) -> list[str]:
    """Return the problems of an organisation's ledger, in words; none if it is intact.

    Gaps and disorder of positions and versions, hashes that do not fit, events that were not written
    with a service key of ``ring``, claims of entities that do not exist, and rows of views that are
    missing, additional, or not of their entity's last event.
    """
    ledger = _Ledger(organisation)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        async for event, stored in _read_events(connection, organisation):
            _check_event(ledger, event, stored)
            if not is_authentic(ring, organisation, event):
                ledger.problems.append(
                    f"position {event.position}: {event.topic} was not written with the service key"
                )
        ledger.problems += [
            f"claim {row['claim']!r} is held by {row['stream_id']}, which does not exist"
            for row in await connection.fetch(CLAIMS, organisation)
            if UUID(bytes=row["stream_id"].bytes) not in ledger.streams
        ]
        _check_views(ledger, await connection.fetch(ROWS, organisation))
    return ledger.problems


async def _read_events(
    connection: Connection, organisation: str
) -> AsyncIterator[tuple[StoredEvent, bytes]]:
    async for row in connection.cursor(EVENTS, organisation, prefetch=1000):
        yield stored_event(row), row["event_hash"]


def _check_event(ledger: _Ledger, event: StoredEvent, stored: bytes) -> None:
    if event.position != ledger.head + 1:
        ledger.problems.append(f"position {ledger.head + 1} is missing: {event.position} follows")
    ledger.head = event.position
    first = _Stream(event.topic.partition(".")[0], event.position)
    stream = ledger.streams.setdefault(event.stream, first)
    if event.version != stream.version + 1:
        ledger.problems.append(
            f"position {event.position}: version {event.version} of {event.stream} follows {stream.version}"
        )
    stream.version = event.version
    if event_hash(ledger.organisation, event) != stored:
        ledger.problems.append(f"position {event.position}: the hash does not fit")


def _check_views(ledger: _Ledger, rows: list[asyncpg.Record]) -> None:
    stream_ids: set[UUID] = set()
    for row in rows:
        kind, id_ = row["kind"], row["id"]
        entity = kind in ENTITIES
        stream_id = UUID(id_) if entity else record_stream_id(ledger.organisation, kind, id_)
        stream_ids.add(stream_id)
        stream = ledger.streams.get(stream_id)
        if stream is None or stream.topic != (kind if entity else "record"):
            ledger.problems.append(f"{kind}/{id_} is shown and has no events")
        elif (row["version"], row["created"]) != (stream.version, stream.first):
            ledger.problems.append(
                f"{kind}/{id_} is shown as of version {row['version']}, created at {row['created']}; "
                f"its last version is {stream.version}, its first position {stream.first}"
            )
    ledger.problems += [
        f"{stream.topic} {id_} has events and is not shown"
        for id_, stream in ledger.streams.items()
        if id_ not in stream_ids and (stream.topic in ENTITIES or stream.topic == "record")
    ]
