"""Numbers of sequences: one trip for all that wait, unused ones kept for the next call."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

from infra.batching import Batcher
from infra.postgres import Lanes

__all__ = ["Numbers"]


class Numbers:
    """Draws numbers; each is given out once, gaps may remain (contract common.md, section 9)."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._kept: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self._batcher: Batcher[str, int] = Batcher(self._draw, places=1)

    async def take(self, organisation: str, names: Sequence[str]) -> dict[str, int]:
        """One number of each sequence."""
        numbers: dict[str, int] = {}
        for name in names:
            kept = self._kept[organisation, name]
            if kept:
                numbers[name] = kept.pop(0)
        for name in names:
            if name not in numbers:
                numbers[name] = await self._batcher.submit(organisation, name)
        return numbers

    def give_back(self, organisation: str, numbers: Mapping[str, int]) -> None:
        """Keeps numbers that no fact has used for the next call of this process."""
        for name, number in numbers.items():
            self._kept[organisation, name].append(number)
            self._kept[organisation, name].sort()

    async def _draw(self, organisation: Hashable, names: list[str]) -> list[int]:
        counts = Counter(names)
        rows = await self._lanes.read(
            lambda connection: connection.fetch(
                "SELECT name, last FROM ledger.take_numbers($1, $2, $3)",
                organisation,
                list(counts),
                list(counts.values()),
            )
        )
        following = {row["name"]: row["last"] - counts[row["name"]] for row in rows}
        drawn: list[int] = []
        for name in names:
            following[name] += 1
            drawn.append(following[name])
        return drawn
