"""Only constants and names of fixed tables reach the text of a statement; values are parameters.

Every place where a text of SQL is put together from pieces (an f-string, ``format``, ``%``, ``+``,
``join`` or ``replace``) is found in the syntax tree and held against a list. A new place fails
until somebody has read it and entered it here.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("domain", "services", "infra")
SQL = re.compile(
    r"\b(SELECT|INSERT INTO|DELETE FROM|UPDATE [\w.{]+|WITH \w+ (AS|\()|FROM [\w{]+(?=[.{])|JOIN|WHERE|UNION ALL|ORDER BY"
    r"|CREATE (OR REPLACE )?(TABLE|VIEW|SCHEMA|INDEX|FUNCTION|TRIGGER|ROLE|DATABASE)|ALTER (TABLE|ROLE|SCHEMA|DATABASE)"
    r"|DROP (TABLE|VIEW|SCHEMA|INDEX|DATABASE|ROLE)|TRUNCATE|GRANT|REVOKE|COPY|COMMENT ON|LOCK TABLE|SET LOCAL|ANALYZE)\b"
)
"""Words by which a constant text is known to be a part of a statement; SQL is written in capitals."""

BUILT: Counter[str] = Counter()
"""Places that put statements together, as ``module:function``, with how many there are in each."""


def is_sql(node: ast.AST) -> bool:
    """True if a constant text below ``node`` is a part of a statement."""
    texts = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
    return any(isinstance(text, str) and SQL.search(text) for text in texts)


def is_built(node: ast.AST) -> bool:
    """True if the expression makes a statement from pieces that are no constants."""
    match node:
        case ast.JoinedStr():
            return any(isinstance(part, ast.FormattedValue) for part in node.values) and is_sql(
                node
            )
        case ast.BinOp(op=ast.Add() | ast.Mod()):
            return is_sql(node)
        case ast.Call(
            func=ast.Attribute(attr="format" | "format_map" | "replace" | "join" as name)
        ):
            return is_sql(node.func) or (
                name in {"join", "replace"} and any(map(is_sql, node.args))
            )
        case ast.AugAssign(op=ast.Add() | ast.Mod()):
            return is_sql(node.value)
    return False


def built(source: str, module: str) -> Iterator[str]:
    """The places of a module that make a statement from pieces, outermost expressions only."""

    def walk(node: ast.AST, scope: str) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from walk(child, child.name)
            elif is_built(child):
                yield f"{module}:{scope}" if scope else module
            else:
                yield from walk(child, scope)

    return walk(ast.parse(source), "")


def all_built() -> Counter[str]:
    """The places of the whole project."""
    found: Counter[str] = Counter()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix().removesuffix(".py").replace("/", ".")
            found.update(built(path.read_text("utf-8"), name))
    return found


def test_every_statement_that_is_built_has_been_read() -> None:
    found = all_built()
    assert found - BUILT == Counter(), "read them, then enter them into BUILT"
    assert BUILT - found == Counter(), "no longer built: take them out of BUILT"


@pytest.mark.parametrize(
    "expression",
    [
        'f"SELECT * FROM {table}"',
        'f"""\n  INSERT INTO ledger.events VALUES ({value})"""',
        "\"DELETE FROM views.identifiers WHERE id = '%s'\" % value",
        '"DELETE FROM views.identifiers WHERE id = " + value',
        '"SELECT {}".format(value)',
        '" UNION ALL ".join(parts)',
        'text.replace("FROM views.", f"FROM {schema}.")',
        '",".join(f"SELECT {one}" for one in parts)',
    ],
)
def test_a_statement_built_from_a_value_is_found(expression: str) -> None:
    source = f"def ask(value):\n    return {expression}\n"
    assert list(built(source, "infra.planted")) == ["infra.planted:ask"]


@pytest.mark.parametrize(
    "expression",
    ['"SELECT 1"', 'f"no statement: {value}"', '"a" + value', 'fetch("SELECT $1", value)'],
)
def test_a_constant_statement_is_not(expression: str) -> None:
    assert list(built(f"x = {expression}\n", "infra.planted")) == []
