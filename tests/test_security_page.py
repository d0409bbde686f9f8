"""The security page: every row names tests that exist, and every chapter has a row or is said not to apply."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from domain.reference.fields import GUESS_LIMITS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "::" in line]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


@pytest.mark.parametrize("path", sorted({path for path, _ in NAMED}))
def test_every_named_test_exists(path: str) -> None:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    tests = {node.name for node in tree.body if isinstance(node, functions)}
    assert [name for at, name in NAMED if at == path and name not in tests] == []


def test_every_chapter_has_a_row_or_does_not_apply() -> None:
    chapters = {int(number) for number in re.findall(r"\bV(\d+)\b", PAGE)}
    assert chapters == set(range(1, 18))
    assert len(NAMED) == PAGE.count("::")
    assert len(ROWS) >= 40


def tries_in_a_day(free: int) -> int:
    """How many tries the default waits leave in 24 hours, of which the first ones are free."""
    tries, passed, wait = free, 0, GUESS_LIMITS["first_wait_seconds"]
    while (passed := passed + wait) <= 24 * 60 * 60:
        tries += 1
        wait = min(GUESS_LIMITS["longest_wait_seconds"], 2 * wait)
    return tries


def test_the_arithmetic_of_guessing() -> None:
    """The numbers of the page are those of the default limits."""
    rows = [
        line.split(" | ")
        for line in PAGE.partition("## Guessing")[2].split("\n")
        if line.count(" | ") == 2
    ]
    said = [(re.sub(r"\D", "", row[1]), row[2].partition(" %")[0]) for row in rows[2:]]
    one, all_sources, spray = (
        tries_in_a_day(GUESS_LIMITS[f"attempts_per_{name}"])
        for name in ("source", "token", "spray")
    )
    expected = [(one, f"{one / 1e4:.4f}"), (all_sources, f"{all_sources / 1e4:.4f}")]
    expected += [(one, f"{one / 1e4:.4f}")]
    expected += [(spray, f"{spray / 1e4:.4f}")]
    many = spray * 1000
    expected += [(many, f"{100 * (1 - (1 - 1e-6) ** many):.1f}")]
    assert said == [(str(tries), chance) for tries, chance in expected]
    assert f"{100 * many / 1e10:.4f} %" in PAGE


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/security.md"])
def test_the_readme_links_it(page: str) -> None:
    assert f"]({page})" in (ROOT / "README.md").read_text("utf-8")
