"""From changed aggregates to one change of the ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from domain.aggregate import Aggregate, Fact
from domain.contact_information import ContactInformation
from domain.errors import InvalidLifeCycleState, ServiceUnavailable
from domain.fields import Values
from domain.reference.records import Record
from services.context import Loaded
from services.ids import id_text, record_stream
from services.ports import Change, Ledger, Written
from services.projections import Projection, Row, project
from services.reference_cache import Directory

__all__ = ["Draft", "begun"]


@dataclass(slots=True)
class Draft:
    """What a command has decided and not yet written.

    ``before`` holds the projections of the loaded aggregates, ``after`` those of the changed
    ones, and ``shown`` the projection of any aggregate by stream, changed or not.
    """

    directory: Directory
    zone: ZoneInfo
    loaded: Loaded
    before: dict[UUID, Projection] = field(default_factory=dict)
    after: dict[UUID, Projection] = field(default_factory=dict)
    facts: dict[UUID, list[Fact]] = field(default_factory=dict)
    aggregates: dict[UUID, Aggregate] = field(default_factory=dict)
    effects: Values = field(default_factory=dict)

    def collect(self, aggregates: Iterable[Aggregate]) -> None:
        """Takes the new facts of aggregates and projects what they changed."""
        for aggregate in aggregates:
            facts = [cast(Fact, fact) for fact in aggregate.collect_events()]
            if facts:
                if aggregate.id in self.loaded.aggregates and aggregate.id not in self.before:
                    raise RuntimeError(f"{aggregate.TOPIC} {aggregate.id} was only to be looked at")
                self.facts[aggregate.id] = facts
                self.aggregates[aggregate.id] = aggregate
                self.after[aggregate.id] = self._project(aggregate)

    def shown(self, aggregate: Aggregate) -> Projection:
        """The aggregate as it is after the command."""
        return (
            self.after.get(aggregate.id)
            or self.before.get(aggregate.id)
            or self._project(aggregate)
        )

    def compacts(self) -> dict[str, bytes]:
        """The compact objects that the command has changed."""
        return {
            f"{row.columns['kind']}/{row.columns['id']}": row.document
            for shown in self.after.values()
            for row in shown.rows
            if row.view == "entities" and row.document is not None
        }

    def expect(self, versions: Mapping[UUID, int]) -> None:
        """Makes the change fail unless these streams still have these versions."""
        expected = [{"stream": str(id_), "version": v} for id_, v in versions.items()]
        _extend(self.effects, "expect", expected)

    def change(self, ledger: Ledger, metadata: Values, answer: bytes | None = None) -> Change:
        """The change to append.

        Raises `InvalidLifeCycleState` if it says something of a contact who was forgotten, and
        `ServiceUnavailable` if a contact's key is missing.
        """
        effects = dict(self.effects)
        written = [self._written(stream, ledger, effects) for stream in self.facts]
        for stream in self.facts:
            self._claim(stream, effects)
        command = uuid4().hex
        return Change(
            command=command,
            metadata=metadata | {"command": command},
            written=written,
            rows=list(self._rows()),
            effects=effects,
            answer=answer,
        )

    def _project(self, aggregate: Aggregate) -> Projection:
        return project(aggregate, self.directory.settings, self.zone)

    def _written(self, stream: UUID, ledger: Ledger, effects: Values) -> Written:
        subject, facts = self.aggregates[stream].subject, self.facts[stream]
        if subject is None or not any(fact.PERSONAL for fact in facts):
            return Written(facts, subject)
        new = subject == stream and stream not in self.before
        return Written(facts, subject, self._key(subject, ledger, effects, new=new))

    def _key(self, subject: UUID, ledger: Ledger, effects: Values, *, new: bool) -> bytes:
        """What encrypts the personal part of facts: a person's key, which begins with the first."""
        key = self.loaded.keys.get(subject)
        if key is None and new:
            key, wrapped = ledger.new_key()
            self.loaded.keys[subject] = key
            made = {"subject": str(subject), "wrapped": wrapped}
            _extend(effects, "personal_keys", [made])
        elif key is None:
            raise ServiceUnavailable("personal key")
        elif not key:
            raise InvalidLifeCycleState
        elif not any(m["subject"] == str(subject) for m in effects.get("personal_keys", ())):
            # Whoever forgets the person meanwhile must not find that more was written.
            _extend(effects, "expect_keys", [str(subject)])
        return key

    def _claim(self, stream: UUID, effects: Values) -> None:
        before, after = self.before.get(stream, Projection()), self.after[stream]
        aggregate = self.aggregates[stream]
        entity: Values = {"stream": str(stream)}
        if isinstance(aggregate, Record):
            entity["entity"] = f"{aggregate.kind}/{aggregate.record_id}"
        for suffix, old, new in (
            ("", before.claims, after.claims),
            ("_worldwide", before.worldwide, after.worldwide),
        ):
            taken = [entity | {"claim": c, "at": at} for c, at in new.items() if c not in old]
            dropped = [entity | {"claim": claim} for claim in old if claim not in new]
            _extend(effects, f"take{suffix}", taken)
            _extend(effects, f"release{suffix}", dropped)
        owner = f"{aggregate.TOPIC}/{id_text(aggregate.id)}"
        void = [name for name in before.secrets if name not in after.secrets]
        _extend(effects, "drop_secrets", [{"owner": owner, "name": name} for name in void])
        if isinstance(aggregate, ContactInformation):
            _extend(effects, "expect", [self._settings_as_read()])

    def _settings_as_read(self) -> Values:
        """Contacts are unique by a rule of the settings; it must still be the same when written."""
        organisation = self.directory.organisation
        entry = self.directory.entry("organisation", organisation)
        stream = record_stream(organisation, "organisation", organisation)
        return {"stream": str(stream), "version": entry.version if entry else 0}

    def _rows(self) -> Iterable[Row]:
        for stream, after in self.after.items():
            before = self.before.get(stream)
            former = {_kind(row): row for row in before.rows} if before else {}
            for row in after.rows:
                old = former.get(_kind(row)) if row.view == "entities" else None
                if old is None:
                    yield row
                elif (old.columns, old.document) != (row.columns, row.document):
                    named = old.columns == row.columns
                    yield replace(row, columns=row.columns | {"names": None}) if named else row


def _kind(row: Row) -> tuple[str, str | None]:
    return row.view, row.columns.get("kind")


def _extend(effects: Values, name: str, items: Sequence[Any]) -> None:
    if items:
        effects[name] = [*effects.get(name, []), *items]


def begun(
    directory: Directory,
    zone: ZoneInfo,
    loaded: Loaded,
    changing: Collection[UUID] | None = None,
) -> Draft:
    """A draft on loaded aggregates, with their projections as they are before the command.

    :param changing: the aggregates that the command may change, all of them unless it is given.
    """
    draft = Draft(directory, zone, loaded)
    for stream, aggregate in loaded.aggregates.items():
        if changing is None or stream in changing:
            draft.before[stream] = project(aggregate, directory.settings, zone)
    return draft
