"""Descriptions of events as sentences of plain business language.

`TEMPLATES` holds the sentences that contain members of the event. Every other event is described by
the beginning of its docstring, and one without a docstring by its topic: so a new event has a
description from the start.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter
from typing import Any

from domain.aggregate import DomainEvent

__all__ = ["TEMPLATES", "describe_event", "headline", "humanize", "template"]

TEMPLATES: Mapping[str, str] = {
    "access.read": "History was read with the method {method}.",
    "access_token.issued": "Access token {number} was issued and can be used at once.",
    "access_token.issued_unverified": "Access token {number} was issued and waits for its verification code.",
    "access_token.credentials_changed": "The credentials of the access token were changed.",
    "access_token.related_entity_changed": "The token's {entity:name} became {fate:lower}.",
    "access_token.last_related_entity_retired": "The token's {entity:name} became {fate:lower}; it was the last entity of the token, which lost its effect.",
    "access_token.forgotten": "The customer was forgotten, and the credentials of the token with them. Reason: {reason}.",
    "communication.drafted": "Communication {number} was begun as a draft.",
    "communication.recorded": "Communication {number} was made, complete from the start.",
    "communication.amended": "The draft was changed.",
    "communication.completed": "The draft became final.",
    "communication.marked_viewed": "The contact has seen it on {viewed_on}.",
    "contact_information.registered": "Contact {number} was registered.",
    "contact_information.amended": "Details of the contact were changed.",
    "contact_information.entry_added": "An entry was added to the {set_name:name}.",
    "contact_information.entry_changed": "An entry of the {set_name:name} was changed.",
    "contact_information.entry_removed": "An entry was removed from the {set_name:name}.",
    "contact_information.marketing_decided": "The answer about {material} marketing material became {send}.",
    "contact_information.profile_photo_added": "A new photo took the place of the former one, if there was one.",
    "contact_information.account_gained": "The contact became the owner of accounts receivable {accounts_receivable}.",
    "contact_information.account_lost": "The contact lost accounts receivable {accounts_receivable} and owns another one.",
    "contact_information.last_account_lost": "The contact lost accounts receivable {accounts_receivable}, the last one.",
    "contact_information.forgotten": "Everything personal of the contact was erased for good. Reason: {reason}.",
    "queue_entry.queued": "Queue entry {number} was made: the message waits to be sent.",
    "queue_entry.rejected": "The message could not be sent: error {error_code}.",
    "record.registered": "The {kind:name} {record_id} was registered.",
}
"""Sentences by topic, with members in braces; ``:name`` humanises a name, ``:lower`` lowers a word."""

_ASIDE = re.compile(r"\s*\([^)]*\)")
_END = re.compile(r"[.;:](?=\s|$)")


class _Sentences(Formatter):
    """Formats members as people read them."""

    def format_field(self, value: Any, format_spec: str) -> str:
        """A member in words; ``format_spec`` is ``name``, ``lower`` or empty."""
        text = "yes" if value is True else "no" if value is False else str(value)
        text = "empty" if value is None else text
        if format_spec == "name":
            return humanize(text)
        return text.lower() if format_spec == "lower" else text


_FORMATTER = _Sentences()


def humanize(name: str) -> str:
    """A name of the contract as people read it: ``phone_set`` is ``phone set``."""
    return name.replace("_", " ")


def headline(event: type[DomainEvent]) -> str:
    """The description of every event of a type, without its members."""
    text = " ".join((event.__doc__ or "").split())
    if text.startswith(f"{event.__name__}("):
        text = ""  # the docstring that a dataclass without one gets
    text = _END.split(_ASIDE.sub("", text), maxsplit=1)[0]
    text = text or humanize(event.TOPIC.replace(".", " "))
    return f"{text[0].upper()}{text[1:]}."


def template(event: type[DomainEvent]) -> str:
    """The description of every event of a type, its members in braces."""
    return TEMPLATES.get(event.TOPIC) or headline(event)


def describe_event(event: DomainEvent) -> str:
    """The description of an event; it contains no secrets, because no event has one as a member."""
    text = TEMPLATES.get(event.TOPIC)
    return _FORMATTER.vformat(text, (), vars(event)) if text else headline(type(event))
