"""Parked entities: those whose events a view cannot apply, while it goes on with all others.

An event of a newer program, one that was not written with the service key, or one that the view's
table refuses, must neither be skipped nor stop the others. Its entity is parked with the reason and
the position of that event, and none of its later events is applied before it. The row is written in
the transaction that moves the view past the event: if it cannot be written, the view does not move.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from domain.aggregate import EVENTS
from infra.encryption import KeyRing
from infra.ledger.event_mac import UnauthenticEventError, is_authentic
from infra.ledger.feed import STORED_COLUMNS, stored_event
from infra.observability.metrics import UNAUTHENTIC
from infra.postgres.pool import CONNECTION_ERRORS
from infra.replay.pipeline import Connection

__all__ = [
    "LONGEST",
    "POISON_ERRORS",
    "UNPARKED",
    "ParkedEntity",
    "list_parked",
    "park_unauthentic",
    "park_unknown",
    "transaction",
]

POISON_ERRORS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)
"""The errors by which the server refuses an event of a view."""

PAGE = 500
"""Events that are in memory at once."""

LONGEST = 300
"""Maximum length of a stored reason."""

PARKED = """
SELECT organisation, view, stream_id, position, reason, tries, parked_at FROM projection.parked
 WHERE $1::text IS NULL OR view = $1 ORDER BY view, organisation, position
"""
UNPARKED = """NOT EXISTS (SELECT FROM projection.parked q
                   WHERE q.organisation = $1 AND q.view = '{view}' AND q.stream_id = e.stream_id)"""
"""The condition on events ``e`` of organisation ``$1`` that their entity is not parked."""
UNKNOWN = """
INSERT INTO projection.parked (organisation, view, stream_id, position, reason)
SELECT $1, '{view}', u.stream_id, f.position,
       format('event %s version %s is not known to this program', u.topic, u.schema_version)
  FROM (SELECT DISTINCT ON (e.stream_id) e.stream_id, e.topic, e.schema_version
          FROM ledger.events e
         WHERE e.organisation = $1 AND e.position > $2 AND e.position <= $3 AND {which}
           AND NOT EXISTS (SELECT FROM unnest($4::text[], $5::integer[]) AS k (topic, version)
                            WHERE k.topic = e.topic AND k.version >= e.schema_version)
         ORDER BY e.stream_id, e.position) AS u,
       LATERAL (SELECT min(e.position) AS position FROM ledger.events e
                 WHERE e.organisation = $1 AND e.position > $2 AND e.position <= $3
                   AND e.stream_id = u.stream_id) AS f
RETURNING reason
"""
EVENTS_BETWEEN = f"""
SELECT {STORED_COLUMNS}
  FROM ledger.events e WHERE e.organisation = $1 AND e.position > $2 AND e.position <= $3 AND {{which}}
 ORDER BY position
"""  # noqa: S608 (names of columns)
PARK = """
INSERT INTO projection.parked (organisation, view, stream_id, position, reason)
SELECT $1, $2, * FROM unnest($3::uuid[], $4::bigint[], $5::text[])
"""


@dataclass(frozen=True, slots=True)
class ParkedEntity:
    """A parked entity; ``position`` is that of its first event that the view lacks."""

    organisation: str
    view: str
    stream: UUID
    position: int
    reason: str
    tries: int
    parked_at: datetime


async def list_parked(connection: Connection, view: str | None = None) -> list[ParkedEntity]:
    """Return the parked entities of a view, or of all views."""
    return [ParkedEntity(*row) for row in await connection.fetch(PARKED, view)]


async def park_unknown(
    connection: Connection,
    view: str,
    organisation: str,
    between: tuple[int, int],
    stream: UUID | None = None,
) -> list[str]:
    """Park the entities that have events of a newer program between two positions: the reasons.

    :param between: events at ``between[0] < position <= between[1]`` are looked at.
    :param stream: looks at this entity only; by default at all that are not parked.
    """
    topics, versions = list(EVENTS), [event.SCHEMA for event in EVENTS.values()]
    which = UNPARKED.format(view=view) if stream is None else "e.stream_id = $6"
    statement = UNKNOWN.format(view=view, which=which)
    stream_params = () if stream is None else (stream,)
    rows = await connection.fetch(
        statement, organisation, *between, topics, versions, *stream_params
    )
    return [row["reason"] for row in rows]


async def park_unauthentic(
    connection: Connection,
    ring: KeyRing,
    view: str,
    organisation: str,
    between: tuple[int, int],
    stream: UUID | None = None,
) -> list[str]:
    """Park the entities that have events which were not written with the service key: the reasons.

    Parameters as of `park_unknown`.
    """
    which = UNPARKED.format(view=view) if stream is None else "e.stream_id = $4"
    stream_params = () if stream is None else (stream,)
    first: dict[UUID, int] = {}
    reasons: dict[UUID, str] = {}
    statement = EVENTS_BETWEEN.format(which=which)
    async for row in connection.cursor(
        statement, organisation, *between, *stream_params, prefetch=PAGE
    ):
        event = stored_event(row)
        first.setdefault(event.stream, event.position)
        if not is_authentic(ring, organisation, event):
            reasons.setdefault(event.stream, str(UnauthenticEventError(event))[:LONGEST])
    if reasons:
        UNAUTHENTIC.inc(len(reasons))
        positions = [first[parked] for parked in reasons]
        await connection.execute(
            PARK, organisation, view, list(reasons), positions, list(reasons.values())
        )
    return list(reasons.values())


@asynccontextmanager
async def transaction(connection: Connection) -> AsyncIterator[None]:
    """Run a transaction; roll it back if anything is raised, unless the connection is lost."""
    opened = connection.transaction()
    await opened.start()
    try:
        yield
    except BaseException:
        with suppress(*CONNECTION_ERRORS):
            await opened.rollback()
        raise
    await opened.commit()
