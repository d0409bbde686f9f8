"""The declared columns of the read models are those of the database, and those that its functions write."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from infra.projections.temporal import PAST
from infra.store.context_sql import WITH_AGGREGATES, context_statement
from infra.views.queries import COLUMNS, HAS_FOLLOW_UPS, statement
from infra.views.tables import TABLES, TableColumn, temporal_columns
from services.context import ConsumerScope, ViewQuery
from services.projection_versions import VERSIONS
from tests.fixtures.read_models import connection

CATALOGUE = """
SELECT c.relname AS table, array_agg(a.attname::text ORDER BY a.attnum) AS names,
       array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum) AS types,
       (SELECT array_agg(k.attname::text ORDER BY n)
          FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS p (attnum, n), pg_attribute k
         WHERE i.indrelid = c.oid AND i.indisprimary AND k.attrelid = c.oid AND k.attnum = p.attnum) AS key
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relnamespace = $1::text::regnamespace AND c.relkind = ANY ($2::"char"[])
 GROUP BY c.oid, c.relname
"""
WRITERS = """
SELECT prosrc FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace AND starts_with(proname, 'write_')
"""
INSERT = re.compile(r"INSERT\s+INTO\s+(\w+)\s*\(([^()]*)\)", re.IGNORECASE)
"""The table and the columns of an insertion into a table whose name has no schema, as those of ``views`` have none."""


async def problems(owner: asyncpg.Connection) -> set[str]:
    """What differs between the declared columns and those of the database, in words."""
    return {
        *await _differing(owner, "views", "r", {n: t.columns for n, t in TABLES.items()}),
        *await _differing(
            owner, "temporal", "r", {n: temporal_columns(t) for n, t in TABLES.items()}
        ),
        *await _differing(owner, "past", "v", {n: t.columns for n, t in TABLES.items()}),
        *await _unwritten(owner),
    }


async def _differing(
    owner: asyncpg.Connection,
    schema: str,
    relkind: str,
    declared: dict[str, tuple[TableColumn, ...]],
) -> set[str]:
    """Tables that are not declared so: by name, and by names, types and order of the columns and the key."""
    rows = await owner.fetch(CATALOGUE, schema, [relkind.encode()])
    stored = {row["table"]: row for row in rows if row["table"] != "invalidated"}
    differences = {f"{schema}.{name} is in one only" for name in stored.keys() ^ declared.keys()}
    for name in stored.keys() & declared.keys():
        columns = list(zip(stored[name]["names"], stored[name]["types"], strict=True))
        expected = [(column.name, column.type) for column in declared[name]]
        differing = [column for column, _ in {*columns} ^ {*expected}]
        differences |= {f"{schema}.{name}.{column} differs" for column in differing}
        if columns != expected and not differing:
            differences.add(f"{schema}.{name} has another order")
        if schema == "views" and tuple(stored[name]["key"]) != TABLES[name].key:
            differences.add(f"{schema}.{name} has another key")
    return differences


async def _unwritten(owner: asyncpg.Connection) -> set[str]:
    """The columns that the functions do not insert, or insert though they are not declared."""
    inserted: dict[str, list[list[str]]] = {name: [] for name in TABLES}
    for row in await owner.fetch(WRITERS):
        for table, columns in INSERT.findall(row["prosrc"]):
            inserted[table].append([column.strip() for column in columns.split(",")])
    differences = {
        f"{name} is written {len(i)} times" for name, i in inserted.items() if len(i) != 1
    }
    for name, insertions in inserted.items():
        for columns in insertions:
            assert len(set(columns)) == len(columns)
            differing = set(columns) ^ set(TABLES[name].names)
            differences |= {f"{name}.{column} is not written so" for column in differing}
    return differences


@pytest_asyncio.fixture
async def owner(database: str) -> AsyncIterator[asyncpg.Connection]:
    async with connection(database) as opened:
        yield opened


async def test_the_declared_columns_are_those_of_the_database(owner: asyncpg.Connection) -> None:
    assert await problems(owner) == set()
    assert TABLES.keys() == VERSIONS.keys()


PLANTED = {
    "ALTER TABLE views.sessions ADD COLUMN nickname text": "views.sessions.nickname differs",
    "ALTER TABLE views.identifiers ALTER COLUMN value TYPE varchar(9)": "views.identifiers.value differs",
    "ALTER TABLE views.records DROP COLUMN directory CASCADE": "views.records.directory differs",
    "ALTER TABLE views.identifiers DROP CONSTRAINT identifiers_pkey,"
    " ADD PRIMARY KEY (organisation, field, kind, value, id)": "views.identifiers has another key",
    "ALTER TABLE temporal.contacts DROP COLUMN valid_to CASCADE": "temporal.contacts.valid_to differs",
    "CREATE TABLE views.others (id text)": "views.others is in one only",
}


@pytest.mark.parametrize("statement", PLANTED)
async def test_another_table_is_found(owner: asyncpg.Connection, statement: str) -> None:
    await owner.execute("DROP VIEW past.identifiers")
    known = await problems(owner)
    await owner.execute(statement)
    assert PLANTED[statement] in await problems(owner) - known


async def test_a_column_at_another_place_is_found(owner: asyncpg.Connection) -> None:
    await owner.execute("""
        ALTER TABLE temporal.sessions RENAME COLUMN account TO other;
        ALTER TABLE temporal.sessions RENAME COLUMN contact TO account;
        ALTER TABLE temporal.sessions RENAME COLUMN other TO contact""")
    assert "temporal.sessions has another order" in await problems(owner)


async def test_a_column_that_is_not_written_is_found(owner: asyncpg.Connection) -> None:
    (text,) = await owner.fetchrow(
        "SELECT pg_get_functiondef('ledger.write_communications'::regproc)"
    )
    lacking = re.sub(r"(INSERT INTO communications [^)]*?)\s*category,", r"\1", text)
    assert lacking != text
    await owner.execute(lacking)
    assert await problems(owner) == {"communications.category is not written so"}
    await owner.execute(lacking.replace("INSERT INTO communications", "INSERT INTO sessions"))
    assert "communications is written 0 times" in await problems(owner)


def test_pages_are_selected_by_columns_of_tables_with_documents() -> None:
    for name, columns in COLUMNS.items():
        assert {"id", *columns} <= set(TABLES[name].names)
        assert {"created", "document", "refs"} <= set(TABLES[name].names)
    assert all(set(columns) <= set(TABLES[name].names) for name, columns in HAS_FOLLOW_UPS.items())


def test_a_reader_of_the_past_asks_no_table_of_the_present() -> None:
    texts = [context_statement(PAST, more) for more in (None, WITH_AGGREGATES, *COLUMNS)]
    for customer in (None, ConsumerScope("A1", "C1")):
        texts += [statement(ViewQuery(view, {}, customer=customer), PAST)[0] for view in COLUMNS]
    for text in texts:
        assert "FROM past." in text
        # Functions are those of the present: they are called for customers, and the past is asked by none.
        assert not re.search(r"\b(FROM|JOIN)\s+views\.\w+\b(?!\()", text)
