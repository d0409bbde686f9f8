"""Connections to PostgreSQL: a small pool, kept open; each serves one batch at a time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import asyncpg

from domain.errors import ServiceUnavailable
from services.projection_versions import VERSION

__all__ = [
    "CONNECTION_ERRORS",
    "SERVICE_ROLE",
    "ConnectionPool",
    "PooledConnection",
    "ReadPool",
    "snapshot",
    "wait_for_database",
]

T = TypeVar("T")

CONNECTION_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""The errors of a server that cannot be reached or is shutting down."""

SERVICE_ROLE = "crmledger_service"
ACQUIRE_TIMEOUT = 3.0
"""Seconds to wait for a connection, such as while the server restarts."""
LOCK_TIMEOUT = 5.0
"""Seconds that a statement may wait for a lock of the server."""
RETRY_PAUSE = 0.05
"""Seconds between two attempts to reach the server."""


class ReadPool(Protocol):
    """A pool for statements that only read: at most ``size`` run at a time."""

    size: int

    async def read(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Runs a read, again if the connection was lost. Raises `ServiceUnavailable`."""

    def snapshot(self) -> AbstractAsyncContextManager[asyncpg.Connection]:
        """Yield a connection that sees one snapshot. Raises `ServiceUnavailable`."""


class PooledConnection:
    """One connection, with its server's clock.

    The clock is read once and then advanced by this machine's monotonic one, so that it does not follow
    changes of this machine's time.
    """

    def __init__(self, connection: asyncpg.Connection, clock: datetime) -> None:
        self.connection = connection
        self._clock = clock
        self._read_at = time.monotonic()

    @classmethod
    async def open(cls, url: str, timeout: float, role: str = SERVICE_ROLE) -> PooledConnection:
        """Connect as a role, with a timeout in seconds for each statement."""
        connection = await asyncpg.connect(
            url,
            timeout=5,
            command_timeout=timeout + 5,
            server_settings={
                "role": role,
                "application_name": "crmledger",
                "statement_timeout": str(int(timeout * 1000)),
                "lock_timeout": str(int(min(timeout, LOCK_TIMEOUT) * 1000)),
                # The append must see everything that was committed when it got its lock.
                "default_transaction_isolation": "read committed",
                # Statements are always the same and use keys: planning them anew for the arrays of
                # every call would cost more than running them.
                "plan_cache_mode": "force_generic_plan",
                "jit": "off",
                "TimeZone": "UTC",
                # The version of this program's projections: the server refuses rows of older ones.
                "crmledger.projection_version": str(VERSION),
            },
        )
        try:
            await connection.set_type_codec(
                "json", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary"
            )
            return cls(connection, await connection.fetchval("SELECT clock_timestamp()"))
        except BaseException:
            connection.terminate()
            raise

    def now(self) -> datetime:
        """Return the time by the server's clock, at most a round trip behind."""
        return self._clock + timedelta(seconds=time.monotonic() - self._read_at)


class ConnectionPool:
    """A fixed number of connections, opened when first needed and again when lost."""

    def __init__(
        self,
        url: str,
        count: int,
        *,
        timeout: float = 10,
        acquire_timeout: float = ACQUIRE_TIMEOUT,
        role: str = SERVICE_ROLE,
    ) -> None:
        self._url = url
        self._role = role
        self._timeout = timeout
        self._acquire_timeout = acquire_timeout
        self._free: asyncio.LifoQueue[PooledConnection | None] = asyncio.LifoQueue()
        self.size = count
        for _ in range(count):
            self._free.put_nowait(None)

    @asynccontextmanager
    async def acquire(self, deadline: float | None = None) -> AsyncIterator[PooledConnection]:
        """Yield a connection for one use; after any exception it is closed.

        :param deadline: the monotonic time until which to wait; by default that of the acquire timeout.
        :raises ServiceUnavailable: there is no connection by then; nothing was sent.
        """
        deadline = time.monotonic() + self._acquire_timeout if deadline is None else deadline
        pooled = await self._take(deadline)
        try:
            if pooled is None or pooled.connection.is_closed():
                pooled = await self._connect(deadline)
            yield pooled
        except BaseException:
            if pooled is not None:
                pooled.connection.terminate()
            self._free.put_nowait(None)
            raise
        self._free.put_nowait(pooled)

    async def read(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Runs a read, again if the connection was lost. Raises `ServiceUnavailable`."""
        deadline = time.monotonic() + self._acquire_timeout
        while True:
            try:
                async with self.acquire(deadline) as pooled:
                    return await work(pooled.connection)
            except (*CONNECTION_ERRORS, asyncpg.LockNotAvailableError) as error:
                if time.monotonic() > deadline:
                    raise ServiceUnavailable("the database is away", retry_after=1) from error
                await asyncio.sleep(RETRY_PAUSE)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection that sees one snapshot of the database and only reads.

        Raises `ServiceUnavailable` if there is none in time.
        """
        async with (
            self.acquire() as pooled,
            pooled.connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield pooled.connection

    async def close(self) -> None:
        """Close all connections that are not in use."""
        while not self._free.empty():
            pooled = self._free.get_nowait()
            if pooled is not None:
                with contextlib.suppress(*CONNECTION_ERRORS, asyncpg.PostgresError):
                    await pooled.connection.close(timeout=2)

    async def _take(self, deadline: float) -> PooledConnection | None:
        if not self._free.empty():
            return self._free.get_nowait()
        try:
            return await asyncio.wait_for(self._free.get(), max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise ServiceUnavailable("too many calls are waiting", retry_after=1) from None

    async def _connect(self, deadline: float) -> PooledConnection:
        while True:
            try:
                return await PooledConnection.open(self._url, self._timeout, self._role)
            except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
                if time.monotonic() > deadline:
                    raise ServiceUnavailable("the database is away", retry_after=1) from error
                await asyncio.sleep(RETRY_PAUSE)


@asynccontextmanager
async def snapshot(url: str, settings: Mapping[str, str]) -> AsyncIterator[asyncpg.Connection]:
    """Open a separate connection with these server settings that sees one snapshot of the database."""
    connection = await asyncpg.connect(url, timeout=10, server_settings=dict(settings))
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection
    finally:
        await connection.close()


async def wait_for_database(url: str, seconds: float = 30) -> None:
    """Wait until the database answers. Raises the last error after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection = await asyncpg.connect(url, timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.25)
        else:
            await connection.close()
            return
