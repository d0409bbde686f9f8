"""The feed of an organisation: its events in order, each once, none skipped.

Positions are dense and become visible in their order, because an append takes the organisation's
lock before it looks for the next position and holds it until it is committed. A reader therefore
needs no waiting time and no watermark: a position that is missing below a visible one will never
come, so it is corruption, and the reader stops there instead of going on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from uuid import UUID

import asyncpg

from domain.errors import ServiceUnavailable
from infra.encryption import KeyRing
from infra.ledger.event_mac import is_authentic
from infra.ledger.positions import HEAD
from infra.ledger.stored_event import StoredEvent
from infra.observability.metrics import UNAUTHENTIC
from infra.postgres.pool import ConnectionPool

__all__ = [
    "STORED_COLUMNS",
    "Feed",
    "GapError",
    "LedgerCorruptedError",
    "TruncatedLedgerError",
    "check_authentic",
    "stored_event",
]

# As text and then as bytes: exactly what was hashed, whatever codec the connection has for json.
STORED_COLUMNS = """position, stream_id, version, topic, schema_version, subject, recorded_at, mac,
       convert_to(payload::text, 'UTF8') AS payload, convert_to(metadata::text, 'UTF8') AS metadata"""
"""The columns from which `stored_event` makes an event."""

# The event that the reader saw last is read again: that it is still there proves that nothing before
# the new ones was lost.
PAGE = """
SELECT position, stream_id, version, topic, schema_version, subject, payload, metadata, mac, recorded_at
  FROM ledger.events WHERE organisation = $1 AND position >= $2 ORDER BY position LIMIT $3
"""

BATCH_SIZE = 1_000
"""Events that `Feed.follow` reads at once."""
MIN_PAUSE, MAX_PAUSE = 0.005, 0.25
"""Seconds between two looks at a ledger to which nothing is added; doubled from look to look."""


class LedgerCorruptedError(Exception):
    """The ledger was changed or damaged; ``position`` is the first at which that shows."""

    def __init__(self, organisation: str, position: int, problem: str) -> None:
        super().__init__(f"ledger of {organisation}: {problem} at position {position}")
        self.organisation = organisation
        self.position = position
        self.problem = problem

    def __reduce__(self) -> tuple[type[LedgerCorruptedError], tuple[str, int, str]]:
        return type(self), (self.organisation, self.position, self.problem)


class GapError(LedgerCorruptedError):
    """A position is missing below a later one, or positions are out of order."""


class TruncatedLedgerError(LedgerCorruptedError):
    """The ledger ends before a position that this reader has seen, as after a restored backup."""


class Feed:
    """Reads events in the order of their positions."""

    def __init__(self, lanes: ConnectionPool, ring: KeyRing) -> None:
        self._lanes = lanes
        self._ring = ring

    async def read(self, organisation: str, after: int, limit: int) -> list[StoredEvent]:
        """Return the events after a position, at most ``limit``; none at the ledger's end.

        Raises `LedgerCorruptedError`, and `ServiceUnavailable` if the database is not available.
        """
        if after < 0 or limit < 1:
            raise ValueError("a feed is read from a position on, at least one event at a time")
        rows = await self._lanes.read(
            lambda connection: connection.fetch(PAGE, organisation, after, limit + (after > 0))
        )
        if after > 0 and not rows:
            head = await self._lanes.read(lambda c: c.fetchval(HEAD, organisation))
            raise TruncatedLedgerError(organisation, head + 1, "the ledger ends")
        events = [stored_event(row) for row in rows]
        check_dense(organisation, after or 1, events)
        check_authentic(self._ring, organisation, events)
        return events[1:] if after > 0 else events

    async def follow(self, organisation: str, after: int) -> AsyncIterator[list[StoredEvent]]:
        """Yield the events after a position, in pages that are never empty, without end.

        Waits for a database that is not available. Raises `LedgerCorruptedError`.
        """
        pause = MIN_PAUSE
        while True:
            try:
                events = await self.read(organisation, after, BATCH_SIZE)
            except ServiceUnavailable:
                events = []
            if events:
                yield events
                after, pause = events[-1].position, MIN_PAUSE
            else:
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_PAUSE)


def check_dense(organisation: str, first: int, events: Iterable[StoredEvent]) -> None:
    """Raise `GapError` unless the events have the positions from ``first`` on, in order."""
    for position, event in enumerate(events, start=first):
        if event.position != position:
            raise GapError(organisation, position, f"{event.position} stands")


def check_authentic(ring: KeyRing, organisation: str, events: Iterable[StoredEvent]) -> None:
    """Raise `LedgerCorruptedError` for the first event that was not written with the service key."""
    for event in events:
        if not is_authentic(ring, organisation, event):
            UNAUTHENTIC.inc()
            reason = "an event that was not written with the service key stands"
            raise LedgerCorruptedError(organisation, event.position, reason)


def stored_event(row: asyncpg.Record) -> StoredEvent:
    """Return the event of a row with all columns of ``ledger.events`` but organisation and hash."""
    subject = row["subject"]
    return StoredEvent(
        stream=UUID(bytes=row["stream_id"].bytes),
        version=row["version"],
        topic=row["topic"],
        schema=row["schema_version"],
        subject=UUID(bytes=subject.bytes) if subject else None,
        payload=row["payload"],
        metadata=row["metadata"],
        mac=row["mac"],
        position=row["position"],
        recorded_at=row["recorded_at"],
    )
