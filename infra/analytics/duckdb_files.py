"""Parquet and DuckDB files from CSV, with DuckDB: the one module that needs the extra ``export``.

One thread keeps the order and with it the bytes; what does not fit into memory goes to disk.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import duckdb

from infra.analytics.columns import quoted
from infra.analytics.relation import Relation

__all__ = ["convert"]

TYPES = {
    "text": "VARCHAR",
    "json": "VARCHAR",
    "bytea": "VARCHAR",
    "bigint": "BIGINT",
    "integer": "INTEGER",
    "smallint": "SMALLINT",
    "boolean": "BOOLEAN",
    "double precision": "DOUBLE",
    "date": "DATE",
    "timestamp without time zone": "TIMESTAMP",
    "timestamp with time zone": "TIMESTAMPTZ",
    "uuid": "UUID",
}
"""PostgreSQL's types; JSON stays text, so that no reader needs an extension for it."""

Settings: TypeAlias = dict[str, str | bool | int | float | list[str]]

_CSV = "SELECT * FROM read_csv({}, columns = {{{}}}, {}, {})"
MEMORY = "512MB"
ROW_GROUP = 100_000


def convert(what: Relation, lines: Path, file: Path, form: str) -> None:
    """Makes ``file`` from the CSV file ``lines``, which holds the columns of ``what``.

    The same rows make the same Parquet file, byte for byte. Of a DuckDB file only the content of
    its table is the same: DuckDB decides by itself how its pages are laid out.
    """
    spill = str(lines.with_suffix(".spill"))
    settings: Settings = {"threads": 1, "memory_limit": MEMORY, "temp_directory": spill}
    database = str(file) if form == "duckdb" else ":memory:"
    with duckdb.connect(database, config=settings) as connection:
        connection.execute("SET preserve_insertion_order = true")
        if form == "duckdb":
            connection.execute(f"CREATE TABLE {quoted(what.name)} AS {_rows(what, lines)}")
            _comment(connection, what)
        else:
            options = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP}"
            connection.execute(f"COPY ({_rows(what, lines)}) TO {_text(str(file))} ({options})")


def _rows(what: Relation, lines: Path) -> str:
    """The CSV file in SQL. An empty text is in quotes, so that it is told from null."""
    types = ", ".join(f"{_text(c.name)}: '{TYPES[c.type]}'" for c in what.columns)
    options = "header = true, auto_detect = false, quote = '\"', escape = '\"', nullstr = ''"
    more = "allow_quoted_nulls = false, parallel = false, max_line_size = 33554432"
    path = _text(str(lines))
    return _CSV.format(path, types, options, more)


def _comment(connection: duckdb.DuckDBPyConnection, what: Relation) -> None:
    connection.execute(f"COMMENT ON TABLE {quoted(what.name)} IS {_text(what.says)}")
    for column in what.columns:
        name = f"{quoted(what.name)}.{quoted(column.name)}"
        connection.execute(f"COMMENT ON COLUMN {name} IS {_text(column.comment)}")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
