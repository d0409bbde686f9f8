"""The parts of background workers: the loop, tasks under way, leases, circuit breakers, lag.

A worker looks at the database again and again and does what there is to do. Any number of processes
may run the same worker: what each may do is decided in the database, by leases and by statements that
change nothing if another process was faster.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterator, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from prometheus_client import Gauge

from domain.errors import ServiceUnavailable
from infra.postgres.notify import Listener
from services.backoff import Backoff

__all__ = ["CircuitBreaker", "LagGauges", "Lease", "RunningTasks", "Worker"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class RunningTasks(Generic[K]):
    """Tasks under way, each under a key; iterating yields the tasks.

    :param on_end: called with the key and the task when it has ended and is no longer counted.
    """

    def __init__(self, on_end: Callable[[K, asyncio.Task[None]], None]) -> None:
        self._on_end = on_end
        self._tasks: dict[asyncio.Task[None], K] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[asyncio.Task[None]]:
        return iter(self._tasks)

    def keys(self) -> set[K]:
        """Return the keys under which tasks run."""
        return set(self._tasks.values())

    def count(self, key: K) -> int:
        """Return the number of tasks under a key."""
        return sum(other == key for other in self._tasks.values())

    def start(self, key: K, work: Coroutine[Any, Any, None]) -> None:
        """Start a task under a key."""
        task = asyncio.create_task(work)
        self._tasks[task] = key
        task.add_done_callback(partial(self._end, key))

    async def drain(self, seconds: float | None = None) -> None:
        """Wait until all tasks have ended, and cancel those that have not after ``seconds``."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in list(self._tasks):
            task.cancel()

    def _end(self, key: K, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        self._on_end(key, task)


class Worker(ABC):
    """The loop of a process that works beside the service.

    A subclass says what one look does, and may start tasks that outlast the look (`_under_way`).

    :param pause: seconds between two looks.
    :param listener: makes the next look earlier; closed with the worker.
    """

    def __init__(self, pause: float, listener: Listener | None = None) -> None:
        self._pause = pause
        self._listener = listener
        self._wake = asyncio.Event() if listener is None else listener.notified
        self._under_way = RunningTasks[tuple[str, str]](self._task_ended)
        self._problems: list[str] = ["starting"]

    async def readiness_problems(self) -> list[str]:
        """Return what keeps it from working, as of its last look."""
        return list(self._problems)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; then finish what is under way and give the leases back.

        A database that cannot be reached is waited for.
        """
        look = self._first_look
        try:
            while not stop.is_set():
                self._wake.clear()
                try:
                    await look(stop)
                    look = self.once
                except Exception as error:
                    problem = self._problem_of(error)
                    if problem is None:
                        raise
                    self._problems = [problem]
                if self._listener is not None:
                    await self._listener.listen()
                await wait_for_any(self._pause, stop, self._wake)
        finally:
            stop.set()
            await self.close()

    async def once(self, stop: asyncio.Event | None = None) -> None:
        """Look once, and do or start what there is to do."""
        self._problems = await self._look(stop or asyncio.Event())

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            await asyncio.wait(list(self._under_way))

    async def close(self) -> None:
        """Finish what is under way, give the leases back and close the connections."""
        await self._under_way.drain(self._drain_seconds())
        await self._release()
        if self._listener is not None:
            await self._listener.close()

    @abstractmethod
    async def _look(self, stop: asyncio.Event) -> list[str]:
        """Do what there is to do, as far as ``stop`` allows: the problems."""

    @abstractmethod
    async def _release(self) -> None:
        """Give the leases back and close what the worker has opened."""

    async def _first_look(self, stop: asyncio.Event) -> None:
        """As `once`, at the beginning of a run and until it succeeds."""
        await self.once(stop)

    def _problem_of(self, error: Exception) -> str | None:
        """Return what a failed look means for readiness; None if the worker must end."""
        return error.description if isinstance(error, ServiceUnavailable) else None

    def _task_ended(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        """Look again at once, since another task may take its place."""
        self._wake.set()

    def _drain_seconds(self) -> float | None:
        """Return for how long tasks may go on when the worker stops; None: until they end."""
        return None


class Lease:
    """The time for which this process may rely on a lease that the database keeps.

    It is counted from before the statement is sent, so that it ends here before it ends there.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = 0.0

    async def take(self, statement: Callable[[float], Awaitable[T]]) -> T:
        """Take or renew the lease.

        :param statement: executed with the seconds; its result is true if the lease was granted.
        :returns: that result.
        """
        until = time.monotonic() + self._seconds
        result = await statement(self._seconds)
        if result:
            self._until = until
        return result

    def covers(self, seconds: float) -> bool:
        """Return True if the lease lasts for that long from now on."""
        return time.monotonic() + seconds < self._until


class CircuitBreaker:
    """Keeps from trying what fails.

    It trips when ``threshold`` different things have failed without a success in between: fewer may
    be the trouble of these things. From then on one is tried at a time (half-open), and none before
    a pause has ended (open). A success closes it.

    :param backoff: how long it stays open.
    """

    def __init__(self, threshold: int, backoff: Backoff) -> None:
        self._threshold = threshold
        self._backoff = backoff
        self._failed: set[Hashable] = set()
        self._open_until = 0.0
        self.failures = 0

    @property
    def is_open(self) -> bool:
        """True while nothing may be tried."""
        return time.monotonic() < self._open_until

    @property
    def is_tripped(self) -> bool:
        """True while one thing may be tried at a time."""
        return len(self._failed) >= self._threshold

    def free(self, concurrency: int, under_way: int) -> int:
        """Return how many further tries may begin now."""
        if self.is_open:
            return 0
        return max((1 if self.is_tripped else concurrency) - under_way, 0)

    def succeed(self) -> None:
        """Count a success. A pause that has begun is not cut short."""
        self.failures = 0
        self._failed.clear()

    def fail(self, key: Hashable, failures: int | None = None, at_least: float = 0.0) -> None:
        """Count a failure.

        :param key: what has failed.
        :param failures: `failures` when the try began, so that those under way together, which fail
            together, count once.
        :param at_least: seconds for which the other side asks not to be tried.
        """
        before = self.failures if failures is None else failures
        self.failures = max(self.failures, before + 1)
        self._failed.add(key)
        pause = at_least
        if self.is_tripped:
            pause = max(pause, self._backoff.pause(self.failures))
        self._open_until = max(self._open_until, time.monotonic() + pause)

    def reset(self) -> None:
        """Close it at once."""
        self.succeed()
        self._open_until = 0.0


class LagGauges:
    """Gauges with the same labels that are set together: how much waits, and for how long."""

    def __init__(self, *gauges: Gauge) -> None:
        self._gauges = gauges

    def set(self, labels: Sequence[str], *values: float) -> None:
        """Set each gauge under these labels."""
        for gauge, value in zip(self._gauges, values, strict=True):
            gauge.labels(*labels).set(value)

    def remove(self, labels: Sequence[str]) -> None:
        """Report nothing more under these labels."""
        for gauge in self._gauges:
            gauge.remove(*labels)


async def wait_for_any(seconds: float, *events: asyncio.Event) -> None:
    """Wait until one of the events is set, for at most ``seconds``."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
