"""Numbers of sequences: each given out once, whoever asks and whatever becomes of it."""

from __future__ import annotations

import asyncio

import pytest

from infra.ledger.sequences import MAX_DRAW, PREALLOCATE_SECONDS, SequenceAllocator
from tests.fixtures.ledgers import connection_pool, count_round_trips


class Clock:
    """A clock that stands until it is told to go on."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


async def taken(numbers: SequenceAllocator, count: int) -> list[int]:
    """Numbers of one sequence, one after the other."""
    return [(await numbers.allocate("A", ["x"]))["x"][0] for _ in range(count)]


async def test_numbers_begin_at_one_and_are_given_out_once(database: str) -> None:
    async with connection_pool(database, 4) as own:
        one, two = SequenceAllocator(own, Clock()), SequenceAllocator(own, Clock())
        assert await one.allocate("A", ["x", "y"]) == {"x": [1], "y": [1]}
        assert await one.allocate("B", ["x"]) == {"x": [1]}
        taken = await asyncio.gather(
            *((one, two)[n % 2].allocate("A", ["x", "y"]) for n in range(100))
        )
    assert sorted(numbers["x"][0] for numbers in taken) == list(range(2, 102))
    assert sorted(numbers["y"][0] for numbers in taken) == list(range(2, 102))


async def test_a_process_that_wants_many_draws_ahead(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips = count_round_trips(monkeypatch)
    async with connection_pool(database) as own:
        clock = Clock()
        numbers = SequenceAllocator(own, clock)
        for at in range(1, 2_001):
            clock.now += 0.004
            assert await taken(numbers, 1) == [at]
        # 250 a second: the draws double until they last about a second.
        assert len(trips) < 2_000 / 250 + 10
        assert 2_000 < (await taken(SequenceAllocator(own), 1))[0] <= 2_000 + MAX_DRAW


async def test_a_process_that_wants_few_draws_no_more(database: str) -> None:
    async with connection_pool(database) as own:
        clock = Clock()
        one, two = SequenceAllocator(own, clock), SequenceAllocator(own, clock)
        for at in range(1, 20, 2):
            clock.now += PREALLOCATE_SECONDS
            assert await taken(one, 1) + await taken(two, 1) == [at, at + 1]


async def test_what_was_drawn_ahead_is_forgotten_with_its_connection(database: str) -> None:
    async with connection_pool(database) as own:
        clock = Clock()
        numbers = SequenceAllocator(own, clock)
        for _ in range(8):
            clock.now += 0.001
            await taken(numbers, 1)
        async with own.acquire() as lane:
            lane.connection.terminate()
        assert (await taken(numbers, 1))[0] > 8 + 1, "the rest of the stock is a gap"


async def test_numbers_that_were_not_used_come_next_in_their_order(database: str) -> None:
    async with connection_pool(database) as own:
        numbers = SequenceAllocator(own)
        taken = await asyncio.gather(*(numbers.allocate("A", ["x"]) for _ in range(5)))
        for each in (taken[3], taken[1]):
            numbers.release("A", each)
        assert [(await numbers.allocate("A", ["x"]))["x"][0] for _ in range(3)] == [2, 4, 6]


async def test_a_caller_that_is_cancelled_leaves_a_gap_and_no_number_twice(database: str) -> None:
    async with connection_pool(database) as own:
        numbers = SequenceAllocator(own)
        tasks = [asyncio.create_task(numbers.allocate("A", ["x", "y"])) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        taken = await asyncio.gather(*tasks, return_exceptions=True)
        got = [each["x"][0] for each in taken if isinstance(each, dict)]
        got += [(await numbers.allocate("A", ["x"]))["x"][0] for _ in range(20)]
    assert len(set(got)) == len(got)
