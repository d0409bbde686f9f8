"""The unit of work: from changed aggregates to one commit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import cast
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from domain.aggregate import Aggregate, DomainEvent
from domain.contact_information import ContactInformation
from domain.errors import InvalidLifeCycleState, ServiceUnavailable
from domain.fields import JsonObject
from domain.reference.records import Record
from services.context import LoadResult
from services.ids import format_id, record_stream_id
from services.ports import Commit, EventStore, StreamCommit
from services.projections import Projection, ViewRow, project
from services.reference_cache import ReferenceCache
from services.side_effects import (
    DropSecret,
    ExpectKey,
    ExpectVersion,
    ReleaseClaim,
    ReleaseGlobalClaim,
    SideEffect,
    StoreKey,
    TakeClaim,
    TakeGlobalClaim,
)

__all__ = ["NewSecret", "UnitOfWork"]


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A new secret of an entity, to be kept as a verifier.

    Short-lived codes (with ``expires_at``, or not ``slow``) are kept as keyed hashes.
    """

    owner: str
    name: str
    key_id: str
    secret: str
    slow: bool = True
    expires_at: datetime | None = None


@dataclass(slots=True)
class UnitOfWork:
    """The aggregates and changes of one attempt at a command, not yet written.

    ``projections_before`` holds the projections of the loaded aggregates that may be changed,
    ``projections_after`` those of the changed ones, by stream. ``numbers`` are drawn from sequences,
    the unused ones go back. ``secrets`` are new ones to keep, ``one_time_fields`` keys of this one
    answer that no document holds. ``generated_params`` are parameters whose value was generated:
    where another entity has it already, the call is decided anew instead of refused.
    ``matching_secrets`` are parameters that fit the secret that is stored already, ``causation``
    names for new entities the event that made them necessary.
    """

    directory: ReferenceCache
    zone: ZoneInfo
    loaded: LoadResult = field(default_factory=LoadResult)
    projections_before: dict[UUID, Projection] = field(default_factory=dict)
    projections_after: dict[UUID, Projection] = field(default_factory=dict)
    events: dict[UUID, list[DomainEvent]] = field(default_factory=dict)
    aggregates: dict[UUID, Aggregate] = field(default_factory=dict)
    side_effects: list[SideEffect] = field(default_factory=list)
    secrets: list[NewSecret] = field(default_factory=list)
    numbers: dict[str, list[int]] = field(default_factory=dict)
    generated_params: set[str] = field(default_factory=set)
    matching_secrets: frozenset[str] = frozenset()
    one_time_fields: JsonObject = field(default_factory=dict)
    causation: dict[str, str] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        directory: ReferenceCache,
        zone: ZoneInfo,
        loaded: LoadResult,
        changing: Collection[UUID] | None = None,
    ) -> UnitOfWork:
        """Return a unit of work on loaded aggregates, with their projections before the command.

        :param changing: the aggregates that the command may change, all of them by default.
        """
        work = cls(directory, zone, loaded)
        for stream, aggregate in loaded.aggregates.items():
            if changing is None or stream in changing:
                work.projections_before[stream] = work.project(aggregate)
        return work

    def collect(self, aggregates: Iterable[Aggregate]) -> None:
        """Take the new events of aggregates and project what they changed."""
        for aggregate in aggregates:
            events = [cast(DomainEvent, event) for event in aggregate.collect_events()]
            if events:
                if (
                    aggregate.id in self.loaded.aggregates
                    and aggregate.id not in self.projections_before
                ):
                    raise RuntimeError(f"{aggregate.TOPIC} {aggregate.id} was only to be looked at")
                self.events[aggregate.id] = events
                self.aggregates[aggregate.id] = aggregate
                self.projections_after[aggregate.id] = self.project(aggregate)

    def projection_of(self, aggregate: Aggregate) -> Projection:
        """Return the projection of an aggregate after the command."""
        return (
            self.projections_after.get(aggregate.id)
            or self.projections_before.get(aggregate.id)
            or self.project(aggregate)
        )

    def compacts(self) -> dict[str, bytes]:
        """Return the compact objects that the command has changed, by ``kind/id``."""
        return {
            f"{row.columns['kind']}/{row.columns['id']}": row.document
            for projection in self.projections_after.values()
            for row in projection.rows
            if row.view == "entities" and row.document is not None
        }

    def expect_unchanged(self) -> None:
        """Make the commit fail if a loaded aggregate without new events was changed meanwhile."""
        self.side_effects += [
            ExpectVersion(stream, aggregate.version)
            for stream, aggregate in self.loaded.aggregates.items()
            if stream not in self.events
        ]

    def to_commit(
        self, store: EventStore, metadata: JsonObject, answer: bytes | None = None
    ) -> Commit:
        """Return the commit to append.

        Raises `InvalidLifeCycleState` if an event is about a contact who was erased, and
        `ServiceUnavailable` if a contact's key is missing.
        """
        side_effects = [*self.side_effects]
        streams = [self._stream_commit(stream, store, side_effects) for stream in self.events]
        for stream in self.events:
            side_effects += self._claims(stream)
        command = uuid4().hex
        return Commit(
            command=command,
            metadata=metadata | {"command": command},
            written=streams,
            rows=list(self._rows()),
            side_effects=side_effects,
            answer=answer,
        )

    def project(self, aggregate: Aggregate) -> Projection:
        """Return the projection of an aggregate in its present state."""
        return project(aggregate, self.directory.settings, self.zone)

    def _stream_commit(
        self, stream: UUID, store: EventStore, side_effects: list[SideEffect]
    ) -> StreamCommit:
        subject, events = self.aggregates[stream].data_subject, self.events[stream]
        if subject is None or not any(event.PERSONAL for event in events):
            return StreamCommit(events, subject)
        new = subject == stream and stream not in self.projections_before
        return StreamCommit(
            events, subject, self._encryption_key(subject, store, side_effects, new=new)
        )

    def _encryption_key(
        self, subject: UUID, store: EventStore, side_effects: list[SideEffect], *, new: bool
    ) -> bytes:
        """Return the key of the personal part of events, made with the first event of a contact."""
        key = self.loaded.keys.get(subject)
        if key is None and new:
            key, wrapped = store.new_key()
            self.loaded.keys[subject] = key
            side_effects.append(StoreKey(subject, wrapped))
        elif key is None:
            raise ServiceUnavailable("personal key")
        elif not key:
            raise InvalidLifeCycleState
        elif not any(isinstance(e, StoreKey) and e.subject == subject for e in side_effects):
            # If the contact is erased meanwhile, nothing more may be written about it.
            side_effects.append(ExpectKey(subject))
        return key

    def _claims(self, stream: UUID) -> Iterator[SideEffect]:
        """Return the claims and secrets that differ after the command."""
        aggregate, after = self.aggregates[stream], self.projections_after[stream]
        before = self.projections_before.get(stream, Projection())
        entity = None
        if isinstance(aggregate, Record):
            entity = f"{aggregate.kind}/{aggregate.record_id}"
        for take, release, old, new in (
            (TakeClaim, ReleaseClaim, before.claims, after.claims),
            (TakeGlobalClaim, ReleaseGlobalClaim, before.global_claims, after.global_claims),
        ):
            for claim, at in new.items():
                if claim not in old:
                    yield take(stream=stream, entity=entity, claim=claim, at=at)
            for claim in old:
                if claim not in new:
                    yield release(stream=stream, entity=entity, claim=claim)
        owner = f"{aggregate.TOPIC}/{format_id(aggregate.id)}"
        for name in before.secrets:
            if name not in after.secrets:
                yield DropSecret(owner, name)
        if isinstance(aggregate, ContactInformation):
            yield self._expect_settings()

    def _expect_settings(self) -> ExpectVersion:
        """Expect the settings as they were read: contacts are unique by a rule that they contain."""
        organisation = self.directory.organisation
        entry = self.directory.entry("organisation", organisation)
        stream = record_stream_id(organisation, "organisation", organisation)
        return ExpectVersion(stream, entry.version if entry else 0)

    def _rows(self) -> Iterable[ViewRow]:
        for stream, after in self.projections_after.items():
            before = self.projections_before.get(stream)
            rows_before = {_row_key(row): row for row in before.rows} if before else {}
            for row in after.rows:
                old = rows_before.get(_row_key(row)) if row.view == "entities" else None
                if old is None:
                    yield row
                elif (old.columns, old.document) != (row.columns, row.document):
                    same_columns = old.columns == row.columns
                    yield (
                        replace(row, columns=row.columns | {"names": None}) if same_columns else row
                    )


def _row_key(row: ViewRow) -> tuple[str, str | None]:
    return row.view, row.columns.get("kind")
