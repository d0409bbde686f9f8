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
        self._batcher: Batcher[tuple[str, ...], dict[str, int]] = Batcher(self._draw, places=1)

    async def take(self, organisation: str, names: Sequence[str]) -> dict[str, int]:
        """One number of each sequence."""
        numbers: dict[str, int] = {}
        for name in names:
            kept = self._kept[organisation, name]
            if kept:
                numbers[name] = kept.pop(0)
        missing = tuple(name for name in names if name not in numbers)
        if missing:
            numbers |= await self._batcher.submit(organisation, missing)
        return numbers

    def give_back(self, organisation: str, numbers: Mapping[str, int]) -> None:
        """Keeps numbers that no fact has used for the next call of this process."""
        for name, number in numbers.items():
            self._kept[organisation, name].append(number)
            self._kept[organisation, name].sort()

    async def _draw(
        self, organisation: Hashable, wanted: list[tuple[str, ...]]
    ) -> list[dict[str, int]]:
        counts = Counter(name for names in wanted for name in names)
        rows = await self._lanes.read(
            lambda connection: connection.fetch(
                "SELECT name, last FROM ledger.take_numbers($1, $2, $3)",
                organisation,
                list(counts),
                list(counts.values()),
            )
        )
        following = {row["name"]: row["last"] - counts[row["name"]] for row in rows}
        drawn: list[dict[str, int]] = []
        for names in wanted:
            for name in names:
                following[name] += 1
            drawn.append({name: following[name] for name in names})
        return drawn
