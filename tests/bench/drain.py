"""A client that drains a queue: so many external systems, each asking for entries and processing them.

A process of its own: reads a `Drain` as JSON from standard input and prints an `Outcome`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson
import uvloop

from tests.bench.measure import percentiles
from tests.bench.results import Outcome
from tests.bench.wire import Caller

__all__ = ["AT_ONCE", "ID", "PAGE", "Drain", "faults"]

PAGE = 100
AT_ONCE = 8
"""Connections of each system."""
ID = "0" * 32
"""Stands in a request for the id of an entry, and is as long."""


class Drain(msgspec.Struct):
    """For each external system the request for its entries, and the one that processes the entry `ID`."""

    port: int
    latest: list[str]
    sent: list[str]
    each: int
    expect: str


@dataclass
class Drained:
    """What has happened: which entries were processed, how often, and how long it took."""

    processed: Counter[str] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list)


def faults(processed: Counter[str], expected: int) -> int:
    """How many entries too many or too few were processed."""
    twice = sum(count - 1 for count in processed.values())
    return twice + abs(expected - len(processed))


async def _callers(port: int) -> list[Caller]:
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(Caller, "127.0.0.1", port) for _ in range(AT_ONCE)]
    return [caller for _, caller in made]


async def _system(drain: Drain, n: int, callers: list[Caller], into: Drained) -> None:
    """Asks and processes until there is nothing more."""

    async def work(caller: Caller, left: Iterator[str]) -> None:
        for id_ in left:
            begun = time.perf_counter()
            _data(drain, await caller.ask(drain.sent[n].replace(ID, id_)))
            into.took.append(time.perf_counter() - begun)
            into.processed[id_] += 1

    while entries := _data(drain, await callers[0].ask(drain.latest[n])):
        left = iter([entry["id"] for entry in entries])
        await asyncio.gather(*(work(caller, left) for caller in callers))
        if sum(into.processed.values()) > 2 * drain.each * len(drain.latest):
            return


def _data(drain: Drain, answer: bytes) -> Any:
    if not answer.startswith(drain.expect.encode()):
        raise RuntimeError(f"not the expected answer: {answer[:500]!r}")
    return orjson.loads(answer)["data"]


async def _run(drain: Drain) -> Outcome:
    into = Drained()
    callers = [await _callers(drain.port) for _ in drain.latest]
    begun = time.perf_counter()
    await asyncio.gather(*(_system(drain, n, own, into) for n, own in enumerate(callers)))
    seconds = time.perf_counter() - begun
    wrong = faults(into.processed, drain.each * len(drain.latest))
    rate = len(into.processed) / seconds
    return Outcome(rate, *percentiles(into.took), faults=wrong)


if __name__ == "__main__":
    found = uvloop.run(_run(msgspec.json.decode(sys.stdin.buffer.read(), type=Drain)))
    sys.stdout.buffer.write(msgspec.json.encode(found))
