"""From the field table to columns: what one contract field is called, typed and said to mean in SQL.

A stored document is taken apart by ``json_to_record``, once for each object in it; every kind of field says
as which type it is read there, and which columns it becomes.
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
"""Objects whose members stand under their own names; those of others have the object's before."""

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
"""What a name does not say by itself, before what its kind of field says."""

_LABELS = ("name", "username", "description", "code", "number")
"""What a record is called by, the first of these that its kind has."""

_LABEL_SQL = """(SELECT r.document ->> '{}' FROM views.records r
      WHERE r.organisation = v.organisation AND r.kind = '{}' AND r.id = {})"""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its type in PostgreSQL, what it means, and the SQL that makes it.

    ``personal`` ones are null for all but those who were granted to see what belongs to a person.
    """

    name: str
    type: str
    description: str
    sql: str = ""
    personal: bool = False

    @property
    def comment(self) -> str:
        """What the database and the dictionary say of it."""
        return f"{self.description} Personal." if self.personal else self.description


@dataclass(frozen=True, slots=True)
class SourceAlias:
    """Where a field stands: the alias of the record that holds it, the beginning of its columns' names."""

    alias: str
    prefix: str = ""
    personal: bool = False


def quoted(name: str) -> str:
    """A name in SQL; several of the contract's are key words (``from``, ``to``)."""
    return f'"{name}"'


def record_join(document: str, alias: str, fields: Iterable[Field]) -> str:
    """The join that takes the object ``document``, described by ``rows``, apart under ``alias``."""
    typed = ((quoted(row.key), _member_type(row)) for row in fields)
    members = ", ".join(f"{name} {type_}" for name, type_ in typed if type_)
    return f"LEFT JOIN LATERAL json_to_record({document}) AS {quoted(alias)} ({members}) ON true"


def nested_joins(fields: Iterable[Field], source: SourceAlias) -> Iterator[str]:
    """The joins that take the objects among ``rows`` apart."""
    for field in fields:
        if isinstance(field, Object):
            inner = f"{source.alias}_{field.key}"
            yield record_join(f"{quoted(source.alias)}.{quoted(field.key)}", inner, field.fields)
            yield from nested_joins(field.fields, SourceAlias(inner))


def columns(fields: Iterable[Field], source: SourceAlias) -> Iterator[Column]:
    """The columns that ``rows`` become."""
    for field in fields:
        yield from _columns(field, replace(source, personal=source.personal or field.personal))


def _record_label(kind: str, id_sql: str) -> str:
    """The SQL for what the record of a directory kind is called, whose id is the SQL ``id_``."""
    names = {field.name for field in KINDS[kind].fields}
    label = next(name for name in _LABELS if name in names)
    return _LABEL_SQL.format(label, kind, id_sql)


def _member_type(field: Field) -> str:
    """The type under which a member of a document is read; empty for what becomes no column."""
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
def _columns(row: Field, place: SourceAlias) -> Iterator[Column]:
    """The columns of one field; fields of other kinds are found when a document is read."""
    yield from ()


@_columns.register
def _(row: Text, place: SourceAlias) -> Iterator[Column]:
    yield _single_column(row, place, "text", f"Text of at most {row.max_length} characters.")


@_columns.register
def _(row: Enumeration, place: SourceAlias) -> Iterator[Column]:
    yield _single_column(row, place, "text", f"One of {', '.join(row.allowed)}.")


@_columns.register(Integer)
@_columns.register(NonNegativeInteger)
def _(row: Field, place: SourceAlias) -> Iterator[Column]:
    yield _single_column(row, place, "bigint", "Whole number.")


@_columns.register
def _(row: Number, place: SourceAlias) -> Iterator[Column]:
    yield _single_column(row, place, "double precision", "Number.")


@_columns.register
def _(row: Boolean, place: SourceAlias) -> Iterator[Column]:
    yield _single_column(row, place, "boolean", "Yes or no.")


@_columns.register
def _(row: Date, place: SourceAlias) -> Iterator[Column]:
    own = f"{quoted(place.alias)}.{quoted(row.key)}"
    sql = f"analytics.wall_clock({own})" if row.java_format else own
    yield _single_column(
        row, place, "timestamp without time zone", "Date and time by the service's wall clock.", sql
    )


@_columns.register
def _(row: PartialDate, place: SourceAlias) -> Iterator[Column]:
    own = f"{quoted(place.alias)}.{quoted(row.key)}"
    parts = {part: f"({own} ->> '{part}')::integer" for part in row.parts}
    if "year" in parts:
        day = f"make_date({parts['year']}, {parts['month']}, {parts['day']})"
        yield _single_column(row, place, "date", "Day of the calendar.", day)
        return
    for part, sql in parts.items():
        name = f"{place.prefix}{row.key}_{part}"
        yield Column(name, "integer", f"Its {part}.", sql, place.personal)


@_columns.register
def _(row: Reference, place: SourceAlias) -> Iterator[Column]:
    kind = row.target.entity
    id_ = f"split_part({quoted(place.alias)}.{quoted(row.key)} ->> '$ref', '/', 2)"
    column = _single_column(row, place, "text", f"Id of {_with_article(kind)}.", id_)
    yield column
    if kind in KINDS and KINDS[kind].cached:
        says, sql = f"What this {_humanized(kind)} is called.", _record_label(kind, id_)
        yield replace(column, name=f"{column.name}_name", description=says, sql=sql)


@_columns.register
def _(row: Object, place: SourceAlias) -> Iterator[Column]:
    prefix = "" if row.key in PLAIN else f"{place.prefix}{row.key}_"
    yield from columns(row.fields, SourceAlias(f"{place.alias}_{row.key}", prefix, place.personal))


def _humanized(kind: str) -> str:
    return kind.replace("_", " ")


def _with_article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeio' else 'a'} {_humanized(kind)}"
