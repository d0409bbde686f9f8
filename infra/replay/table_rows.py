"""The rows of the views' tables, as ``ledger.write_views`` makes them of what is projected.

History and rebuilds write them without that function, which costs most of their time. The rows of a
rebuild are compared with those that appends have written by it, so the two can never differ unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterator

from domain.fields import JsonObject
from services.projections import ViewRow

__all__ = ["table_rows"]


def table_rows(
    row: ViewRow, common: JsonObject, created: int, changed: int
) -> Iterator[tuple[str, JsonObject]]:
    """A projected row's table rows: the view and the columns.

    :param common: the columns of the organisation and the stream.
    :param created: the position of the entity's first event; ``changed`` that of its last one.
    """
    columns = row.columns
    shown: JsonObject = {**common, "refs": row.refs, "document": row.document}
    if row.view != "entities":
        places = {"created": created, "changed": changed, "version": row.version}
        yield row.view, {**columns, **places, **shown}
        return
    kind, id_, retired = columns["kind"], columns["id"], columns.get("retired", False)
    shown |= {"ref": f"{kind}/{id_}", "retired": retired, "owners": columns.get("owners", ())}
    yield "entities", shown
    for name, value in (columns.get("names") or {}).items():
        named = {"kind": kind, "id": id_, "field": name, "value": value, "retired": retired}
        yield "identifiers", {**common, **named}
