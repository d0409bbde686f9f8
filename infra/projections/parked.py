"""Entities whose events a view cannot take in: they are parked, in order, and everything else goes on.

An event of a newer program, or one whose key or form is wrong, must neither be skipped nor stop all
others. Its entity is set aside with the reason; none of its later events is taken in before it, and
what the view lacks is known to the position. It is noted in the transaction that moves the view past
the event: where that cannot be written, the view stays where it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from domain.aggregate import EVENTS
from infra.postgres.pool import CONNECTION_ERRORS
from infra.replay.pipeline import Connection

__all__ = [
    "LONGEST",
    "POISON_ERRORS",
    "UNPARKED",
    "ParkedEntity",
    "park_unknown",
    "parked",
    "transaction",
]

POISON_ERRORS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)
"""What the server says of an event that a view's table does not take."""

LONGEST = 300
"""Characters of a reason that are kept."""

PARKED = """
SELECT organisation, view, stream_id, position, reason, tries, parked_at FROM projection.parked
 WHERE $1::text IS NULL OR view = $1 ORDER BY view, organisation, position
"""
UNPARKED = """NOT EXISTS (SELECT FROM projection.parked q
                   WHERE q.organisation = $1 AND q.view = '{view}' AND q.stream_id = e.stream_id)"""
"""Which events ``e`` of organisation ``$1`` a view takes in."""
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


@dataclass(frozen=True, slots=True)
class ParkedEntity:
    """An entity, and the first ``position`` of its events that a view lacks."""

    organisation: str
    view: str
    stream: UUID
    position: int
    reason: str
    tries: int
    parked_at: datetime


async def parked(connection: Connection, view: str | None = None) -> list[ParkedEntity]:
    """What is parked of a view, or of all."""
    return [ParkedEntity(*row) for row in await connection.fetch(PARKED, view)]


async def park_unknown(
    connection: Connection,
    view: str,
    organisation: str,
    between: tuple[int, int],
    stream: UUID | None = None,
) -> list[str]:
    """Parks the entities that have events of a newer program between two positions: the reasons.

    :param stream: only this one is looked at, and all that are not parked otherwise.
    """
    topics, versions = list(EVENTS), [event.SCHEMA for event in EVENTS.values()]
    which = UNPARKED.format(view=view) if stream is None else "e.stream_id = $6"
    statement = UNKNOWN.format(view=view, which=which)
    only = () if stream is None else (stream,)
    rows = await connection.fetch(statement, organisation, *between, topics, versions, *only)
    return [row["reason"] for row in rows]


@asynccontextmanager
async def transaction(connection: Connection) -> AsyncIterator[None]:
    """A transaction that is rolled back if anything is raised; a lost connection does so by itself."""
    begun = connection.transaction()
    await begun.start()
    try:
        yield
    except BaseException:
        with suppress(*CONNECTION_ERRORS):
            await begun.rollback()
        raise
    await begun.commit()
