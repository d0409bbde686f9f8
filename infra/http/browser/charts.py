"""Charts as data: the place of each bar, dot and label. A template draws them as SVG.

Each chart has a description and a table of its figures, for screen readers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

__all__ = [
    "WIDTH",
    "Bar",
    "Chart",
    "Label",
    "Series",
    "bar_chart",
    "code_chart",
    "column_chart",
    "log_gauges",
    "segment_bar",
]

WIDTH = 560
"""Width of every chart in its own units; pages scale it."""
LEFT, RIGHT = 176, 80
"""Room for the name of a row, and for its figure."""
ROW, THICK = 32, 18
MAX_NAME = 22
"""Characters of a name that fit on the left."""
CODE_ROW = 46
"""Height of a row whose name stands above its bar."""
TICKS = ((1, "1 s"), (10, "10 s"), (60, "1 min"), (600, "10 min"), (3600, "1 h"), (86_400, "1 day"))
LEAST = 0.2
"""Seconds at the left end of a gauge."""
DOT = 14
TALL = 110
"""Height of the highest column."""


@dataclass(frozen=True, slots=True)
class Series:
    """A series of bars; ``kind`` is the name of its colour in the style sheet."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle; ``tip`` is its tooltip."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    tip: str = ""
    round: int = 3


@dataclass(frozen=True, slots=True)
class Label:
    """A text; ``anchor`` is that of SVG: start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str = "start"
    kind: str = "name"


@dataclass(slots=True)
class Chart:
    """A chart; ``head`` and ``rows`` are its table."""

    description: str
    height: int
    head: Sequence[str] = ()
    rows: list[Sequence[object]] = field(default_factory=list)
    legend: Sequence[Series] = ()
    bars: list[Bar] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)


def bar_chart(
    description: str, name: str, series: Sequence[Series], rows: Sequence[tuple[str, Sequence[int]]]
) -> Chart:
    """A horizontal bar for each row, with a segment for each series.

    :param name: of the rows, in the head of the table.
    """
    head = [name, *(s.name for s in series), *(["all"] if len(series) > 1 else [])]
    chart = Chart(description, ROW * len(rows) + 4, head, legend=series[len(series) == 1 :])
    longest = max((sum(values) for _, values in rows), default=0) or 1
    scale = (WIDTH - LEFT - RIGHT) / longest
    for n, (row, values) in enumerate(rows):
        x, y, total = float(LEFT), ROW * n + (ROW - THICK) / 2, sum(values)
        chart.bars.append(Bar(LEFT, y, WIDTH - LEFT - RIGHT, THICK, "track"))
        for part, value in zip(series, values, strict=True):
            if value:
                width = max(value * scale, 2.0)
                chart.bars.append(Bar(x, y, width, THICK, part.kind, f"{part.name}: {value:,}"))
                x += width
        middle = ROW * n + ROW / 2
        chart.labels.append(Label(LEFT - 12, middle, _shorten(row), "end"))
        chart.labels.append(Label(WIDTH, middle, f"{total:,}", "end", "figure"))
        chart.rows.append([row, *values, *([total] if len(series) > 1 else [])])
    return chart


def code_chart(description: str, name: str, unit: str, rows: Sequence[tuple[str, int]]) -> Chart:
    """A horizontal bar for each row, below its name, which may be long.

    :param name: of the rows, in the head of the table; ``unit`` that of their values.
    """
    chart = Chart(description, CODE_ROW * len(rows) + 4, [name, unit])
    scale = (WIDTH - RIGHT) / (max((value for _, value in rows), default=0) or 1)
    for n, (row, value) in enumerate(rows):
        top, width = CODE_ROW * n + 22.0, max(value * scale, 2.0)
        chart.bars.append(Bar(0, top, WIDTH - RIGHT, THICK, "track"))
        chart.bars.append(Bar(0, top, width, THICK, "calm", f"{row}: {value:,}"))
        chart.labels.append(Label(0, top - 10, row, kind="code"))
        chart.labels.append(Label(WIDTH, top + THICK / 2, f"{value:,}", "end", "figure"))
        chart.rows.append([row, value])
    return chart


def column_chart(
    description: str, name: str, kind: str, values: Sequence[tuple[str, int]]
) -> Chart:
    """A vertical bar for each value; every sixth and the last have a label.

    :param name: of the columns, in the head of the table.
    """
    chart = Chart(description, TALL + 26, [name, "events"])
    highest = max((value for _, value in values), default=0) or 1
    step = WIDTH / max(len(values), 1)
    for n, (column, value) in enumerate(values):
        height = max(value / highest * TALL, 2.0 if value else 1.0)
        x, y = n * step + 2, TALL - height
        chart.bars.append(
            Bar(x, y, step - 4, height, kind if value else "track", f"{column}: {value:,}")
        )
        if n % 6 == 0 or n == len(values) - 1:
            anchor = "start" if n == 0 else "end" if n == len(values) - 1 else "middle"
            label_x = 2.0 if n == 0 else WIDTH - 2 if anchor == "end" else x + step / 2
            chart.labels.append(Label(label_x, TALL + 16, column, anchor, "tick"))
        chart.rows.append([column, value])
    return chart


def log_gauges(description: str, name: str, rows: Sequence[tuple[str, float, str, str]]) -> Chart:
    """For each row (name, seconds, figure, kind) a dot on a logarithmic scale up to a day.

    :param name: of the rows, in the head of the table.
    """
    chart = Chart(description, ROW * len(rows) + 24, [name, "lag", "seconds"])
    for bound, tick in TICKS:
        x = _on_gauge(bound)
        chart.bars.append(Bar(x, 4, 1, ROW * len(rows), "rule", round=0))
        chart.labels.append(Label(x, ROW * len(rows) + 16, tick, "middle", "tick"))
    for n, (row, seconds, figure, kind) in enumerate(rows):
        middle, x = ROW * n + ROW / 2, _on_gauge(seconds)
        chart.bars.append(Bar(LEFT, middle - 2, WIDTH - LEFT, 4, "track"))
        chart.bars.append(
            Bar(x - DOT / 2, middle - DOT / 2, DOT, DOT, kind, f"{row}: {figure}", DOT // 2)
        )
        chart.labels.append(Label(LEFT - 12, middle, _shorten(row), "end"))
        chart.rows.append([row, figure, f"{seconds:.1f}"])
    return chart


def _on_gauge(seconds: float) -> float:
    """The place of a time span on the logarithmic scale from `LEAST` to a day."""
    fraction = math.log(max(seconds, LEAST) / LEAST) / math.log(TICKS[-1][0] / LEAST)
    return LEFT + DOT / 2 + min(fraction, 1.0) * (WIDTH - LEFT - DOT - 16)


def segment_bar(
    description: str, head: Sequence[str], segments: Iterable[tuple[int, str, str]]
) -> Chart:
    """Segments (length, kind, tip) side by side over the whole width, in proportion to their lengths."""
    parts = list(segments)
    chart = Chart(description, ROW + 4, head)
    scale, x = WIDTH / (sum(length for length, _, _ in parts) or 1), 0.0
    for length, kind, tip in parts:
        width = length * scale
        chart.bars.append(Bar(x, 4, max(width - 1, 0.5), ROW - 4, kind, tip, 2))
        x += width
    return chart


def _shorten(name: str) -> str:
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"
