"""Turns on one entity, and who is told that another one has ended."""

from __future__ import annotations

import asyncio
from itertools import count
from uuid import uuid4

import pytest

from services.pipeline import stream_locks
from services.pipeline.stream_locks import StreamLocks


async def test_who_read_before_a_turn_ended_is_told() -> None:
    for since, wanted in ((9, True), (10, True), (11, False)):
        turns, one = StreamLocks(count(10).__next__), uuid4()
        async with turns.hold(one, 0) as changed:
            assert not changed
        async with turns.hold(uuid4(), since) as changed:
            assert not changed
        async with turns.hold(one, since) as changed:
            assert changed is wanted


async def test_who_waits_is_told() -> None:
    turns, one = StreamLocks(), uuid4()
    told: list[bool] = []

    async def take() -> None:
        async with turns.hold(one, since) as changed:
            told.append(changed)
            await asyncio.sleep(0)

    since = turns._clock()
    await asyncio.gather(*(take() for _ in range(3)))
    assert told == [False, True, True]


async def test_a_turn_that_fails_is_one() -> None:
    turns, one = StreamLocks(count().__next__), uuid4()
    with pytest.raises(KeyError):
        async with turns.hold(one):
            raise KeyError
    async with turns.hold(one, 0) as changed:
        assert changed


async def test_what_is_forgotten_may_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_locks, "REMEMBERED", 1)
    for since, wanted in ((10, True), (11, False)):
        turns, one = StreamLocks(count(10).__next__), uuid4()
        async with turns.hold(one):
            pass
        async with turns.hold(uuid4()):
            pass
        async with turns.hold(one, since) as changed:
            assert changed is wanted
