"""What rows the views had after each event of a stream: the part of history that only computes.

Streams are replayed event by event and projected by the code that answers calls. A row that an event
leaves as it was has no new version.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import orjson

from domain.aggregate import Aggregate
from domain.fields import JsonObject
from infra.replay.table_rows import table_rows
from infra.replay.worker import FOREVER, PageReplayer, RawEvent
from infra.views.tables import TABLES, temporal_columns
from services.projections import project

__all__ = ["RowVersions", "UnreadableStream", "row_versions"]

RowKey: TypeAlias = tuple[Any, ...]

_KEYS = {name: itemgetter(*table.key) for name, table in TABLES.items()}
"""Get the primary key of a table's row."""
_COLUMNS = {
    name: tuple(c.name for c in temporal_columns(table) if not c.source.startswith("valid_"))
    for name, table in TABLES.items()
}
"""The columns of each temporal table but the positions between which a row was valid."""

_stream, _position = itemgetter(0), itemgetter(8)


@dataclass(frozen=True, slots=True)
class UnreadableStream:
    """A stream that cannot be replayed: the first of its events that is not written, and why."""

    stream: bytes
    position: int
    reason: str


@dataclass(slots=True)
class RowVersions:
    """Rows as ``temporal.write`` takes them: those that ended, and those that began."""

    ended: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    begun: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    unreadable: list[UnreadableStream] = field(default_factory=list)
    """Streams of which nothing is here, because this build or key cannot read an event of theirs."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """A row that stands, and since which position."""

    view: str
    columns: JsonObject
    since: int


class _Stream:
    """The rows of one entity through time; what began at or before ``after`` is written already."""

    def __init__(self, after: int, found: RowVersions) -> None:
        self._after = after
        self._found = found
        self._standing: dict[RowKey, _Standing] = {}

    def show(self, rows: dict[RowKey, tuple[str, JsonObject]], position: int) -> None:
        """Takes what the entity looks like after the event at a position."""
        for key, former in list(self._standing.items()):
            if rows.get(key) != (former.view, former.columns):
                del self._standing[key]
                self._end(former, position)
        for key, (view, columns) in rows.items():
            self._standing.setdefault(key, _Standing(view, columns, position))

    def close(self) -> None:
        """Says of what stands and is not written yet that it stands."""
        for row in self._standing.values():
            if row.since > self._after:
                self._put(self._found.begun, row, row.since, FOREVER)

    def _end(self, row: _Standing, position: int) -> None:
        if row.since > self._after:
            self._put(self._found.begun, row, row.since, position)
        elif position > self._after:
            self._put(self._found.ended, row, position, FOREVER)

    def _put(
        self, rows: tuple[list[str], list[str]], row: _Standing, valid_from: int, valid_to: int
    ) -> None:
        bounds = {"valid_from": valid_from, "valid_to": valid_to}
        rows[0].append(row.view)
        # Documents are JSON already, and stay the bytes they are.
        text = orjson.dumps(row.columns | bounds, default=orjson.Fragment)
        rows[1].append(text.decode())


def row_versions(
    folder: PageReplayer, zone: ZoneInfo, organisation: str, events: list[RawEvent], after: int
) -> RowVersions:
    """The rows that began and ended after a position.

    :param events: all events of the streams in question up to some later position, each stream's
        together and in order; of each, at least one is later than ``after``.
    """
    found = RowVersions()
    for stream, grouped in groupby(events, _stream):
        own = list(grouped)
        try:
            _add(found, folder, zone, organisation, own, after)
        except ValueError as error:
            first = next(position for position in map(_position, own) if position > after)
            found.unreadable.append(UnreadableStream(stream, first, str(error)))
    return found


def _add(
    found: RowVersions,
    folder: PageReplayer,
    zone: ZoneInfo,
    organisation: str,
    own: list[RawEvent],
    after: int,
) -> None:
    """Adds the rows of one stream, or none of them. Raises ``ValueError``."""
    rows = RowVersions()
    stream = own[0][0].hex()
    entity = _Stream(after, rows)
    positions = [*map(_position, own), FOREVER]
    states = folder.states(own)
    for position, following, aggregate in zip(positions, positions[1:], states, strict=False):
        # Of what is written already, only how it looked at last counts.
        if following > after:
            current = _rows(aggregate, zone, organisation, stream, positions[0], position)
            entity.show(current, position)
    entity.close()
    for known, new in ((found.ended, rows.ended), (found.begun, rows.begun)):
        known[0].extend(new[0])
        known[1].extend(new[1])


def _rows(
    aggregate: Aggregate,
    zone: ZoneInfo,
    organisation: str,
    stream: str,
    created: int,
    changed: int,
) -> dict[RowKey, tuple[str, JsonObject]]:
    """An entity's rows by their keys, each as its table and its columns."""
    rows: dict[RowKey, tuple[str, JsonObject]] = {}
    # Projected without settings: no row may depend on them (see `infra.replay.pipeline.Reprojector`).
    for row in project(aggregate, {}, zone).rows:
        for table, values in table_rows(row, organisation, stream, created, changed):
            values["stream_id"] = stream
            columns = {name: values.get(name) for name in _COLUMNS[table.name]}
            rows[table.name, *_KEYS[table.name](values)] = table.name, columns
    return rows
