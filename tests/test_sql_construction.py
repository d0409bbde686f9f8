"""Only constants and names of fixed tables reach the text of a statement; values are parameters.

Every place where a text of SQL is put together from pieces (an f-string, ``format``, ``%``, ``+``,
``join`` or ``replace``) is found in the syntax tree and held against a list. A new place fails
until somebody has read it and entered it here.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Collection, Iterator
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

BUILT: Counter[str] = Counter(
    {
        "infra.analytics.columns:_record_label": 1,
        "infra.analytics.columns:record_join": 1,
        "infra.analytics.duckdb_files:_comment": 2,
        "infra.analytics.duckdb_files:_csv_source": 1,
        "infra.analytics.duckdb_files:convert": 2,
        "infra.analytics.events": 1,
        "infra.analytics.events:_columns": 1,
        "infra.analytics.events:_record_join": 1,
        "infra.analytics.export:_check_ledger": 1,
        "infra.analytics.export:_row_source": 2,
        "infra.analytics.export:export": 3,
        "infra.analytics.install": 1,
        "infra.analytics.install:_derive": 2,
        "infra.analytics.install:assert_deployed": 1,
        "infra.analytics.reference_records": 1,
        "infra.analytics.relation": 1,
        "infra.analytics.relation:statements": 4,
        "infra.analytics.relations:_entity_relations": 1,
        "infra.analytics.relations:_set_relation": 2,
        "infra.audit.queries": 2,
        "infra.audit.seal_builder": 1,
        "infra.audit.sealer": 1,
        "infra.diagnostics.ledger": 2,
        "infra.ledger.event_search": 1,
        "infra.ledger.event_search:_statement": 1,
        "infra.ledger.integrity": 1,
        "infra.ledger.integrity:integrity_problems": 1,
        "infra.postgres.notify": 1,
        "infra.projections.analytics_tables": 1,
        "infra.projections.parked": 1,
        "infra.projections.parked:park_unauthentic": 2,
        "infra.projections.parked:park_unknown": 2,
        "infra.projections.projector": 1,
        "infra.projections.reset:reset_projection": 1,
        "infra.projections.sql_projections:batch_statement": 1,
        "infra.projections.temporal": 2,
        "infra.rebuild.rebuild": 1,
        "infra.rebuild.rebuild:_lock_tables": 2,
        "infra.rebuild.replay:_create_schema": 1,
        "infra.rebuild.replay:_open_tables": 1,
        "infra.rebuild.replay_receipt:ordered_rows": 1,
        "infra.rebuild.status:_load_status": 1,
        "infra.rebuild.table_diff:_statement": 2,
        "infra.rebuild.table_sets:_move_away": 1,
        "infra.rebuild.table_sets:build_indexes": 1,
        "infra.rebuild.table_sets:create_shadow_tables": 1,
        "infra.rebuild.table_sets:drop_schema": 1,
        "infra.rebuild.table_sets:load_heads": 1,
        "infra.rebuild.table_sets:load_progress": 1,
        "infra.rebuild.table_sets:save_heads": 2,
        "infra.rebuild.table_sets:switch": 5,
        "infra.rebuild.verify:_open_snapshot": 1,
        "infra.rebuild.verify:verify": 2,
        "infra.replay.pipeline": 2,
        "infra.schema.migrate:_apply_next": 1,
        "infra.store.aggregate_loader": 3,
        "infra.store.aggregate_loader:load_expressions": 2,
        "infra.store.context_loader:__init__": 1,
        "infra.store.context_sql:context_statement": 5,
        "infra.store.key_rotation": 3,
        "infra.views.queries:_load_references": 1,
        "infra.views.queries:compact": 1,
        "infra.views.queries:documents_with_references": 1,
        "infra.views.queries:reference_closure": 2,
        "infra.views.queries:rows_statement": 1,
        "infra.views.queries:statement": 1,
    }
)
"""Places that put statements together, as ``module:function``, with how many there are in each.

What they insert are names of tables, columns, roles and schemas from fixed tables, quoted where an
operator has chosen them, and constants; never a value of a call.
"""

Names = Collection[str]
"""Constants of modules that hold statements or parts of them."""


def is_sql(node: ast.AST, names: Names) -> bool:
    """True if a text or a named constant below ``node`` is a part of a statement."""
    return any(
        (isinstance(n, ast.Constant) and isinstance(n.value, str) and SQL.search(n.value))
        or (isinstance(n, ast.Name) and n.id in names)
        for n in ast.walk(node)
    )


def sql_constants(tree: ast.Module) -> Iterator[str]:
    """The names of a module's constants that hold SQL."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and is_sql(node.value, ()):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def is_built(node: ast.AST, names: Names) -> bool:
    """True if the expression makes a statement from pieces that are no constants."""
    match node:
        case ast.JoinedStr():
            inserted = any(isinstance(part, ast.FormattedValue) for part in node.values)
            return inserted and is_sql(node, names)
        case ast.BinOp(op=ast.Add() | ast.Mod()):
            return is_sql(node, names)
        case ast.Call(
            func=ast.Attribute(attr="format" | "format_map" | "replace" | "join" as name)
        ):
            pieces = node.args if name in {"join", "replace"} else []
            return any(is_sql(piece, names) for piece in (node.func, *pieces))
        case ast.AugAssign(op=ast.Add() | ast.Mod()):
            return is_sql(node.value, names)
    return False


def built(source: str, module: str, names: Names = ()) -> Iterator[str]:
    """The places of a module that make a statement from pieces, outermost expressions only.

    :param names: constants of other modules that hold SQL.
    """
    tree = ast.parse(source)
    known = {*names, *sql_constants(tree)}

    def walk(node: ast.AST, scope: str) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from walk(child, child.name)
            elif is_built(child, known):
                yield f"{module}:{scope}" if scope else module
            else:
                yield from walk(child, scope)

    return walk(tree, "")


def all_built() -> Counter[str]:
    """The places of the whole project."""
    sources = {
        path.relative_to(ROOT).as_posix().removesuffix(".py").replace("/", "."): path.read_text()
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }
    constants = {
        module: {name for name in sql_constants(ast.parse(source)) if name.isupper()}
        for module, source in sources.items()
    }
    places: Counter[str] = Counter()
    for module, source in sources.items():
        imported = {
            alias.name
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if alias.name in constants.get(node.module or "", ())
        }
        places.update(built(source, module, imported))
    return places


def test_every_statement_that_is_built_has_been_read() -> None:
    places = all_built()
    assert places - BUILT == Counter(), "read them, then enter them into BUILT"
    assert BUILT - places == Counter(), "no longer built: take them out of BUILT"


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
        "STATEMENT.format(value)",
        "ELSEWHERE.replace('x', value)",
    ],
)
def test_a_statement_built_from_a_value_is_found(expression: str) -> None:
    source = f'STATEMENT = "SELECT 1 WHERE"\n\ndef ask(value):\n    return {expression}\n'
    assert list(built(source, "infra.planted", ["ELSEWHERE"])) == ["infra.planted:ask"]


@pytest.mark.parametrize(
    "expression",
    ['"SELECT 1"', 'f"no statement: {value}"', '"a" + value', 'fetch("SELECT $1", value)'],
)
def test_a_constant_statement_is_not(expression: str) -> None:
    assert list(built(f"x = {expression}\n", "infra.planted")) == []
