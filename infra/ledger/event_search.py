"""Events as they are stored, by position and filter: what auditors and followers read.

A page says which positions it is about, how many events it holds and how many of its positions the
filter has left out: positions are dense, so whoever adds up knows that nothing else is missing.
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
from infra.ledger.feed import GapError
from infra.ledger.positions import HEAD
from infra.postgres.pool import ConnectionPool

__all__ = ["Filter", "Page", "Search"]

COLUMNS = """
SELECT organisation, position, stream_id, version, topic, schema_version, subject, payload, metadata,
       recorded_at, event_hash
  FROM ledger.events WHERE organisation = $1 AND position > $2 AND position <= $3"""
ORDER = " ORDER BY position LIMIT $4"
BEFORE = "SELECT ledger.position_before($1, $2)"
SEAL = """
SELECT number, first_position AS first, last_position AS last, encode(root, 'hex') AS root FROM ledger.seals
 WHERE organisation = $1 AND last_position >= $2 AND first_position <= $2 ORDER BY last_position LIMIT 1
"""

ORIGINS = {"actor": "actor", "request": "request", "cause": "correlation"}
"""The columns of ``ledger.origins`` that filters go by; a request that begins a chain is its id."""
_OF_ORIGIN = """position = ANY (ARRAY(
 SELECT position FROM ledger.origins
  WHERE organisation = $1 AND origin = ${} AND position > $2 AND position <= $3))"""
INDEX_ORIGINS = "SELECT ledger.index_origins($1, $2, $3)"
NOTED_AT_ONCE = 20_000
"""Events whose origins are noted in one statement."""

CONDITIONS = {
    "stream": "stream_id = ${}",
    "topics": "topic = ANY (${})",
    **{name: _OF_ORIGIN.replace("origin =", f"{column} =") for name, column in ORIGINS.items()},
}
"""Each filter's condition, with the place of its value."""
SELECTIVE = frozenset({"stream", "request", "cause"})
"""Filters that leave so little that all positions can be looked through at once."""
WINDOW = 100_000
"""Positions that one page looks through at most, with any other filter."""
LOOKING = 5.0
"""Seconds for which the first event that fits is looked for among those that are there."""
SHORTEST, LONGEST = 0.02, 0.25
"""Seconds between two looks at a ledger to which nothing is added; doubled from look to look."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What must be so of an event; None is no condition. ``until`` itself is left out."""

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
        found = {name: getattr(self, name) for name in CONDITIONS}
        return {name: value for name, value in found.items() if value is not None}


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
        """How many of its positions the filter has left out."""
        return self.last - self.first + 1 - len(self.events)


class Search:
    """Reads pages of a ledger; between two looks it holds no connection."""

    def __init__(self, lanes: ConnectionPool) -> None:
        self._lanes = lanes

    async def page(self, ledger: str, after: int, limit: int, wanted: Filter) -> Page:
        """The events after a position that fit, at most ``limit``; ``last`` is where to go on.

        Raises `InvalidParameterValue` for a position that the ledger has not reached, `GapError`.
        """
        head: int = await self._value(HEAD, ledger)
        if after > head:
            raise InvalidParameterValue("after")
        low, high, looked_through = await self._span(ledger, after, head, wanted)
        if wanted.conditions.keys() & ORIGINS.keys():
            await self._note(ledger, high)
        statement, values = _statement(wanted)
        rows = await self._lanes.read(
            lambda connection: connection.fetch(statement, ledger, low, high, limit, *values)
        )
        last = rows[-1]["position"] if len(rows) == limit else looked_through
        seal = await self._seal(ledger, last)
        page = Page(after + 1, last, head, seal, tuple(map(_event, rows)))
        if wanted == Filter() and page.left_out:
            raise GapError(ledger, _hole(after, rows), "nothing stands")
        return page

    async def long_poll(
        self, ledger: str, after: int, limit: int, wanted: Filter, seconds: float
    ) -> Page:
        """The first page in which something fits; if nothing comes for so many seconds, the page
        that says so. Raises as `page`."""
        pause, started = SHORTEST, time.monotonic()
        page = await self.page(ledger, after, limit, wanted)
        while not page.events:
            at_end = page.last == page.head
            left = started + (seconds if at_end else max(seconds, LOOKING)) - time.monotonic()
            if left <= 0:
                break
            if at_end:
                await asyncio.sleep(min(pause, left))
                pause = min(pause * 2, LONGEST)
            if await self._value(HEAD, ledger) > page.last:
                further = await self.page(ledger, page.last, limit, wanted)
                page, pause = replace(further, first=page.first), SHORTEST
        return page

    async def _span(
        self, ledger: str, after: int, head: int, wanted: Filter
    ) -> tuple[int, int, int]:
        """Where to look, after one position up to another, and how far all is known by that."""
        low, end = after, head
        if wanted.since:
            low = max(low, await self._value(BEFORE, ledger, wanted.since))
        if wanted.until:
            end = min(end, await self._value(BEFORE, ledger, wanted.until))
        names = wanted.conditions.keys()
        windowed = names and not names & SELECTIVE
        high = min(end, low + WINDOW) if windowed else end
        return low, high, head if high == end else high

    async def _note(self, ledger: str, position: int) -> None:
        """Has the origins of events up to a position noted, where they are not yet."""
        while await self._value(INDEX_ORIGINS, ledger, position, NOTED_AT_ONCE) < position:
            pass

    async def _value(self, statement: str, *values: Any) -> Any:
        return await self._lanes.read(lambda connection: connection.fetchval(statement, *values))

    async def _seal(self, ledger: str, position: int) -> Mapping[str, Any] | None:
        """The seal that covers a position; None where none does yet."""
        row = await self._lanes.read(lambda connection: connection.fetchrow(SEAL, ledger, position))
        return dict(row) if row else None


def _statement(wanted: Filter) -> tuple[str, list[Any]]:
    """The SQL of a page and the values of its conditions, from the fifth parameter on."""
    conditions = "".join(
        f" AND {CONDITIONS[name].format(n)}" for n, name in enumerate(wanted.conditions, start=5)
    )
    return f"{COLUMNS}{conditions}{ORDER}", list(wanted.conditions.values())


def _event(row: asyncpg.Record) -> bytes:
    """An event as JSON, its payload and metadata byte by byte as they are stored."""
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


def _hole(after: int, rows: list[asyncpg.Record]) -> int:
    """The first position after ``after`` at which no row stands."""
    found = (n for n, row in enumerate(rows, start=after + 1) if row["position"] != n)
    return next(found, after + len(rows) + 1)
