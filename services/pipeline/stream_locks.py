"""Locks by stream: commands on one entity that meet in one process wait for each other.

The ledger refuses all but one of them anyway; waiting only spares the others a vain attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

__all__ = ["StreamLocks"]


class StreamLocks:
    """One lock per entity, as long as anybody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[UUID, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, stream: UUID | None) -> AsyncIterator[bool]:
        """Hold the lock of an entity; the value is True if others held it before.

        An entity that does not exist yet (None) needs no lock.
        """
        if stream is None:
            yield False
            return
        lock, waiting = self._locks.get(stream, (asyncio.Lock(), 0))
        self._locks[stream] = (lock, waiting + 1)
        try:
            async with lock:
                yield waiting > 0
        finally:
            lock, waiting = self._locks[stream]
            if waiting == 1:
                del self._locks[stream]
            else:
                self._locks[stream] = (lock, waiting - 1)
