"""Turns for slow comparisons: bounded, fair to sources and accounts, none for callers that have gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from domain.errors import TooManyRequests
from infra.fair_queue import CallerGoneError, FairQueue


class Work:
    """Work in the slots of a queue, each piece of which ends when the test says so."""

    def __init__(self, queue: FairQueue) -> None:
        self.queue = queue
        self.done: list[str] = []
        self._going_on = asyncio.Semaphore(0)

    def start(
        self, source: str, account: str = "", is_gone: Callable[[], bool] = lambda: False
    ) -> asyncio.Task[None]:
        async def work() -> None:
            async with self.queue.slot(source, account, is_gone):
                await self._going_on.acquire()
                self.done.append(f"{source}{account}")

        return asyncio.create_task(work())

    async def finish(self, count: int) -> None:
        """Let so many pieces of work come to their end."""
        for _ in range(count):
            before = len(self.done)
            self._going_on.release()
            while len(self.done) == before:
                await asyncio.sleep(0)
            await settle()


async def settle() -> None:
    """Let every task come as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_sources_and_their_accounts_take_turns() -> None:
    work = Work(FairQueue(1))
    tasks = [work.start("a", account) for account in ("1", "1", "1", "2")]
    await settle()
    tasks += [work.start("b"), work.start("c")]
    await settle()
    await work.finish(6)
    assert work.done == ["a1", "a1", "b", "c", "a2", "a1"]
    await asyncio.gather(*tasks)


async def test_a_source_beyond_its_share_is_refused_at_once() -> None:
    work = Work(FairQueue(1, per_source=2))
    tasks = [work.start("a") for _ in range(3)]
    await settle()
    with pytest.raises(TooManyRequests) as refused:
        await work.start("a")
    assert refused.value.retry_after == 1
    tasks.append(work.start("b"))
    await settle()
    await work.finish(4)
    await asyncio.gather(*tasks)


async def test_who_fills_the_queue_yields() -> None:
    work = Work(FairQueue(1, waiting=3))
    first = [work.start("a") for _ in range(4)]
    await settle()
    second = [work.start("b")]
    await settle()
    with pytest.raises(TooManyRequests):
        await first[-1]
    second.append(work.start("c"))
    await settle()
    with pytest.raises(TooManyRequests):
        await first[-2]
    # All have one now: nobody has to yield.
    with pytest.raises(TooManyRequests):
        await work.start("d")
    await work.finish(4)
    await asyncio.gather(*first[:2], *second)


async def test_who_has_succeeded_before_gets_every_second_turn() -> None:
    queue = FairQueue(1, known=2)
    for source in ("old", "x", "y"):
        queue.note_success(source)
    work = Work(queue)
    tasks = [work.start(source) for source in ("-", "a", "b", "old", "x", "y")]
    await settle()
    await work.finish(6)
    assert [name for name in work.done[1:] if name in "xy"] == ["x", "y"]
    assert {*work.done[1:5]} >= {"x", "y"}
    await asyncio.gather(*tasks)


async def test_work_of_a_caller_that_has_gone_is_not_begun() -> None:
    work = Work(FairQueue(1))
    gone: list[str] = []
    running, left = work.start("a"), work.start("b", is_gone=lambda: "b" in gone)
    cancelled, last = work.start("c"), work.start("d")
    await settle()
    gone.append("b")
    cancelled.cancel()
    await settle()
    await work.finish(2)
    assert work.done == ["a", "d"]
    with pytest.raises(CallerGoneError):
        await left
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await asyncio.gather(running, last)


async def test_nothing_is_left_behind() -> None:
    queue = FairQueue(2)
    work = Work(queue)
    tasks = [work.start(f"{n % 7}", f"{n % 3}") for n in range(60)]
    await settle()
    for task in tasks[::5]:
        task.cancel()
    await settle()
    await work.finish(48)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (queue._free, queue._waiting.total()) == (2, 0)
    assert not any(ring.sources for ring in queue._rings)
