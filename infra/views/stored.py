"""The rows of the views' tables, as ``ledger.write_views`` makes them of what is projected.

History and rebuilds write them without that function, which costs most of their time. The rows of a
rebuild are compared with those that appends have written by it, so the two can never differ unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterator

from domain.fields import Values
from services.views import Row

__all__ = ["stored"]


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
