"""Numbers of sequences: one round trip for all callers that wait, and at a high rate ahead of need."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg

from infra.batcher import Batcher
from infra.postgres.pool import ConnectionPool

__all__ = ["SequenceAllocator"]

TAKE = "SELECT name, last FROM ledger.take_numbers($1, $2, $3)"
PREALLOCATE_SECONDS = 1.0
"""Seconds for which numbers are drawn ahead; for about as long, the numbers of two processes may interleave."""
MAX_DRAW = 256
"""Numbers of a sequence that are drawn at once, unless more are needed at once."""


@dataclass(slots=True)
class _Reserve:
    """The unused numbers of one sequence that a process has, and its last draw."""

    numbers: list[int] = field(default_factory=list)
    drawn: int = 0
    drawn_at: float = 0.0

    def next_draw(self, missing: int, now: float) -> int:
        """Return how many to draw if ``missing`` are: more while the last ones were used up soon."""
        lasted = now - self.drawn_at
        soon = self.drawn and 0 < lasted < 2 * PREALLOCATE_SECONDS
        ahead = (
            min(2 * self.drawn, round(self.drawn * PREALLOCATE_SECONDS / lasted), MAX_DRAW)
            if soon
            else 0
        )
        self.drawn, self.drawn_at = max(missing, ahead), now
        return self.drawn


class SequenceAllocator:
    """Draws numbers; each is allocated once, gaps may remain (contract common.md, section 9).

    Unused numbers are dropped with the connection that has drawn them: a server that replaces another
    one may not know of them.
    """

    def __init__(self, lanes: ConnectionPool, clock: Callable[[], float] = time.monotonic) -> None:
        self._lanes = lanes
        self._clock = clock
        self._reserves: defaultdict[tuple[str, str], _Reserve] = defaultdict(_Reserve)
        self._connection: asyncpg.Connection | None = None
        self._batcher: Batcher[tuple[str, ...], dict[str, list[int]]] = Batcher(
            self._draw, concurrency=1
        )

    async def allocate(self, organisation: str, names: Sequence[str]) -> dict[str, list[int]]:
        """Return numbers by sequence: one for each time that it is named."""
        if self._shortfall(organisation, Counter(names)):
            return await self._batcher.submit(organisation, tuple(names))
        return self._take(organisation, names)

    def release(self, organisation: str, numbers: Mapping[str, Sequence[int]]) -> None:
        """Keep numbers that no event has used for the next call of this process."""
        for name, unused in numbers.items():
            reserve = self._reserves[organisation, name].numbers
            reserve += unused
            reserve.sort()

    def _take(self, organisation: str, names: Sequence[str]) -> dict[str, list[int]]:
        numbers: dict[str, list[int]] = {name: [] for name in names}
        for name in names:
            numbers[name].append(self._reserves[organisation, name].numbers.pop(0))
        return numbers

    def _shortfall(self, organisation: str, counts: Mapping[str, int]) -> dict[str, int]:
        """Return the number that is missing of each sequence that has not enough."""
        if self._connection is not None and self._connection.is_closed():
            self._reserves.clear()
            self._connection = None
        missing = {
            n: count - len(self._reserves[organisation, n].numbers) for n, count in counts.items()
        }
        return {name: count for name, count in missing.items() if count > 0}

    async def _draw(
        self, key: Hashable, requests: list[tuple[str, ...]]
    ) -> list[dict[str, list[int]]]:
        organisation = str(key)
        counts = Counter(name for names in requests for name in names)
        # Others may take of what there is while this waits for more.
        while short := self._shortfall(organisation, counts):
            await self._add(organisation, short)
        return [self._take(organisation, names) for names in requests]

    async def _add(self, organisation: str, short: Mapping[str, int]) -> None:
        now = self._clock()
        counts = {
            name: self._reserves[organisation, name].next_draw(count, now)
            for name, count in short.items()
        }

        async def work(connection: asyncpg.Connection) -> list[asyncpg.Record]:
            rows: list[asyncpg.Record] = await connection.fetch(
                TAKE, organisation, list(counts), list(counts.values())
            )
            self._connection = connection
            return rows

        for row in await self._lanes.read(work):
            first = row["last"] - counts[row["name"]] + 1
            self.release(organisation, {row["name"]: range(first, row["last"] + 1)})
