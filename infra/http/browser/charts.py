"""Small pictures as numbers: where each bar, dot and word stands. A template draws them as SVG.

Each picture carries its description and its figures as a table, for those who do not see it.
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
    "column_chart",
    "log_gauges",
    "segment_bar",
]

WIDTH = 560
"""Of every picture, in its own units; pages scale it."""
LEFT, RIGHT = 176, 80
"""Room for what a row is called, and for its figure."""
ROW, THICK = 32, 18
LONGEST = 22
"""Characters of a name that fit into the room on the left."""
TICKS = ((1, "1 s"), (10, "10 s"), (60, "1 min"), (600, "10 min"), (3600, "1 h"), (86_400, "1 day"))
LEAST = 0.2
"""Seconds at the left end of a gauge."""
DOT = 14
TALL = 110
"""Height of the highest column."""


@dataclass(frozen=True, slots=True)
class Series:
    """What bars of one colour mean; ``kind`` is the colour's name in the style sheet."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle, ``tip`` is what it says when it is pointed at."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    tip: str = ""
    round: int = 3


@dataclass(frozen=True, slots=True)
class Label:
    """A text; ``anchor`` is SVG's: start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str = "start"
    kind: str = "name"


@dataclass(slots=True)
class Chart:
    """One picture; ``head`` and ``rows`` are its table."""

    description: str
    height: int
    head: Sequence[str] = ()
    rows: list[Sequence[object]] = field(default_factory=list)
    legend: Sequence[Series] = ()
    bars: list[Bar] = field(default_factory=list)
    words: list[Label] = field(default_factory=list)


def bar_chart(
    description: str, what: str, series: Sequence[Series], rows: Sequence[tuple[str, Sequence[int]]]
) -> Chart:
    """A horizontal bar for each row, made of a piece for each series.

    :param what: what the rows are, for the table.
    """
    head = [what, *(one.name for one in series), *(["all"] if len(series) > 1 else [])]
    drawn = Chart(description, ROW * len(rows) + 4, head, legend=series[len(series) == 1 :])
    longest = max((sum(values) for _, values in rows), default=0) or 1
    scale = (WIDTH - LEFT - RIGHT) / longest
    for n, (name, values) in enumerate(rows):
        x, y, total = float(LEFT), ROW * n + (ROW - THICK) / 2, sum(values)
        drawn.bars.append(Bar(LEFT, y, WIDTH - LEFT - RIGHT, THICK, "track"))
        for one, value in zip(series, values, strict=True):
            if value:
                width = max(value * scale, 2.0)
                drawn.bars.append(Bar(x, y, width, THICK, one.kind, f"{one.name}: {value:,}"))
                x += width
        middle = ROW * n + ROW / 2
        drawn.words.append(Label(LEFT - 12, middle, _short(name), "end"))
        drawn.words.append(Label(WIDTH, middle, f"{total:,}", "end", "figure"))
        drawn.rows.append([name, *values, *([total] if len(series) > 1 else [])])
    return drawn


def column_chart(
    description: str, what: str, kind: str, values: Sequence[tuple[str, int]]
) -> Chart:
    """An upright bar for each value, every sixth of them named, the last one too.

    :param what: what the columns are, for the table.
    """
    drawn = Chart(description, TALL + 26, [what, "events"])
    highest = max((value for _, value in values), default=0) or 1
    step = WIDTH / max(len(values), 1)
    for n, (name, value) in enumerate(values):
        height = max(value / highest * TALL, 2.0 if value else 1.0)
        x, y = n * step + 2, TALL - height
        drawn.bars.append(
            Bar(x, y, step - 4, height, kind if value else "track", f"{name}: {value:,}")
        )
        if n % 6 == 0 or n == len(values) - 1:
            anchor = "start" if n == 0 else "end" if n == len(values) - 1 else "middle"
            at = 2.0 if n == 0 else WIDTH - 2 if anchor == "end" else x + step / 2
            drawn.words.append(Label(at, TALL + 16, name, anchor, "tick"))
        drawn.rows.append([name, value])
    return drawn


def log_gauges(description: str, what: str, rows: Sequence[tuple[str, float, str, str]]) -> Chart:
    """For each row (name, seconds, figure, kind) a dot on a line from moments to days.

    :param what: what the rows are, for the table.
    """
    drawn = Chart(description, ROW * len(rows) + 24, [what, "behind", "seconds"])
    for bound, tick in TICKS:
        x = _on_gauge(bound)
        drawn.bars.append(Bar(x, 4, 1, ROW * len(rows), "rule", round=0))
        drawn.words.append(Label(x, ROW * len(rows) + 16, tick, "middle", "tick"))
    for n, (name, seconds, figure, kind) in enumerate(rows):
        middle, x = ROW * n + ROW / 2, _on_gauge(seconds)
        drawn.bars.append(Bar(LEFT, middle - 2, WIDTH - LEFT, 4, "track"))
        drawn.bars.append(
            Bar(x - DOT / 2, middle - DOT / 2, DOT, DOT, kind, f"{name}: {figure}", DOT // 2)
        )
        drawn.words.append(Label(LEFT - 12, middle, _short(name), "end"))
        drawn.rows.append([name, figure, f"{seconds:.1f}"])
    return drawn


def _on_gauge(seconds: float) -> float:
    """Where a time stands between `LEAST` and a day, each ten times as long as far from the last."""
    part = math.log(max(seconds, LEAST) / LEAST) / math.log(TICKS[-1][0] / LEAST)
    return LEFT + DOT / 2 + min(part, 1.0) * (WIDTH - LEFT - DOT - 16)


def segment_bar(
    description: str, head: Sequence[str], pieces: Iterable[tuple[int, str, str]]
) -> Chart:
    """Pieces (length, kind, tip) one after the other over the whole width, as long as they are."""
    found = list(pieces)
    drawn = Chart(description, ROW + 4, head)
    scale, x = WIDTH / (sum(length for length, _, _ in found) or 1), 0.0
    for length, kind, tip in found:
        width = length * scale
        drawn.bars.append(Bar(x, 4, max(width - 1, 0.5), ROW - 4, kind, tip, 2))
        x += width
    return drawn


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
