"""The rows that the views had after each event of a stream: the part of the temporal tables that only computes.

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

_stream, _position = itemgetter(0), itemgetter(-1)


@dataclass(frozen=True, slots=True)
class UnreadableStream:
    """A stream that cannot be replayed: the position of its first event that is not written, and the reason."""

    stream: bytes
    position: int
    reason: str


@dataclass(slots=True)
class RowVersions:
    """Rows in the form of ``temporal.write``: those that ended, and those that began."""

    ended: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    begun: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    unreadable: list[UnreadableStream] = field(default_factory=list)
    """The streams that are left out because this build or key cannot read one of their events."""


@dataclass(frozen=True, slots=True)
class _CurrentRow:
    """A row that is valid, and the position since which it is."""

    view: str
    columns: JsonObject
    since: int


class _EntityRows:
    """The rows of one entity through time; what began at or before ``after`` is written already."""

    def __init__(self, after: int, versions: RowVersions) -> None:
        self._after = after
        self._versions = versions
        self._current: dict[RowKey, _CurrentRow] = {}

    def update(self, rows: dict[RowKey, tuple[str, JsonObject]], position: int) -> None:
        """Take the rows of the entity after the event at a position."""
        for key, former in list(self._current.items()):
            if rows.get(key) != (former.view, former.columns):
                del self._current[key]
                self._end(former, position)
        for key, (view, columns) in rows.items():
            self._current.setdefault(key, _CurrentRow(view, columns, position))

    def close(self) -> None:
        """Add the valid rows that are not written yet, without an end."""
        for row in self._current.values():
            if row.since > self._after:
                self._append(self._versions.begun, row, row.since, FOREVER)

    def _end(self, row: _CurrentRow, position: int) -> None:
        if row.since > self._after:
            self._append(self._versions.begun, row, row.since, position)
        elif position > self._after:
            self._append(self._versions.ended, row, position, FOREVER)

    def _append(
        self, rows: tuple[list[str], list[str]], row: _CurrentRow, valid_from: int, valid_to: int
    ) -> None:
        bounds = {"valid_from": valid_from, "valid_to": valid_to}
        rows[0].append(row.view)
        # Documents are JSON already, and their bytes must stay.
        text = orjson.dumps(row.columns | bounds, default=orjson.Fragment)
        rows[1].append(text.decode())


def row_versions(
    replayer: PageReplayer, zone: ZoneInfo, organisation: str, events: list[RawEvent], after: int
) -> RowVersions:
    """Return the rows that began and ended after a position.

    :param events: all events of the streams in question up to some later position, each stream's
        together and in order; of each, at least one is later than ``after``.
    """
    versions = RowVersions()
    for stream, grouped in groupby(events, _stream):
        stream_events = list(grouped)
        try:
            _add_stream(versions, replayer, zone, organisation, stream_events, after)
        except ValueError as error:
            first = next(position for position in map(_position, stream_events) if position > after)
            versions.unreadable.append(UnreadableStream(stream, first, str(error)))
    return versions


def _add_stream(
    versions: RowVersions,
    replayer: PageReplayer,
    zone: ZoneInfo,
    organisation: str,
    events: list[RawEvent],
    after: int,
) -> None:
    """Add the rows of one stream, or none of them. Raises ``ValueError``."""
    rows = RowVersions()
    stream = events[0][0].hex()
    entity = _EntityRows(after, rows)
    positions = [*map(_position, events), FOREVER]
    states = replayer.replay_states(organisation, events)
    for position, following, aggregate in zip(positions, positions[1:], states, strict=False):
        # Of the events that are written already, only the last state counts.
        if following > after:
            current = _rows(aggregate, zone, organisation, stream, positions[0], position)
            entity.update(current, position)
    entity.close()
    for known, new in ((versions.ended, rows.ended), (versions.begun, rows.begun)):
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
    """Return an entity's rows by their keys, each as its table and its columns."""
    rows: dict[RowKey, tuple[str, JsonObject]] = {}
    # Projected without settings: no row may depend on them (see `infra.replay.pipeline.Reprojector`).
    for row in project(aggregate, {}, zone).rows:
        for table, values in table_rows(row, organisation, stream, created, changed):
            values["stream_id"] = stream
            columns = {name: values.get(name) for name in _COLUMNS[table.name]}
            rows[table.name, *_KEYS[table.name](values)] = table.name, columns
    return rows
