"""The history of one entity, for those who may read it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.aggregate import AGGREGATES
from domain.errors import EntityNotFound, InvalidParameterValue, MandatoryParameter
from domain.fields import JsonObject
from domain.identifiers import normalised
from domain.reference.catalogue import ENTITIES, KINDS
from services.audit.access import AuditAccess, AuditReader
from services.audit.field_history import (
    Blame,
    HistoryEntry,
    RecordedEvent,
    SiblingEvent,
    blame,
    describe_events,
)
from services.context import ContextQuery
from services.ids import format_id, record_stream_id
from services.pipeline.identifiers import is_stored, single_match
from services.ports import ContextSource
from services.reference_cache import ReferenceCache

__all__ = [
    "ENTITY",
    "PAGE_SIZE",
    "Entity",
    "EntityEvents",
    "EntitySnapshot",
    "HistoryPage",
    "HistoryService",
]

ENTITY = "entity"
"""The parameter that names an entity: ``kind/id`` or ``kind/field=value``."""
PAGE_SIZE = 200
"""Versions on one page."""
AGGREGATE_NAMES = {"communication_queue": "queue_entry"}
"""Aggregates that have another name in the contract."""


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity with events in a ledger; ``ref`` is ``kind/id``."""

    ref: str
    stream: UUID


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A page of an entity's history.

    ``versions`` is the number of its events up to ``position`` of the ledger, ``entries``
    those from version ``first`` to ``last``.
    """

    entity: str
    position: int
    versions: int
    first: int
    last: int
    entries: list[HistoryEntry]


@dataclass(frozen=True, slots=True)
class EntitySnapshot:
    """The fields of an entity as of a version, and the page of its history around that."""

    history: HistoryPage
    version: int
    fields: list[Blame]


class EntityEvents(Protocol):
    """Stored events. Every method raises `ServiceUnavailable` when it cannot answer."""

    async def first_topic(self, organisation: str, stream: UUID) -> str | None:
        """The topic of a stream's first event; None if there is none."""

    async def read(self, organisation: str, stream: UUID) -> tuple[int, list[RecordedEvent]]:
        """The position up to which the events of a stream are complete, and these in order.

        Raises ``ValueError`` naming an event that this build or key cannot read.
        """

    async def siblings(
        self, organisation: str, stream: UUID, entries: Sequence[HistoryEntry]
    ) -> dict[str, list[SiblingEvent]]:
        """The events about other entities of the same commands, in order, by command."""


class HistoryService:
    """Reads histories of entities. Every reading is recorded before it happens."""

    def __init__(
        self, store: ContextSource, events: EntityEvents, audit_access: AuditAccess, zone: ZoneInfo
    ) -> None:
        self._store = store
        self._events = events
        self._audit_access = audit_access
        self.zone = zone

    async def find_entity(self, organisation: str, name: str, path: str = ENTITY) -> Entity:
        """The entity that ``kind/id`` or ``kind/field=value`` means.

        Kinds are those of identifiers, of registered records, and the topics of aggregates, such as
        ``session``. Raises `InvalidParameterValue`, `InvalidIdentifier`, `EntityNotFound` and
        `EntityNotUnique`, all for the parameter ``path``.
        """
        kind, _, value = name.strip().partition("/")
        if not value or (kind not in ENTITIES and kind not in AGGREGATES):
            raise InvalidParameterValue(path)
        by_field = kind in ENTITIES and "=" in value
        id_ = (
            await self._find_id(organisation, kind, value, path)
            if by_field
            else normalised("id", value)
        )
        stream = self._stream(organisation, kind, id_, path)
        topic = await self._events.first_topic(organisation, stream)
        expected = "record" if kind in KINDS else AGGREGATE_NAMES.get(kind, kind)
        if topic is None or topic.partition(".")[0] != expected:
            raise EntityNotFound(path)
        return Entity(f"{kind}/{id_ if kind in KINDS else format_id(stream)}", stream)

    async def history(
        self, reader: AuditReader, entity: Entity, first: int = 1, last: int | None = None
    ) -> HistoryPage:
        """The entries from version ``first`` to ``last``, at most `PAGE_SIZE` of them."""
        position, events = await self._read_events(reader, entity, "history")
        last = min(len(events), first + PAGE_SIZE - 1, last or len(events))
        entries = await self._describe(events[:last], reader.context.directory, first)
        linked = await self._link(reader, entity, entries)
        return HistoryPage(entity.ref, position, len(events), first, last, linked)

    async def snapshot(
        self, reader: AuditReader, entity: Entity, version: int | None = None
    ) -> EntitySnapshot:
        """The entity as of a version, the last one by default, with the page of its history."""
        position, events = await self._read_events(reader, entity, "history")
        version = min(version or len(events), len(events))
        first = (version - 1) // PAGE_SIZE * PAGE_SIZE + 1
        last = min(len(events), first + PAGE_SIZE - 1)
        entries = await self._describe(events[:last], reader.context.directory)
        linked = await self._link(reader, entity, entries[first - 1 :])
        history = HistoryPage(entity.ref, position, len(events), first, last, linked)
        return EntitySnapshot(history, version, blame(entries[:version]))

    async def blame(
        self, reader: AuditReader, entity: Entity, upto: int | None = None
    ) -> JsonObject:
        """For each field, its value and the event that set it: now, or at version ``upto``."""
        position, events = await self._read_events(reader, entity, "blame")
        entries = await self._describe(events[:upto], reader.context.directory)
        return {
            ENTITY: entity.ref,
            "position": position,
            "version": len(entries),
            "fields": [_blamed_field(blamed) for blamed in blame(entries)],
        }

    async def _read_events(
        self, reader: AuditReader, entity: Entity, method: str
    ) -> tuple[int, list[RecordedEvent]]:
        """All events of an entity, after the reading is recorded."""
        await self._audit_access.record_reading(reader, method, {ENTITY: entity.ref})
        return await self._events.read(reader.organisation, entity.stream)

    async def _link(
        self, reader: AuditReader, entity: Entity, entries: list[HistoryEntry]
    ) -> list[HistoryEntry]:
        """The entries with their causes and effects."""
        siblings = await self._events.siblings(reader.organisation, entity.stream, entries)
        return [_link_entry(entry, siblings.get(entry.command or "", [])) for entry in entries]

    async def _describe(
        self, events: Sequence[RecordedEvent], cache: ReferenceCache, first: int = 1
    ) -> list[HistoryEntry]:
        """The entries, made in a thread: some entities have very many events."""
        return await asyncio.to_thread(describe_events, events, cache, self.zone, first)

    async def _find_id(self, organisation: str, kind: str, value: str, path: str) -> str:
        """The id of the entity of a kind with a given value in an identifier field."""
        known = ENTITIES[kind]
        fields = tuple(dict.fromkeys(("id", "number", *known.fields)))
        identifier = replace(known, fields=fields).read(value, path, textual=True)
        if identifier is None:
            raise MandatoryParameter(path)
        stored = (identifier,) if is_stored(identifier) else ()
        context = await self._store.load_context(organisation, ContextQuery(identifiers=stored))
        matches = context.matches[0] if stored else context.directory.matches(identifier)
        return single_match(matches, path)

    @staticmethod
    def _stream(organisation: str, kind: str, id_: str, path: str) -> UUID:
        if kind in KINDS:
            return record_stream_id(organisation, kind, id_)
        try:
            return UUID(id_)
        except ValueError as error:
            raise EntityNotFound(path) from error


def _link_entry(entry: HistoryEntry, siblings: Sequence[SiblingEvent]) -> HistoryEntry:
    """The entry with its effects, if its command began with this entity; else with its causes."""
    if not siblings or siblings[0].position > entry.position:
        return replace(entry, effects=list(siblings))
    first = siblings[0].entity
    return replace(entry, causes=[sibling for sibling in siblings if sibling.entity == first])


def _blamed_field(blamed: Blame) -> JsonObject:
    """One field, its value and the event that set it."""
    members = ("position", "version", "topic", "sentence", "at", "by", "request")
    field: JsonObject = {"field": blamed.field, "value": blamed.value}
    return field | {key: getattr(blamed.entry, key) for key in members}
