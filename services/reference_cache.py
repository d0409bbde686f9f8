"""An organisation's set-up, held in memory: countries, units, users, categories, templates, ...

These records are few, change seldom and are needed by every call, so each process keeps them all.
They cannot be stale: every call learns from the database, in the same question that checks its
session, how far the set-up has changed, and what is newer is read before the call goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import orjson

from domain.fields import JsonObject
from domain.identifiers import Identifier
from domain.reference.catalogue import CACHED_SHAPES, KINDS
from services.reference_expansion import ReferenceExpander

__all__ = ["Match", "ReferenceCache", "ReferenceRecord"]


class Match(msgspec.Struct, frozen=True):
    """An entity that an identifier means."""

    id: str
    retired: bool = False


@dataclass(frozen=True, slots=True)
class ReferenceRecord:
    """One record of the set-up as it was registered."""

    kind: str
    id: str
    fields: JsonObject
    retired: bool
    changed: int
    version: int


class ReferenceCache:
    """The set-up records of one organisation, up to ``position`` of its ledger.

    ``settings`` are the organisation's own (common.md, section 14), ``name`` what it is called now, None
    if it is not registered or retired; ``last_name_first`` is whether persons are shown by their last
    name first.
    """

    def __init__(self, organisation: str, zone: ZoneInfo) -> None:
        self.organisation = organisation
        self.position = 0
        self.settings: Mapping[str, Any] = {}
        self.name: str | None = None
        self.last_name_first = False
        self._zone = zone
        self._entries: dict[str, ReferenceRecord] = {}
        self._names: dict[tuple[str, str, str], dict[str, Match]] = {}
        self._compacts: dict[str, bytes] = {}
        self._current: dict[str, list[ReferenceRecord]] = {}

    def copy(self) -> ReferenceCache:
        """The same set-up, to be updated while calls go on with this one."""
        other = ReferenceCache(self.organisation, self._zone)
        other.position = self.position
        other._entries = dict(self._entries)
        other._names = {key: dict(matches) for key, matches in self._names.items()}
        return other

    def update(self, entries: Iterable[ReferenceRecord]) -> None:
        """Takes in records that are new or changed."""
        for entry in entries:
            ref = f"{entry.kind}/{entry.id}"
            former = self._entries.get(ref)
            if former is None or former.changed < entry.changed:
                self._forget(former)
                self._entries[ref] = entry
                self._learn(entry)
                self.position = max(self.position, entry.changed)
        own = self.entry("organisation", self.organisation)
        self.settings = own.fields if own else {}
        self.name = None if own is None or own.retired else str(own.fields.get("name")).strip()
        self.last_name_first = self.settings.get("name_display") == "LAST_FIRST"
        self._compacts.clear()
        self._current.clear()

    def entry(self, kind: str, id_: str | None) -> ReferenceRecord | None:
        """One record, or None."""
        return self._entries.get(f"{kind}/{id_}") if id_ else None

    def fields(self, kind: str, id_: str | None) -> Mapping[str, Any]:
        """The fields of one record; empty for one that is unknown."""
        entry = self.entry(kind, id_)
        return entry.fields if entry else {}

    def choosable(self, kind: str) -> list[ReferenceRecord]:
        """The records of a kind that can be chosen, by id."""
        if kind not in self._current:
            chosen = (e for e in self._entries.values() if e.kind == kind and not e.retired)
            self._current[kind] = sorted(chosen, key=lambda entry: entry.id)
        return self._current[kind]

    def matches(self, identifier: Identifier) -> list[Match]:
        """What an identifier means, retired records included."""
        key = (identifier.entity, identifier.field, identifier.value)
        return list(self._names.get(key, {}).values())

    def compact(self, ref: str) -> bytes | None:
        """An object that is shown of a record, and in it what it refers to, which is set-up, too."""
        found = self._compacts.get(ref)
        if found is None:
            name, _, id_ = ref.partition("/")
            kind, shape = CACHED_SHAPES.get(name, (None, None))
            entry = self.entry(kind.key, id_) if kind else None
            if kind is None or shape is None or entry is None:
                return None
            derived = {key: self._follow(entry, path) for key, path in kind.derived.items()}
            values = entry.fields | {"id": entry.id} | derived
            places = orjson.dumps(shape.render(values, self._zone))
            composer = ReferenceExpander({}, self.compact, last_name_first=self.last_name_first)
            found = self._compacts[ref] = composer.expand(places)
        return found

    def _follow(self, entry: ReferenceRecord, path: tuple[str, ...]) -> Any:
        """The field at the end of a path of links."""
        *links, name = path
        for link in links:
            target = self.entry(link, entry.fields.get(link))
            if target is None:
                return None
            entry = target
        return entry.fields.get(name)

    def _learn(self, entry: ReferenceRecord) -> None:
        for key in self._keys(entry):
            self._names.setdefault(key, {})[entry.id] = Match(entry.id, entry.retired)

    def _forget(self, entry: ReferenceRecord | None) -> None:
        for key in self._keys(entry) if entry else ():
            self._names[key].pop(entry.id, None)  # type: ignore[union-attr]

    @staticmethod
    def _keys(entry: ReferenceRecord) -> list[tuple[str, str, str]]:
        values = KINDS[entry.kind].identifying_values(entry.fields, entry.id)
        return [(entry.kind, field, value) for field, value in values.items()]
