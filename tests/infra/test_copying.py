"""Rows that are encoded for COPY, read again by the server."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import asyncpg

from infra.replay.copy_encoding import copy_stream, encode_row, encoders
from infra.views.tables import TableColumn

STREAM = UUID(int=5)
TYPES = {
    "n": "bigint",
    "small": "integer",
    "yes": "boolean",
    "document": "json",
    "label": "text",
    "refs": "text[]",
    "due": "timestamp without time zone",
    "stream": "uuid",
}
ROWS = [
    {
        "n": 2**40,
        "small": -7,
        "yes": True,
        "document": b'{"a":"\\n"}',
        "label": "Ελένη \N{GRINNING FACE}\t\\N",
        "refs": ("a/1", "Ω"),
        "due": "2026-03-04T09:00:00",
        "stream": STREAM.bytes,
    },
    {"yes": False, "document": {"b": None}, "label": "", "refs": [], "due": "1969-12-31T23:59:59"},
    {},
]
READ = "SELECT n, small, yes, document, label, refs, due, stream FROM encoded"


async def test_the_server_reads_what_is_encoded(empty_database: str) -> None:
    columns_ = encoders(TableColumn(name, type_) for name, type_ in TYPES.items())
    connection = await asyncpg.connect(empty_database)
    try:
        columns = ", ".join(f"{name} {type_}" for name, type_ in TYPES.items())
        await connection.execute(f"CREATE TABLE encoded ({columns})")
        rows = b"".join(encode_row(columns_, row) for row in ROWS)
        await connection.copy_to_table("encoded", source=copy_stream(rows), format="binary")
        full, sparse, none = (list(row) for row in await connection.fetch(READ))
    finally:
        await connection.close()
    due, before = datetime(2026, 3, 4, 9), datetime(1969, 12, 31, 23, 59, 59)  # noqa: DTZ001
    label = ROWS[0]["label"]
    assert full == [2**40, -7, True, '{"a":"\\n"}', label, ["a/1", "Ω"], due, STREAM]
    assert sparse == [None, None, False, '{"b":null}', "", [], before, None]
    assert none == [None] * len(TYPES)
