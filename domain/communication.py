"""Communications with a contact (contract communications.md, sections 2 to 8)."""

from __future__ import annotations

import re
from uuid import UUID

from domain.aggregate import ENTIRE_VALUE, Aggregate, Attribution, CreationEvent, DomainEvent
from domain.composite_fields import Object, Reference
from domain.contact_fields import email_address
from domain.diff import apply_diff, diff
from domain.fields import Field, JsonObject
from domain.reference.catalogue import REFERRING_TO, identifiable
from domain.reference.fields import MEDIA_TYPES
from domain.scalar_fields import CONTENT, NOTES, Enumeration, Text, udf
from domain.token_credentials import TokenReference
from domain.unrestricted_parameters import apply_parameter_changes, parameter_changes

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
TEXTS: tuple[Text, ...] = (
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
        """Passive fields and parameters of a draft changed.

        ``parameters`` are those that are new or differ, each with its id and the members that do.
        """

        TOPIC = "communication.amended"
        FROM = ("DRAFT",)
        PERSONAL = {"changes": _PERSONAL, "parameters": ENTIRE_VALUE}
        changes: JsonObject
        parameters: list[JsonObject]
        removed_parameters: list[str]

        def apply_to(self, aggregate: Communication) -> None:
            aggregate.details = apply_diff(aggregate.details, self.changes)
            aggregate.parameters = apply_parameter_changes(
                aggregate.parameters, self.parameters, self.removed_parameters
            )

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
        changed, removed = parameter_changes(self.parameters, parameters)
        if changes or changed or removed:
            self.raise_event(
                self.Amended, by, changes=changes, parameters=changed, removed_parameters=removed
            )

    def complete(self, by: Attribution) -> None:
        """Makes a draft final."""
        self.raise_event(self.Completed, by)

    def mark_viewed(self, viewed_on: str, by: Attribution) -> None:
        """Notes when it was seen; an equal date again changes nothing."""
        self.require("COMPLETED")
        if viewed_on != self.viewed_on:
            self.raise_event(self.MarkedViewed, by, viewed_on=viewed_on)
