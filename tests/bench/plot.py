"""The picture docs/benchmarks.svg: every ratio that has a target, on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from tests.bench.results import Report
from tests.bench.targets import Judged, judged

__all__ = ["plot", "position"]

WIDTH, LEFT, RIGHT = 960, 390, 160
"""Room on the left for what a row is, on the right for its figure."""
ROW, TOP, BOTTOM = 26, 56, 40
LEAST, MOST = 0.01, 200.0
"""The ends of the scale; what lies beyond stands there."""
TICKS = (0.01, 0.1, 1, 10, 100)
MET, MISSED = "#1a7f37", "#c9302c"
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.small{font-size:11px;fill:#59636e}"
    "@media (prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.page{fill:#0d1117}}"
)
SAYS = (
    "How many times the value of the reference ours is, in the same run. A dot: the median; the line through "
    "it: lowest and highest pass; the bar: the target."
)


def position(ratio: float) -> float:
    """Where a ratio stands, from the left."""
    within = min(max(ratio, LEAST), MOST)
    share = math.log(within / LEAST) / math.log(MOST / LEAST)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def plot(runs: Sequence[Report]) -> str:
    """The picture as SVG."""
    rows = [one for one in judged(runs) if one.target.kind in ("ratio", "tail")]
    height = TOP + ROW * len(rows) + BOTTOM
    lines = [*_scale(len(rows))]
    for n, one in enumerate(rows):
        lines += _row(one, TOP + ROW * n + ROW / 2)
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>Ratios and their targets</title><desc>{SAYS}</desc><style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{height}" fill="#fff"/>',
            *_legend(),
            *lines,
            "</svg>\n",
        )
    )


def _legend() -> Iterator[str]:
    yield _text(
        12,
        22,
        "ours : reference, median with lowest and highest pass; bar, and on the right: target",
        "small",
    )
    for x, met, word in ((LEFT + 130, True, "met"), (LEFT + 200, False, "missed")):
        yield _dot(x, 18, met=met)
        yield _text(x + 10, 22, word, "small")


def _scale(rows: int) -> Iterator[str]:
    for tick in TICKS:
        x, bottom = position(tick), TOP + ROW * rows
        stroke = "#8c959f" if tick == 1 else "#d0d7de"
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{bottom}" stroke="{stroke}"/>'
        yield _text(x, bottom + 18, f"{tick:g}x", "small", "middle")


def _row(one: Judged, y: float) -> Iterator[str]:
    target = one.target
    named = f"{target.work} : {one.reference}" if one.reference else target.work
    yield _text(12, y + 4, named)
    bound = target.at_least if target.at_least is not None else target.at_most
    assert bound is not None
    x = position(bound)
    yield f'<rect x="{x - 2:.1f}" y="{y - 9}" width="4" height="18" fill="#57606a"><title>{escape(target.wanted)}</title></rect>'
    yield _text(WIDTH - 12, y + 4, target.wanted, "small", "end")
    if one.value is None:
        yield _text(x + 10, y + 4, one.verdict, "small")
        return
    met = target.met(one.value)
    yield _whisker(one.values, y, MET if met else MISSED)
    yield _dot(position(one.value), y, met=met)
    yield _text(WIDTH - 78, y + 4, f"{one.value:.2f}x", anchor="end")


def _whisker(values: Sequence[float], y: float, colour: str) -> str:
    low, high = position(min(values)), position(max(values))
    return f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"/>'


def _dot(x: float, y: float, *, met: bool) -> str:
    """Full if a target is met, hollow if not: nobody needs to see the colour."""
    colour = MET if met else MISSED
    return f'<circle cx="{x:.1f}" cy="{y}" r="5" fill="{colour if met else "#fff"}" stroke="{colour}" stroke-width="2"/>'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'
    )
