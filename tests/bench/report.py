"""A report for people: on the terminal, and as the page docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table as Grid

from tests.bench.results import Measured, Ratio, Report, Table

__all__ = ["markdown", "show"]

HEAD = """# Benchmarks

Made by `make bench` (`python -m tests.bench --docs`) from [benchmarks.json](benchmarks.json); not written by hand.

An absolute rate says as much about the machine as about the program. What can be compared is a **ratio**: every
figure stands beside a reference that was measured in the same run, on the same server, in turns with it. Rates are
medians of {passes} passes of {seconds:g} s, ratios medians of the passes' own ratios; lowest and highest in
brackets. Every commit is durable: `fsync` and `synchronous_commit` are on. Client, service and
PostgreSQL share the machine.
"""
QUICK = "\n**This was a quick run** (`make bench-quick`): good for orders of magnitude only.\n"


def _rate(cell: Measured) -> str:
    low, high = cell.spread
    return f"{cell.rate:,.0f} ({low:,.0f}-{high:,.0f})"


def _latencies(cell: Measured) -> str:
    found = cell.latencies
    return f"{found[0]:.1f} / {found[1]:.1f}" if found else ""


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"


def _rows(table: Table) -> Iterator[tuple[str, ...]]:
    """A row for each contender: what, rate, latencies, and how many times as fast each of ours is."""
    against = {(ratio.of, ratio.to): _ratio(ratio) for ratio in table.ratios}
    ours = [cell.name for cell in table.cells if cell.ours]
    for cell in table.cells:
        faster = (against.get((name, cell.name), "") for name in ours)
        yield cell.title, _rate(cell), _latencies(cell), *faster


def _columns(table: Table) -> tuple[str, ...]:
    ours = [cell.title for cell in table.cells if cell.ours]
    return "", table.unit, "p50 / p99 ms", *(f"{title} is x times as fast" for title in ours)


def show(report: Report, console: Console) -> None:
    """Prints a report."""
    for name, facts in _circumstances(report).items():
        said = ", ".join(f"{key} {value}" for key, value in facts.items())
        console.print(f"[bold]{name}[/] {said}", highlight=False)
    for table in report.tables:
        grid = Grid(title=table.title, caption=table.note, title_justify="left")
        for n, column in enumerate(_columns(table)):
            grid.add_column(column, justify="right" if n else "left")
        for cell, row in zip(table.cells, _rows(table), strict=True):
            grid.add_row(*row, style="bold" if cell.ours else "")
        console.print(grid)


def markdown(report: Report) -> str:
    """The page."""
    head = HEAD.format(passes=report.passes, seconds=report.seconds)
    parts = [head + (QUICK if report.quick else "")]
    parts += [_summary(report)]
    parts += [_section(table) for table in report.tables]
    parts += ["## Machine and settings\n"]
    for name, facts in _circumstances(report).items():
        said = ", ".join(f"{key} {value}" for key, value in facts.items())
        parts.append(f"- **{name}**: {said}")
    return "\n".join(parts) + "\n"


def _circumstances(report: Report) -> Mapping[str, Mapping[str, str]]:
    return {
        "Taken": {"at": report.taken_at},
        "Machine": report.machine,
        "Versions": report.versions,
        "PostgreSQL's settings": report.settings,
    }


def _summary(report: Report) -> str:
    rows: list[tuple[str, ...]] = [("task", "ours", "reference", "ours is x times as fast")]
    for table in report.tables:
        titles = {cell.name: cell.title for cell in table.cells}
        rows += [(table.title, titles[r.of], titles[r.to], _ratio(r)) for r in table.ratios]
    return "## Ratios\n\n" + _pipes(rows)


def _section(table: Table) -> str:
    rows = [_columns(table), *_rows(table)]
    return f"## {table.title}\n\n{table.note}\n\n{_pipes(rows)}"


def _pipes(rows: list[tuple[str, ...]]) -> str:
    """A table of Markdown; the first row is its head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines) + "\n"
