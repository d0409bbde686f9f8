"""Feeding the tables of analysts, batch by batch, and again what was parked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import asyncpg
import structlog

from infra.projections.analytics_tables import DAILY_EVENTS, TRANSITIONS
from infra.projections.parked import (
    LONGEST,
    POISON_ERRORS,
    UNPARKED,
    ParkedEntity,
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
    """A view that is fed by statement: ``$1`` organisation, events at ``$2 < position <= $3``.

    ``version`` is raised by whoever changes what the view holds. ``which`` stands in the statement
    where the events are chosen.
    """

    name: str
    version: int
    statement: str

    def batch_statement(self) -> str:
        """The statement for all events but those of entities that are parked."""
        return self.statement.format(which=UNPARKED.format(view=self.name))

    def of_stream(self) -> str:
        """The statement for the events of the entity ``$4``."""
        return self.statement.format(which=OF_STREAM)


_VIEWS = (
    AnalyticsProjection("daily_events", 1, DAILY_EVENTS),
    AnalyticsProjection("transitions", 1, TRANSITIONS),
)
ANALYTICS: Mapping[str, AnalyticsProjection] = {view.name: view for view in _VIEWS}
"""The views by name; the table of each is in the schema ``analytics``."""


class _StillUnknownError(Exception):
    """An entity's events are not known to this program either."""


class ProjectionHandler(Protocol):
    """How one process feeds one view; any number of processes may do so at once."""

    name: str

    async def batch(self, connection: Connection, organisation: str, at: int, upto: int) -> bool:
        """Takes in the events at ``at < position <= upto``, but for entities that are or get parked.

        False, and nothing is written, if another process has moved the view.
        """

    async def retry(self, connection: Connection, one: ParkedEntity) -> None:
        """Takes in what the view lacks of a parked entity; it stays parked if that fails still."""


class SqlProjection:
    """Feeds a table by its statement, on behalf of one process.

    :param holder: the process, as its leases name it; ``lease`` in seconds, renewed by each batch.
    """

    def __init__(self, view: AnalyticsProjection, holder: UUID, lease: float) -> None:
        self.name = view.name
        self._view = view
        self._holder = holder
        self._lease = lease

    async def batch(self, connection: Connection, organisation: str, at: int, upto: int) -> bool:
        """As `ProjectionHandler.batch`. What holds an event at fault is halved until that stands alone."""
        try:
            return await self._taken_in(connection, organisation, at, upto)
        except POISON_ERRORS as error:
            if upto - at == 1:
                return await self._parked(connection, organisation, at, error)
        middle = (at + upto) // 2
        return await self.batch(connection, organisation, at, middle) and await self.batch(
            connection, organisation, middle, upto
        )

    async def _taken_in(
        self, connection: Connection, organisation: str, at: int, upto: int
    ) -> bool:
        async with transaction(connection):
            if not await self._moved(connection, organisation, at, upto):
                return False
            await park_unknown(connection, self.name, organisation, (at, upto))
            await connection.execute(self._view.batch_statement(), organisation, at, upto)
        return True

    async def _parked(
        self, connection: Connection, organisation: str, at: int, why: Exception
    ) -> bool:
        """Moves past the next event and parks its entity; False as `batch`."""
        log.error("projector.parked", view=self.name, organisation=organisation, position=at + 1)
        async with transaction(connection):
            if not await self._moved(connection, organisation, at, at + 1):
                return False
            await connection.execute(PARK, organisation, self.name, at + 1, _reason(why))
        return True

    async def _moved(self, connection: Connection, organisation: str, at: int, upto: int) -> bool:
        place = (organisation, self.name, self._holder, at, upto, self._lease)
        return await connection.execute(MOVE, *place) == "UPDATE 1"

    async def retry(self, connection: Connection, one: ParkedEntity) -> None:
        """As `ProjectionHandler.retry`."""
        key = (one.organisation, one.view, one.stream)
        try:
            async with transaction(connection):
                # Whoever moves the view waits for this, so that each event is taken in by one of the two.
                upto = await connection.fetchval(STANDS_AT, *key[:2])
                first = await connection.fetchval(UNPARK, *key)
                if first is None:
                    return
                between = (first - 1, upto)
                unknown = await park_unknown(
                    connection, one.view, one.organisation, between, one.stream
                )
                if unknown:
                    raise _StillUnknownError(unknown[0])
                await connection.execute(
                    self._view.of_stream(), one.organisation, *between, one.stream
                )
        except (*POISON_ERRORS, _StillUnknownError) as error:
            await connection.execute(TRIED, *key, _reason(error))


class TemporalProjection:
    """Brings history forward, which writes and parks in batches of its own."""

    name = HISTORY

    def __init__(self, history: TemporalViews) -> None:
        self._history = history

    async def batch(self, _: Connection, organisation: str, _at: int, upto: int) -> bool:
        """As `ProjectionHandler.batch`, from wherever history is by now."""
        await self._history.catch_up(organisation, upto)
        return True

    async def retry(self, _: Connection, one: ParkedEntity) -> None:
        """As `ProjectionHandler.retry`."""
        await self._history.retry(one.organisation, one.stream)


def _reason(error: Exception) -> str:
    """What is wrong; of what the server says without the end, which may quote what a person wrote."""
    if isinstance(error, asyncpg.PostgresError):
        return f"{type(error).__name__}: {str(error).partition(':')[0]}"[:LONGEST]
    return str(error)[:LONGEST]
