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
from infra.postgres import LOST, Lanes

__all__ = ["CHANNEL", "Bell"]

CHANNEL = "crmledger_facts"
RING = f"SELECT set_config('synchronous_commit', 'off', true), pg_notify('{CHANNEL}', '')"

REST = 0.05
"""Seconds between two notifications of one process."""

log = structlog.get_logger(__name__)


class Bell:
    """Rings at once when it is quiet, and at most every `REST` seconds."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._again = False
        self._ringing: asyncio.Task[None] | None = None

    def ring(self) -> None:
        """Tells followers that there are new facts. Never waits, never fails."""
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
            except (ServiceUnavailable, asyncpg.PostgresError, *LOST) as error:
                log.warning("bell.silent", error=type(error).__name__)
            await asyncio.sleep(REST)
