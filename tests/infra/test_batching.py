"""Natural batching: who runs with whom, who waits, and who is turned away."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

import pytest

from domain.errors import ServiceUnavailable
from infra.batcher import MIN_BATCH, Batcher


class Runs:
    """A run that waits until it is let go; keeps what it was given."""

    def __init__(self) -> None:
        self.seen: list[tuple[Hashable, list[int]]] = []
        self.gate = asyncio.Event()
        self.at_once: dict[Hashable, int] = {}
        self.most: dict[Hashable, int] = {}

    async def __call__(self, key: Hashable, items: list[int]) -> list[int | BaseException]:
        self.seen.append((key, items))
        self.at_once[key] = self.at_once.get(key, 0) + 1
        self.most[key] = max(self.most.get(key, 0), self.at_once[key])
        await self.gate.wait()
        self.at_once[key] -= 1
        return [ValueError(item) if item < 0 else item * 2 for item in items]


def submit(batcher: Batcher[int, int], key: str, *items: int) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(batcher.submit(key, item)) for item in items]


async def turns() -> None:
    """Lets everything happen that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_those_who_wait_together_run_together() -> None:
    runs = Runs()
    batcher: Batcher[int, int] = Batcher(runs, concurrency=1, max_batch=3)
    tasks = submit(batcher, "a", 1)
    await turns()
    tasks += submit(batcher, "a", 2, 3, 4, 5, -6)
    await turns()
    assert runs.seen == [("a", [1])]
    runs.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert runs.seen == [("a", [1]), ("a", [2, 3, 4]), ("a", [5, -6])]
    assert results[:5] == [2, 4, 6, 8, 10]
    assert isinstance(results[5], ValueError)


@pytest.mark.parametrize("at_once", [1, 2, 3])
async def test_one_key_takes_no_more_places_than_it_may(at_once: int) -> None:
    runs = Runs()
    batcher: Batcher[int, int] = Batcher(
        runs, concurrency=3, max_batch=1, concurrency_per_key=at_once
    )
    tasks = submit(batcher, "a", 1, 2, 3, 4) + submit(batcher, "b", 5)
    await turns()
    assert sum(runs.at_once.values()) == min(at_once + 1, 3)
    runs.gate.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10]
    assert runs.most["a"] <= at_once


async def test_what_has_gathered_is_dealt_out_to_the_free_places() -> None:
    runs = Runs()
    batcher: Batcher[int, int] = Batcher(runs, concurrency=4, concurrency_per_key=3)
    tasks = submit(batcher, "a", *range(MIN_BATCH * 3 + 3))
    await turns()
    assert [len(items) for _, items in runs.seen] == [MIN_BATCH + 1] * 3
    runs.gate.set()
    await asyncio.gather(*tasks)
    runs.seen.clear()
    await asyncio.gather(*submit(batcher, "a", *range(MIN_BATCH + 1)))
    assert [len(items) for _, items in runs.seen] == [MIN_BATCH, 1]


async def test_a_busy_key_does_not_keep_the_others_waiting() -> None:
    runs = Runs()
    runs.gate.set()
    batcher: Batcher[int, int] = Batcher(runs, concurrency=1, max_batch=2, concurrency_per_key=1)
    tasks = submit(batcher, "busy", *range(10)) + submit(batcher, "other", 1)
    await asyncio.gather(*tasks)
    assert [key for key, _ in runs.seen].index("other") == 1


async def test_more_than_may_wait_are_turned_away() -> None:
    runs = Runs()
    batcher: Batcher[int, int] = Batcher(runs, concurrency=1, max_batch=1, queue_limit=2)
    running = submit(batcher, "a", 1)
    await turns()
    waiting = submit(batcher, "a", 2, 3)
    await turns()
    with pytest.raises(ServiceUnavailable) as refused:
        await batcher.submit("a", 4)
    assert refused.value.retry_after
    runs.gate.set()
    assert await asyncio.gather(*running, *waiting) == [2, 4, 6]
    assert await batcher.submit("a", 5) == 10


async def test_an_item_runs_although_its_caller_was_cancelled() -> None:
    runs = Runs()
    batcher: Batcher[int, int] = Batcher(runs, concurrency=1)
    tasks = submit(batcher, "a", 1, 2)
    await turns()
    tasks[0].cancel()
    await turns()
    runs.gate.set()
    assert await tasks[1] == 4
    await batcher.drain()
    assert runs.seen == [("a", [1, 2])]
    assert tasks[0].cancelled()


async def test_a_run_that_fails_fails_its_items_and_no_others() -> None:
    async def run(key: Hashable, items: list[int]) -> list[int | BaseException]:
        if 0 in items:
            raise ZeroDivisionError
        return list(items) if 1 not in items else []

    batcher: Batcher[int, int] = Batcher(run, concurrency=2, max_batch=2)
    results = await asyncio.gather(
        *(batcher.submit("a", item) for item in (0, 2, 1, 3, 4, 5)), return_exceptions=True
    )
    assert [type(result) for result in results[:4]] == [ZeroDivisionError] * 2 + [RuntimeError] * 2
    assert results[4:] == [4, 5]
    await batcher.drain()
    assert not batcher._running
    assert not batcher._queues


async def test_drain_waits_for_all_and_then_for_nothing() -> None:
    runs = Runs()
    batcher: Batcher[int, int] = Batcher(runs, concurrency=1, max_batch=1)
    await batcher.drain()
    tasks = submit(batcher, "a", 1, 2, 3)
    await turns()
    drained = asyncio.create_task(batcher.drain())
    await turns()
    assert not drained.done()
    runs.gate.set()
    await drained
    assert all(task.done() for task in tasks)


async def test_a_run_that_is_cancelled_leaves_nobody_waiting() -> None:
    runs = Runs()
    batcher: Batcher[int, int] = Batcher(runs, concurrency=1)
    tasks = submit(batcher, "a", 1, 2)
    await turns()
    for task in list(batcher._tasks):
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)
    await batcher.drain()
