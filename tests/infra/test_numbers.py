"""Numbers of sequences: each given out once, whoever asks and whatever becomes of it."""

from __future__ import annotations

import asyncio

from infra.ledger.numbers import Numbers
from tests.ledgers import lanes


async def test_numbers_begin_at_one_and_are_given_out_once(database: str) -> None:
    async with lanes(database, 4) as own:
        one, two = Numbers(own), Numbers(own)
        assert await one.take("A", ["x", "y"]) == {"x": [1], "y": [1]}
        assert await one.take("B", ["x"]) == {"x": [1]}
        taken = await asyncio.gather(*((one, two)[n % 2].take("A", ["x", "y"]) for n in range(100)))
    assert sorted(numbers["x"][0] for numbers in taken) == list(range(2, 102))
    assert sorted(numbers["y"][0] for numbers in taken) == list(range(2, 102))


async def test_numbers_that_were_not_used_come_next_in_their_order(database: str) -> None:
    async with lanes(database) as own:
        numbers = Numbers(own)
        taken = await asyncio.gather(*(numbers.take("A", ["x"]) for _ in range(5)))
        for each in (taken[3], taken[1]):
            numbers.give_back("A", each)
        assert [(await numbers.take("A", ["x"]))["x"][0] for _ in range(3)] == [2, 4, 6]


async def test_a_caller_that_is_cancelled_leaves_a_gap_and_no_number_twice(database: str) -> None:
    async with lanes(database) as own:
        numbers = Numbers(own)
        tasks = [asyncio.create_task(numbers.take("A", ["x", "y"])) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        taken = await asyncio.gather(*tasks, return_exceptions=True)
        got = [each["x"][0] for each in taken if isinstance(each, dict)]
        got += [(await numbers.take("A", ["x"]))["x"][0] for _ in range(20)]
    assert len(set(got)) == len(got)
