"""The counters of guesses against a model, and against the arithmetic of the security page."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from domain.reference.fields import GUESS_LIMITS
from tests.test_security_page import tries_in_a_day

DAY = 24 * 60 * 60
FREE = {"source": 3, "token": 4, "spray": 5}
FIRST, LONGEST = 1000, 8000
UNSURE = 300
"""Seconds before and after a moment in which the model does not say what the database does: it takes no part
in the time that the test takes."""
SHIFT = """
    UPDATE ledger.guesses SET next_at = next_at - $1 * interval '1 second',
        first_at = first_at - $1 * interval '1 second', last_at = last_at - $1 * interval '1 second'"""
COUNT = "SELECT ledger.count_guess('O', $1::text[], $2::text[], $3::integer[], $4, $5, $6)"
FORGIVE = "SELECT ledger.forgive_guesses('O', $1::text[], $2::text[])"


@dataclass
class Counter:
    """One counter as the model keeps it, in seconds since the test began."""

    tries: int = 0
    next_at: float = 0
    first_at: float = 0
    last_try: int = 0
    known: bool = False


class Model:
    """What the contract says of tries (access_tokens.md, section 9), one after the other."""

    def __init__(self) -> None:
        self.now = 0
        self.number = 0
        self.counters: dict[tuple[str, str], Counter] = {}

    def counter(self, secret: str, source: str) -> Counter:
        """The counter of a secret and a source; empty for all."""
        return self.counters.setdefault((secret, source), Counter())

    def row(self, secret: str | None, source: str) -> list[tuple[Counter, int]]:
        """The counters of a try with what is free; first its own."""
        spray = (self.counter("", source), FREE["spray"])
        if secret is None:
            return [spray, (self.counter("code", source), FREE["source"])]
        own = self.counter(secret, source)
        others = [] if own.known else [(self.counter(secret, ""), FREE["token"]), spray]
        return [(own, FREE["source"]), *others]

    def unsure(self, row: list[tuple[Counter, int]]) -> bool:
        """True close to the moments when a wait ends or a count begins anew."""
        moments = [moment for one, _ in row for moment in (one.next_at, one.first_at + DAY)]
        return any(abs(moment - self.now) < UNSURE for moment in moments if moment)

    def count(self, secret: str | None, source: str, *, fits: bool | None) -> bool:
        """Return True if the try may be made."""
        row = self.row(secret, source)
        if any(one.next_at > self.now for one, _ in row):
            return False
        if fits:
            self.forgive(secret, source)
            return True
        self.number += 1
        for one, free in row:
            if one.tries and one.first_at + DAY < self.now:
                one.tries = 0
            one.first_at = one.first_at if one.tries else self.now
            one.tries += 1
            one.last_try = self.number
            late = one.tries - free
            one.next_at = self.now + min(LONGEST, FIRST * 2**late) if late >= 0 else 0
        return True

    def forgive(self, secret: str | None, source: str) -> None:
        """A success: take the tries of that secret by that source out of all counters."""
        if secret is None:
            return
        (own, _), *others = self.row(secret, source)
        for one, _ in others:
            is_last = own.tries > 0 and one.last_try == own.last_try
            taken = own.tries if one.first_at <= own.first_at else int(is_last)
            one.tries = max(one.tries - taken, 0)
            one.next_at = 0 if is_last else one.next_at
        own.tries, own.next_at, own.known = 0, 0, True


def arguments(secret: str | None, source: str) -> tuple[list[Any], list[str], list[int]]:
    """The same counters as the function takes them."""
    if secret is None:
        return [None, "", "code"], [source] * 3, [FREE[n] for n in ("source", "spray", "source")]
    return (
        [secret, secret, ""],
        [source, "", source],
        [FREE[n] for n in ("source", "token", "spray")],
    )


@pytest.mark.parametrize("seed", range(4))
async def test_counters_follow_the_model(database: str, seed: int) -> None:
    chance, model = random.Random(seed), Model()
    connection = await asyncpg.connect(database)
    allowed, compared = 0, []

    async def advance(seconds: int) -> None:
        await connection.execute(SHIFT, seconds)
        model.now += seconds

    try:
        await advance(2 * DAY)
        for step in range(600):
            secret, source = chance.choice([None, *"ABCDEF"]), chance.choice("XY")
            while model.unsure(model.row(secret, source)):
                await advance(UNSURE)
            fits = chance.choice([True, *[False] * 5, *[None] * 3])
            counters = arguments(secret, source)
            wait = await connection.fetchval(COUNT, *counters, FIRST, LONGEST, fits)
            assert (wait == 0) == model.count(secret, source, fits=fits), step
            allowed += wait == 0
            if wait == 0 and fits is None:
                compared.append((secret, source))
            # Meanwhile others may have tried.
            while compared and chance.random() < 0.3:
                right = compared.pop(0)
                await connection.execute(FORGIVE, *arguments(*right)[:2])
                model.forgive(*right)
            if chance.random() < 0.15:
                await advance(chance.choice([1000, 2000, 5000, DAY // 4]))
    finally:
        await connection.close()
    assert 200 < allowed < 550


async def test_what_counts_no_longer_is_not_taken_off_what_does(database: str) -> None:
    """A success forgives tries of yesterday; a counter that began anew today does not hold them."""
    connection, limits = await asyncpg.connect(database), (FIRST, LONGEST)

    async def count(secret: str, *, fits: bool) -> int:
        return int(await connection.fetchval(COUNT, *arguments(secret, "X"), *limits, fits))

    try:
        assert await count("B", fits=False) == 0
        await connection.execute(SHIFT, DAY - 3600)
        assert [await count("A", fits=False) for _ in range(2)] == [0, 0]
        await connection.execute(SHIFT, 2 * 3600)
        # From here all that the source tries begins anew.
        for secret in "CDEF":
            assert await count(secret, fits=False) == 0
        assert await count("A", fits=True) == 0
        assert await count("G", fits=False) == 0
        assert await count("H", fits=False) > 0
    finally:
        await connection.close()


@pytest.mark.parametrize("limit", ["source", "token", "spray"])
async def test_a_day_has_as_many_tries_as_the_page_says(database: str, limit: str) -> None:
    """By one source at one secret, by many sources at one, by one at many, as soon as each may be made."""
    passed, tries, name = 0, 0, 0
    longest = GUESS_LIMITS["longest_wait_seconds"]
    free = [GUESS_LIMITS[f"attempts_per_{n}"] for n in ("source", "token", "spray")]
    connection = await asyncpg.connect(database)
    try:
        while True:
            name += 1
            secret = f"S{name}" if limit == "spray" else "S"
            source = f"X{name}" if limit == "token" else "X"
            counters = [secret, secret, ""], [source, "", source], free
            waits = GUESS_LIMITS["first_wait_seconds"], longest, False
            wait = await connection.fetchval(COUNT, *counters, *waits)
            tries += wait == 0
            passed += wait
            if passed > DAY:
                break
            await connection.execute(SHIFT, wait)
    finally:
        await connection.close()
    assert tries == tries_in_a_day(GUESS_LIMITS[f"attempts_per_{limit}"])
