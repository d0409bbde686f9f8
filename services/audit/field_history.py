"""From events to readable changes of one entity: what happened, by whom, which fields changed.

The changes of an event are the differences of the entity's documents before and after it, which
works for every aggregate and every event, old or new. Nothing here does input or output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from domain.aggregate import AGGREGATES, Aggregate, DomainEvent
from domain.fields import JsonObject
from services.audit.event_descriptions import describe_event
from services.projections import project
from services.reference_cache import ReferenceCache

__all__ = [
    "Blame",
    "FieldChange",
    "HistoryEntry",
    "RecordedEvent",
    "Ref",
    "SiblingEvent",
    "blame",
    "describe_events",
    "flatten_document",
]

HIDDEN_FIELDS = ("id", "log_information")
"""Fields that each entry states otherwise."""
COMPUTED_REFERENCE = "follow_ups/"
"""The prefix of references that are not part of the entity but computed when it is read."""


class Ref(str):
    """A reference of a field to another entity, as ``kind/id``."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One event of an entity as it is in the ledger, with the metadata of its command."""

    event: DomainEvent
    position: int
    recorded_at: datetime
    metadata: JsonObject


@dataclass(frozen=True, slots=True)
class SiblingEvent:
    """An event of the same command about another entity (``kind/id``)."""

    position: int
    entity: str
    topic: str
    sentence: str


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field with its value before and after; None for no value."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One event as people read it.

    ``at`` is when it was decided, ``recorded_at`` when it was written. ``by`` is the actor and
    origin, ``changes`` the differences from the event before. ``causes`` are the events about another
    entity with which its command began, ``effects`` those that followed about other entities.
    """

    position: int
    version: int
    topic: str
    sentence: str
    at: datetime
    recorded_at: datetime
    by: JsonObject
    method: str | None
    command: str | None
    request: str | None
    correlation: str | None
    causation: str | None
    changes: tuple[FieldChange, ...]
    causes: list[SiblingEvent] = field(default_factory=list)
    effects: list[SiblingEvent] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Blame:
    """A field of an entity with its value, and the entry that set it last."""

    field: str
    value: Any
    entry: HistoryEntry


def describe_events(
    events: Sequence[RecordedEvent], cache: ReferenceCache, zone: ZoneInfo, first: int = 1
) -> list[HistoryEntry]:
    """The entries of an entity's events from version ``first`` on.

    :param events: all events of the entity up to some version, in order.
    :param cache: gives the present names of users and units.
    """
    entries: list[HistoryEntry] = []
    before: JsonObject = {}
    for recorded, aggregate in zip(events, replay(events), strict=True):
        if recorded.event.originator_version < first - 1:
            continue
        after = flatten_document(aggregate, cache, zone)
        if recorded.event.originator_version >= first:
            entries.append(_entry(recorded, cache, compare(before, after)))
        before = after
    return entries


def replay(events: Sequence[RecordedEvent]) -> Iterable[Aggregate]:
    """The entity after each event: one object, which changes from event to event."""
    aggregate_class = AGGREGATES[events[0].event.TOPIC.partition(".")[0]]
    return aggregate_class.replay_steps(recorded.event for recorded in events)


def flatten_document(aggregate: Aggregate, cache: ReferenceCache, zone: ZoneInfo) -> JsonObject:
    """The values of an entity's document by field, in its order.

    A field is a path: dots before members of objects, ids in brackets for entries of sets. Empty
    values are left out. Values are texts, numbers, booleans, lists of these, and `Ref`.
    """
    projection = project(aggregate, cache.settings, zone)
    document = orjson.loads(projection.full or b"{}") | dict(projection.extra)
    members = {name: value for name, value in document.items() if name not in HIDDEN_FIELDS}
    fields: JsonObject = {}
    _flatten(members, "", int(cache.last_name_first), fields)
    return fields


def compare(before: JsonObject, after: JsonObject) -> tuple[FieldChange, ...]:
    """The differences of two flattened documents: fields of ``after`` first, then removed ones."""
    names = dict.fromkeys((*after, *before))
    return tuple(
        FieldChange(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )


def blame(history: Iterable[HistoryEntry]) -> list[Blame]:
    """For each field that is set in the end, the entry that set it last, ordered by field.

    :param history: all entries of the entity from the first one on.
    """
    last: dict[str, Blame] = {}
    for entry in history:
        for change in entry.changes:
            if change.after is None:
                last.pop(change.field, None)
            else:
                last[change.field] = Blame(change.field, change.after, entry)
    return [last[name] for name in sorted(last)]


def _flatten(value: Any, path: str, name_order: int, fields: JsonObject) -> None:
    if isinstance(value, dict) and "$ref" not in value and "$name" not in value:
        for name, member in value.items():
            _flatten(member, f"{path}.{name}" if path else name, name_order, fields)
    elif isinstance(value, list) and value and all(_is_entry(item) for item in value):
        for item in value:
            members = {name: member for name, member in item.items() if name != "id"}
            _flatten(members, f"{path}[{item['id']}]", name_order, fields)
    else:
        leaf = _leaf(value, name_order)
        if leaf not in (None, "", []):
            fields[path] = leaf


def _is_entry(item: Any) -> bool:
    return isinstance(item, dict) and "id" in item


def _leaf(value: Any, name_order: int) -> Any:
    """A value as it is shown; None if it is not one of the entity's own."""
    if isinstance(value, list):
        return [_leaf(item, name_order) for item in value]
    if isinstance(value, dict) and "$name" in value:
        return value["$name"][name_order]
    if isinstance(value, dict) and "$ref" in value:
        ref = value["$ref"]
        return None if ref.startswith(COMPUTED_REFERENCE) else Ref(ref)
    return value


def _entry(
    recorded: RecordedEvent, cache: ReferenceCache, field_changes: tuple[FieldChange, ...]
) -> HistoryEntry:
    event, metadata = recorded.event, recorded.metadata
    return HistoryEntry(
        position=recorded.position,
        version=event.originator_version,
        topic=event.TOPIC,
        sentence=describe_event(event),
        at=event.timestamp,
        recorded_at=recorded.recorded_at,
        by=_actor(metadata, cache),
        method=metadata.get("method"),
        command=metadata.get("command"),
        request=metadata.get("request"),
        correlation=metadata.get("correlation"),
        causation=metadata.get("causation"),
        changes=field_changes,
    )


def _actor(metadata: Mapping[str, Any], cache: ReferenceCache) -> JsonObject:
    """The actor: user and unit with their present names, session, client, other source."""
    user, unit = metadata.get("user"), metadata.get("unit")
    user_fields, unit_fields = cache.fields("user", user), cache.fields("unit", unit)
    names = {"username": user_fields.get("username"), "person_name": user_fields.get("person_name")}
    return {
        "user": {"id": user} | names if user else None,
        "unit": {"id": unit, "name": unit_fields.get("name")} if unit else None,
        "session": metadata.get("session"),
        "client": metadata.get("client"),
        "source": metadata.get("source"),
    }
