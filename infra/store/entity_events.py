"""The events of one entity, decrypted: the implementation of `services.audit.history_service.EntityEvents`."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import orjson

from domain.aggregate import EVENTS
from infra.encryption import KeyRing
from infra.ledger.feed import check_authentic, stored_event
from infra.ledger.mapper import DESTROYED_KEY, to_event
from infra.postgres.pool import ConnectionPool
from services.audit.event_descriptions import headline
from services.audit.field_history import HistoryEntry, RecordedEvent, SiblingEvent
from services.ids import format_id

__all__ = ["PostgresEntityEvents"]

TOPIC = "SELECT topic FROM ledger.events WHERE organisation = $1 AND stream_id = $2 AND version = 1"
RECORDED_EVENTS = """
SELECT e.position, e.stream_id, e.version, e.topic, e.schema_version, e.subject, e.payload, e.metadata,
       e.mac, e.recorded_at, CASE WHEN f.subject IS NULL THEN k.wrapped ELSE '' END AS wrapped, h.head
  FROM ledger.events e
  LEFT JOIN ledger.personal_keys k ON k.organisation = e.organisation AND k.subject = e.subject
  LEFT JOIN ledger.forgotten f ON f.organisation = e.organisation AND f.subject = e.subject,
       (SELECT max(position) AS head FROM ledger.events WHERE organisation = $1) AS h
 WHERE e.organisation = $1 AND e.stream_id = $2 ORDER BY e.version
"""
# The events of a command are adjacent: the walk goes on as long as the command is the same.
SIBLING_EVENTS = """
WITH RECURSIVE walk (position, step, command) AS (
    SELECT o.position, s.step, o.command
      FROM unnest($3::bigint[], $4::text[]) AS o (position, command), (VALUES (-1), (1)) AS s (step)
    UNION
    SELECT w.position + w.step, w.step, w.command FROM walk w
     WHERE w.command = (SELECT e.metadata ->> 'command' FROM ledger.events e
                         WHERE e.organisation = $1 AND e.position = w.position + w.step)
)
SELECT w.command, e.position, e.topic, e.stream_id,
       CASE WHEN starts_with(e.topic, 'record.') THEN f.payload END AS record
  FROM (SELECT DISTINCT position, command FROM walk) AS w,
       LATERAL (SELECT * FROM ledger.events e
                 WHERE e.organisation = $1 AND e.position = w.position LIMIT 1) AS e,
       LATERAL (SELECT payload FROM ledger.events f
                 WHERE f.organisation = $1 AND f.stream_id = e.stream_id AND f.version = 1 LIMIT 1) AS f
 WHERE e.stream_id <> $2
 ORDER BY e.position
"""


class PostgresEntityEvents:
    """Reads the events of entities and decrypts their personal part."""

    def __init__(self, pool: ConnectionPool, ring: KeyRing) -> None:
        self._pool = pool
        self._ring = ring

    async def first_topic(self, organisation: str, stream: UUID) -> str | None:
        """Return the topic of a stream's first event; None if there is none."""
        topic: str | None = await self._pool.read(
            lambda connection: connection.fetchval(TOPIC, organisation, stream)
        )
        return topic

    async def read(self, organisation: str, stream: UUID) -> tuple[int, list[RecordedEvent]]:
        """Return the last position of the ledger, and the events of a stream up to there, in order.

        Raises ``ValueError`` naming an event that this build or key cannot read, and `LedgerCorruptedError`
        for one that the service has not written.
        """
        rows = await self._pool.read(
            lambda connection: connection.fetch(RECORDED_EVENTS, organisation, stream)
        )
        return (rows[0]["head"] if rows else 0), [
            self._to_recorded_event(organisation, row) for row in rows
        ]

    async def siblings(
        self, organisation: str, stream: UUID, entries: Sequence[HistoryEntry]
    ) -> dict[str, list[SiblingEvent]]:
        """Return the events that the commands of these entries wrote about other entities.

        They are by command, in their order.
        """
        positions, commands = [e.position for e in entries], [e.command for e in entries]
        rows = await self._pool.read(
            lambda connection: connection.fetch(
                SIBLING_EVENTS, organisation, stream, positions, commands
            )
        )
        by_command: dict[str, list[SiblingEvent]] = {}
        for row in rows:
            by_command.setdefault(row["command"], []).append(_to_sibling_event(row))
        return by_command

    def _to_recorded_event(self, organisation: str, row: asyncpg.Record) -> RecordedEvent:
        stored = stored_event(row)
        check_authentic(self._ring, organisation, [stored])
        wrapped = row["wrapped"]
        key = DESTROYED_KEY if wrapped == b"" else self._ring.unwrap(wrapped) if wrapped else None
        return RecordedEvent(
            to_event(stored, key),
            stored.position,
            row["recorded_at"],
            orjson.loads(stored.metadata),
        )


def _to_sibling_event(row: asyncpg.Record) -> SiblingEvent:
    topic = row["topic"]
    entity = f"{topic.partition('.')[0]}/{format_id(UUID(bytes=row['stream_id'].bytes))}"
    if row["record"]:
        first = orjson.loads(row["record"])
        entity = f"{first['kind']}/{first['record_id']}"
    event = EVENTS.get(topic)
    return SiblingEvent(row["position"], entity, topic, headline(event) if event else topic)
