"""The projector: feeds the analytics views and history from the ledger, each event exactly once.

A batch of events and the position it leads to are written in one transaction, and the position is
moved only from where this process has read it (compare and swap). So a process that was killed,
paused or cut off can neither leave half a batch nor write one twice. The lease only keeps others
from doing work in vain: that it is exclusive is never relied on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import uuid4

import asyncpg
import structlog

from domain.errors import ServiceUnavailable
from infra.ledger.positions import HEADS
from infra.observability.metrics import BATCH_SECONDS, LAG_POSITIONS, LAG_SECONDS, PARKED, PROJECTED
from infra.postgres.notify import CHANNEL, wait_for_any
from infra.postgres.pool import CONNECTION_ERRORS
from infra.projections.parked import POISON_ERRORS, ParkedEntity, parked
from infra.projections.sql_projections import (
    ANALYTICS,
    ProjectionHandler,
    SqlProjection,
    TemporalProjection,
)
from infra.projections.temporal import TemporalViews
from infra.replay.pipeline import Connection
from infra.schema.migrate import is_current

__all__ = ["ProjectionLag", "Projector", "lags"]

ROLE = "crmledger_projector"
LEASE = """
INSERT INTO analytics.progress AS p (organisation, view, holder, held_until)
VALUES ($1, $2, $3, clock_timestamp() + $4 * interval '1 second')
ON CONFLICT (organisation, view) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
 WHERE p.holder IS NULL OR p.holder = excluded.holder OR p.held_until < clock_timestamp()
RETURNING position
"""
RELEASE = "UPDATE analytics.progress SET holder = NULL, held_until = '-infinity' WHERE holder = $1"
_LAG = """
WITH heads AS ({heads})
SELECT h.organisation, h.head, coalesce(p.position, 0) AS position,
       coalesce(extract(epoch FROM clock_timestamp() - e.recorded_at)::float8, 0) AS seconds,
       (SELECT count(*) FROM projections.parked q
         WHERE q.organisation = h.organisation AND q.view = $1) AS parked
  FROM heads h
  LEFT JOIN analytics.progress p ON p.organisation = h.organisation AND p.view = $1
  LEFT JOIN ledger.events e ON e.organisation = h.organisation AND e.position = coalesce(p.position, 0) + 1
UNION ALL
SELECT p.organisation, 0, p.position, 0, 0
  FROM analytics.progress p
 WHERE p.view = $1 AND NOT EXISTS (SELECT FROM heads h WHERE h.organisation = p.organisation)
"""
LAG = _LAG.format(heads=HEADS)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProjectionLag:
    """How far a view is behind one ledger.

    ``seconds`` is the age of the first event that it lacks. ``positions`` is negative if the view is
    ahead: the ledger was restored to an earlier state, and the view counts what never happened.
    ``parked`` entities are those whose events it could not take in.
    """

    organisation: str
    position: int
    positions: int
    seconds: float
    parked: int


async def lags(connection: Connection, view: str) -> list[ProjectionLag]:
    """How far a view is behind each ledger."""
    return [
        ProjectionLag(organisation, position, head - position, seconds, parked)
        for organisation, head, position, seconds, parked in await connection.fetch(LAG, view)
    ]


class Projector:
    """One process that feeds all views; any number may run.

    :param history: what else is brought forward, if anything.
    :param lease: seconds after which others take over from a process that is gone.
    :param pause: seconds between two looks at the ledger; the bell only makes them earlier.
    :param most: positions that one transaction takes in.
    """

    def __init__(
        self,
        url: str,
        history: TemporalViews | None = None,
        *,
        lease: float = 15.0,
        pause: float = 0.5,
        most: int = 10_000,
    ) -> None:
        self._url = url
        self._lease = lease
        self._pause = pause
        self._most = most
        self._me = uuid4()
        self._feedings: list[ProjectionHandler] = [
            SqlProjection(view, self._me, lease) for view in ANALYTICS.values()
        ]
        if history is not None:
            self._feedings.append(TemporalProjection(history))
        self._connection: Connection | None = None
        self._problems: list[str] = ["starting"]
        self._hint = asyncio.Event()

    async def readiness_problems(self) -> list[str]:
        """What keeps it from feeding its views, as of its last look at the ledger."""
        return list(self._problems)

    async def run(self, stop: asyncio.Event) -> None:
        """Feeds the views until told to stop; then ends the batch at hand and gives the leases back.

        What is parked is tried again first: a new process may be the one that can read it. A database
        that is away is waited for.
        """
        anew = True
        while not stop.is_set():
            try:
                if anew:
                    await self.retry()
                    anew = False
                await self.once(stop)
            except ServiceUnavailable as error:
                self._problems = [error.description]
            except CONNECTION_ERRORS as error:
                log.warning("projector.database_away", error=type(error).__name__)
                self._problems = ["database"]
                self._forget()
            await wait_for_any(self._pause, stop, self._hint)
        await self.close()

    def _heard(self, *_: object) -> None:
        self._hint.set()

    async def once(self, stop: asyncio.Event | None = None) -> None:
        """Looks at the ledger once and feeds the views all that is there."""
        self._hint.clear()
        connection = await self._connected()
        if not await is_current(connection):
            self._problems = ["schema"]
            return
        problems = []
        for feeding in self._feedings:
            problems += await self._feed(connection, feeding, stop)
        self._problems = problems

    async def retry(self, view: str | None = None) -> list[ParkedEntity]:
        """Tries again to take in what is parked, of one view or all: what is parked still."""
        connection = await self._connected()
        for feeding in self._feedings:
            if view in (None, feeding.name):
                for one in await parked(connection, feeding.name):
                    await feeding.retry(connection, one)
        return await parked(connection, view)

    async def close(self) -> None:
        """Gives the leases back, so that others need not wait for their end."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await connection.execute(RELEASE, self._me)
            await connection.close(timeout=2)
        except CONNECTION_ERRORS as error:
            log.warning("projector.leases_kept", error=type(error).__name__)
            connection.terminate()

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            settings = {
                "role": ROLE,
                "application_name": "crmledger project",
                "TimeZone": "UTC",
                # Whoever is paused in the middle of a batch must not keep others from it.
                "idle_in_transaction_session_timeout": f"{max(self._lease, 1):.0f}s",
            }
            self._connection = await asyncpg.connect(
                self._url, timeout=5, command_timeout=60, server_settings=settings
            )
            # On the connection that looks at the ledger: where it is dead, the next look finds that.
            await self._connection.add_listener(CHANNEL, self._heard)
        return self._connection

    async def _feed(
        self, connection: Connection, feeding: ProjectionHandler, stop: asyncio.Event | None
    ) -> list[str]:
        """Feeds a view from every ledger: the problems."""
        problems = []
        name = feeding.name
        for lag in await lags(connection, name):
            if lag.positions < 0:
                problems.append(f"{name} of {lag.organisation} is ahead of the ledger")
                log.error("projector.ahead", view=name, organisation=lag.organisation)
            elif lag.positions:
                try:
                    await self._follow(connection, feeding, lag, stop)
                except POISON_ERRORS as error:
                    # Not even parked: the view stays where it is, for nothing may be skipped.
                    problems.append(f"{name} of {lag.organisation} stands still")
                    log.error("projector.blocked", view=name, error=type(error).__name__)
        for lag in await lags(connection, name):
            LAG_POSITIONS.labels(name, lag.organisation).set(lag.positions)
            LAG_SECONDS.labels(name, lag.organisation).set(lag.seconds)
            PARKED.labels(name, lag.organisation).set(lag.parked)
        return problems

    async def _follow(
        self,
        connection: Connection,
        feeding: ProjectionHandler,
        lag: ProjectionLag,
        stop: asyncio.Event | None,
    ) -> None:
        """Feeds a view from one ledger up to its head, unless another process does it."""
        name, organisation = feeding.name, lag.organisation
        head = lag.position + lag.positions
        at = await connection.fetchval(LEASE, organisation, name, self._me, self._lease)
        while at is not None and at < head and not (stop and stop.is_set()):
            upto = min(at + self._most, head)
            with BATCH_SECONDS.labels(name).time():
                written = await feeding.batch(connection, organisation, at, upto)
            if not written:
                log.warning("projector.checkpoint_moved", view=name, organisation=organisation)
                return
            PROJECTED.labels(name).inc(upto - at)
            at = upto
