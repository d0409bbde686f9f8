"""Natural batching: calls that wait at the same moment share one trip to the database.

No timer is involved. A call that finds a free place goes at once; those that come while all places
are taken gather, and the next free place takes them all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from domain.errors import ServiceUnavailable

__all__ = ["Batcher"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Gathers items of one key and runs them together.

    ``run`` takes a key and its items and returns one result, or one exception, for each in order.
    ``places`` runs go on at once, never two of one key where ``exclusive``; a run takes at most
    ``most`` items, and more than ``waiting`` items are turned away with `ServiceUnavailable`.
    """

    def __init__(
        self,
        run: Callable[[Hashable, list[Item]], Awaitable[Sequence[Result | BaseException]]],
        *,
        places: int,
        most: int = 256,
        waiting: int = 10_000,
        exclusive: bool = False,
    ) -> None:
        self._run = run
        self._places = places
        self._most = most
        self._waiting = waiting
        self._exclusive = exclusive
        self._queues: dict[Hashable, deque[tuple[Item, asyncio.Future[Result]]]] = {}
        self._running: dict[Hashable, int] = {}
        self._count = 0
        self._scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, key: Hashable, item: Item) -> Result:
        """The result of one item. A caller that is cancelled leaves its item to run."""
        if self._count >= self._waiting:
            raise ServiceUnavailable("too many calls are waiting", retry_after=1)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._queues.setdefault(key, deque()).append((item, future))
        self._count += 1
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._start)
        return await future

    async def drain(self) -> None:
        """Waits until nothing runs and nothing waits."""
        while self._tasks or self._count:
            await asyncio.sleep(0.005)

    def _start(self) -> None:
        self._scheduled = False
        for key in list(self._queues):
            if sum(self._running.values()) >= self._places:
                return
            if self._exclusive and key in self._running:
                continue
            queue = self._queues[key]
            batch = [queue.popleft() for _ in range(min(len(queue), self._most))]
            if not queue:
                del self._queues[key]
            self._count -= len(batch)
            self._running[key] = self._running.get(key, 0) + 1
            task = asyncio.create_task(self._work(key, batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, key: Hashable, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        results: Sequence[Result | BaseException]
        try:
            results = await self._run(key, [item for item, _ in batch])
        except Exception as error:
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]
        self._start()
