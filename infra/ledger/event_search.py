"""Events as they are stored, by position and filter: what auditors and followers read.

A page names its range of positions, the number of its events and the number of positions that the
filter has left out: positions are dense, so a reader who adds up knows that nothing else is missing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from domain.errors import InvalidParameterValue
from infra.encryption import KeyRing
from infra.ledger.feed import GapError, check_authentic, stored_event
from infra.ledger.positions import HEAD
from infra.postgres.pool import ConnectionPool

__all__ = ["Filter", "Page", "Search"]

COLUMNS = """
SELECT organisation, position, stream_id, version, topic, schema_version, subject, payload, metadata,
       recorded_at, event_hash, mac
  FROM ledger.events WHERE organisation = $1 AND position > $2 AND position <= $3"""
ORDER = " ORDER BY position LIMIT $4"
POSITION_BEFORE = "SELECT ledger.position_before($1, $2)"
SEAL = """
SELECT number, first_position AS first, last_position AS last, encode(root, 'hex') AS root FROM ledger.seals
 WHERE organisation = $1 AND last_position >= $2 AND first_position <= $2 ORDER BY last_position LIMIT 1
"""

ORIGINS = {"actor": "actor", "request": "request", "cause": "correlation"}
"""The columns of ``ledger.origins`` that filters go by; a request that begins a chain is its id."""
_ORIGIN_CONDITION = """position = ANY (ARRAY(
 SELECT position FROM ledger.origins
  WHERE organisation = $1 AND origin = ${} AND position > $2 AND position <= $3))"""
INDEX_ORIGINS = "SELECT ledger.index_origins($1, $2, $3)"
INDEX_BATCH = 20_000
"""Events whose origins are indexed in one statement."""

CONDITIONS = {
    "stream": "stream_id = ${}",
    "topics": "topic = ANY (${})",
    **{
        name: _ORIGIN_CONDITION.replace("origin =", f"{column} =")
        for name, column in ORIGINS.items()
    },
}
"""The condition of each filter, with a placeholder for the parameter's number."""
SELECTIVE = frozenset({"stream", "request", "cause"})
"""Filters that leave so few events that all positions can be searched at once."""
WINDOW = 100_000
"""Positions that one page searches at most, with any other filter."""
LOOKING = 5.0
"""Seconds for which the existing events are searched for the first match."""
MIN_PAUSE, MAX_PAUSE = 0.02, 0.25
"""Seconds between two looks at a ledger to which nothing is added; doubled from look to look."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions on events; None is no condition. ``until`` is exclusive."""

    stream: UUID | None = None
    topics: tuple[str, ...] | None = None
    actor: str | None = None
    request: str | None = None
    cause: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def conditions(self) -> Mapping[str, Any]:
        """The conditions other than those of time, by name."""
        values = {name: getattr(self, name) for name in CONDITIONS}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Page:
    """The events at the positions ``first`` to ``last`` that fit a filter, each a JSON object.

    ``head`` is the ledger's last position at the time of reading, ``seal`` the seal that covers
    ``last``, if there is one.
    """

    first: int
    last: int
    head: int
    seal: Mapping[str, Any] | None
    events: tuple[bytes, ...] = ()

    @property
    def left_out(self) -> int:
        """The number of its positions that the filter has left out."""
        return self.last - self.first + 1 - len(self.events)


class Search:
    """Reads pages of a ledger; between two queries it holds no connection."""

    def __init__(self, lanes: ConnectionPool, ring: KeyRing) -> None:
        self._lanes = lanes
        self._ring = ring

    async def page(self, ledger: str, after: int, limit: int, criteria: Filter) -> Page:
        """Return the events after a position that match, at most ``limit``; ``last`` is the next ``after``.

        Raises `InvalidParameterValue` for a position that the ledger has not reached, `LedgerCorruptedError`.
        """
        head: int = await self._fetch_value(HEAD, ledger)
        if after > head:
            raise InvalidParameterValue("after")
        low, high, searched_to = await self._bounds(ledger, after, head, criteria)
        if criteria.conditions.keys() & ORIGINS.keys():
            await self._index_origins(ledger, high)
        statement, values = _statement(criteria)
        rows = await self._lanes.read(
            lambda connection: connection.fetch(statement, ledger, low, high, limit, *values)
        )
        check_authentic(self._ring, ledger, map(stored_event, rows))
        last = rows[-1]["position"] if len(rows) == limit else searched_to
        seal = await self._load_seal(ledger, last)
        page = Page(after + 1, last, head, seal, tuple(map(_event, rows)))
        if criteria == Filter() and page.left_out:
            raise GapError(ledger, _first_gap(after, rows), "nothing stands")
        return page

    async def long_poll(
        self, ledger: str, after: int, limit: int, criteria: Filter, seconds: float
    ) -> Page:
        """Return the first page with a match, or an empty one if none comes within ``seconds``.

        Raises as `page`.
        """
        pause, started = MIN_PAUSE, time.monotonic()
        page = await self.page(ledger, after, limit, criteria)
        while not page.events:
            at_end = page.last == page.head
            left = started + (seconds if at_end else max(seconds, LOOKING)) - time.monotonic()
            if left <= 0:
                break
            if at_end:
                await asyncio.sleep(min(pause, left))
                pause = min(pause * 2, MAX_PAUSE)
            if await self._fetch_value(HEAD, ledger) > page.last:
                further = await self.page(ledger, page.last, limit, criteria)
                page, pause = replace(further, first=page.first), MIN_PAUSE
        return page

    async def _bounds(
        self, ledger: str, after: int, head: int, criteria: Filter
    ) -> tuple[int, int, int]:
        """Return the bounds ``after < position <= upto`` of a search, and the position that it then has covered."""
        low, end = after, head
        if criteria.since:
            low = max(low, await self._fetch_value(POSITION_BEFORE, ledger, criteria.since))
        if criteria.until:
            end = min(end, await self._fetch_value(POSITION_BEFORE, ledger, criteria.until))
        names = criteria.conditions.keys()
        windowed = names and not names & SELECTIVE
        high = min(end, low + WINDOW) if windowed else end
        return low, high, head if high == end else high

    async def _index_origins(self, ledger: str, position: int) -> None:
        """Index the origins of events up to a position, if they are not yet."""
        while await self._fetch_value(INDEX_ORIGINS, ledger, position, INDEX_BATCH) < position:
            pass

    async def _fetch_value(self, statement: str, *values: Any) -> Any:
        return await self._lanes.read(lambda connection: connection.fetchval(statement, *values))

    async def _load_seal(self, ledger: str, position: int) -> Mapping[str, Any] | None:
        """Return the seal that covers a position, or None."""
        row = await self._lanes.read(lambda connection: connection.fetchrow(SEAL, ledger, position))
        return dict(row) if row else None


def _statement(criteria: Filter) -> tuple[str, list[Any]]:
    """Return the SQL of a page and the values of its conditions, from the fifth parameter on."""
    conditions = "".join(
        f" AND {CONDITIONS[name].format(n)}" for n, name in enumerate(criteria.conditions, start=5)
    )
    return f"{COLUMNS}{conditions}{ORDER}", list(criteria.conditions.values())


def _event(row: asyncpg.Record) -> bytes:
    """Return an event as JSON, its payload and metadata byte by byte as they are stored."""
    return orjson.dumps(
        {
            "organisation": row["organisation"],
            "position": row["position"],
            "stream_id": str(row["stream_id"]),
            "version": row["version"],
            "topic": row["topic"],
            "schema_version": row["schema_version"],
            "subject": str(row["subject"]) if row["subject"] else None,
            "payload": orjson.Fragment(row["payload"]),
            "metadata": orjson.Fragment(row["metadata"]),
            "recorded_at": row["recorded_at"],
            "event_hash": row["event_hash"].hex(),
        }
    )


def _first_gap(after: int, rows: list[asyncpg.Record]) -> int:
    """Return the first position after ``after`` that has no row."""
    gaps = (n for n, row in enumerate(rows, start=after + 1) if row["position"] != n)
    return next(gaps, after + len(rows) + 1)
