"""The projector: applies each event of the ledger exactly once to the analytics views and history.

A batch of events and the position that it leads to are written in one transaction, and the position
moves only from where this process has read it (compare and swap). So a process that is killed, paused
or cut off can neither leave half a batch nor write one twice. The lease only saves others work in
vain; nothing relies on its being exclusive.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import uuid4

import asyncpg
import structlog

from infra.encryption import KeyRing
from infra.ledger.positions import HEADS
from infra.observability.metrics import BATCH_SECONDS, LAG_POSITIONS, LAG_SECONDS, PARKED, PROJECTED
from infra.postgres.notify import CHANNEL
from infra.postgres.pool import CONNECTION_ERRORS
from infra.projections.parked import POISON_ERRORS, ParkedEntity, list_parked
from infra.projections.sql_projections import (
    ANALYTICS,
    ProjectionHandler,
    SqlProjection,
    TemporalProjection,
)
from infra.projections.temporal import TemporalViews
from infra.replay.pipeline import Connection
from infra.schema.migrate import is_current
from infra.worker import LagGauges, Worker

__all__ = ["ProjectionLag", "Projector", "lags"]

ROLE = "crmledger_projector"
LEASE = """
INSERT INTO projection.checkpoints AS p (organisation, view, lease_holder, lease_expires_at)
VALUES ($1, $2, $3, clock_timestamp() + $4 * interval '1 second')
ON CONFLICT (organisation, view) DO UPDATE SET lease_holder = excluded.lease_holder, lease_expires_at = excluded.lease_expires_at
 WHERE p.lease_holder IS NULL OR p.lease_holder = excluded.lease_holder OR p.lease_expires_at < clock_timestamp()
RETURNING position
"""
RELEASE = "UPDATE projection.checkpoints SET lease_holder = NULL, lease_expires_at = '-infinity' WHERE lease_holder = $1"
_LAG = """
WITH heads AS ({heads})
SELECT h.organisation, h.head, coalesce(p.position, 0) AS position,
       coalesce(extract(epoch FROM clock_timestamp() - e.recorded_at)::float8, 0) AS seconds,
       (SELECT count(*) FROM projection.parked q
         WHERE q.organisation = h.organisation AND q.view = $1) AS parked
  FROM heads h
  LEFT JOIN projection.checkpoints p ON p.organisation = h.organisation AND p.view = $1
  LEFT JOIN ledger.events e ON e.organisation = h.organisation AND e.position = coalesce(p.position, 0) + 1
UNION ALL
SELECT p.organisation, 0, p.position, 0, 0
  FROM projection.checkpoints p
 WHERE p.view = $1 AND NOT EXISTS (SELECT FROM heads h WHERE h.organisation = p.organisation)
"""
LAG = _LAG.format(heads=HEADS)
GAUGES = LagGauges(LAG_POSITIONS, LAG_SECONDS, PARKED)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProjectionLag:
    """The lag of a view behind one ledger.

    ``positions`` is the number of events that the view lacks. It is negative if the view is ahead: the
    ledger was restored to an earlier state, and the view counts events that it no longer has.
    ``seconds`` is the age of the first event that the view lacks, ``parked`` the number of entities
    whose events it could not apply.
    """

    organisation: str
    position: int
    positions: int
    seconds: float
    parked: int


async def lags(connection: Connection, view: str) -> list[ProjectionLag]:
    """Return the lag of a view behind each ledger."""
    return [
        ProjectionLag(organisation, position, head - position, seconds, parked)
        for organisation, head, position, seconds, parked in await connection.fetch(LAG, view)
    ]


class Projector(Worker):
    """A worker that keeps all asynchronous projections up to date; any number may run.

    :param history: kept up to date too, unless it is None.
    :param lease: seconds after which others take over from a process that has died.
    :param pause: seconds between two looks at the ledger; a notification makes the next one earlier.
    :param batch_size: positions that one transaction covers.
    """

    def __init__(
        self,
        url: str,
        ring: KeyRing,
        history: TemporalViews | None = None,
        *,
        lease: float = 15.0,
        pause: float = 0.5,
        batch_size: int = 10_000,
    ) -> None:
        super().__init__(pause)
        self._url = url
        self._lease = lease
        self._batch_size = batch_size
        self._holder = uuid4()
        self._handlers: list[ProjectionHandler] = [
            SqlProjection(view, ring, self._holder, lease) for view in ANALYTICS.values()
        ]
        if history is not None:
            self._handlers.append(TemporalProjection(history))
        self._connection: Connection | None = None

    async def retry(self, view: str | None = None) -> list[ParkedEntity]:
        """Try the parked entities of one view, or of all, again: those that are still parked."""
        connection = await self._connect()
        for handler in self._handlers:
            if view in (None, handler.name):
                for entity in await list_parked(connection, handler.name):
                    await handler.retry(connection, entity)
        return await list_parked(connection, view)

    async def _first_look(self, stop: asyncio.Event) -> None:
        """Try the parked entities again first: a new program may know their events."""
        await self.retry()
        await self.once(stop)

    async def _look(self, stop: asyncio.Event) -> list[str]:
        """Bring every view up to date with every ledger."""
        connection = await self._connect()
        if not await is_current(connection):
            return ["schema"]
        problems = []
        for handler in self._handlers:
            problems += await self._feed(connection, handler, stop)
        return problems

    def _problem_of(self, error: Exception) -> str | None:
        if not isinstance(error, CONNECTION_ERRORS):
            return super()._problem_of(error)
        log.warning("projector.database_away", error=type(error).__name__)
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        return "database"

    async def _release(self) -> None:
        """Give the leases back, so that others need not wait for their end."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await connection.execute(RELEASE, self._holder)
            await connection.close(timeout=2)
        except CONNECTION_ERRORS as error:
            log.warning("projector.leases_kept", error=type(error).__name__)
            connection.terminate()

    async def _connect(self) -> Connection:
        """Return the open connection, opened anew if it was lost."""
        if self._connection is None or self._connection.is_closed():
            settings = {
                "role": ROLE,
                "application_name": "crmledger project",
                "TimeZone": "UTC",
                # A process that is paused in the middle of a batch must not block the others.
                "idle_in_transaction_session_timeout": f"{max(self._lease, 1):.0f}s",
            }
            self._connection = await asyncpg.connect(
                self._url, timeout=5, command_timeout=60, server_settings=settings
            )
            # On the connection of the looks: if it is lost, the next look notices and opens another.
            await self._connection.add_listener(CHANNEL, lambda *_: self._wake.set())
        return self._connection

    async def _feed(
        self, connection: Connection, handler: ProjectionHandler, stop: asyncio.Event
    ) -> list[str]:
        """Bring a view up to date with every ledger: the problems."""
        problems = []
        name = handler.name
        for lag in await lags(connection, name):
            if lag.positions < 0:
                problems.append(f"{name} of {lag.organisation} is ahead of the ledger")
                log.error("projector.ahead", view=name, organisation=lag.organisation)
            elif lag.positions:
                try:
                    await self._catch_up(connection, handler, lag, stop)
                except POISON_ERRORS as error:
                    # It could not even be parked: the view stays there, since no event may be skipped.
                    problems.append(f"{name} of {lag.organisation} stands still")
                    log.error("projector.blocked", view=name, error=type(error).__name__)
        for lag in await lags(connection, name):
            GAUGES.set((name, lag.organisation), lag.positions, lag.seconds, lag.parked)
        return problems

    async def _catch_up(
        self,
        connection: Connection,
        handler: ProjectionHandler,
        lag: ProjectionLag,
        stop: asyncio.Event,
    ) -> None:
        """Bring a view up to the head of one ledger, unless another process has its lease."""
        name, organisation = handler.name, lag.organisation
        head = lag.position + lag.positions
        position = await connection.fetchval(LEASE, organisation, name, self._holder, self._lease)
        while position is not None and position < head and not stop.is_set():
            upto = min(position + self._batch_size, head)
            with BATCH_SECONDS.labels(name).time():
                written = await handler.apply_batch(connection, organisation, position, upto)
            if not written:
                log.warning("projector.checkpoint_moved", view=name, organisation=organisation)
                return
            PROJECTED.labels(name).inc(upto - position)
            position = upto
