"""Converts CSV to Parquet and DuckDB files; the only module that needs the extra ``export``.

A single thread keeps the order of rows, and so the bytes; data beyond the memory limit spills to disk.
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
"""DuckDB's types by those of PostgreSQL; JSON stays text, so that readers need no extension."""

Settings: TypeAlias = dict[str, str | bool | int | float | list[str]]

_CSV = "SELECT * FROM read_csv({}, columns = {{{}}}, {}, {})"
MEMORY_LIMIT = "512MB"
ROW_GROUP = 100_000


def convert(relation: Relation, csv_file: Path, file: Path, format_: str) -> None:
    """Convert a CSV file with the columns of ``relation`` to ``file``.

    The same rows give the same Parquet file, byte for byte. Of a DuckDB file only the content of its table
    is the same, since DuckDB chooses the layout of its pages.

    :param format_: ``parquet`` or ``duckdb``.
    """
    spill = str(csv_file.with_suffix(".spill"))
    settings: Settings = {"threads": 1, "memory_limit": MEMORY_LIMIT, "temp_directory": spill}
    database = str(file) if format_ == "duckdb" else ":memory:"
    with duckdb.connect(database, config=settings) as connection:
        connection.execute("SET preserve_insertion_order = true")
        if format_ == "duckdb":
            connection.execute(
                f"CREATE TABLE {quoted(relation.name)} AS {_csv_source(relation, csv_file)}"
            )
            _comment(connection, relation)
        else:
            options = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP}"
            connection.execute(
                f"COPY ({_csv_source(relation, csv_file)}) TO {_literal(str(file))} ({options})"
            )


def _csv_source(relation: Relation, csv_file: Path) -> str:
    """Return the query that reads the CSV file. An empty text is in quotes, unlike null."""
    types = ", ".join(f"{_literal(c.name)}: '{TYPES[c.type]}'" for c in relation.columns)
    options = "header = true, auto_detect = false, quote = '\"', escape = '\"', nullstr = ''"
    limits = "allow_quoted_nulls = false, parallel = false, max_line_size = 33554432"
    path = _literal(str(csv_file))
    return _CSV.format(path, types, options, limits)


def _comment(connection: duckdb.DuckDBPyConnection, relation: Relation) -> None:
    connection.execute(
        f"COMMENT ON TABLE {quoted(relation.name)} IS {_literal(relation.description)}"
    )
    for column in relation.columns:
        name = f"{quoted(relation.name)}.{quoted(column.name)}"
        connection.execute(f"COMMENT ON COLUMN {name} IS {_literal(column.comment)}")


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
