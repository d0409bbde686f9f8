"""Numbers of sequences: one trip for all that wait, and where many are wanted, for those to come."""

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
"""Seconds for which numbers are drawn ahead, and so about as long as those of two processes cross."""
MOST = 256
"""How many of a sequence are drawn at once, if not more are wanted at once."""


@dataclass(slots=True)
class _Reserve:
    """What a process has of one sequence: numbers that nobody has yet, and its last draw."""

    kept: list[int] = field(default_factory=list)
    drawn: int = 0
    drawn_at: float = 0.0

    def next_draw(self, wanted: int, now: float) -> int:
        """How many to draw where ``wanted`` are missing: more while the last ones were used up soon."""
        lasted = now - self.drawn_at
        soon = self.drawn and 0 < lasted < 2 * PREALLOCATE_SECONDS
        enough = (
            min(2 * self.drawn, round(self.drawn * PREALLOCATE_SECONDS / lasted), MOST)
            if soon
            else 0
        )
        self.drawn, self.drawn_at = max(wanted, enough), now
        return self.drawn


class SequenceAllocator:
    """Draws numbers; each is given out once, gaps may remain (contract common.md, section 9).

    What was drawn ahead is forgotten with the connection that has drawn it: a server that takes the place of
    another one may not know of it.
    """

    def __init__(self, lanes: ConnectionPool, clock: Callable[[], float] = time.monotonic) -> None:
        self._lanes = lanes
        self._clock = clock
        self._stocks: defaultdict[tuple[str, str], _Reserve] = defaultdict(_Reserve)
        self._source: asyncpg.Connection | None = None
        self._batcher: Batcher[tuple[str, ...], dict[str, list[int]]] = Batcher(
            self._draw, concurrency=1
        )

    async def allocate(self, organisation: str, names: Sequence[str]) -> dict[str, list[int]]:
        """Numbers by sequence: one for each time that it is named."""
        if self._short(organisation, Counter(names)):
            return await self._batcher.submit(organisation, tuple(names))
        return self._taken(organisation, names)

    def release(self, organisation: str, numbers: Mapping[str, Sequence[int]]) -> None:
        """Keeps numbers that no event has used for the next call of this process."""
        for name, unused in numbers.items():
            kept = self._stocks[organisation, name].kept
            kept += unused
            kept.sort()

    def _taken(self, organisation: str, names: Sequence[str]) -> dict[str, list[int]]:
        numbers: dict[str, list[int]] = {name: [] for name in names}
        for name in names:
            numbers[name].append(self._stocks[organisation, name].kept.pop(0))
        return numbers

    def _short(self, organisation: str, wanted: Mapping[str, int]) -> dict[str, int]:
        """How many of each sequence are missing, of those of which there are not enough."""
        if self._source is not None and self._source.is_closed():
            self._stocks.clear()
            self._source = None
        missing = {
            n: count - len(self._stocks[organisation, n].kept) for n, count in wanted.items()
        }
        return {name: count for name, count in missing.items() if count > 0}

    async def _draw(
        self, key: Hashable, wanted: list[tuple[str, ...]]
    ) -> list[dict[str, list[int]]]:
        organisation = str(key)
        counts = Counter(name for names in wanted for name in names)
        # Others may take of what there is while this waits for more.
        while short := self._short(organisation, counts):
            await self._add(organisation, short)
        return [self._taken(organisation, names) for names in wanted]

    async def _add(self, organisation: str, short: Mapping[str, int]) -> None:
        now = self._clock()
        counts = {
            name: self._stocks[organisation, name].next_draw(count, now)
            for name, count in short.items()
        }

        async def work(connection: asyncpg.Connection) -> list[asyncpg.Record]:
            rows: list[asyncpg.Record] = await connection.fetch(
                TAKE, organisation, list(counts), list(counts.values())
            )
            self._source = connection
            return rows

        for row in await self._lanes.read(work):
            first = row["last"] - counts[row["name"]] + 1
            self.release(organisation, {row["name"]: range(first, row["last"] + 1)})
