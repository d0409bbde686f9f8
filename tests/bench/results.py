"""What a run has found: rates of interleaved passes, and ratios, which are what can be compared."""

from __future__ import annotations

from statistics import median

import msgspec

__all__ = ["Measured", "Outcome", "Ratio", "Report", "Table", "ratios"]


class Outcome(msgspec.Struct, frozen=True):
    """One cell of one pass: a rate per second, and latencies in milliseconds where there are any."""

    rate: float
    p50: float | None = None
    p99: float | None = None


class Measured(msgspec.Struct):
    """One contender with its outcome in every pass, in order."""

    name: str
    title: str
    ours: bool
    passes: list[Outcome]

    @property
    def rate(self) -> float:
        """The median rate."""
        return median(outcome.rate for outcome in self.passes)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest rate."""
        rates = [outcome.rate for outcome in self.passes]
        return min(rates), max(rates)

    @property
    def latencies(self) -> tuple[float, float] | None:
        """The medians of p50 and p99."""
        p50 = [outcome.p50 for outcome in self.passes if outcome.p50 is not None]
        p99 = [outcome.p99 for outcome in self.passes if outcome.p99 is not None]
        return (median(p50), median(p99)) if p50 and p99 else None


class Ratio(msgspec.Struct, frozen=True):
    """How many times as fast ``of`` is as ``to``: median, lowest and highest of the passes' ratios.

    Both were measured one after the other in each pass, so what slows the machine slows both.
    """

    of: str
    to: str
    median: float
    low: float
    high: float


class Table(msgspec.Struct):
    """Contenders at one task."""

    name: str
    title: str
    unit: str
    cells: list[Measured]
    note: str = ""
    ratios: list[Ratio] = []


class Report(msgspec.Struct):
    """One run on one machine."""

    taken_at: str
    quick: bool
    passes: int
    seconds: float
    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, str]
    tables: list[Table]


def ratios(cells: list[Measured]) -> list[Ratio]:
    """Each of ours against each reference."""
    found = []
    for our in (cell for cell in cells if cell.ours):
        for other in (cell for cell in cells if not cell.ours):
            values = [a.rate / b.rate for a, b in zip(our.passes, other.passes, strict=True)]
            ratio = Ratio(our.name, other.name, median(values), min(values), max(values))
            found.append(ratio)
    return found
