"""Registered records: the entities that crmledger knows but does not own.

Operators register all entities of reference_entities.md, sections 3.2 to 3.10, as records of some
kind. A `RecordKind` declares one of these kinds, `Record` is the aggregate of one record. All kinds
are in `domain.reference.catalogue`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple
from zoneinfo import ZoneInfo

from domain.aggregate import Aggregate, Attribution, CreationEvent
from domain.composite_fields import Object
from domain.errors import InvalidParameterType, InvalidParameterValue, MandatoryParameter
from domain.fields import (
    Field,
    JsonObject,
    JsonSchema,
    Parameters,
    ReadContext,
    ResponseShape,
    nullable,
)
from domain.identifiers import IdentifierFields, normalised
from domain.parsing import is_blank
from domain.scalar_fields import Boolean, Text

__all__ = [
    "ID",
    "IdentifierField",
    "Record",
    "RecordKind",
    "RecordLink",
    "record_id",
    "unique",
]

CUSTOMER_KINDS = frozenset(
    {"contact_information", "accounts_receivable", "rewards_participant", "subscription"}
)
"""The entities that make a customer: a record linked to one of these belongs to that customer."""

ENDS_SESSIONS: Mapping[str, str] = {
    "user": "password",
    "accounts_receivable": "account_owner",
    "rewards_participant": "accounts_receivable",
}
"""By kind: the secret or field that, when it changes, ends all sessions that were begun with a record."""

_RECORD_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_ADMINISTRATIVE = frozenset({"kind", "organisation", "id", "retired"})


def record_id(value: object, path: str = "id") -> str:
    """The id of a record as it is stored: 32 upper-case hex digits or a short text."""
    if is_blank(value):
        raise MandatoryParameter(path)
    if not isinstance(value, str):
        raise InvalidParameterType(path)
    if not _RECORD_ID.fullmatch(value.strip()):
        raise InvalidParameterValue(path)
    return normalised("id", value)


@dataclass(frozen=True, kw_only=True)
class RecordLink(Field):
    """A link to a record, given as ``<name>_id`` or, ``many``, as ``<name>_ids``.

    ``input_name`` is the key in the record where it is another one.
    """

    target_kind: str
    many: bool = False
    input_name: str = ""

    @property
    def parameter(self) -> str:
        return self.input_name or f"{self.name}_id{'s' if self.many else ''}"

    def read(self, value: Any, path: str, context: ReadContext) -> str | list[str]:
        if not self.many:
            return record_id(value, path)
        if not isinstance(value, list):
            raise InvalidParameterType(path)
        return [record_id(item, f"{path}[{n}]") for n, item in enumerate(value)]

    def targets(self, stored: Any) -> list[str]:
        """The ids in a stored value."""
        return list(stored) if self.many and stored else [stored] if stored else []

    def to_response(self, stored: Any, zone: ZoneInfo) -> Any:
        return {"$ref": f"{self.target_kind}/{stored}"} if stored else None

    def schema(self) -> JsonSchema:
        return {"type": "array", "items": {"type": "string"}} if self.many else {"type": "string"}

    def response_schema(self) -> JsonSchema:
        return nullable({"$ref": f"#/components/schemas/{self.target_kind}"})


class IdentifierField(NamedTuple):
    """A field that identifies a record; no two current records share a value of ``unique`` ones."""

    name: str
    unique: bool = False


def unique(name: str) -> IdentifierField:
    """The identifier field of that name, unique among records that are not retired."""
    return IdentifierField(name, unique=True)


ID = unique("id")


@dataclass(frozen=True, kw_only=True)
class RecordKind:
    """One kind of registered entity.

    ``parameters`` are what a record may hold. ``compact`` lists the keys of the object shown where
    a record is referred to, ``minimal`` those shown inside compact objects where they are fewer,
    ``derived`` keys that are found by following links.

    ``cached`` kinds are an organisation's set-up, which each process holds in memory; the others may
    be many and are read when needed. ``shared`` ones among the latter belong to no customer, so that
    each may name them.

    ``secrets`` are given with a record and kept apart from it, hashed or, where the service must
    show them to others, ``encrypted``; those that are ``generated`` where none is given are shown
    once. ``globally_unique`` is the field that is unique over all organisations,
    ``unique_together`` are fields whose combination no two current records share.
    """

    key: str
    parameters: Parameters
    identifier_fields: tuple[IdentifierField, ...] = (ID,)
    compact: tuple[str, ...] = ()
    minimal: tuple[str, ...] = ()
    derived: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    case_insensitive: frozenset[str] = frozenset()
    cached: bool = True
    secrets: tuple[str, ...] = ()
    encrypted: frozenset[str] = frozenset()
    generated: frozenset[str] = frozenset()
    globally_unique: str = ""
    unique_together: tuple[str, ...] = ()
    shared: bool = False

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields of a record."""
        return tuple(field for field, _ in self.parameters)

    @property
    def identifiable(self) -> IdentifierFields:
        """The identifier fields as callers use them."""
        names = tuple(identifier.name for identifier in self.identifier_fields)
        return IdentifierFields(self.key, names, self.case_insensitive)

    @property
    def unique_fields(self) -> tuple[str, ...]:
        """The identifier fields besides the id that no two current records may share."""
        return tuple(
            identifier.name
            for identifier in self.identifier_fields
            if identifier.unique and identifier != ID
        )

    @property
    def shape(self) -> ResponseShape:
        """The shape of the compact object."""
        return self._shape(self.key, self.compact)

    @property
    def shapes(self) -> tuple[ResponseShape, ...]:
        """The shapes of its objects: the compact one and, if there is one, the minimal one."""
        minimal = (self._shape(f"{self.key}_brief", self.minimal),) if self.minimal else ()
        return (self.shape, *minimal)

    def _shape(self, name: str, keys: tuple[str, ...]) -> ResponseShape:
        by_name = {field.name: field for field in self.fields}
        return ResponseShape(name, *(by_name.get(key, Text(name=key)) for key in keys))

    def read(self, raw: Mapping[str, Any], context: ReadContext) -> JsonObject:
        """The fields of a record as they are stored.

        Raises `InvalidParameterValue` naming an unknown field, and what the fields' ``read`` raises.
        """
        known = {field.parameter for field in self.fields} | _ADMINISTRATIVE | set(self.secrets)
        for name in raw:
            if name not in known:
                raise InvalidParameterValue(name)
        parsed = self.parameters.read(raw, context)
        return {
            field.name: self.defaults.get(field.name)
            if parsed.get(field.name) is None
            else parsed[field.name]
            for field in self.fields
        }

    def to_input(self, fields: Mapping[str, Any]) -> JsonObject:
        """Stored fields as a record is registered; the inverse of `read`."""
        return _to_input(self.fields, fields)

    def read_retired(self, raw: Mapping[str, Any], context: ReadContext) -> bool:
        """True if the record is registered as retired."""
        parsed = Parameters(Boolean(name="retired")).read(raw, context)
        return bool(parsed.get("retired"))

    def links(self, fields: Mapping[str, Any]) -> Iterator[tuple[RecordLink, str]]:
        """Each link of a record with an id it leads to."""
        yield from _links(self.fields, fields)

    def owners(self, fields: Mapping[str, Any]) -> Iterator[str]:
        """The customers' entities (``kind/id``) to which a record belongs; an account to itself only."""
        if self.key != "accounts_receivable":
            yield from (
                f"{link.target_kind}/{id_}"
                for link, id_ in self.links(fields)
                if link.target_kind in CUSTOMER_KINDS
            )

    def identifying_values(self, fields: Mapping[str, Any], own_id: str) -> dict[str, str]:
        """The record's identifying values, as they are compared, by identifier field."""
        values = {name: fields.get(name) for name in self.identifiable.fields} | {"id": own_id}
        return {
            n: normalised(n, str(v), case_insensitive=n in self.case_insensitive)
            for n, v in values.items()
            if v
        }


def _links(
    fields: tuple[Field, ...], values: Mapping[str, Any]
) -> Iterator[tuple[RecordLink, str]]:
    for field in fields:
        stored = values.get(field.name)
        if isinstance(field, RecordLink):
            yield from ((field, target) for target in field.targets(stored))
        elif isinstance(field, Object) and stored:
            for link, target in _links(field.fields, stored):
                yield replace(link, input_name=f"{field.parameter}.{link.parameter}"), target


def _to_input(fields: tuple[Field, ...], values: Mapping[str, Any]) -> JsonObject:
    return {
        field.parameter: _to_input(field.fields, stored)
        if isinstance(field, Object) and stored
        else stored
        for field in fields
        for stored in (values.get(field.name),)
    }


class Record(Aggregate):
    """One registered record; its life cycle is whether it is retired."""

    TOPIC = "record"
    RETIRED: ClassVar[str] = "RETIRED"

    def __init__(self) -> None:
        super().__init__()
        self.kind = ""
        self.record_id = ""
        self.fields: JsonObject = {}
        self.secrets: dict[str, str] = {}

    class Event(Aggregate.Event):
        """The base of the events of a record."""

    class Registered(Event, CreationEvent):
        """A record was registered for the first time; ``secrets`` name key ids, never secrets."""

        TOPIC = "record.registered"
        TO = "CURRENT"
        kind: str
        record_id: str
        fields: JsonObject
        secrets: dict[str, str]

        def apply_to(self, aggregate: Record) -> None:
            aggregate.kind, aggregate.record_id = self.kind, self.record_id
            aggregate.fields, aggregate.secrets = self.fields, self.secrets

    class Replaced(Event):
        """Other fields or secrets took the place of the former ones."""

        TOPIC = "record.replaced"
        fields: JsonObject
        secrets: dict[str, str]

        def apply_to(self, aggregate: Record) -> None:
            name = ENDS_SESSIONS.get(aggregate.kind, "")
            if name in self.secrets or aggregate.fields.get(name) != self.fields.get(name):
                aggregate.session_epoch += 1
            aggregate.fields = self.fields
            aggregate.secrets = aggregate.secrets | self.secrets

    class Retired(Event):
        """The record can no longer be chosen."""

        TOPIC = "record.retired"
        FROM = ("CURRENT",)
        TO = "RETIRED"
        ENDS_SESSIONS = True

    class Reinstated(Event):
        """The record can be chosen again."""

        TOPIC = "record.reinstated"
        FROM = ("RETIRED",)
        TO = "CURRENT"

    class GuessesForgiven(Event):
        """An operator lifted the waits of a user that wrong passwords had brought about."""

        TOPIC = "record.guesses_forgiven"

    class SessionsEnded(Event):
        """All sessions of a user were ended, by an operator or because a web API key changed."""

        TOPIC = "record.sessions_ended"
        ENDS_SESSIONS = True

    def replace(
        self, fields: JsonObject, secrets: dict[str, str], by: Attribution, *, retired: bool
    ) -> None:
        """Replaces fields and secrets, and retires or reinstates the record, where it differs."""
        if fields != self.fields or secrets:
            self.raise_event(self.Replaced, by, fields=fields, secrets=secrets)
        if retired != self.is_retired:
            self.raise_event(self.Retired if retired else self.Reinstated, by)

    @property
    def is_retired(self) -> bool:
        """True if it can no longer be chosen."""
        return self.state == self.RETIRED
