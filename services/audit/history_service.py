"""The history of one entity, for those who may read it: found, recorded as read, then told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.aggregate import AGGREGATES
from domain.errors import EntityNotFound, InvalidParameterValue
from domain.fields import JsonObject
from domain.identifiers import Identifier, normalised
from domain.reference.catalogue import ENTITIES, KINDS
from services.audit.access import AuditAccess, AuditReader
from services.audit.field_history import (
    Blame,
    HistoryEntry,
    RecordedEvent,
    SiblingEvent,
    blame,
    entries,
)
from services.context import ContextQuery
from services.ids import format_id, record_stream_id
from services.pipeline.identifiers import is_stored, single_match
from services.ports import ContextSource
from services.reference_cache import ReferenceCache

__all__ = [
    "ENTITY",
    "MOST",
    "Entity",
    "EntityEvents",
    "EntitySnapshot",
    "HistoryPage",
    "HistoryService",
]

ENTITY = "entity"
"""The parameter that names an entity: ``kind/id`` or ``kind/field=value``."""
MOST = 200
"""Versions on one page."""
AGGREGATE_NAMES = {"communication_queue": "queue_entry"}
"""Aggregates that the contract calls otherwise."""


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity with events in a ledger; ``ref`` is ``kind/id``."""

    ref: str
    stream: UUID


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A page of an entity's history.

    ``versions`` is how many events there are about it up to ``position`` of the ledger, ``entries``
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
    """An entity as it was at a version, field by field, and the page of its history around it."""

    history: HistoryPage
    version: int
    fields: list[Blame]


class EntityEvents(Protocol):
    """Events as they are stored. Every method raises `ServiceUnavailable` when it cannot answer."""

    async def topic(self, organisation: str, stream: UUID) -> str | None:
        """The topic of a stream's first event; None if there is none."""

    async def steps(self, organisation: str, stream: UUID) -> tuple[int, list[RecordedEvent]]:
        """The events of a stream in order, and the position up to which no other one is missing.

        Raises ``ValueError`` naming an event that this build or key cannot read.
        """

    async def neighbours(
        self, organisation: str, stream: UUID, told: Sequence[HistoryEntry]
    ) -> dict[str, list[SiblingEvent]]:
        """By command, the events that the commands of these entries wrote about other entities, in
        their order."""


class HistoryService:
    """Tells what happened to entities. Every reading is recorded before it happens."""

    def __init__(
        self, ledger: ContextSource, archive: EntityEvents, auditing: AuditAccess, zone: ZoneInfo
    ) -> None:
        self._ledger = ledger
        self._archive = archive
        self._auditing = auditing
        self.zone = zone

    async def entity(self, organisation: str, named: str, path: str = ENTITY) -> Entity:
        """The entity that ``kind/id`` or ``kind/field=value`` means.

        Kinds are those of identifiers, of registered records, and the topics of aggregates, such as
        ``session``. Raises `InvalidParameterValue`, `InvalidIdentifier`, `EntityNotFound` and
        `EntityNotUnique`, all naming the parameter ``at``.
        """
        kind, _, rest = named.strip().partition("/")
        if not rest or (kind not in ENTITIES and kind not in AGGREGATES):
            raise InvalidParameterValue(path)
        by_field = kind in ENTITIES and "=" in rest
        id_ = (
            await self._called(organisation, kind, rest, path)
            if by_field
            else normalised("id", rest)
        )
        stream = self._stream(organisation, kind, id_, path)
        topic = await self._archive.topic(organisation, stream)
        expected = "record" if kind in KINDS else AGGREGATE_NAMES.get(kind, kind)
        if topic is None or topic.partition(".")[0] != expected:
            raise EntityNotFound(path)
        return Entity(f"{kind}/{id_ if kind in KINDS else format_id(stream)}", stream)

    async def history(
        self, reader: AuditReader, entity: Entity, first: int = 1, last: int | None = None
    ) -> HistoryPage:
        """The entries from version ``first`` to ``last``, at most `MOST` of them."""
        position, steps = await self._steps(reader, entity, "history")
        last = min(len(steps), first + MOST - 1, last or len(steps))
        told = await self._told(steps[:last], reader.told.directory, first)
        linked = await self._linked(reader, entity, told)
        return HistoryPage(entity.ref, position, len(steps), first, last, linked)

    async def view(
        self, reader: AuditReader, entity: Entity, version: int | None = None
    ) -> EntitySnapshot:
        """The entity as it was at a version, now unless one is given, amid its history."""
        position, steps = await self._steps(reader, entity, "history")
        version = min(version or len(steps), len(steps))
        first = (version - 1) // MOST * MOST + 1
        last = min(len(steps), first + MOST - 1)
        told = await self._told(steps[:last], reader.told.directory)
        linked = await self._linked(reader, entity, told[first - 1 :])
        history = HistoryPage(entity.ref, position, len(steps), first, last, linked)
        return EntitySnapshot(history, version, blame(told[:version]))

    async def blame(
        self, reader: AuditReader, entity: Entity, upto: int | None = None
    ) -> JsonObject:
        """For each field, its value and the event that set it: now, or at version ``upto``."""
        position, steps = await self._steps(reader, entity, "blame")
        told = await self._told(steps[:upto], reader.told.directory)
        return {
            ENTITY: entity.ref,
            "position": position,
            "version": len(told),
            "fields": [_blamed(set_.field, set_.value, set_.entry) for set_ in blame(told)],
        }

    async def _steps(
        self, reader: AuditReader, entity: Entity, method: str
    ) -> tuple[int, list[RecordedEvent]]:
        """All events of an entity, once it is recorded that they are read."""
        await self._auditing.record(reader, method, {ENTITY: entity.ref})
        return await self._archive.steps(reader.organisation, entity.stream)

    async def _linked(
        self, reader: AuditReader, entity: Entity, told: list[HistoryEntry]
    ) -> list[HistoryEntry]:
        """The entries with their causes and effects."""
        beside = await self._archive.neighbours(reader.organisation, entity.stream, told)
        return [_linked(entry, beside.get(entry.command or "", [])) for entry in told]

    async def _told(
        self, steps: Sequence[RecordedEvent], directory: ReferenceCache, first: int = 1
    ) -> list[HistoryEntry]:
        """The entries, found beside the loop: some entities have very many events."""
        return await asyncio.to_thread(entries, steps, directory, self.zone, first)

    async def _called(self, organisation: str, kind: str, rest: str, path: str) -> str:
        """The id of the entity of a kind that has a value in an identifying field."""
        known = ENTITIES[kind]
        fields = tuple(dict.fromkeys(("id", "number", *known.fields)))
        named: Identifier = replace(known, fields=fields).read(rest, path, textual=True)
        stored = (named,) if is_stored(named) else ()
        told = await self._ledger.load_context(organisation, ContextQuery(identifiers=stored))
        return single_match(told.matches[0] if stored else told.directory.matches(named), path)

    @staticmethod
    def _stream(organisation: str, kind: str, id_: str, path: str) -> UUID:
        if kind in KINDS:
            return record_stream_id(organisation, kind, id_)
        try:
            return UUID(id_)
        except ValueError as error:
            raise EntityNotFound(path) from error


def _linked(entry: HistoryEntry, beside: Sequence[SiblingEvent]) -> HistoryEntry:
    """The entry with what it brought about, where its entity is the one that the command began
    with, or else with what the command began with."""
    if not beside or beside[0].position > entry.position:
        return replace(entry, effects=list(beside))
    return replace(entry, causes=[one for one in beside if one.entity == beside[0].entity])


def _blamed(name: str, value: Any, entry: HistoryEntry) -> JsonObject:
    """One field and what is told of the event that set it."""
    told = ("position", "version", "topic", "sentence", "at", "by", "request")
    return {"field": name, "value": value} | {key: getattr(entry, key) for key in told}
