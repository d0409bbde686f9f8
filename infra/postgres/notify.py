"""Wakes the followers of the ledger when it has grown: NOTIFY after an append, never within it.

A notification inside an append would serialise commits, and fail when the server's queue is full. So it
is sent afterwards, by a separate statement, rarely, and without waiting for the disk; a follower that
misses it polls the ledger a little later anyway.
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
"""The fewest seconds between two notifications of a process."""

log = structlog.get_logger(__name__)


class AppendNotifier:
    """Notifies immediately after a quiet time, and at most every `MIN_INTERVAL` seconds."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._pending = False
        self._task: asyncio.Task[None] | None = None

    def notify(self) -> None:
        """Tell followers that there are new events. Never waits, never fails."""
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
    """Listens on a connection of its own, and sets ``notified`` on each notification.

    A follower clears ``notified``, reads the ledger, and waits. Without a connection there are no
    notifications, and the next wait tries to connect again.
    """

    def __init__(self, url: str, role: str = SERVICE_ROLE) -> None:
        self.notified = asyncio.Event()
        self._url = url
        self._role = role
        self._connection: asyncpg.Connection | None = None

    async def wait(self, seconds: float, *events: asyncio.Event) -> None:
        """Wait for a notification or one of ``events``, at most ``seconds`` seconds."""
        await self.listen()
        await wait_for_any(seconds, self.notified, *events)

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
            self.notified.set()  # notifications before this were missed


async def wait_for_any(seconds: float, *events: asyncio.Event) -> None:
    """Wait until one of the events is set, at most ``seconds`` seconds."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
