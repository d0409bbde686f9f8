"""Measuring: contenders take turns, pass after pass, each for a bounded time and a bounded count."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from tests.bench.results import FASTER, Measured, Outcome, Table, ratios

__all__ = [
    "WARM_UP",
    "Cell",
    "Plan",
    "Progress",
    "Run",
    "ended",
    "in_tasks",
    "in_threads",
    "measured",
    "percentiles",
]

T = TypeVar("T")
Progress = Callable[[str], None]
Run = Callable[[float], Awaitable[Outcome]]
"""Measures a contender once, for about so many seconds."""

WARM_UP = 1 / 3
"""What each cell does before it is measured, as a share of its time."""


@asynccontextmanager
async def ended() -> AsyncIterator[None]:
    """Ends the tasks that were begun inside: where a section failed, they must not run beside the next one."""
    others = asyncio.all_tasks()
    try:
        yield
    finally:
        begun = asyncio.all_tasks() - others
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much a run measures: passes of each table, seconds of each cell, and how much is there.

    ``events`` are rebuilt in every pass, ``most_events`` once, beside writers. ``growth`` are the sizes of a
    ledger that is small and one that has grown, ``projected`` those that the projector reads;
    ``entries`` wait in the queue.
    """

    passes: int = 5
    seconds: float = 1.5
    documents: int = 2000
    events: int = 200_000
    most_events: int = 1_000_000
    service_requests: int = 1_000_000
    entries: int = 1600
    growth: tuple[int, int] = (100_000, 1_000_000)
    projected: tuple[int, int] = (10_000, 50_000)
    writers: tuple[int, ...] = (1, 16, 64)
    quick: bool = False

    @classmethod
    def small(cls) -> Plan:
        """For a look: under three minutes."""
        return cls(
            passes=2,
            seconds=0.4,
            documents=500,
            events=6000,
            most_events=20_000,
            service_requests=50_000,
            entries=320,
            growth=(5000, 20_000),
            projected=(2000, 6000),
            writers=(16, 64),
            quick=True,
        )


@dataclass(frozen=True, slots=True)
class Cell:
    """A contender."""

    name: str
    title: str
    run: Run
    ours: bool = False


async def measured(
    plan: Plan,
    progress: Progress,
    name: str,
    title: str,
    unit: str,
    cells: list[Cell],
    note: str,
    says: str = FASTER,
) -> Table:
    """A table of contenders measured in turns: A, B, C, A, B, C, ..."""
    found = [Measured(cell.name, cell.title, cell.ours, []) for cell in cells]
    for number in range(1, plan.passes + 1):
        for cell, into in zip(cells, found, strict=True):
            progress(f"{title}: pass {number} of {plan.passes}, {cell.title}")
            gc.collect()
            into.passes.append(await cell.run(plan.seconds))
    return Table(name, title, unit, found, note, ratios(found), says)


def percentiles(took: list[float]) -> tuple[float, float]:
    """p50 and p99 of times in seconds, in milliseconds."""
    in_order = sorted(took)
    p50, p99 = (in_order[int(len(in_order) * share)] * 1000 for share in (0.5, 0.99))
    return p50, p99


class _Clock:
    """Latencies of operations that begin before a deadline."""

    def __init__(self, seconds: float) -> None:
        self.started = time.perf_counter()
        self.until = self.started + seconds
        self.took: list[float] = []

    def note(self, begun: float) -> bool:
        """Counts an operation that has just ended; whether there is time for another one."""
        now = time.perf_counter()
        self.took.append(now - begun)
        return now < self.until

    def outcome(self) -> Outcome:
        seconds = time.perf_counter() - self.started
        if not self.took:
            raise RuntimeError("all items were gone before the measurement")
        return Outcome(len(self.took) / seconds, *percentiles(self.took))


async def in_tasks(
    items: Sequence[T], act: Callable[[int, T], Awaitable[object]], writers: int, seconds: float
) -> Outcome:
    """Deals items out to so many tasks, until the time is over or no item is left.

    A third of the time before that is a warm-up, which does not count.
    """
    left = iter(items)

    async def work(writer: int, clock: _Clock) -> None:
        for item in left:
            begun = time.perf_counter()
            await act(writer, item)
            if not clock.note(begun):
                return

    for share in (WARM_UP, 1):
        clock = _Clock(seconds * share)
        await asyncio.gather(*(work(writer, clock) for writer in range(writers)))
    return clock.outcome()


async def in_threads(
    items: Sequence[T], act: Callable[[T], object], writers: int, seconds: float
) -> Outcome:
    """The same with threads, for what is not asynchronous."""
    left: Iterator[T] = iter(items)

    def work(clock: _Clock) -> None:
        for item in left:
            begun = time.perf_counter()
            act(item)
            if not clock.note(begun):
                return

    def all_of_them() -> Outcome:
        with ThreadPoolExecutor(writers) as pool:
            for share in (WARM_UP, 1):
                clock = _Clock(seconds * share)
                for done in [pool.submit(work, clock) for _ in range(writers)]:
                    done.result()
        return clock.outcome()

    return await asyncio.to_thread(all_of_them)
