"""Rows as binary COPY takes them.

Whoever folds a page encodes its rows, too: a driver would do it value by value in the one process through
which all pages go. The format is that of the PostgreSQL manual, COPY, "Binary Format".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from struct import Struct, pack
from typing import Any, TypeAlias

import asyncpg
import orjson

__all__ = ["Columns", "Encoders", "columns_of", "copy_stream", "encode_row", "encoders"]

Columns: TypeAlias = dict[str, list[tuple[str, str]]]
"""The columns of each view's table in their order, as names and types."""
Encoders: TypeAlias = list[tuple[str, Callable[[Any], bytes]]]
"""The columns of a table by name, each with what makes bytes of a value that is not null."""

COLUMNS = """
SELECT c.relname AS view, a.attname AS name, format_type(a.atttypid, NULL) AS type
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relnamespace = 'views'::regnamespace AND c.relkind = 'r' ORDER BY c.relname, a.attnum
"""

BEGIN, END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 (a wall clock, as the columns hold it)
MICROSECOND = timedelta(microseconds=1)
TEXT = 25
"""The number of the type ``text``."""

EMPTY = pack("!iii", 0, 0, TEXT)
"""An array of no dimension."""

_fields = Struct("!h").pack
_length = Struct("!i").pack
_long = Struct("!q").pack
_array = Struct("!iiiii").pack


async def columns_of(connection: asyncpg.Connection) -> Columns:
    """The columns of the live views' tables."""
    found: Columns = {}
    for view, name, type_ in await connection.fetch(COLUMNS):
        found.setdefault(view, []).append((name, type_))
    return found


def encoders(columns: Columns) -> dict[str, Encoders]:
    """How the rows of each view are encoded."""
    return {view: [(name, _ENCODED[type_]) for name, type_ in own] for view, own in columns.items()}


def encode_row(columns: Encoders, values: Mapping[str, Any]) -> bytes:
    """A row with these columns; what is not among the values is null."""
    get = values.get
    return _fields(len(columns)) + b"".join(
        [
            NULL if (value := get(name)) is None else _length(len(said := encode(value))) + said
            for name, encode in columns
        ]
    )


async def copy_stream(rows: bytes) -> AsyncIterator[bytes]:
    """What COPY takes, of rows one behind the other."""
    yield BEGIN
    yield rows
    yield END


def _json(value: Any) -> bytes:
    return value if isinstance(value, bytes) else orjson.dumps(value)


def _texts(values: Sequence[str]) -> bytes:
    if not values:
        return EMPTY
    own = [_length(len(said := value.encode())) + said for value in values]
    return _array(1, 0, TEXT, len(own), 1) + b"".join(own)


def _timestamp(value: str) -> bytes:
    return _long((datetime.fromisoformat(value) - EPOCH) // MICROSECOND)


# Mostly functions of C: one of Python for each value would cost more than all else that rows need.
_ENCODED: dict[str, Callable[[Any], bytes]] = {
    "bigint": _long,
    "boolean": (b"\0", b"\1").__getitem__,
    "integer": _length,
    "json": _json,
    "text": str.encode,
    "text[]": _texts,
    "timestamp without time zone": _timestamp,
    "uuid": bytes,
}
