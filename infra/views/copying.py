"""Rows as binary COPY takes them.

Whoever folds a page encodes its rows, too: a driver would do it value by value in the one process through
which all pages go. The format is that of the PostgreSQL manual, COPY, "Binary Format".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from struct import Struct
from typing import Any, TypeAlias

import asyncpg
import orjson

__all__ = ["Columns", "columns_of", "copied", "encoded"]

Columns: TypeAlias = dict[str, list[tuple[str, Callable[[Any], bytes]]]]
"""The columns of each view's table in their order, each with what encodes a value that is not null."""

COLUMNS = """
SELECT c.relname AS view, a.attname AS name, format_type(a.atttypid, NULL) AS type
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relnamespace = 'views'::regnamespace AND c.relkind = 'r' ORDER BY c.relname, a.attnum
"""

BEGIN, END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 (a wall clock, as the columns hold it)
TEXT = 25
"""The number of the type ``text``."""

_fields = Struct("!h").pack
_length = Struct("!i").pack
_short = Struct("!ii").pack
_long = Struct("!iq").pack
_array = Struct("!iiiii").pack


async def columns_of(connection: asyncpg.Connection) -> Columns:
    """The columns of the live views' tables."""
    found: Columns = {}
    for view, name, type_ in await connection.fetch(COLUMNS):
        found.setdefault(view, []).append((name, _ENCODED[type_]))
    return found


def encoded(columns: Columns, view: str, values: Mapping[str, Any]) -> bytes:
    """A row of a view; what is not among the values is null."""
    own, get = columns[view], values.get
    parts = [_fields(len(own))]
    for name, encode in own:
        value = get(name)
        parts.append(NULL if value is None else encode(value))
    return b"".join(parts)


async def copied(rows: bytearray) -> AsyncIterator[bytes]:
    """What COPY takes, of rows one behind the other."""
    yield BEGIN
    yield bytes(rows)
    yield END


def _sized(value: bytes) -> bytes:
    return _length(len(value)) + value


def _text(value: str) -> bytes:
    said = value.encode()
    return _length(len(said)) + said


def _json(value: Any) -> bytes:
    return _sized(value if isinstance(value, bytes) else orjson.dumps(value))


def _texts(values: Sequence[str]) -> bytes:
    if not values:
        return _sized(_array(0, 0, TEXT, 0, 0)[:12])
    return _sized(_array(1, 0, TEXT, len(values), 1) + b"".join(map(_text, values)))


def _boolean(value: bool) -> bytes:  # noqa: FBT001
    return b"\0\0\0\1\1" if value else b"\0\0\0\1\0"


def _integer(value: int) -> bytes:
    return _short(4, value)


def _bigint(value: int) -> bytes:
    return _long(8, value)


def _timestamp(value: str) -> bytes:
    since = datetime.fromisoformat(value) - EPOCH
    return _long(8, (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


_ENCODED: dict[str, Callable[[Any], bytes]] = {
    "bigint": _bigint,
    "boolean": _boolean,
    "integer": _integer,
    "json": _json,
    "text": _text,
    "text[]": _texts,
    "timestamp without time zone": _timestamp,
    "uuid": _sized,
}
