"""The ledger as a flat relation, and the states to which its events lead.

Nothing is decrypted: a column only says whether an event has a personal part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import services.registry  # noqa: F401 (makes all events known)
from domain.aggregate import ENTIRE_VALUE, EVENTS
from infra.analytics.columns import Column, quoted
from infra.analytics.relation import ORGANISATION, PERSONAL_GRANT, Relation

__all__ = ["ENTITIES", "EVENTS_FLAT", "ID", "STATES", "states"]

ENTITIES = (
    "access_token",
    "communication",
    "contact_information",
    "queue_entry",
    "service_request",
)
"""The entities whose transitions between states are shown."""

ID = "upper(replace(e.stream_id::text, '-', ''))"
"""The SQL of an entity's id as callers see it."""

_ADMINISTRATIVE = frozenset(
    {"originator_id", "originator_version", "originator_topic", "timestamp", "user", "unit"}
)
_OPERATOR_TEXTS = frozenset({"fields", "reason"})
"""Unencrypted texts of operators that may name a person: registered records, reasons for erasure."""

_TYPES = {"str": "text", "int": "bigint", "bool": "boolean"}

_METADATA = {
    "at": ("timestamp with time zone", "When it was decided, by the clock of the process."),
    "user": ("text", "Id of the user who acted; null for operators and the system."),
    "unit": ("text", "Id of the unit for which the user acted."),
    "session": ("text", "Id of the session."),
    "method": ("text", "The API's method."),
    "source": ("text", "Where it came from, if not from a session."),
    "request": ("text", "Id of the request."),
    "correlation": ("text", "What the request is part of."),
    "client": ("text", "The program that sent the request."),
    "command": ("text", "Id that all events of one command share."),
    "causation": ("json", "The events that other events of the same command came of."),
}


def states() -> dict[str, str]:
    """Return the state to which each event of `ENTITIES` leads, by topic."""
    return {
        topic: event.TO
        for topic, event in sorted(EVENTS.items())
        if event.TO and topic.partition(".")[0] in ENTITIES
    }


def _values_list(states_by_topic: dict[str, str]) -> str:
    return ", ".join(f"('{topic}', '{state}')" for topic, state in states_by_topic.items())


STATES = f"(VALUES {_values_list(states())}) AS s (topic, state)"
"""`states` as a table expression of SQL."""


def _payload_types() -> dict[str, str]:
    """Return the members of all payloads that are not encrypted as a whole, with their types in SQL."""
    types_by_member: dict[str, set[str]] = {}
    for event in EVENTS.values():
        for member in fields(event):
            encrypted = event.PERSONAL.get(member.name, ()) is ENTIRE_VALUE
            if member.name not in _ADMINISTRATIVE and not encrypted:
                types_by_member.setdefault(member.name, set()).add(
                    str(member.type).removesuffix(" | None")
                )
    return {name: _common_type(types) for name, types in sorted(types_by_member.items())}


def _common_type(types: set[str]) -> str:
    sql_types = {_TYPES.get(type_, "json") for type_ in types}
    return sql_types.pop() if len(sql_types) == 1 else "json" if "json" in sql_types else "text"


def _columns() -> Iterator[Column]:
    yield ORGANISATION
    yield Column("position", "bigint", "Its place in the organisation's ledger.", "v.position")
    yield Column(
        "recorded_at", "timestamp with time zone", "When it was recorded.", "v.recorded_at"
    )
    yield Column("entity", "text", "What it is about.", "split_part(v.topic, '.', 1)")
    yield Column("event", "text", "What happened.", "split_part(v.topic, '.', 2)")
    yield Column("topic", "text", "Entity and event.", "v.topic")
    yield Column("id", "text", "Id of the entity.", ID.replace("e.", "v."))
    yield Column("version", "integer", "Its place among the entity's events.", "v.version")
    yield Column("schema_version", "smallint", "The form of its payload.", "v.schema_version")
    subject = "upper(replace(v.subject::text, '-', ''))"
    yield Column("contact", "text", "Id of the contact whose data it holds.", subject)
    description = "Whether it holds encrypted values."
    yield Column("encrypted", "boolean", description, "v.payload -> 'personal' IS NOT NULL")
    state = f"(SELECT s.state FROM {STATES} WHERE s.topic = v.topic)"  # noqa: S608 (topics and states)
    yield Column("state", "text", "The state that it leads to, if it leads to one.", state)
    for name, (type_, description) in _METADATA.items():
        yield Column(
            "decided_at" if name == "at" else name, type_, description, f"m.{quoted(name)}"
        )
    for name, type_ in _payload_types().items():
        description = f"What the event says under {name}."
        yield Column(
            f"payload_{name}", type_, description, f"p.{quoted(name)}", name in _OPERATOR_TEXTS
        )


def _record_join(alias: str, document: str, members: dict[str, str]) -> str:
    typed = ", ".join(f"{quoted(name)} {type_}" for name, type_ in members.items())
    return f"CROSS JOIN LATERAL json_to_record({document}) AS {alias} ({typed})"


EVENTS_FLAT = Relation(
    "events_flat",
    "Every event of the ledger, one a row, with what it says in the open.",
    tuple(_columns()),
    "\n".join(
        (
            "ledger.events v",
            _record_join(
                "m", "v.metadata", {name: type_ for name, (type_, _) in _METADATA.items()}
            ),
            _record_join("p", "v.payload", _payload_types()),
            PERSONAL_GRANT,
        )
    ),
    ("position",),
    "position",
)
