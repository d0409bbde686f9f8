"""Connections to PostgreSQL: a few, kept open, each used by one batch at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import asyncpg

from domain.errors import ServiceUnavailable

__all__ = ["LOST", "Lane", "Lanes"]

T = TypeVar("T")

LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""What says that the server cannot be reached or is about to go."""

SERVICE_ROLE = "crmledger_service"
PATIENCE = 3.0
"""Seconds for which a read waits for a server that is away, such as one that restarts."""


class Lane:
    """One connection, with what is known of its server: process id and clock."""

    def __init__(self, connection: asyncpg.Connection, pid: int, ahead: timedelta) -> None:
        self.connection = connection
        self.pid = pid
        self._ahead = ahead

    @classmethod
    async def open(cls, url: str, timeout: float) -> Lane:
        """Connects as the service's role; ``timeout`` in seconds for each statement."""
        connection = await asyncpg.connect(
            url,
            timeout=5,
            command_timeout=timeout + 5,
            server_settings={
                "role": SERVICE_ROLE,
                "application_name": "crmledger",
                "statement_timeout": str(int(timeout * 1000)),
                "TimeZone": "UTC",
            },
        )
        await connection.set_type_codec(
            "json", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary"
        )
        clock: datetime = await connection.fetchval("SELECT clock_timestamp()")
        return cls(connection, connection.get_server_pid(), clock - datetime.now(UTC))

    def now(self) -> datetime:
        """The time by the server's clock, to within the time of a round trip."""
        return datetime.now(UTC) + self._ahead


class Lanes:
    """A fixed number of connections, opened when first needed and after they were lost."""

    def __init__(self, url: str, count: int, *, timeout: float = 10) -> None:
        self._url = url
        self._timeout = timeout
        self._free: asyncio.LifoQueue[Lane | None] = asyncio.LifoQueue()
        self.count = count
        for _ in range(count):
            self._free.put_nowait(None)

    @asynccontextmanager
    async def lane(self) -> AsyncIterator[Lane]:
        """A connection for one use; one on which anything failed is not used again."""
        lane = await self._free.get()
        try:
            if lane is None or lane.connection.is_closed():
                lane = await Lane.open(self._url, self._timeout)
            yield lane
        except BaseException:
            if lane is not None:
                lane.connection.terminate()
            self._free.put_nowait(None)
            raise
        self._free.put_nowait(lane)

    async def read(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Runs a read, again if the connection was lost. Raises `ServiceUnavailable`."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                async with self.lane() as lane:
                    return await work(lane.connection)
            except LOST as error:
                if time.monotonic() > until:
                    raise ServiceUnavailable("the database is away", retry_after=1) from error
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Closes all connections that are not in use."""
        while not self._free.empty():
            lane = self._free.get_nowait()
            if lane is not None:
                await lane.connection.close(timeout=2)
