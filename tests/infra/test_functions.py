"""Functions of the database: one a file, which its path names, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg
import pytest

from infra.schema import migrate
from infra.schema.repeatable import functions

FOLDER = Path(migrate.__file__).parent
FILES = sorted((FOLDER / "functions").glob("*/*.sql"))
LONGEST = 100
DEFINED = re.compile(r"^CREATE OR REPLACE FUNCTION ([a-z_.]+)\(", re.MULTILINE)
SAID = re.compile(
    r"^(?:COMMENT ON FUNCTION ([a-z_.]+)[ (]|(?:REVOKE ALL|GRANT EXECUTE) ON FUNCTION ([a-z_.]+)[ (])",
    re.MULTILINE,
)
IN_DATABASE = """
SELECT n.nspname || '.' || p.proname AS name, has_function_privilege('public', p.oid, 'EXECUTE') AS public
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname <> 'information_schema' AND NOT starts_with(n.nspname, 'pg_')
"""
FOR_EVERYBODY = {"analytics.wall_clock"}
"""What reads nothing, and views of analysts call."""


def name_of(file: Path) -> str:
    return f"{file.parent.name}.{file.stem}"


def bare(sql: str) -> str:
    """SQL without the bodies of functions, texts and comments."""
    return re.sub(r"\$\$.*?\$\$|'(?:[^']|'')*'|--[^\n]*", "", sql, flags=re.DOTALL)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_defines_the_function_that_its_path_names(file: Path) -> None:
    sql = file.read_text("utf-8")
    assert {*DEFINED.findall(sql)} == {name_of(file)}
    assert {one or other for one, other in SAID.findall(sql)} <= {name_of(file)}
    statements = [each.strip() for each in bare(sql).split(";") if each.strip()]
    begun = ("CREATE OR REPLACE FUNCTION", "COMMENT ON FUNCTION", "REVOKE ALL ON", "GRANT EXECUTE")
    assert all(each.startswith(begun) for each in statements)


def test_every_file_is_found() -> None:
    assert len(FILES) == len(functions().statements) - 1 > 50


async def test_the_database_has_them_and_no_other(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        found = await connection.fetch(IN_DATABASE)
    finally:
        await connection.close()
    assert {row["name"] for row in found} == {*map(name_of, FILES)}
    assert {row["name"] for row in found if row["public"]} == FOR_EVERYBODY


async def test_their_bodies_fit_the_tables(database: str) -> None:
    """They are put up before the tables are, and so unchecked."""
    connection = await asyncpg.connect(database)
    try:
        await connection.execute("SET check_function_bodies = on")
        for file in FILES:
            await connection.execute(file.read_text("utf-8"))
    finally:
        await connection.close()


@pytest.mark.parametrize("file", sorted(FOLDER.rglob("*.sql")), ids=lambda file: file.name)
def test_lines_are_short(file: Path) -> None:
    lines = file.read_text("utf-8").split("\n")
    assert [line for line in lines if len(line) > LONGEST or line != line.rstrip()] == []
