"""The rows of the views' tables, as ``ledger.write_views`` makes them of what is projected.

History and rebuilds write them without that function, which costs most of their time. The rows of a
rebuild are compared with those that appends have written by it, so the two can never differ unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeAlias

import asyncpg
import orjson

from domain.fields import Values
from services.views import Row

__all__ = ["Columns", "Records", "columns_of", "record", "stored"]

Columns: TypeAlias = dict[str, list[tuple[str, Callable[[Any], Any] | None]]]
"""The columns of each view's table in their order, each with what makes of a value what COPY takes."""

Records: TypeAlias = dict[str, list[tuple[Any, ...]]]
"""Rows for binary COPY by view, as tuples of all columns."""

COLUMNS = """
SELECT c.relname AS view, a.attname AS name, format_type(a.atttypid, NULL) AS type
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relnamespace = 'views'::regnamespace AND c.relkind = 'r' ORDER BY c.relname, a.attnum
"""


def stored(row: Row, created: int, changed: int) -> Iterator[tuple[str, Values]]:
    """A projected row's table rows: the view and the columns, but for organisation and stream.

    :param created: the position of the entity's first fact; ``changed`` that of its last one.
    """
    shown: Values = {"refs": row.refs, "document": row.document}
    if row.view != "entities":
        places = {"created": created, "changed": changed, "version": row.version}
        yield row.view, row.columns | places | shown
        return
    kind, id_ = row.columns["kind"], row.columns["id"]
    retired = row.columns.get("retired", False)
    owners = row.columns.get("owners", ())
    yield "entities", {"ref": f"{kind}/{id_}", "retired": retired, "owners": owners} | shown
    for name, value in (row.columns.get("names") or {}).items():
        named = {"kind": kind, "id": id_, "field": name, "value": value}
        yield "names", named | {"retired": retired}


async def columns_of(connection: asyncpg.Connection) -> Columns:
    """The columns of the live views' tables."""
    found: Columns = {}
    for row in await connection.fetch(COLUMNS):
        column = (row["name"], _ENCODED.get(row["type"]))
        found.setdefault(row["view"], []).append(column)
    return found


def record(columns: Columns, view: str, values: Values) -> tuple[Any, ...]:
    """A row of a view as COPY takes it."""
    get = values.get
    return tuple(get(name) if how is None else how(get(name)) for name, how in columns[view])


def _json(value: Any) -> bytes | None:
    return value if value is None or isinstance(value, bytes) else orjson.dumps(value)


def _timestamp(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


_ENCODED = {"json": _json, "timestamp without time zone": _timestamp}
