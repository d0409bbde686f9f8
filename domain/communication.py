"""Communications with a contact (contract communications.md, sections 2 to 8)."""

from __future__ import annotations

import re
from uuid import UUID

from domain.aggregate import ENTIRE_VALUE, Aggregate, Attribution, CreationEvent, DomainEvent
from domain.composite_fields import ItemSet, Object, Reference
from domain.contact_fields import email_address
from domain.diff import apply_diff, diff
from domain.errors import (
    DuplicateEntity,
    EntityNotFound,
    EntityNotUnique,
    InvalidParameterValue,
    MandatoryParameter,
)
from domain.fields import Field, JsonObject
from domain.identifiers import Identifier, IdentifierFields
from domain.reference.catalogue import REFERRING_TO, identifiable
from domain.reference.fields import MEDIA_TYPES
from domain.scalar_fields import CONTENT, NOTES, Date, Enumeration, Integer, Number, Text, udf
from domain.token_credentials import TokenReference

__all__ = [
    "AUTOMATIC",
    "CATEGORY",
    "CONTACT",
    "DIRECTION",
    "EXTERNAL_SYSTEM",
    "INSERTED_VALUES",
    "LIFE_CYCLE_STATE",
    "MEDIA",
    "OWNERSHIP",
    "REFERENCES",
    "TEXTS",
    "UDF",
    "UNRESTRICTED",
    "Communication",
    "are_addresses",
]

CONTACT = Reference(name="contact_information", target=identifiable("contact_information"))
CATEGORY = Reference(name="category", target=identifiable("communication_category"))
EXTERNAL_SYSTEM = Reference(
    name="communication_queue_external_system",
    target=identifiable("communication_queue_external_system"),
)
DIRECTION = Enumeration(name="direction", allowed=("INCOMING", "OUTGOING"))
MEDIA = Enumeration(name="media", allowed=MEDIA_TYPES)
LIFE_CYCLE_STATE = Enumeration(name="life_cycle_state", allowed=("DRAFT", "COMPLETED"))
TEXTS: tuple[Field, ...] = (
    Text(name="subject", personal=True),
    Text(name="content", max_length=CONTENT, personal=True),
    Text(name="to", personal=True),
    Text(name="notes", max_length=NOTES, personal=True),
)
OWNERSHIP: tuple[Field, ...] = (
    Reference(name="owned_by_group", target=identifiable("group")),
    Reference(name="privacy_level", target=identifiable("privacy_level")),
)
BY_TOKEN = frozenset({"accounts_receivable", "rewards_participant"})
"""The entities that an access token can identify (access_tokens.md, section 1.3)."""

UDF = udf(string=8, floating=4, date=4)
REFERENCES = Object(
    name="referring_to",
    fields=tuple(
        (TokenReference if kind in BY_TOKEN else Reference)(name=kind, target=identifiable(kind))
        for kind in REFERRING_TO
    ),
    forbid_unknown=True,
)

VALUES: dict[str, Field] = {
    "STRING": Text(name="string_value"),
    "FLOAT": Number(name="float_value"),
    "INTEGER": Integer(name="integer_value"),
    "DATE": Date(name="date_value", java_format=True),
}
"""The value member of each type of unrestricted parameter."""


def parameter_name(text: str) -> str | None:
    """``text`` if it can be part of a tag, else None."""
    return text if re.fullmatch(r"[A-Za-z0-9_]{1,64}", text) else None


def _check_item_value(item: JsonObject, path: str) -> None:
    """Refuses a value of another type than the given one, and an added item without a value."""
    if item.get("type"):
        check_value(item, item["type"], path, required=item["action"] == "ADD")


def check_value(item: JsonObject, kind: str, path: str, *, required: bool) -> None:
    """Refuses a parameter whose value does not fit its type ``kind``.

    Raises `InvalidParameterValue` for a value of another type, and `MandatoryParameter` for a blank
    value, or for none where it is ``required``.
    """
    name = VALUES[kind].name
    for value in VALUES.values():
        if value.name != name and item.get(value.name) is not None:
            raise InvalidParameterValue(f"{path}.{value.name}")
    member = item.get(name)
    is_blank = member is None or (isinstance(member, str) and not member.strip())
    if is_blank and (required or name in item):
        raise MandatoryParameter(f"{path}.{name}")


UNRESTRICTED = ItemSet(
    name="unrestricted_parameter_set",
    fields=(
        Enumeration(name="type", allowed=tuple(VALUES)),
        Text(name="name", clean=parameter_name),
        *VALUES.values(),
    ),
    response_fields=(
        Text(name="id"),
        Text(name="key"),
        Text(name="name"),
        Enumeration(name="type", allowed=tuple(VALUES)),
        *VALUES.values(),
    ),
    item_identifier=IdentifierFields("unrestricted_parameter", ("id", "key", "name")),
    required=frozenset({"type", "name"}),
    check=_check_item_value,
    personal=True,
)


def are_addresses(text: str) -> bool:
    """True if ``text`` holds e-mail addresses, separated by ``,`` or ``;`` (section 5.1)."""
    return all(map(email_address, re.split("[,;]", text)))


INSERTED_VALUES = "inserted_values"
"""Where values of tags stand in the content: first and last offset of each that has signs of HTML."""
AUTOMATIC = "automatic"
"""True for what the service has written itself. These details are part of no answer."""

_PERSONAL = frozenset(field.name for field in (*TEXTS, *UDF) if field.personal) | {INSERTED_VALUES}


class CommunicationCreated(DomainEvent):
    """The payload of a communication's first event."""

    PERSONAL = {"details": _PERSONAL, "parameters": ENTIRE_VALUE}
    number: str
    code: str
    contact_information: str
    details: JsonObject
    parameters: list[JsonObject]

    def apply_to(self, aggregate: Communication) -> None:
        aggregate.number, aggregate.code = self.number, self.code
        aggregate.contact_information = self.contact_information
        aggregate.details, aggregate.parameters = self.details, self.parameters


class Communication(Aggregate):
    """One message or call; ``details`` holds its passive fields, ``parameters`` the unrestricted."""

    TOPIC = "communication"

    def __init__(self) -> None:
        super().__init__()
        self.number = ""
        self.code = ""
        self.contact_information = ""
        self.details: JsonObject = {}
        self.parameters: list[JsonObject] = []
        self.viewed_on: str | None = None

    class Event(Aggregate.Event):
        """The base of the events of a communication."""

    class Drafted(Event, CommunicationCreated, CreationEvent):
        """A communication was begun that can still be changed."""

        TOPIC = "communication.drafted"
        TO = "DRAFT"

    class Recorded(Event, CommunicationCreated, CreationEvent):
        """A communication was made, complete from the start."""

        TOPIC = "communication.recorded"
        TO = "COMPLETED"

    class Amended(Event):
        """Passive fields of a draft changed; ``parameters`` is the new list where it changed."""

        TOPIC = "communication.amended"
        FROM = ("DRAFT",)
        PERSONAL = {"changes": _PERSONAL, "parameters": ENTIRE_VALUE}
        changes: JsonObject
        parameters: list[JsonObject] | None

        def apply_to(self, aggregate: Communication) -> None:
            aggregate.details = apply_diff(aggregate.details, self.changes)
            if self.parameters is not None:
                aggregate.parameters = self.parameters

    class Completed(Event):
        """A draft became final."""

        TOPIC = "communication.completed"
        FROM = ("DRAFT",)
        TO = "COMPLETED"

    class MarkedViewed(Event):
        """The contact has seen it; the last time counts."""

        TOPIC = "communication.marked_viewed"
        FROM = ("COMPLETED",)
        viewed_on: str

        def apply_to(self, aggregate: Communication) -> None:
            aggregate.viewed_on = self.viewed_on

    @property
    def data_subject(self) -> UUID:
        return UUID(self.contact_information)

    def amend(self, details: JsonObject, parameters: list[JsonObject], by: Attribution) -> None:
        """Changes the passive fields and unrestricted parameters that differ."""
        changes = diff(self.details, details)
        new = parameters if parameters != self.parameters else None
        if changes or new is not None:
            self.raise_event(self.Amended, by, changes=changes, parameters=new)

    def complete(self, by: Attribution) -> None:
        """Makes a draft final."""
        self.raise_event(self.Completed, by)

    def mark_viewed(self, viewed_on: str, by: Attribution) -> None:
        """Notes when it was seen; an equal date again changes nothing."""
        self.require("COMPLETED")
        if viewed_on != self.viewed_on:
            self.raise_event(self.MarkedViewed, by, viewed_on=viewed_on)


def apply_parameter_action(
    parameters: list[JsonObject], item: JsonObject, new_id: str, path: str
) -> list[JsonObject]:
    """The unrestricted parameters after one item of a set is applied (section 7).

    Raises `DuplicateEntity` for a key that is taken, `EntityNotFound` and `EntityNotUnique` for
    the identifier, `MandatoryParameter` and `InvalidParameterValue` for values.
    """
    if item["action"] == "ADD":
        return [*parameters, _with_key(parameters, _value_members(item) | {"id": new_id}, path)]
    current = _find_parameter(parameters, item["identifier"])
    if item["action"] == "REMOVE":
        return [p for p in parameters if p["id"] != current["id"]]
    kind: str = item.get("type") or current["type"]
    is_other_type = kind != current["type"]
    check_value(item, kind, path, required=is_other_type)
    base = {k: current[k] for k in ("id", "name", "type")} if is_other_type else current
    updated = _with_key(parameters, base | _value_members(item), path)
    return [updated if p["id"] == current["id"] else p for p in parameters]


def _value_members(item: JsonObject) -> JsonObject:
    members = ("type", "name", *(value.name for value in VALUES.values()))
    return {name: item[name] for name in members if item.get(name) is not None}


def _with_key(parameters: list[JsonObject], parameter: JsonObject, path: str) -> JsonObject:
    key = f"unrestricted_{parameter['type'].lower()}.{parameter['name']}"
    if any(p["key"] == key and p["id"] != parameter["id"] for p in parameters):
        raise DuplicateEntity(f"{path}.name")
    return parameter | {"key": key}


def _find_parameter(parameters: list[JsonObject], identifier: Identifier) -> JsonObject:
    value = identifier.value.removeprefix("#") if identifier.field == "key" else identifier.value
    matches = [p for p in parameters if p[identifier.field] == value]
    if not matches:
        raise EntityNotFound(identifier.path)
    if len(matches) > 1:
        raise EntityNotUnique(identifier.path)
    return matches[0]
