"""Natural batching: calls that wait at the same moment share one trip to the database.

No timer is involved. A call that finds a free slot runs at once; those that come while all slots are
taken queue up, and the next free slot takes them all. If a key may have several runs at a time, its
queue is divided among them: while one batch is at the server, the callers of another one work on their
answers, so that neither side waits for the other.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from typing import Generic, TypeVar

from domain.errors import ServiceUnavailable

__all__ = ["QUEUE_LIMIT", "Batcher"]

Item = TypeVar("Item")
Result = TypeVar("Result")

MIN_BATCH = 16
"""The fewest items of a batch while more are waiting."""
QUEUE_LIMIT = 5_000
"""The most calls that may wait; others had better be told at once to try again."""


class Batcher(Generic[Item, Result]):
    """Gathers items of one key and runs them together.

    ``run`` takes a key and its items and returns one result, or one exception, for each, in order.
    ``concurrency`` runs may be in progress, of one key at most ``concurrency_per_key``: with that limit
    a run takes an equal share of the key's queue, but no fewer than `MIN_BATCH` items. A run takes at most
    ``max_batch`` items; beyond ``queue_limit`` waiting items, others are refused with `ServiceUnavailable`.
    Keys take turns, so that a busy one does not delay the others.
    """

    def __init__(
        self,
        run: Callable[[Hashable, list[Item]], Awaitable[Sequence[Result | BaseException]]],
        *,
        concurrency: int,
        max_batch: int = 256,
        queue_limit: int = QUEUE_LIMIT,
        concurrency_per_key: int | None = None,
    ) -> None:
        self._run = run
        self._concurrency = concurrency
        self._max_batch = max_batch
        self._queue_limit = queue_limit
        self._concurrency_per_key = concurrency_per_key
        self._queues: dict[Hashable, deque[tuple[Item, asyncio.Future[Result]]]] = {}
        self._running: Counter[Hashable] = Counter()
        self._waiting = 0
        self._scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()

    async def submit(self, key: Hashable, item: Item) -> Result:
        """Return the result of one item. The item runs even if its caller is cancelled."""
        if self._waiting >= self._queue_limit:
            raise ServiceUnavailable("too many calls are waiting", retry_after=1)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._queues.setdefault(key, deque()).append((item, future))
        self._waiting += 1
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._start)
        return await future

    async def drain(self) -> None:
        """Wait until nothing runs and nothing waits."""
        while self._tasks or self._waiting:
            self._idle.clear()
            await self._idle.wait()

    def _start(self) -> None:
        self._scheduled = False
        while len(self._tasks) < self._concurrency:
            key = next((k for k in self._queues if self._may_run(k)), None)
            if key is None:
                return
            queue = self._queues.pop(key)
            batch = [queue.popleft() for _ in range(self._batch_size(key, len(queue)))]
            if queue:
                self._queues[key] = queue
            self._waiting -= len(batch)
            self._running[key] += 1
            task = asyncio.create_task(self._work(key, batch))
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, key))

    def _batch_size(self, key: Hashable, waiting: int) -> int:
        if self._concurrency_per_key is None:
            return min(waiting, self._max_batch)
        free = min(
            self._concurrency - len(self._tasks), self._concurrency_per_key - self._running[key]
        )
        return min(waiting, self._max_batch, max(MIN_BATCH, -(-waiting // free)))

    def _may_run(self, key: Hashable) -> bool:
        return (
            self._concurrency_per_key is None
            or self._running.get(key, 0) < self._concurrency_per_key
        )

    def _done(self, key: Hashable, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]
        self._start()
        if not self._tasks and not self._waiting:
            self._idle.set()

    async def _work(self, key: Hashable, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        results: Sequence[Result | BaseException]
        try:
            results = await self._run(key, [item for item, _ in batch])
            if len(results) != len(batch):
                raise RuntimeError("a run must have a result for every item")
        except Exception as error:
            results = [error] * len(batch)
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
