"""Asynchronous projections: the tables of analysts by SQL, history by its own batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import asyncpg
import structlog

from infra.encryption import KeyRing
from infra.projections.analytics_tables import DAILY_EVENTS, TRANSITIONS
from infra.projections.parked import (
    LONGEST,
    POISON_ERRORS,
    UNPARKED,
    ParkedEntity,
    park_unauthentic,
    park_unknown,
    transaction,
)
from infra.projections.temporal import HISTORY, TemporalViews
from infra.replay.pipeline import Connection

__all__ = [
    "ANALYTICS",
    "AnalyticsProjection",
    "ProjectionHandler",
    "SqlProjection",
    "TemporalProjection",
]

MOVE = """
UPDATE projection.checkpoints
   SET position = $5, moved_at = clock_timestamp(), lease_expires_at = clock_timestamp() + $6 * interval '1 second'
 WHERE organisation = $1 AND view = $2 AND lease_holder = $3 AND position = $4
"""
PARK = """
INSERT INTO projection.parked (organisation, view, stream_id, position, reason)
SELECT organisation, $2, stream_id, position, $4 FROM ledger.events WHERE organisation = $1 AND position = $3
"""
STANDS_AT = (
    "SELECT position FROM projection.checkpoints WHERE organisation = $1 AND view = $2 FOR UPDATE"
)
UNPARK = """
DELETE FROM projection.parked WHERE organisation = $1 AND view = $2 AND stream_id = $3 RETURNING position
"""
TRIED = """
UPDATE projection.parked SET tries = tries + 1, tried_at = clock_timestamp(), reason = $4
 WHERE organisation = $1 AND view = $2 AND stream_id = $3
"""
OF_STREAM = "e.stream_id = $4"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AnalyticsProjection:
    """A view that one statement fills: ``$1`` organisation, events at ``$2 < position <= $3``.

    ``version`` must be raised with every change of what the view holds. The statement selects its
    events by the placeholder ``{which}``.
    """

    name: str
    version: int
    statement: str

    def batch_statement(self) -> str:
        """Return the statement for all events except those of parked entities."""
        return self.statement.format(which=UNPARKED.format(view=self.name))

    def stream_statement(self) -> str:
        """Return the statement for the events of the entity ``$4``."""
        return self.statement.format(which=OF_STREAM)


_VIEWS = (
    AnalyticsProjection("daily_events", 1, DAILY_EVENTS),
    AnalyticsProjection("transitions", 1, TRANSITIONS),
)
ANALYTICS: Mapping[str, AnalyticsProjection] = {view.name: view for view in _VIEWS}
"""The views by name; the table of each is in the schema ``analytics``."""


class _StillParkedError(Exception):
    """This program does not know the entity's events either, or has not written them."""


class ProjectionHandler(Protocol):
    """Keeps one view up to date in one process; any number of processes may do so at once."""

    name: str

    async def apply_batch(
        self, connection: Connection, organisation: str, after: int, upto: int
    ) -> bool:
        """Apply the events at ``after < position <= upto``, except those of parked entities.

        Returns False, and writes nothing, if another process has moved the view.
        """

    async def retry(self, connection: Connection, entity: ParkedEntity) -> None:
        """Apply what the view lacks of a parked entity, which stays parked if that fails."""


class SqlProjection:
    """Fills a table by its statement.

    :param ring: what authenticates events: the entities of others are parked.
    :param holder: the id by which this process holds leases.
    :param lease: seconds; each batch renews it.
    """

    def __init__(
        self, view: AnalyticsProjection, ring: KeyRing, holder: UUID, lease: float
    ) -> None:
        self.name = view.name
        self._view = view
        self._ring = ring
        self._holder = holder
        self._lease = lease

    async def apply_batch(
        self, connection: Connection, organisation: str, after: int, upto: int
    ) -> bool:
        """As `ProjectionHandler.apply_batch`.

        A batch that the server refuses is halved until the event to blame is alone; it is parked.
        """
        try:
            return await self._apply(connection, organisation, after, upto)
        except POISON_ERRORS as error:
            if upto - after == 1:
                return await self._park(connection, organisation, after, error)
        middle = (after + upto) // 2
        return await self.apply_batch(
            connection, organisation, after, middle
        ) and await self.apply_batch(connection, organisation, middle, upto)

    async def _apply(
        self, connection: Connection, organisation: str, after: int, upto: int
    ) -> bool:
        async with transaction(connection):
            if not await self._move(connection, organisation, after, upto):
                return False
            await park_unauthentic(connection, self._ring, self.name, organisation, (after, upto))
            await park_unknown(connection, self.name, organisation, (after, upto))
            await connection.execute(self._view.batch_statement(), organisation, after, upto)
        return True

    async def _park(
        self, connection: Connection, organisation: str, after: int, error: Exception
    ) -> bool:
        """Move past the next event and park its entity; False as `apply_batch`."""
        log.error("projector.parked", view=self.name, organisation=organisation, position=after + 1)
        async with transaction(connection):
            if not await self._move(connection, organisation, after, after + 1):
                return False
            await connection.execute(PARK, organisation, self.name, after + 1, _reason(error))
        return True

    async def _move(self, connection: Connection, organisation: str, after: int, upto: int) -> bool:
        params = (organisation, self.name, self._holder, after, upto, self._lease)
        return await connection.execute(MOVE, *params) == "UPDATE 1"

    async def retry(self, connection: Connection, entity: ParkedEntity) -> None:
        """As `ProjectionHandler.retry`."""
        key = (entity.organisation, entity.view, entity.stream)
        try:
            async with transaction(connection):
                # A batch that moves the view waits for this lock: one of the two applies each event.
                upto = await connection.fetchval(STANDS_AT, *key[:2])
                first = await connection.fetchval(UNPARK, *key)
                if first is None:
                    return
                between = (first - 1, upto)
                reasons = await park_unauthentic(
                    connection, self._ring, entity.view, entity.organisation, between, entity.stream
                )
                reasons += await park_unknown(
                    connection, entity.view, entity.organisation, between, entity.stream
                )
                if reasons:
                    raise _StillParkedError(reasons[0])
                await connection.execute(
                    self._view.stream_statement(), entity.organisation, *between, entity.stream
                )
        except (*POISON_ERRORS, _StillParkedError) as error:
            await connection.execute(TRIED, *key, _reason(error))


class TemporalProjection:
    """Keeps history up to date, which writes and parks in batches of its own."""

    name = HISTORY

    def __init__(self, history: TemporalViews) -> None:
        self._history = history

    async def apply_batch(self, _: Connection, organisation: str, _after: int, upto: int) -> bool:
        """As `ProjectionHandler.apply_batch`, from the position that history has reached."""
        await self._history.catch_up(organisation, upto)
        return True

    async def retry(self, _: Connection, entity: ParkedEntity) -> None:
        """As `ProjectionHandler.retry`."""
        await self._history.retry(entity.organisation, entity.stream)


def _reason(error: Exception) -> str:
    """Return the reason to store. The end of a server message may quote personal data and is cut off."""
    if isinstance(error, asyncpg.PostgresError):
        return f"{type(error).__name__}: {str(error).partition(':')[0]}"[:LONGEST]
    return str(error)[:LONGEST]
