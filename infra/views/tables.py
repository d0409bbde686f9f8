"""The tables of the read models: the columns of each, declared once for all that write or compare rows.

Three writers fill them: the functions of the database that ``ledger.write_views`` calls with each append, COPY in a
rebuild, and whatever writes the temporal tables. The last two, and the comparison of rows, take the columns from
here; a test compares them with the catalogue and with what those functions insert.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["TABLES", "TEMPORAL_COLUMNS", "Source", "Table", "TableColumn", "temporal_columns"]

Source: TypeAlias = Literal[
    "projected",
    "organisation",
    "stream",
    "created",
    "changed",
    "version",
    "document",
    "refs",
    "ref",
    "item_key",
    "item_value",
    "valid_from",
    "valid_to",
]
"""Where the value of a column comes from.

``projected``: from the column of the same name of the projected row. ``organisation``, ``stream``: the entity's.
``created``, ``changed``: the position of its first event, and of its last one. ``version``, ``document``, ``refs``:
those of the projected row. ``ref``: the entity as ``kind/id``. ``item_key``, ``item_value``: one item of
`Table.items`. ``valid_from``, ``valid_to``: the positions between which a row of a temporal table was valid.
"""


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column: its type as the catalogue spells it, and where its value comes from.

    ``default`` is its value where the projection gives none. Queries may restrict pages by a ``searched`` one.
    """

    name: str
    type: str = "text"
    source: Source = "projected"
    default: object = None
    searched: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its primary key, its columns in their order, and the projected rows that it is made of.

    ``scope`` is the key by which rows are written together, ``view`` names the rows, of each of which the table has
    one, or one for each item of the mapping that they hold under the name ``items``.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[TableColumn, ...]
    scope: tuple[str, ...]
    view: str
    items: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)


def _searched(*names: str) -> tuple[TableColumn, ...]:
    return tuple(TableColumn(name, searched=True) for name in names)


_ORGANISATION = TableColumn("organisation", source="organisation")
_CREATED = TableColumn("created", "bigint", "created")
_VERSION = TableColumn("version", "integer", "version")
_DOCUMENT = TableColumn("document", "json", "document")
_REFS = TableColumn("refs", "text[]", "refs")
_STREAM = TableColumn("stream_id", "uuid", "stream")
_SESSION_EPOCH = TableColumn("session_epoch", "integer")
_RETIRED = TableColumn("retired", "boolean", default=False)


def _table(
    name: str,
    key: tuple[str, ...],
    *columns: TableColumn,
    scope: tuple[str, ...] = (),
    view: str = "",
    items: str = "",
) -> Table:
    key, scope = ("organisation", *key), ("organisation", *(scope or key))
    return Table(name, key, (_ORGANISATION, *columns), scope, view or name, items)


def _documents(name: str, *columns: TableColumn) -> Table:
    """A table of documents, with the columns by which they are searched."""
    head = (*_searched("id"), _CREATED, _VERSION, _DOCUMENT, _REFS)
    return _table(name, ("id",), *head, *columns)


_TABLES = (
    _table(
        "entities",
        ("ref",),
        TableColumn("ref", source="ref"),
        _STREAM,
        _RETIRED,
        _DOCUMENT,
        _REFS,
        TableColumn("owners", "text[]", default=()),
    ),
    _table(
        "identifiers",
        ("kind", "field", "value", "id"),
        TableColumn("kind"),
        TableColumn("field", source="item_key"),
        TableColumn("value", source="item_value"),
        TableColumn("id"),
        _RETIRED,
        scope=("kind", "id"),
        view="entities",
        items="names",
    ),
    _table(
        "records",
        ("kind", "id"),
        TableColumn("kind"),
        TableColumn("id"),
        _CREATED,
        TableColumn("changed", "bigint", "changed"),
        _VERSION,
        TableColumn("directory", "boolean"),
        TableColumn("retired", "boolean"),
        _DOCUMENT,
        _SESSION_EPOCH,
    ),
    _table(
        "sessions",
        ("id",),
        TableColumn("id"),
        _CREATED,
        _VERSION,
        TableColumn("user_id"),
        TableColumn("unit_id"),
        TableColumn("expires_at", "bigint"),
        TableColumn("released", "boolean"),
        TableColumn("access_token"),
        TableColumn("account"),
        TableColumn("contact"),
        TableColumn("user_epoch", "integer"),
        TableColumn("customer_epochs", "json"),
    ),
    _documents(
        "contacts",
        TableColumn("type"),
        TableColumn("life_cycle_state"),
        *_searched("id_number", "passport_number"),
        *_searched("social_security_number", "vat_registration_number"),
        TableColumn("emails", "text[]", searched=True),
        TableColumn("phones", "text[]", searched=True),
        TableColumn("photo"),
        TableColumn("uniqueness_values", "json"),
    ),
    _documents(
        "communications",
        TableColumn("code"),
        *_searched("contact_information", "category", "direction", "media"),
        TableColumn("life_cycle_state"),
    ),
    _documents(
        "access_tokens",
        *_searched("classification", "accounts_receivable", "rewards_participant"),
        TableColumn("associated", "boolean", searched=True),
        *_searched("life_cycle_state"),
        _SESSION_EPOCH,
    ),
    _documents(
        "queue_entries",
        TableColumn("communication"),
        *_searched("contact_information", "media", "external_system", "life_cycle_state"),
    ),
    _documents(
        "service_requests",
        *_searched("accounts_receivable", "contact_information", "type", "category"),
        *_searched("life_cycle_state"),
        TableColumn("pending_acceptance", "boolean", searched=True),
        TableColumn("due", "timestamp without time zone", searched=True),
    ),
)
TABLES: Mapping[str, Table] = {table.name: table for table in _TABLES}
"""The tables of the schema ``views`` by name."""

TEMPORAL_COLUMNS = (
    _STREAM,
    TableColumn("valid_from", "bigint", "valid_from"),
    TableColumn("valid_to", "bigint", "valid_to"),
)


def temporal_columns(table: Table) -> tuple[TableColumn, ...]:
    """The columns of the temporal table that follows a table."""
    return (*table.columns, *(c for c in TEMPORAL_COLUMNS if c not in table.columns))
