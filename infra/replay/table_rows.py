"""The rows of the views' tables, as ``ledger.write_views`` makes them of what is projected.

The temporal tables and rebuilds are written without that function, which costs most of their time. The rows of a
rebuild are compared with those that appends have written by it, so a difference between the two is always noticed.
"""

from __future__ import annotations

from collections.abc import Iterator

from domain.fields import JsonObject
from infra.views.tables import TABLES, Table
from services.projections import ViewRow

__all__ = ["scope_keys", "table_rows"]

_TABLES_OF = {view: [table for table in TABLES.values() if table.view == view] for view in TABLES}
"""By the view of projected rows, the tables that have rows of them."""
_DEFAULTS = {
    table.name: {c.name: c.default for c in table.columns if c.default is not None}
    for table in TABLES.values()
}
"""The values of columns for which a projection may give none."""
_DERIVED = {
    table.name: tuple((c.name, c.source) for c in table.columns if c.source != "projected")
    for table in TABLES.values()
}
"""The columns that are not projected, with the sources of their values."""
_ONE = ((None, None),)
"""The items of a table that has one row for each projected one."""


def table_rows(
    row: ViewRow, organisation: str, stream: bytes | str, created: int, changed: int
) -> Iterator[tuple[Table, JsonObject]]:
    """A projected row's table rows: the table and the values by column, among which others may be.

    :param stream: the value of columns of the entity's stream.
    :param created: the position of the entity's first event; ``changed`` that of its last one.
    """
    projected = row.columns
    sources: JsonObject = {
        "organisation": organisation,
        "stream": stream,
        "created": created,
        "changed": changed,
        "version": row.version,
        "document": row.document,
        "refs": row.refs,
        "ref": _ref(row),
    }
    for table in _TABLES_OF[row.view]:
        for key, value in (projected.get(table.items) or {}).items() if table.items else _ONE:
            sources["item_key"], sources["item_value"] = key, value
            values = {**_DEFAULTS[table.name], **projected}
            for name, source in _DERIVED[table.name]:
                values[name] = sources[source]
            yield table, values


def scope_keys(row: ViewRow, organisation: str) -> Iterator[tuple[str, ...]]:
    """The table and the `Table.scope` of all rows that ``ledger.write_views`` writes for a projected row.

    It writes the rows of an entity's items together, and deletes those that are no longer among them.
    """
    values = row.columns | {"organisation": organisation, "ref": _ref(row)}
    for table in _TABLES_OF[row.view]:
        yield table.name, *(str(values[name]) for name in table.scope)


def _ref(row: ViewRow) -> str:
    """The entity of a row as ``kind/id``, where the row has a kind."""
    return f"{row.columns.get('kind')}/{row.columns['id']}"
