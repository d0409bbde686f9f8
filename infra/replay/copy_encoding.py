"""Rows in the binary format of COPY.

The worker that replays a page also encodes its rows: a driver would do it value by value in the one process
that writes all pages. The format is that of the PostgreSQL manual, COPY, "Binary Format".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from struct import Struct, pack
from typing import Any, TypeAlias

import orjson

from infra.views.tables import TableColumn

__all__ = ["Encoders", "copy_stream", "encode_row", "encoders"]

Encoders: TypeAlias = list[tuple[str, Callable[[Any], bytes]]]
"""The columns of a table by name, each with the function that encodes a value that is not null."""

BEGIN, END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 (a wall clock, as the columns hold it)
MICROSECOND = timedelta(microseconds=1)
TEXT = 25
"""The object identifier of the type ``text``."""

EMPTY = pack("!iii", 0, 0, TEXT)
"""An array without dimensions."""

_fields = Struct("!h").pack
_length = Struct("!i").pack
_long = Struct("!q").pack
_array = Struct("!iiiii").pack


def encoders(columns: Iterable[TableColumn]) -> Encoders:
    """The encoders of a table's columns, in their order."""
    return [(column.name, _ENCODERS[column.type]) for column in columns]


def encode_row(columns: Encoders, values: Mapping[str, Any]) -> bytes:
    """A row with these columns; those without a value are null."""
    get = values.get
    return _fields(len(columns)) + b"".join(
        [
            NULL if (value := get(name)) is None else _length(len(data := encode(value))) + data
            for name, encode in columns
        ]
    )


async def copy_stream(rows: bytes) -> AsyncIterator[bytes]:
    """The input of COPY: its header, encoded rows one after the other, and its trailer."""
    yield BEGIN
    yield rows
    yield END


def _json(value: Any) -> bytes:
    return value if isinstance(value, bytes) else orjson.dumps(value)


def _texts(values: Sequence[str]) -> bytes:
    if not values:
        return EMPTY
    items = [_length(len(data := value.encode())) + data for value in values]
    return _array(1, 0, TEXT, len(items), 1) + b"".join(items)


def _timestamp(value: str) -> bytes:
    return _long((datetime.fromisoformat(value) - EPOCH) // MICROSECOND)


# Mostly functions of C: a call of Python for each value would cost more than everything else about rows.
_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "bigint": _long,
    "boolean": (b"\0", b"\1").__getitem__,
    "integer": _length,
    "json": _json,
    "text": str.encode,
    "text[]": _texts,
    "timestamp without time zone": _timestamp,
    "uuid": bytes,
}
