"""The tables of the read models: the columns of each, declared once for all that write or compare rows.

Three writers fill them: the functions of the database that ``ledger.write_views`` calls with each append, COPY in a
rebuild, and whatever writes the temporal tables. The last two, and the comparison of rows, take the columns from
here; a test compares them with the catalogue and with what those functions insert.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["TABLES", "TEMPORAL_COLUMNS", "Column", "Source", "Table", "temporal_columns"]

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
class Column:
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
    columns: tuple[Column, ...]
    scope: tuple[str, ...]
    view: str
    items: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)


def _searched(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, searched=True) for name in names)


_ORGANISATION = Column("organisation", source="organisation")
_CREATED = Column("created", "bigint", "created")
_VERSION = Column("version", "integer", "version")
_DOCUMENT = Column("document", "json", "document")
_REFS = Column("refs", "text[]", "refs")
_STREAM = Column("stream_id", "uuid", "stream")
_RETIRED = Column("retired", "boolean", default=False)


def _table(
    name: str,
    key: tuple[str, ...],
    *columns: Column,
    scope: tuple[str, ...] = (),
    view: str = "",
    items: str = "",
) -> Table:
    key, scope = ("organisation", *key), ("organisation", *(scope or key))
    return Table(name, key, (_ORGANISATION, *columns), scope, view or name, items)


def _documents(name: str, *columns: Column) -> Table:
    """A table of documents, with the columns by which they are searched."""
    head = (*_searched("id"), _CREATED, _VERSION, _DOCUMENT, _REFS)
    return _table(name, ("id",), *head, *columns)


_TABLES = (
    _table(
        "entities",
        ("ref",),
        Column("ref", source="ref"),
        _STREAM,
        _RETIRED,
        _DOCUMENT,
        _REFS,
        Column("owners", "text[]", default=()),
    ),
    _table(
        "identifiers",
        ("kind", "field", "value", "id"),
        Column("kind"),
        Column("field", source="item_key"),
        Column("value", source="item_value"),
        Column("id"),
        _RETIRED,
        scope=("kind", "id"),
        view="entities",
        items="names",
    ),
    _table(
        "records",
        ("kind", "id"),
        Column("kind"),
        Column("id"),
        _CREATED,
        Column("changed", "bigint", "changed"),
        _VERSION,
        Column("directory", "boolean"),
        Column("retired", "boolean"),
        _DOCUMENT,
    ),
    _table(
        "sessions",
        ("id",),
        Column("id"),
        _CREATED,
        _VERSION,
        Column("user_id"),
        Column("unit_id"),
        Column("expires_at", "bigint"),
        Column("released", "boolean"),
        Column("access_token"),
        Column("account"),
        Column("contact"),
    ),
    _documents(
        "contacts",
        Column("type"),
        Column("life_cycle_state"),
        *_searched("id_number", "passport_number"),
        *_searched("social_security_number", "vat_registration_number"),
        Column("emails", "text[]", searched=True),
        Column("phones", "text[]", searched=True),
        Column("photo"),
        Column("uniqueness_values", "json"),
    ),
    _documents(
        "communications",
        Column("code"),
        *_searched("contact_information", "category", "direction", "media"),
        Column("life_cycle_state"),
    ),
    _documents(
        "access_tokens",
        *_searched("classification", "accounts_receivable", "rewards_participant"),
        Column("associated", "boolean", searched=True),
        *_searched("life_cycle_state"),
    ),
    _documents(
        "queue_entries",
        Column("communication"),
        *_searched("contact_information", "media", "external_system", "life_cycle_state"),
    ),
    _documents(
        "service_requests",
        *_searched("accounts_receivable", "contact_information", "type", "category"),
        *_searched("life_cycle_state"),
        Column("pending_acceptance", "boolean", searched=True),
        Column("due", "timestamp without time zone", searched=True),
    ),
)
TABLES: Mapping[str, Table] = {table.name: table for table in _TABLES}
"""The tables of the schema ``views`` by name."""

TEMPORAL_COLUMNS = (
    _STREAM,
    Column("valid_from", "bigint", "valid_from"),
    Column("valid_to", "bigint", "valid_to"),
)


def temporal_columns(table: Table) -> tuple[Column, ...]:
    """The columns of the temporal table that follows a table."""
    return (*table.columns, *(c for c in TEMPORAL_COLUMNS if c not in table.columns))
