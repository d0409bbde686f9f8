"""Turns: commands on one entity that meet in one process wait for each other.

The ledger refuses all but one of them anyway; waiting only spares the others a vain attempt.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

__all__ = ["StreamLocks"]

REMEMBERED = 1024
"""Entities of which it is known when their last turn ended."""


class StreamLocks:
    """One lock per entity, for as long as somebody wants it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._locks: dict[UUID, tuple[asyncio.Lock, int]] = {}
        self._ended: dict[UUID, float] = {}
        self._forgotten = float("-inf")

    @asynccontextmanager
    async def hold(self, stream: UUID | None, since: float = 0.0) -> AsyncIterator[bool]:
        """Wait for the entity's turn, and yield whether another one may have ended since a moment.

        At once for an entity that does not exist yet.

        :param since: on the monotonic clock, before the caller read what it knows of the entity.
        """
        if stream is None:
            yield False
            return
        lock, waiting = self._locks.get(stream, (asyncio.Lock(), 0))
        self._locks[stream] = (lock, waiting + 1)
        try:
            async with lock:
                try:
                    yield self._ended.get(stream, self._forgotten) >= since
                finally:
                    self._note_end(stream)
        finally:
            lock, waiting = self._locks[stream]
            if waiting == 1:
                del self._locks[stream]
            else:
                self._locks[stream] = (lock, waiting - 1)

    def _note_end(self, stream: UUID) -> None:
        """Remember the moment, in the order of moments; of entities beyond the last ones only the latest."""
        self._ended.pop(stream, None)
        self._ended[stream] = self._clock()
        if len(self._ended) > REMEMBERED:
            self._forgotten = self._ended.pop(next(iter(self._ended)))
