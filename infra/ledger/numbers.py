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
        self._batcher: Batcher[tuple[str, ...], dict[str, list[int]]] = Batcher(
            self._draw, places=1
        )

    async def take(self, organisation: str, names: Sequence[str]) -> dict[str, list[int]]:
        """Numbers by sequence: one for each time that it is named."""
        numbers: dict[str, list[int]] = {name: [] for name in names}
        missing: list[str] = []
        for name in names:
            kept = self._kept[organisation, name]
            if kept:
                numbers[name].append(kept.pop(0))
            else:
                missing.append(name)
        if missing:
            drawn = await self._batcher.submit(organisation, tuple(missing))
            for name, more in drawn.items():
                numbers[name] += more
        return numbers

    def give_back(self, organisation: str, numbers: Mapping[str, Sequence[int]]) -> None:
        """Keeps numbers that no fact has used for the next call of this process."""
        for name, unused in numbers.items():
            kept = self._kept[organisation, name]
            kept += unused
            kept.sort()

    async def _draw(
        self, organisation: Hashable, wanted: list[tuple[str, ...]]
    ) -> list[dict[str, list[int]]]:
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
        drawn: list[dict[str, list[int]]] = []
        for names in wanted:
            numbers: dict[str, list[int]] = {name: [] for name in names}
            for name in names:
                following[name] += 1
                numbers[name].append(following[name])
            drawn.append(numbers)
        return drawn
