"""The projector: feeds the analytics views and history from the ledger, each fact exactly once.

A batch of facts and the position it leads to are written in one transaction, and the position is
moved only from where this process has read it (compare and swap). So a process that was killed,
paused or cut off can neither leave half a batch nor write one twice. The lease only keeps others
from doing work in vain: that it is exclusive is never relied on.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

import asyncpg
import structlog

from domain.errors import ServiceUnavailable
from infra.analytics.fed import DAILY_FACTS, TRANSITIONS
from infra.ledger.heads import HEADS
from infra.postgres import LOST
from infra.schema.migrate import available
from infra.telemetry import BATCH_SECONDS, LAG_POSITIONS, LAG_SECONDS, PROJECTED
from infra.views.folding import Connection
from infra.views.history import HISTORY, History

__all__ = ["ANALYTICS", "AnalyticsView", "Lag", "Projector", "lags"]

ROLE = "crmledger_projector"
VERSIONS = "SELECT version, checksum FROM schema_migrations"
LEASE = """
INSERT INTO analytics.progress AS p (organisation, view, holder, held_until)
VALUES ($1, $2, $3, clock_timestamp() + $4 * interval '1 second')
ON CONFLICT (organisation, view) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
 WHERE p.holder IS NULL OR p.holder = excluded.holder OR p.held_until < clock_timestamp()
RETURNING position
"""
MOVE = """
UPDATE analytics.progress
   SET position = $5, moved_at = clock_timestamp(), held_until = clock_timestamp() + $6 * interval '1 second'
 WHERE organisation = $1 AND view = $2 AND holder = $3 AND position = $4
"""
RELEASE = "UPDATE analytics.progress SET holder = NULL, held_until = '-infinity' WHERE holder = $1"
_LAG = """
WITH heads AS ({heads})
SELECT h.organisation, h.head, coalesce(p.position, 0) AS position,
       coalesce(extract(epoch FROM clock_timestamp() - e.recorded_at)::float8, 0) AS seconds
  FROM heads h
  LEFT JOIN analytics.progress p ON p.organisation = h.organisation AND p.view = $1
  LEFT JOIN ledger.events e ON e.organisation = h.organisation AND e.position = coalesce(p.position, 0) + 1
UNION ALL
SELECT p.organisation, 0, p.position, 0
  FROM analytics.progress p
 WHERE p.view = $1 AND NOT EXISTS (SELECT FROM heads h WHERE h.organisation = p.organisation)
"""
LAG = _LAG.format(heads=HEADS)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AnalyticsView:
    """A view that is fed by statement: ``$1`` organisation, facts at ``$2 < position <= $3``.

    ``version`` is raised by whoever changes what the view holds.
    """

    version: int
    statement: str


ANALYTICS: Mapping[str, AnalyticsView] = {
    "daily_facts": AnalyticsView(1, DAILY_FACTS),
    "transitions": AnalyticsView(1, TRANSITIONS),
}
"""The views by name; the table of each is in the schema ``analytics``."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a view is behind one ledger.

    ``seconds`` is the age of the first fact that it lacks. ``positions`` is negative if the view is
    ahead: the ledger was restored to an earlier state, and the view counts what never happened.
    """

    organisation: str
    position: int
    positions: int
    seconds: float


async def lags(connection: Connection, view: str) -> list[Lag]:
    """How far a view is behind each ledger."""
    return [
        Lag(row["organisation"], row["position"], row["head"] - row["position"], row["seconds"])
        for row in await connection.fetch(LAG, view)
    ]


Batch = Callable[[str, int, int], Awaitable[bool]]
"""Feeds a view with an organisation's facts at ``after < position <= upto``; False if another
process has moved it. Raises ``ValueError`` for a fact that cannot be read."""


class Projector:
    """One process that feeds all views; any number may run.

    :param history: what else is brought forward, if anything.
    :param lease: seconds after which others take over from a process that is gone.
    :param pause: seconds between two looks at the ledger.
    :param most: positions that one transaction takes in.
    """

    def __init__(
        self,
        url: str,
        history: History | None = None,
        *,
        lease: float = 15.0,
        pause: float = 0.5,
        most: int = 10_000,
    ) -> None:
        self._url = url
        self._history = history
        self._lease = lease
        self._pause = pause
        self._most = most
        self._me = uuid4()
        self._connection: Connection | None = None
        self._problems: list[str] = ["starting"]

    async def problems(self) -> list[str]:
        """What keeps it from feeding its views, as of its last look at the ledger."""
        return list(self._problems)

    async def run(self, stop: asyncio.Event) -> None:
        """Feeds the views until told to stop; then ends the batch at hand and gives the leases back.

        A database that is away is waited for.
        """
        while not stop.is_set():
            try:
                await self.once(stop)
            except ServiceUnavailable as error:
                self._problems = [error.description]
            except LOST as error:
                log.warning("projector.database_away", error=type(error).__name__)
                self._problems = ["database"]
                self._forget()
            try:
                async with asyncio.timeout(self._pause):
                    await stop.wait()
            except TimeoutError:
                pass
        await self.close()

    async def once(self, stop: asyncio.Event | None = None) -> None:
        """Looks at the ledger once and feeds the views all that is there."""
        connection = await self._connected()
        problems = await self._schema(connection)
        if not problems:
            for name, view in ANALYTICS.items():
                batch = partial(self._batch, connection, name, view)
                problems += await self._feed(connection, name, batch, stop)
            if self._history is not None:
                batch = partial(_remember, self._history)
                problems += await self._feed(connection, HISTORY, batch, stop)
        self._problems = problems

    async def close(self) -> None:
        """Gives the leases back, so that others need not wait for their end."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await connection.execute(RELEASE, self._me)
            await connection.close(timeout=2)
        except LOST as error:
            log.warning("projector.leases_kept", error=type(error).__name__)
            connection.terminate()

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            settings = {"role": ROLE, "application_name": "crmledger project", "TimeZone": "UTC"}
            self._connection = await asyncpg.connect(
                self._url, timeout=5, command_timeout=60, server_settings=settings
            )
        return self._connection

    @staticmethod
    async def _schema(connection: Connection) -> list[str]:
        applied = {tuple(row) for row in await connection.fetch(VERSIONS)}
        wanted = {(migration.version, migration.checksum) for migration in available()}
        return ["schema"] if applied != wanted else []

    async def _feed(
        self, connection: Connection, name: str, batch: Batch, stop: asyncio.Event | None
    ) -> list[str]:
        """Feeds a view from every ledger: the problems."""
        problems = []
        for lag in await lags(connection, name):
            if lag.positions < 0:
                problems.append(f"{name} of {lag.organisation} is ahead of the ledger")
                log.error("projector.ahead", view=name, organisation=lag.organisation)
            elif lag.positions:
                problems += await self._follow(connection, name, batch, lag, stop)
        for lag in await lags(connection, name):
            LAG_POSITIONS.labels(name, lag.organisation).set(lag.positions)
            LAG_SECONDS.labels(name, lag.organisation).set(lag.seconds)
        return problems

    async def _follow(
        self, connection: Connection, name: str, batch: Batch, lag: Lag, stop: asyncio.Event | None
    ) -> list[str]:
        """Feeds a view from one ledger up to its head, unless another process does it: the problems."""
        organisation, head = lag.organisation, lag.position + lag.positions
        at = await connection.fetchval(LEASE, organisation, name, self._me, self._lease)
        while at is not None and at < head and not (stop and stop.is_set()):
            upto = min(at + self._most, head)
            try:
                with BATCH_SECONDS.labels(name).time():
                    written = await batch(organisation, at, upto)
            except ValueError as error:
                log.exception("projector.unreadable", view=name, organisation=organisation)
                return [f"{name} of {organisation}: {error}"]
            if not written:
                log.warning("projector.overtaken", view=name, organisation=organisation)
                return []
            PROJECTED.labels(name).inc(upto - at)
            at = upto
        return []

    async def _batch(
        self,
        connection: Connection,
        name: str,
        view: AnalyticsView,
        organisation: str,
        at: int,
        upto: int,
    ) -> bool:
        """Writes one batch; False, and nothing is written, if another process has moved the view."""
        transaction = connection.transaction()
        await transaction.start()
        try:
            moved = await connection.execute(
                MOVE, organisation, name, self._me, at, upto, self._lease
            )
            if moved == "UPDATE 1":
                await connection.execute(view.statement, organisation, at, upto)
                await transaction.commit()
                return True
        except BaseException:
            await _undo(transaction)
            raise
        await transaction.rollback()
        return False


async def _remember(history: History, organisation: str, after: int, upto: int) -> bool:
    """Brings history forward, in batches of its own, from wherever it is by now."""
    await history.bring(organisation, upto, math.inf)
    return True


async def _undo(transaction: asyncpg.transaction.Transaction) -> None:
    """Rolls back; a connection that is lost does so by itself."""
    try:
        await transaction.rollback()
    except LOST:
        return
