"""What a run has found: values of interleaved passes, and ratios, which are what can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

import msgspec

__all__ = [
    "FASTER",
    "LARGER",
    "SLOWER",
    "Measured",
    "Outcome",
    "Ratio",
    "Report",
    "Table",
    "merged",
    "ratios",
]

FASTER = "is x times as fast"
SLOWER = "takes x times as long"
LARGER = "is x times as large"


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """One cell of one pass: a rate per second (or what the table's unit says), latencies in milliseconds.

    ``longest`` is the latency of the slowest operation; ``faults`` how often something was wrong that
    must never be: an entry sent twice, a read that is behind; ``memory`` in MiB, at most.
    """

    rate: float
    p50: float | None = None
    p99: float | None = None
    longest: float | None = None
    faults: int | None = None
    memory: float | None = None


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

    @property
    def longest(self) -> float | None:
        """The slowest operation of all passes."""
        return max((o.longest for o in self.passes if o.longest is not None), default=None)

    @property
    def faults(self) -> int | None:
        """All faults of all passes; None if there was nothing to be wrong."""
        found = [outcome.faults for outcome in self.passes if outcome.faults is not None]
        return sum(found) if found else None


class Ratio(msgspec.Struct, frozen=True):
    """How many times the value of ``to`` that of ``of`` is: median, lowest and highest of the passes' ratios.

    Both were measured one after the other in each pass, so what slows the machine slows both.
    """

    of: str
    to: str
    median: float
    low: float
    high: float


class Table(msgspec.Struct):
    """Contenders at one task; ``says`` is what a ratio means."""

    name: str
    title: str
    unit: str
    cells: list[Measured]
    note: str = ""
    ratios: list[Ratio] = []
    says: str = FASTER

    def cell(self, name: str) -> Measured | None:
        """A contender by name."""
        return next((cell for cell in self.cells if cell.name == name), None)


class Report(msgspec.Struct):
    """One run on one machine.

    ``took`` is how many seconds each section took, ``failed`` which ended in an error, and in which.
    """

    taken_at: str
    quick: bool
    passes: int
    seconds: float
    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, str]
    tables: list[Table]
    took: dict[str, float] = {}
    failed: dict[str, str] = {}

    @property
    def cores(self) -> int:
        """How many processors the machine has."""
        return int(self.machine.get("cores", 1))


def merged(runs: Sequence[Report], new: Report) -> list[Report]:
    """Runs and one more, whose tables replace those before. A run is gone when all its sections were measured again."""
    again, names = new.took.keys() - new.failed.keys(), {table.name for table in new.tables}
    kept = (
        msgspec.structs.replace(
            run,
            tables=[table for table in run.tables if table.name not in names],
            took={name: seconds for name, seconds in run.took.items() if name not in again},
            failed={name: error for name, error in run.failed.items() if name not in again},
        )
        for run in runs
    )
    return [run for run in (*kept, new) if run.tables and run.took]


def ratios(cells: list[Measured]) -> list[Ratio]:
    """Each of ours against each reference."""
    return list(_ratios(cells))


def _ratios(cells: list[Measured]) -> Iterator[Ratio]:
    for our in (cell for cell in cells if cell.ours):
        for other in (cell for cell in cells if not cell.ours):
            values = [a.rate / b.rate for a, b in zip(our.passes, other.passes, strict=True)]
            yield Ratio(our.name, other.name, median(values), min(values), max(values))
