"""An organisation's set-up, held in memory: countries, units, users, categories, templates, ...

These records are few, change seldom and are needed by every call, so each process caches them all.
They cannot be stale: the context query of every call returns the position of the last change of the
set-up, and what is newer is read before the call continues.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import orjson

from domain.fields import JsonObject
from domain.identifiers import Identifier, normalised
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
    session_epoch: int = 0


class ReferenceCache:
    """The set-up records of one organisation, up to ``position`` of its ledger.

    ``settings`` are the organisation's own (common.md, section 14), ``name`` what it is called now, None
    if it is not registered or retired; ``last_name_first`` is True if persons are shown by their last
    name first.
    """

    def __init__(self, organisation: str, zone: ZoneInfo) -> None:
        self.organisation = organisation
        self.position = 0
        self.settings: Mapping[str, Any] = {}
        self.name: str | None = None
        self.last_name_first = False
        self._zone = zone
        self._records: dict[str, ReferenceRecord] = {}
        self._matches: dict[tuple[str, str, str], dict[str, Match]] = {}
        self._compacts: dict[str, bytes] = {}
        self._choosable: dict[str, list[ReferenceRecord]] = {}

    def copy(self) -> ReferenceCache:
        """Return the same set-up, to be updated while calls continue with this one."""
        other = ReferenceCache(self.organisation, self._zone)
        other.position = self.position
        other._records = dict(self._records)
        other._matches = {key: dict(matches) for key, matches in self._matches.items()}
        return other

    def update(self, entries: Iterable[ReferenceRecord]) -> None:
        """Add records that are new or changed."""
        for entry in entries:
            ref = f"{entry.kind}/{entry.id}"
            stored = self._records.get(ref)
            if stored is None or stored.changed < entry.changed:
                self._remove(stored)
                self._records[ref] = entry
                self._add(entry)
                self.position = max(self.position, entry.changed)
        organisation = self.entry("organisation", self.organisation)
        self.settings = organisation.fields if organisation else {}
        self.name = (
            None
            if organisation is None or organisation.retired
            else normalised("name", str(organisation.fields.get("name")))
        )
        self.last_name_first = self.settings.get("name_display") == "LAST_FIRST"
        self._compacts.clear()
        self._choosable.clear()

    def entry(self, kind: str, id_: str | None) -> ReferenceRecord | None:
        """Return one record, or None."""
        return self._records.get(f"{kind}/{id_}") if id_ else None

    def fields(self, kind: str, id_: str | None) -> Mapping[str, Any]:
        """Return the fields of one record; empty for an unknown one."""
        entry = self.entry(kind, id_)
        return entry.fields if entry else {}

    def choosable(self, kind: str) -> list[ReferenceRecord]:
        """Return the records of a kind that are not retired, ordered by id."""
        if kind not in self._choosable:
            records = (e for e in self._records.values() if e.kind == kind and not e.retired)
            self._choosable[kind] = sorted(records, key=lambda entry: entry.id)
        return self._choosable[kind]

    def matches(self, identifier: Identifier) -> list[Match]:
        """Return the records that an identifier matches, retired ones included."""
        key = (identifier.entity, identifier.field, identifier.value)
        return list(self._matches.get(key, {}).values())

    def compact(self, ref: str) -> bytes | None:
        """Return the compact object of a record, expanded: what it refers to is set-up, too."""
        compact = self._compacts.get(ref)
        if compact is None:
            name, _, id_ = ref.partition("/")
            kind, shape = CACHED_SHAPES.get(name, (None, None))
            entry = self.entry(kind.key, id_) if kind else None
            if kind is None or shape is None or entry is None:
                return None
            derived = {key: self._follow(entry, path) for key, path in kind.derived.items()}
            values = entry.fields | {"id": entry.id} | derived
            document = orjson.dumps(shape.render(values, self._zone))
            expander = ReferenceExpander({}, self.compact, last_name_first=self.last_name_first)
            compact = self._compacts[ref] = expander.expand(document)
        return compact

    def _follow(self, entry: ReferenceRecord, path: tuple[str, ...]) -> Any:
        """Return the field at the end of a path of links."""
        *links, name = path
        for link in links:
            target = self.entry(link, entry.fields.get(link))
            if target is None:
                return None
            entry = target
        return entry.fields.get(name)

    def _add(self, entry: ReferenceRecord) -> None:
        for key in self._keys(entry):
            self._matches.setdefault(key, {})[entry.id] = Match(entry.id, entry.retired)

    def _remove(self, entry: ReferenceRecord | None) -> None:
        for key in self._keys(entry) if entry else ():
            self._matches[key].pop(entry.id, None)  # type: ignore[union-attr]

    @staticmethod
    def _keys(entry: ReferenceRecord) -> list[tuple[str, str, str]]:
        values = KINDS[entry.kind].identifying_values(entry.fields, entry.id)
        return [(entry.kind, field, value) for field, value in values.items()]
