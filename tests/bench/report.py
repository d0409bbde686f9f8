"""Reports for people: on the terminal, and as the page docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from rich.console import Console
from rich.table import Table as Grid

from tests.bench.results import Measured, Ratio, Report, Table
from tests.bench.targets import Judged, judged

__all__ = ["markdown", "show"]

HEAD = """# Benchmarks

Made by `make bench ARGS=--docs` (`python -m tests.bench --docs`) from [benchmarks.json](benchmarks.json); not
written by hand. Sections can be measured again by themselves, as in
`make bench ARGS="--only growth --growth 10000000 --docs"`: their tables then take the place of the former ones. Where not
all tables are of one run, each says when it was taken, and what each run was made with stands at the end.

An absolute rate says as much about the machine as about the program. What can be compared is a **ratio**: every
figure stands beside a reference that was measured in the same run, on the same server, in turns with it. Rates are
medians of a run's passes unless a title says otherwise, ratios medians of the passes' own ratios, never of two runs;
lowest and highest in brackets. Every commit is durable: `fsync` and `synchronous_commit` are on. Client, service and
PostgreSQL share the machine.

**The library's recorder is used in its safe mode**, in which each save locks the table. Its other mode
(`POSTGRES_ENABLE_DB_FUNCTIONS`) is some three times as fast (eventsourcing 9.5.6), but gives positions out without that lock: of two
transactions that overlap, the one with the later position may commit first, and whoever follows the log has then gone
past the earlier one. With 16 and 32 writers and a follower that reads on from the last position it has seen, 16 of
7,908 and 40 of 6,865 events were never seen; with the lock none was. A log that loses events is no reference.

![Ratios and their targets](benchmarks.svg)
"""
QUICK = "\n**This was a quick run** (`make bench-quick`): good for orders of magnitude only.\n"
LOADED = (
    "Targets are for a machine that does nothing else; a missed one stays here until it is met."
)


def _rate(cell: Measured) -> str:
    low, high = cell.spread
    return f"{cell.rate:,.0f} ({low:,.0f}-{high:,.0f})"


def _latencies(cell: Measured) -> str:
    found = cell.latencies
    return f"{found[0]:.1f} / {found[1]:.1f}" if found else ""


def _longest(cell: Measured) -> str:
    return "" if cell.longest is None else f"{cell.longest:,.0f}"


def _faults(cell: Measured) -> str:
    return "" if cell.faults is None else f"{cell.faults:,}"


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"


MORE: tuple[tuple[str, Callable[[Measured], str]], ...] = (
    ("p50 / p99 ms", _latencies),
    ("longest ms", _longest),
    ("faults", _faults),
)
"""Columns of the tables in which there is something of the kind."""


def _columns(table: Table) -> tuple[tuple[str, Callable[[Measured], str]], ...]:
    """What the columns are called, and what a contender has there."""
    against = {(ratio.of, ratio.to): _ratio(ratio) for ratio in table.ratios}

    def against_it(name: str) -> Callable[[Measured], str]:
        return lambda cell: against.get((name, cell.name), "")

    more = tuple(column for column in MORE if any(map(column[1], table.cells)))
    ours = {ratio.of for ratio in table.ratios}
    return (
        ("", lambda cell: cell.title),
        (table.unit, _rate),
        *more,
        *((f"{c.title} {table.says}", against_it(c.name)) for c in table.cells if c.name in ours),
    )


def _rows(table: Table) -> Iterator[tuple[str, ...]]:
    """The head, and a row for each contender."""
    columns = _columns(table)
    yield tuple(name for name, _ in columns)
    for cell in table.cells:
        yield tuple(said(cell) for _, said in columns)


TARGETS_HEAD = ("task", "reference", "wanted", "found", "")


def _targets(runs: Sequence[Report]) -> list[tuple[str, ...]]:
    """A row for each target."""
    return [
        (one.target.work, one.reference, one.target.wanted, _found(one), one.verdict)
        for one in judged(runs)
    ]


def _found(one: Judged) -> str:
    if one.value is None:
        return ""
    whole = one.target.kind == "faults" or abs(one.value) >= 100
    return f"{one.value:,.0f}" if whole else f"{one.value:,.2f}"


STYLES = {"met": "green", "missed": "red"}


def show(runs: Sequence[Report], console: Console) -> None:
    """Prints what runs have found."""
    for run in runs:
        for name, events in _circumstances(run).items():
            said = ", ".join(f"{key} {value}" for key, value in events.items())
            console.print(f"[bold]{name}[/] {said}", highlight=False)
    for table in _tables(runs):
        head, *rows = _rows(table)
        grid = _grid(table.title, *head)
        grid.caption = table.note
        for cell, row in zip(table.cells, rows, strict=True):
            grid.add_row(*row, style="bold" if cell.ours else "")
        console.print(grid)
    rows = _targets(runs)
    measured = [row for row in rows if row[-1] != "not measured"]
    grid = _grid("Targets", *TARGETS_HEAD)
    if len(measured) < len(rows):
        grid.caption = f"{len(rows) - len(measured)} were not measured."
    for row in measured:
        grid.add_row(*row, style=STYLES[row[-1]])
    console.print(grid)


def _grid(title: str, *columns: str) -> Grid:
    grid = Grid(title=title, title_justify="left")
    for n, column in enumerate(columns):
        grid.add_column(column, justify="right" if n else "left")
    return grid


def markdown(runs: Sequence[Report]) -> str:
    """The page."""
    parts = [HEAD + (QUICK if any(run.quick for run in runs) else "")]
    parts += [f"## Targets\n\n{LOADED}\n\n{_pipes([TARGETS_HEAD, *_targets(runs)])}"]
    parts += [_summary(runs)]
    parts += [
        f"## {table.title}\n\n{table.note}\n\n{_pipes(list(_rows(table)))}"
        for table in _tables(runs)
    ]
    for run in runs:
        parts += [f"## Machine and settings, {run.taken_at}\n"]
        for name, events in _circumstances(run).items():
            said = ", ".join(f"{key} {value}" for key, value in events.items())
            parts.append(f"- **{name}**: {said}")
        parts.append("")
    return "\n".join(parts)


def _tables(runs: Sequence[Report]) -> Iterator[Table]:
    """All tables; of several runs, each says when it was taken."""
    for run in runs:
        for table in run.tables:
            note = f"{table.note} Taken at {run.taken_at}." if len(runs) > 1 else table.note
            yield msgspec.structs.replace(table, note=note)


def _circumstances(report: Report) -> Mapping[str, Mapping[str, str]]:
    return {
        "Taken": {"at": report.taken_at, "in": f"{report.passes} passes of {report.seconds:g} s"},
        "Machine": report.machine,
        "Versions": report.versions,
        "PostgreSQL's settings": report.settings,
        "Seconds": {name: f"{seconds:.0f}" for name, seconds in report.took.items()},
        **({"Failed": report.failed} if report.failed else {}),
    }


def _summary(runs: Sequence[Report]) -> str:
    rows: list[tuple[str, ...]] = [("task", "ours", "reference", "ratio", "")]
    for table in _tables(runs):
        titles = {cell.name: cell.title for cell in table.cells}
        rows += [
            (table.title, titles[r.of], titles[r.to], _ratio(r), table.says) for r in table.ratios
        ]
    return "## Ratios\n\n" + _pipes(rows)


def _pipes(rows: list[tuple[str, ...]]) -> str:
    """A table of Markdown; the first row is its head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines) + "\n"
