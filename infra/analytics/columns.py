"""Columns from the tables of contract fields: name, type, meaning and SQL of each.

A stored document is unpacked by ``json_to_record``, once for each object in it; each kind of field
determines the type under which it is read there, and the columns that it becomes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import singledispatch

from domain.composite_fields import Object, PartialDate, Reference
from domain.fields import Field
from domain.reference.catalogue import KINDS
from domain.scalar_fields import (
    Boolean,
    Date,
    Enumeration,
    Integer,
    NonNegativeInteger,
    Number,
    Text,
)

__all__ = ["PLAIN", "Column", "SourceAlias", "columns", "nested_joins", "quoted", "record_join"]

PLAIN = frozenset({"log_information", "authorization_settings"})
"""Objects whose members keep their names; members of others are prefixed with the object's name."""

_DESCRIPTIONS = {
    "id": "Its id.",
    "number": "Its number, as people quote it.",
    "name": "What it is called.",
    "from": "The sender's address or number.",
    "to": "The receiver's address or number.",
    "viewed": "Whether the contact has seen it.",
    "created_date": "When it was made.",
    "updated_date": "When it was changed last.",
}
"""Meanings that stand before those of the kind of field, by field."""

_LABELS = ("name", "username", "description", "code", "number")
"""The fields by which a record is called: the first of these that its kind has."""

_LABEL_SQL = """(SELECT r.document ->> '{}' FROM views.records r
      WHERE r.organisation = v.organisation AND r.kind = '{}' AND r.id = {})"""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its type in PostgreSQL, its meaning, and its SQL.

    Personal columns are null except for roles that may read personal data in clear.
    """

    name: str
    type: str
    description: str
    sql: str = ""
    personal: bool = False

    @property
    def comment(self) -> str:
        """The comment of the column in the database."""
        return f"{self.description} Personal." if self.personal else self.description


@dataclass(frozen=True, slots=True)
class SourceAlias:
    """The source of fields: the alias of their record, and the prefix of the names of their columns."""

    alias: str
    prefix: str = ""
    personal: bool = False


def quoted(name: str) -> str:
    """Return a name quoted for SQL; several of the contract's are key words (``from``, ``to``)."""
    return f'"{name}"'


def record_join(document: str, alias: str, fields: Iterable[Field]) -> str:
    """Return the join that unpacks the object ``document`` with these fields under ``alias``."""
    typed = ((quoted(row.key), _member_type(row)) for row in fields)
    members = ", ".join(f"{name} {type_}" for name, type_ in typed if type_)
    return f"LEFT JOIN LATERAL json_to_record({document}) AS {quoted(alias)} ({members}) ON true"


def nested_joins(fields: Iterable[Field], source: SourceAlias) -> Iterator[str]:
    """Yield the joins that unpack the objects among the fields, nested ones included."""
    for field in fields:
        if isinstance(field, Object):
            inner = f"{source.alias}_{field.key}"
            yield record_join(f"{quoted(source.alias)}.{quoted(field.key)}", inner, field.fields)
            yield from nested_joins(field.fields, SourceAlias(inner))


def columns(fields: Iterable[Field], source: SourceAlias) -> Iterator[Column]:
    """Yield the columns of the fields."""
    for field in fields:
        yield from _columns(field, replace(source, personal=source.personal or field.personal))


def _record_label(kind: str, id_sql: str) -> str:
    """Return the SQL for the label of a record of a cached kind; ``id_sql`` is the SQL of its id."""
    names = {field.name for field in KINDS[kind].fields}
    label = next(name for name in _LABELS if name in names)
    return _LABEL_SQL.format(label, kind, id_sql)


def _member_type(field: Field) -> str:
    """Return the type under which a member of a document is read; empty if it becomes no column."""
    if isinstance(field, Reference | Object | PartialDate):
        return "json"
    if isinstance(field, Date) and field.java_format:
        return "text"
    column = next(columns((field,), SourceAlias("")), None)
    return column.type if column else ""


def _single_column(
    field: Field, source: SourceAlias, type_: str, description: str, sql: str = ""
) -> Column:
    since = f" Since {field.since}." if field.since else ""
    description = (
        f"{_DESCRIPTIONS[field.key]} {description}" if field.key in _DESCRIPTIONS else description
    )
    name = source.prefix + field.key
    expression = sql or f"{quoted(source.alias)}.{quoted(field.key)}"
    return Column(name, type_, description + since, expression, source.personal)


@singledispatch
def _columns(field: Field, source: SourceAlias) -> Iterator[Column]:
    """Yield the columns of one field; kinds without an implementation, such as computed ones, have none."""
    yield from ()


@_columns.register
def _(field: Text, source: SourceAlias) -> Iterator[Column]:
    yield _single_column(field, source, "text", f"Text of at most {field.max_length} characters.")


@_columns.register
def _(field: Enumeration, source: SourceAlias) -> Iterator[Column]:
    yield _single_column(field, source, "text", f"One of {', '.join(field.allowed)}.")


@_columns.register(Integer)
@_columns.register(NonNegativeInteger)
def _(field: Field, source: SourceAlias) -> Iterator[Column]:
    yield _single_column(field, source, "bigint", "Whole number.")


@_columns.register
def _(field: Number, source: SourceAlias) -> Iterator[Column]:
    yield _single_column(field, source, "double precision", "Number.")


@_columns.register
def _(field: Boolean, source: SourceAlias) -> Iterator[Column]:
    yield _single_column(field, source, "boolean", "Yes or no.")


@_columns.register
def _(field: Date, source: SourceAlias) -> Iterator[Column]:
    expression = f"{quoted(source.alias)}.{quoted(field.key)}"
    sql = f"analytics.wall_clock({expression})" if field.java_format else expression
    yield _single_column(
        field,
        source,
        "timestamp without time zone",
        "Date and time by the service's wall clock.",
        sql,
    )


@_columns.register
def _(field: PartialDate, source: SourceAlias) -> Iterator[Column]:
    expression = f"{quoted(source.alias)}.{quoted(field.key)}"
    parts = {part: f"({expression} ->> '{part}')::integer" for part in field.parts}
    if "year" in parts:
        day = f"make_date({parts['year']}, {parts['month']}, {parts['day']})"
        yield _single_column(field, source, "date", "Day of the calendar.", day)
        return
    for part, sql in parts.items():
        name = f"{source.prefix}{field.key}_{part}"
        yield Column(name, "integer", f"Its {part}.", sql, source.personal)


@_columns.register
def _(field: Reference, source: SourceAlias) -> Iterator[Column]:
    kind = field.target.entity
    id_ = f"split_part({quoted(source.alias)}.{quoted(field.key)} ->> '$ref', '/', 2)"
    column = _single_column(field, source, "text", f"Id of {_with_article(kind)}.", id_)
    yield column
    if kind in KINDS and KINDS[kind].cached:
        description, sql = f"What this {_humanized(kind)} is called.", _record_label(kind, id_)
        yield replace(column, name=f"{column.name}_name", description=description, sql=sql)


@_columns.register
def _(field: Object, source: SourceAlias) -> Iterator[Column]:
    prefix = "" if field.key in PLAIN else f"{source.prefix}{field.key}_"
    yield from columns(
        field.fields, SourceAlias(f"{source.alias}_{field.key}", prefix, source.personal)
    )


def _humanized(kind: str) -> str:
    return kind.replace("_", " ")


def _with_article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeio' else 'a'} {_humanized(kind)}"
