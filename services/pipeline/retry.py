"""The one loop of optimistic concurrency: what another change overtook is decided again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from domain.errors import ConcurrentUpdate

__all__ = ["ATTEMPTS", "retry_on_conflict"]

State = TypeVar("State")
Result = TypeVar("Result")

ATTEMPTS = 8
"""The number of attempts at a change (the contract wants at least 3 retries)."""

PAUSE = 0.01
"""Seconds by which the longest pause grows from attempt to attempt."""


async def retry_on_conflict(
    state: State,
    attempt: Callable[[State], Awaitable[Result | None]],
    refresh: Callable[[State], Awaitable[State]],
) -> Result:
    """Return what the first attempt returns that no other change overtakes.

    :param state: what the first attempt decides on.
    :param attempt: decides and writes; returns None if another change came first.
    :param refresh: reads anew what the next attempt decides on.
    Raises `ConcurrentUpdate` if every attempt is overtaken.
    """
    for number in range(ATTEMPTS):
        if number:
            await asyncio.sleep(random.random() * PAUSE * (number - 1))  # noqa: S311 (no secret)
            state = await refresh(state)
        result = await attempt(state)
        if result is not None:
            return result
    raise ConcurrentUpdate
