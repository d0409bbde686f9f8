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
from services.audit.event_descriptions import sentence
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
    "entries",
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


def entries(
    steps: Sequence[RecordedEvent], directory: ReferenceCache, zone: ZoneInfo, first: int = 1
) -> list[HistoryEntry]:
    """The entries of an entity's events from version ``first`` on.

    :param steps: all events of the entity up to some version, in order.
    :param directory: names the users and units, as they are called today.
    """
    told: list[HistoryEntry] = []
    before: JsonObject = {}
    for step, aggregate in zip(steps, replay(steps), strict=True):
        if step.event.originator_version < first - 1:
            continue
        after = flatten_document(aggregate, directory, zone)
        if step.event.originator_version >= first:
            told.append(_entry(step, directory, changes(before, after)))
        before = after
    return told


def replay(steps: Sequence[RecordedEvent]) -> Iterable[Aggregate]:
    """The entity after each step: one object, that changes from step to step."""
    kind = AGGREGATES[steps[0].event.TOPIC.partition(".")[0]]
    return kind.replay_steps(step.event for step in steps)


def flatten_document(aggregate: Aggregate, directory: ReferenceCache, zone: ZoneInfo) -> JsonObject:
    """All that is shown of an entity: values by field, in the order of its document.

    The fields of nested objects are parted by dots, entries of sets stand by their ids in brackets.
    What is empty is left out. Texts, numbers, truths, lists of these, and `Ref` are values.
    """
    projection = project(aggregate, directory.settings, zone)
    document = orjson.loads(projection.full or b"{}") | dict(projection.extra)
    told = {name: value for name, value in document.items() if name not in HIDDEN_FIELDS}
    found: JsonObject = {}
    _flatten(told, "", int(directory.last_name_first), found)
    return found


def changes(before: JsonObject, after: JsonObject) -> tuple[FieldChange, ...]:
    """What differs between two times at which an entity is shown; first what is there, then what
    is gone."""
    names = dict.fromkeys((*after, *before))
    return tuple(
        FieldChange(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )


def blame(told: Iterable[HistoryEntry]) -> list[Blame]:
    """For each field that is set in the end, the entry that set it; by the names of the fields.

    :param told: all entries of the entity from the first one on.
    """
    last: dict[str, Blame] = {}
    for entry in told:
        for change in entry.changes:
            if change.after is None:
                last.pop(change.field, None)
            else:
                last[change.field] = Blame(change.field, change.after, entry)
    return [last[name] for name in sorted(last)]


def _flatten(value: Any, path: str, name_order: int, found: JsonObject) -> None:
    if isinstance(value, dict) and "$ref" not in value and "$name" not in value:
        for name, member in value.items():
            _flatten(member, f"{path}.{name}" if path else name, name_order, found)
    elif isinstance(value, list) and value and all(_is_entry(item) for item in value):
        for item in value:
            members = {name: member for name, member in item.items() if name != "id"}
            _flatten(members, f"{path}[{item['id']}]", name_order, found)
    else:
        leaf = _leaf(value, name_order)
        if leaf not in (None, "", []):
            found[path] = leaf


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
    step: RecordedEvent, directory: ReferenceCache, changed: tuple[FieldChange, ...]
) -> HistoryEntry:
    event, said = step.event, step.metadata
    return HistoryEntry(
        position=step.position,
        version=event.originator_version,
        topic=event.TOPIC,
        sentence=sentence(event),
        at=event.timestamp,
        recorded_at=step.recorded_at,
        by=_by(said, directory),
        method=said.get("method"),
        command=said.get("command"),
        request=said.get("request"),
        correlation=said.get("correlation"),
        causation=said.get("causation"),
        changes=changed,
    )


def _by(said: Mapping[str, Any], directory: ReferenceCache) -> JsonObject:
    """Who acted: user and unit, with the names they have today, session, client, other source."""
    user, unit = said.get("user"), said.get("unit")
    person, place = directory.fields("user", user), directory.fields("unit", unit)
    named = {"username": person.get("username"), "person_name": person.get("person_name")}
    return {
        "user": {"id": user} | named if user else None,
        "unit": {"id": unit, "name": place.get("name")} if unit else None,
        "session": said.get("session"),
        "client": said.get("client"),
        "source": said.get("source"),
    }
