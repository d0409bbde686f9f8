"""What the service is to reach, each target once, and whether it was reached.

A target that is missed is shown as missed, one that was not measured as not measured; neither ends a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from tests.bench.results import Measured, Report, Table

__all__ = ["TARGETS", "Judged", "Target", "judged"]

Kind = Literal["ratio", "value", "per core", "tail", "longest", "faults"]


@dataclass(frozen=True, slots=True)
class Target:
    """What one of ours must be ``at_least`` or ``at_most``.

    ``ratio`` is its value over that of the reference ``to`` (less ``plus`` first: what is allowed besides),
    ``value`` its value, ``per core`` that by the machine's cores, ``tail`` p99 over p50, ``longest`` the
    slowest operation in milliseconds, ``faults`` what was wrong.
    """

    work: str
    table: str
    ours: str
    to: str = ""
    kind: Kind = "ratio"
    at_least: float | None = None
    at_most: float | None = None
    plus: float = 0.0

    @property
    def wanted(self) -> str:
        """The bound as people write it."""
        bound, sign = (self.at_least, ">=") if self.at_most is None else (self.at_most, "<=")
        return f"{sign} {bound:,.10g}{UNITS[self.kind]}"

    def met(self, value: float) -> bool:
        """Whether a value is within the bound."""
        low = self.at_least is None or value >= self.at_least
        return low and (self.at_most is None or value <= self.at_most)


UNITS: Mapping[Kind, str] = {
    "ratio": "x",
    "value": "",
    "per core": " per core",
    "tail": "x",
    "longest": " ms",
    "faults": "",
}


@dataclass(frozen=True, slots=True)
class Judged:
    """A target with what a run has found: the value in each pass; none if it was not measured."""

    target: Target
    values: tuple[float, ...]
    reference: str = ""

    @property
    def value(self) -> float | None:
        """What counts: what the slowest pass, or all of them, had of what must not be; else the median."""
        if not self.values:
            return None
        return _COUNTS.get(self.target.kind, median)(self.values)

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.value is None:
            return "not measured"
        return "met" if self.target.met(self.value) else "missed"


_COUNTS: Mapping[Kind, Callable[[tuple[float, ...]], float]] = {"longest": max, "faults": sum}


def _append(writers: int, cell: str, to: str, least: float) -> Target:
    return Target(
        f"append, {cell}, {writers} writers", f"append-{writers}", cell, to, at_least=least
    )


TARGETS: tuple[Target, ...] = (
    _append(16, "events", "library", 25),
    _append(64, "events", "library", 50),
    _append(64, "events", "pgbench", 2),
    _append(16, "documents", "library", 12),
    _append(64, "documents", "library", 20),
    Target("HTTP create", "create", "ours", "library", at_least=10),
    Target("HTTP create", "create", "ours", "echo", at_least=0.3),
    Target("HTTP show", "show", "ours", "usual", at_least=4),
    Target("HTTP show", "show", "ours", "hello", at_least=0.6),
    Target("HTTP list of 100", "list", "ours", "usual", at_least=3),
    Target("HTTP list of 100, bytes/s", "list", "ours", "static", at_least=0.5),
    Target("HTTP get_latest of 100", "latest", "ours", "usual", at_least=3),
    Target("HTTP get_latest of 100, bytes/s", "latest", "ours", "static", at_least=0.5),
    Target("queue drain", "queue", "ours", "library", at_least=8),
    Target("queue drain, twice or lost", "queue", "ours", kind="faults", at_most=0),
    Target("rebuild, events/s", "rebuild-large", "ours", kind="per core", at_least=100_000),
    Target("rebuild", "rebuild-large", "ours", "copy", at_least=0.2),
    Target("rebuild beside writers, wrong", "rebuild-large", "beside", kind="faults", at_most=0),
    Target("growth, append", "growth-append", "large", "small", at_most=1.15),
    Target("growth, show", "growth-show", "large", "small", at_most=1.15),
    Target("latency of writes, p99 / p50", "latency-create", "half", kind="tail", at_most=5),
    Target("latency of writes, longest", "latency-create", "half", kind="longest", at_most=250),
    Target("latency of reads, p99 / p50", "latency-show", "half", kind="tail", at_most=4),
    Target("latency of reads, longest", "latency-show", "half", kind="longest", at_most=250),
    Target("memory of an API process, MiB", "memory", "loaded", kind="value", at_most=150),
    Target("memory of a rebuild", "memory-rebuild", "large", "small", at_most=1.25),
    Target("memory of the projector", "memory-projector", "large", "small", at_most=1.25),
    Target("start, beyond 0.3 s", "start", "serve", "imports", at_most=1.5, plus=300),
    Target("two API processes, reads", "processes", "two", "one", at_least=1.5),
)


def _values(target: Target, cell: Measured, report: Report) -> Iterator[float | None]:
    """The value in each pass of what is no ratio to a reference."""
    for outcome in cell.passes:
        match target.kind:
            case "per core":
                yield outcome.rate / report.cores
            case "tail":
                yield outcome.p99 / outcome.p50 if outcome.p99 and outcome.p50 else None
            case "longest":
                yield outcome.longest
            case "faults":
                yield outcome.faults
            case _:
                yield outcome.rate


def _judged(target: Target, report: Report, table: Table) -> Judged:
    ours = table.cell(target.ours)
    if ours is None:
        return Judged(target, ())
    if target.kind != "ratio":
        found = _values(target, ours, report)
        return Judged(target, tuple(value for value in found if value is not None))
    to = table.cell(target.to)
    if to is None:
        return Judged(target, ())
    pairs = zip(ours.passes, to.passes, strict=True)
    return Judged(target, tuple((a.rate - target.plus) / b.rate for a, b in pairs), to.title)


def judged(runs: Sequence[Report], targets: tuple[Target, ...] = TARGETS) -> list[Judged]:
    """Every target, in order, by the run that has its table."""
    found = {table.name: (run, table) for run in runs for table in run.tables}
    return [
        _judged(target, *found[target.table]) if target.table in found else Judged(target, ())
        for target in targets
    ]
