"""Communications with a contact (contract communications.md, sections 2 to 8)."""

from __future__ import annotations

import re
from uuid import UUID

from domain.aggregate import WHOLE, Aggregate, Beginning, Fact, Stamp
from domain.composite_fields import Items, Object, Reference
from domain.diff import difference, merged
from domain.errors import (
    DuplicateEntity,
    EntityNotFound,
    EntityNotUnique,
    InvalidParameterValue,
    MandatoryParameter,
)
from domain.fields import Field, Values
from domain.identifiers import Identifiable, Identifier
from domain.reference.catalogue import REFERRING_TO, identifiable
from domain.scalar_fields import CONTENT, NOTES, Date, Enumeration, Integer, Number, Text, udf
from domain.token_credentials import TokenReference

__all__ = [
    "CATEGORY",
    "CONTACT",
    "DIRECTION",
    "EXTERNAL_SYSTEM",
    "FILING",
    "LIFE_CYCLE_STATE",
    "MEDIA",
    "REFERENCES",
    "TEXTS",
    "UDF",
    "UNRESTRICTED",
    "Communication",
]

CONTACT = Reference(name="contact_information", to=identifiable("contact_information"))
CATEGORY = Reference(name="category", to=identifiable("communication_category"))
EXTERNAL_SYSTEM = Reference(
    name="communication_queue_external_system",
    to=identifiable("communication_queue_external_system"),
)
DIRECTION = Enumeration(name="direction", words="INCOMING OUTGOING")
MEDIA = Enumeration(name="media", words="EMAIL SMS PHONE LETTER FACE_TO_FACE")
LIFE_CYCLE_STATE = Enumeration(name="life_cycle_state", words="DRAFT COMPLETED")
TEXTS: tuple[Field, ...] = (
    Text(name="subject", personal=True),
    Text(name="content", longest=CONTENT, personal=True),
    Text(name="to", personal=True),
    Text(name="notes", longest=NOTES, personal=True),
)
FILING: tuple[Field, ...] = (
    Reference(name="owned_by_group", to=identifiable("group")),
    Reference(name="privacy_level", to=identifiable("privacy_level")),
)
BY_TOKEN = frozenset({"accounts_receivable", "rewards_participant"})
"""What an access token can stand for (access_tokens.md, section 1.3)."""

UDF = udf(string=8, floating=4, date=4)
REFERENCES = Object(
    name="referring_to",
    rows=tuple(
        (TokenReference if kind in BY_TOKEN else Reference)(name=kind, to=identifiable(kind))
        for kind in REFERRING_TO
    ),
    closed=True,
)

VALUES: dict[str, Field] = {
    "STRING": Text(name="string_value"),
    "FLOAT": Number(name="float_value"),
    "INTEGER": Integer(name="integer_value"),
    "DATE": Date(name="date_value", java=True),
}
"""The value member of each type of unrestricted parameter."""


def parameter_name(text: str) -> str | None:
    """A name that can stand in a tag; else None."""
    return text if re.fullmatch(r"[A-Za-z0-9_]{1,64}", text) else None


def _agreeing(item: Values, at: str) -> None:
    """Refuses a value that is not the stated type's, and an added item without one."""
    if item.get("type"):
        check_value(item, item["type"], at, needed=item["action"] == "ADD")


def check_value(item: Values, kind: str, at: str, *, needed: bool) -> None:
    """Refuses values of other types than ``kind`` and, where ``needed``, the lack of its own."""
    own = VALUES[kind].name
    for value in VALUES.values():
        if value.name != own and item.get(value.name) is not None:
            raise InvalidParameterValue(f"{at}.{value.name}")
    given = item.get(own)
    blank = given is None or (isinstance(given, str) and not given.strip())
    if blank and (needed or own in item):
        raise MandatoryParameter(f"{at}.{own}")


UNRESTRICTED = Items(
    name="unrestricted_parameter_set",
    rows=(
        Enumeration(name="type", words=" ".join(VALUES)),
        Text(name="name", clean=parameter_name),
        *VALUES.values(),
    ),
    shape=(
        Text(name="id"),
        Text(name="key"),
        Text(name="name"),
        Enumeration(name="type", words=" ".join(VALUES)),
        *VALUES.values(),
    ),
    entry=Identifiable("unrestricted_parameter", ("id", "key", "name")),
    needed=frozenset({"type", "name"}),
    check=_agreeing,
    personal=True,
)

_PERSONAL = frozenset(row.name for row in (*TEXTS, *UDF) if row.personal)


class Written(Fact):
    """What is known of a communication from its first fact on."""

    PERSONAL = {"details": _PERSONAL, "parameters": WHOLE}
    number: str
    code: str
    contact_information: str
    details: Values
    parameters: list[Values]

    def change(self, aggregate: Communication) -> None:
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
        self.details: Values = {}
        self.parameters: list[Values] = []
        self.viewed_on: str | None = None

    class Event(Aggregate.Event):
        """What happens to a communication."""

    class Drafted(Event, Written, Beginning):
        """A communication was begun that can still be changed."""

        TOPIC = "communication.drafted"
        TO = "DRAFT"

    class Recorded(Event, Written, Beginning):
        """A communication was made, complete from the start."""

        TOPIC = "communication.recorded"
        TO = "COMPLETED"

    class Amended(Event):
        """Passive fields of a draft changed; ``parameters`` is the new list where it changed."""

        TOPIC = "communication.amended"
        FROM = ("DRAFT",)
        PERSONAL = {"changes": _PERSONAL, "parameters": WHOLE}
        changes: Values
        parameters: list[Values] | None

        def change(self, aggregate: Communication) -> None:
            aggregate.details = merged(aggregate.details, self.changes)
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

        def change(self, aggregate: Communication) -> None:
            aggregate.viewed_on = self.viewed_on

    @property
    def subject(self) -> UUID:
        return UUID(self.contact_information)

    def amend(self, given: Values, parameters: list[Values], by: Stamp) -> None:
        """Changes the passive fields and unrestricted parameters that differ."""
        changes = difference(self.details, given)
        new = parameters if parameters != self.parameters else None
        if changes or new is not None:
            self.record(self.Amended, by, changes=changes, parameters=new)

    def complete(self, by: Stamp) -> None:
        """Makes a draft final."""
        self.record(self.Completed, by)

    def mark_viewed(self, viewed_on: str, by: Stamp) -> None:
        """Notes when it was seen; an equal date again changes nothing."""
        self.require("COMPLETED")
        if viewed_on != self.viewed_on:
            self.record(self.MarkedViewed, by, viewed_on=viewed_on)


def with_parameter(parameters: list[Values], item: Values, new_id: str, at: str) -> list[Values]:
    """The unrestricted parameters after one item of a set is applied (section 7).

    Raises `DuplicateEntity` for a key that is taken, `EntityNotFound` and `EntityNotUnique` for
    the identifier, `MandatoryParameter` and `InvalidParameterValue` for values.
    """
    if item["action"] == "ADD":
        return [*parameters, _keyed(parameters, _members(item) | {"id": new_id}, at)]
    found = _identified(parameters, item["identifier"])
    if item["action"] == "REMOVE":
        return [p for p in parameters if p["id"] != found["id"]]
    kind: str = item.get("type") or found["type"]
    changed = kind != found["type"]
    check_value(item, kind, at, needed=changed)
    kept = {k: found[k] for k in ("id", "name", "type")} if changed else found
    updated = _keyed(parameters, kept | _members(item), at)
    return [updated if p["id"] == found["id"] else p for p in parameters]


def _members(item: Values) -> Values:
    members = ("type", "name", *(value.name for value in VALUES.values()))
    return {name: item[name] for name in members if item.get(name) is not None}


def _keyed(parameters: list[Values], parameter: Values, at: str) -> Values:
    key = f"unrestricted_{parameter['type'].lower()}.{parameter['name']}"
    if any(p["key"] == key and p["id"] != parameter["id"] for p in parameters):
        raise DuplicateEntity(f"{at}.name")
    return parameter | {"key": key}


def _identified(parameters: list[Values], identifier: Identifier) -> Values:
    value = identifier.value.removeprefix("#") if identifier.field == "key" else identifier.value
    found = [p for p in parameters if p[identifier.field] == value]
    if not found:
        raise EntityNotFound(identifier.at)
    if len(found) > 1:
        raise EntityNotUnique(identifier.at)
    return found[0]
