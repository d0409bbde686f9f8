"""A hint to whoever follows the ledger that it has grown: NOTIFY, beside the append and never in it.

A notification inside an append would make commits wait for each other, and fail where the server's
queue is full. So it is sent afterwards, by a statement of its own, rarely, and without waiting for the
disk; who misses it looks at the ledger anyway, a little later.
"""

from __future__ import annotations

import asyncio

import asyncpg
import structlog

from domain.errors import ServiceUnavailable
from infra.postgres.pool import CONNECTION_ERRORS, SERVICE_ROLE, ConnectionPool

__all__ = ["CHANNEL", "AppendNotifier", "Listener", "wait_for_any"]

CHANNEL = "crmledger_events"
RING = f"SELECT set_config('synchronous_commit', 'off', true), pg_notify('{CHANNEL}', '')"

MIN_INTERVAL = 0.05
"""Seconds between two notifications of one process."""

log = structlog.get_logger(__name__)


class AppendNotifier:
    """Rings at once when it is quiet, and at most every `MIN_INTERVAL` seconds."""

    def __init__(self, lanes: ConnectionPool) -> None:
        self._lanes = lanes
        self._again = False
        self._ringing: asyncio.Task[None] | None = None

    def notify(self) -> None:
        """Tells followers that there are new events. Never waits, never fails."""
        self._again = True
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.create_task(self._ring())

    async def close(self) -> None:
        """Rings no more."""
        if self._ringing is not None:
            self._ringing.cancel()
            await asyncio.wait([self._ringing])

    async def _ring(self) -> None:
        while self._again:
            self._again = False
            try:
                await self._lanes.read(lambda connection: connection.execute(RING))
            except (ServiceUnavailable, asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
                log.warning("notify.failed", error=type(error).__name__)
            await asyncio.sleep(MIN_INTERVAL)


class Listener:
    """Hears the bell on a connection of its own: ``notified`` is set when it has rung.

    Whoever follows the ledger clears ``notified``, looks, and rests. Where there is no connection, nothing is
    heard, and the next rest tries again.
    """

    def __init__(self, url: str, role: str = SERVICE_ROLE) -> None:
        self.notified = asyncio.Event()
        self._url = url
        self._role = role
        self._connection: asyncpg.Connection | None = None

    async def rest(self, seconds: float, *events: asyncio.Event) -> None:
        """Waits for the bell or one of ``events``, so many seconds at most."""
        await self._listen()
        await wait_for_any(seconds, self.notified, *events)

    async def close(self) -> None:
        """Listens no more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _listen(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            return
        settings = {"role": self._role, "application_name": "crmledger listens"}
        connection = None
        try:
            connection = await asyncpg.connect(self._url, timeout=1, server_settings=settings)
            await connection.add_listener(CHANNEL, lambda *_: self.notified.set())
        except (asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
            log.warning("notify.listen_failed", error=type(error).__name__)
            if connection is not None:
                connection.terminate()
        else:
            self._connection = connection
            self.notified.set()  # it may have rung before anybody listened


async def wait_for_any(seconds: float, *events: asyncio.Event) -> None:
    """Waits until one of the events is set, so many seconds at most."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
