"""From events to readable changes: what happened to one entity, by whom, and what it changed.

What an event changes is found by comparing what is shown of the entity before and after it, so that
it holds for every aggregate and every event, old or new. Nothing here reads anything.
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
"""Which entity it is, is known; who changed it last, and when, stands in each entry."""
COMPUTED_REFERENCE = "follow_ups/"
"""Begins a reference to what is no part of the entity, but found when its document is read."""


class Ref(str):
    """Another entity that a field holds, as ``kind/id``."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One event of an entity as the ledger has it; ``metadata`` is what its command says of itself."""

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
    """A field with its value before and after; None is nothing."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One event as people read it.

    ``at`` is when it was decided, ``recorded_at`` when it was written. ``by`` says who and from
    where, ``changes`` what differs since the event before. ``causes`` are the events about another
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

    :param steps: all events of the entity up to some version, in order.
    :param directory: names the users and units, as they are called today.
    """
    described: list[HistoryEntry] = []
    before: JsonObject = {}
    for step, aggregate in zip(events, replay(events), strict=True):
        if step.event.originator_version < first - 1:
            continue
        after = flatten_document(aggregate, cache, zone)
        if step.event.originator_version >= first:
            described.append(_entry(step, cache, compare(before, after)))
        before = after
    return described


def replay(events: Sequence[RecordedEvent]) -> Iterable[Aggregate]:
    """The entity after each step: one object, that changes from step to step."""
    aggregate_class = AGGREGATES[events[0].event.TOPIC.partition(".")[0]]
    return aggregate_class.replay_steps(step.event for step in events)


def flatten_document(aggregate: Aggregate, cache: ReferenceCache, zone: ZoneInfo) -> JsonObject:
    """All that is shown of an entity: values by field, in the order of its document.

    The fields of nested objects are parted by dots, entries of sets stand by their ids in brackets.
    What is empty is left out. Texts, numbers, truths, lists of these, and `Ref` are values.
    """
    projection = project(aggregate, cache.settings, zone)
    document = orjson.loads(projection.full or b"{}") | dict(projection.extra)
    shown_members = {name: value for name, value in document.items() if name not in HIDDEN_FIELDS}
    fields: JsonObject = {}
    _flatten(shown_members, "", int(cache.last_name_first), fields)
    return fields


def compare(before: JsonObject, after: JsonObject) -> tuple[FieldChange, ...]:
    """What differs between two times at which an entity is shown; first what is there, then what
    is gone."""
    names = dict.fromkeys((*after, *before))
    return tuple(
        FieldChange(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )


def blame(history: Iterable[HistoryEntry]) -> list[Blame]:
    """For each field that is set in the end, the entry that set it; by the names of the fields.

    :param told: all entries of the entity from the first one on.
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
    """A value as it is shown; None for what is no value of the entity's own."""
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
    """Who acted: user and unit, with the names they have today, session, client, other source."""
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
