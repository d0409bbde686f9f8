"""The security page: every row names tests that exist, and every chapter has a row or is said not to apply."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/security.md"])
def test_the_readme_links_it(page: str) -> None:
    assert f"]({page})" in (ROOT / "README.md").read_text("utf-8")
