"""The wall between organisations: no statement touches a tenant's table without naming whose.

Read from the sources: every SQL text of ``infra``, every statement of the migrations and functions.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.schema.migrate import available
from infra.schema.repeatable import functions

ROOT = Path(__file__).parent.parent.parent
TABLE = r"((?:ledger|views|webhooks|delivery)\.[a-z_]+)\b"
TOUCHED = re.compile(
    rf"\b(?:INTO|UPDATE|TABLE)\s+(?:ONLY\s+)?{TABLE}|\b(?:FROM|JOIN|USING)\s+(?:ONLY\s+)?{TABLE}(?!\s*\()",
    re.IGNORECASE,
)
"""A table after the word that announces one; a function is no table."""
ABOVE = {"ledger.global_claims", "ledger.view_versions"}
"""What stands above the organisations: what is unique over all of them, the versions of the views."""
DEFINING = re.compile(
    r"^\s*(?:BEGIN\s+)?(COMMENT|GRANT|REVOKE|LOCK\s+TABLE|ALTER\s+TABLE|CREATE\s+(SCHEMA|UNIQUE\s+INDEX|INDEX|TRIGGER|ROLE|VIEW))\b",
    re.IGNORECASE,
)
WHOLE = {"infra/rebuild", "infra/analytics", "infra/cli", "infra/schema"}
"""Programs of the operator that work on all organisations at once; no call reaches them."""


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module, those of f-strings put together, with their lines."""
    tree = ast.parse(path.read_text("utf-8"))
    inside = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "?" for p in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in inside
        ):
            yield node.lineno, node.value


def unscoped(text: str) -> list[str]:
    """The tables that a statement touches without naming an organisation."""
    tables = {one or other for one, other in TOUCHED.findall(text)} - ABOVE
    return [] if re.search(r"\borganisation\b", text) else sorted(tables)


def of_calls(path: Path) -> bool:
    name = path.relative_to(ROOT).as_posix()
    return not any(name.startswith(w) for w in WHOLE)


MODULES = [path for path in sorted((ROOT / "infra").rglob("*.py")) if of_calls(path)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_statement_of_a_call_names_the_organisation(path: Path) -> None:
    found = [
        f"line {line}: {tables}" for line, text in literals(path) if (tables := unscoped(text))
    ]
    assert not found


def statements() -> Iterator[tuple[str, str]]:
    """The statements of the migrations and functions, without their comments."""
    migrations = {str(migration): migration.sql for migration in available()}
    for where, sql in (migrations | dict(functions().statements)).items():
        text = re.sub(r"--[^\n]*", "", sql)
        text = re.sub(r"'(?:[^']|'')*'", "''", text)
        for statement in text.split(";"):
            yield where, statement


def test_every_statement_of_the_schema_names_the_organisation() -> None:
    found = [
        (where, tables, statement.strip()[:80])
        for where, statement in statements()
        if not DEFINING.match(statement) and (tables := unscoped(statement))
    ]
    assert not found


def test_every_table_of_a_tenant_begins_with_the_organisation() -> None:
    tables = {}
    for migration in available():
        found = re.findall(
            r"CREATE TABLE ((?:ledger|views|webhooks|delivery)\.\w+) \(\s*(\w+)", migration.sql
        )
        tables |= dict(found)
    assert {"ledger.events", "views.contacts", "delivery.entries"} <= tables.keys()
    assert {name for name, first in tables.items() if first != "organisation"} == ABOVE


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM ledger.events WHERE position = $1",
        "DELETE FROM views.identifiers n USING x WHERE n.id = x.id",
        "UPDATE ledger.sequences SET value = 0",
        "INSERT INTO ledger.stored_responses (key) VALUES ($1)",
        "SELECT 1 FROM x JOIN ledger.claims c ON c.claim = x.claim",
    ],
)
def test_a_statement_without_it_is_found(text: str) -> None:
    assert unscoped(text)
    assert not unscoped(f"{text} AND organisation = $2")
