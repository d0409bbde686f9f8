"""NOTIFY: a hint to the followers of the ledger that it has grown, sent after the append.

A notification inside an append would make commits wait for each other, and fail when the server's
queue is full. So it is sent afterwards, by a statement of its own, rarely, and without waiting for the
disk. A follower that misses it looks at the ledger a little later anyway.
"""

from __future__ import annotations

import asyncio

import asyncpg
import structlog

from domain.errors import ServiceUnavailable
from infra.postgres.pool import CONNECTION_ERRORS, SERVICE_ROLE, ConnectionPool

__all__ = ["CHANNEL", "AppendNotifier", "Listener"]

CHANNEL = "crmledger_events"
NOTIFY = f"SELECT set_config('synchronous_commit', 'off', true), pg_notify('{CHANNEL}', '')"

MIN_INTERVAL = 0.05
"""Seconds between two notifications of one process."""

log = structlog.get_logger(__name__)


class AppendNotifier:
    """Notifies at once, but not more often than every `MIN_INTERVAL` seconds."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._pending = False
        self._task: asyncio.Task[None] | None = None

    def notify(self) -> None:
        """Notify followers of new events. Never waits, never fails."""
        self._pending = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._notify())

    async def close(self) -> None:
        """Stop notifying."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _notify(self) -> None:
        while self._pending:
            self._pending = False
            try:
                await self._pool.read(lambda connection: connection.execute(NOTIFY))
            except (ServiceUnavailable, asyncpg.PostgresError, *CONNECTION_ERRORS) as error:
                log.warning("notify.failed", error=type(error).__name__)
            await asyncio.sleep(MIN_INTERVAL)


class Listener:
    """Listens on a connection of its own: ``notified`` is set by each notification.

    A follower clears ``notified``, looks at the ledger, and waits. Without a connection nothing is
    notified, until the next `listen` succeeds.
    """

    def __init__(self, url: str, role: str = SERVICE_ROLE) -> None:
        self.notified = asyncio.Event()
        self._url = url
        self._role = role
        self._connection: asyncpg.Connection | None = None

    async def close(self) -> None:
        """Stop listening."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def listen(self) -> None:
        """Open the connection, unless it is open. A failure is logged; the next call tries again."""
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
            self.notified.set()  # there may have been a notification before
