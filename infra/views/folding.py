"""Folding the ledger into view rows: what `rebuild` and `verify` share.

Facts are read stream by stream in the order of their key, replayed and projected by the code that
answers calls, and written by ``ledger.write_views``, the function that every append writes with.
Reading, folding and writing overlap: the next page is read and the last one written while one is
folded. At most three pages and the facts of one entity are in memory.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import batched, groupby
from operator import itemgetter
from typing import Any, TypeAlias, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import orjson

from domain.registration import Record
from infra.ledger.cipher import KeyRing
from infra.ledger.mapper import StoredFact, replayed
from services import documents  # noqa: F401 (declares the projections)
from services.ids import record_stream
from services.views import Row, project

__all__ = ["Connection", "Folder", "Heads", "connected", "heads"]

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Heads: TypeAlias = dict[str, int]
"""The last position of each organisation's ledger."""
Facts: TypeAlias = list[asyncpg.Record]

PAGE = 5_000
"""Facts that are read at once."""
STREAMS = 1_000
"""Touched streams that are read at once."""
WINDOW = 20_000
"""Positions that are searched for touched streams at once."""
KEYS = 50_000
"""Contacts' keys that are remembered."""

# One index probe for each organisation: the ledger may be too long to be read for their names.
HEADS = """
WITH RECURSIVE o (organisation) AS (
    (SELECT organisation FROM ledger.events ORDER BY organisation LIMIT 1)
    UNION ALL
    SELECT (SELECT e.organisation FROM ledger.events e WHERE e.organisation > o.organisation
             ORDER BY e.organisation LIMIT 1)
      FROM o WHERE o.organisation IS NOT NULL
)
SELECT organisation,
       (SELECT max(position) FROM ledger.events e WHERE e.organisation = o.organisation) AS head
  FROM o WHERE organisation IS NOT NULL
"""
_FACTS = """
SELECT e.stream_id, e.version, e.topic, e.schema_version, e.subject, e.payload, e.metadata, k.wrapped
  FROM ledger.events e
  LEFT JOIN ledger.personal_keys k ON k.organisation = e.organisation AND k.subject = e.subject
 WHERE e.organisation = $1 AND {} ORDER BY e.stream_id, e.version{}
"""
FACTS_AFTER = _FACTS.format("(e.stream_id, e.version) > ($2, $3)", " LIMIT $4")
FACTS_OF = _FACTS.format("e.stream_id = ANY ($2::uuid[])", "")
TOUCHED = """
SELECT DISTINCT stream_id FROM ledger.events
 WHERE organisation = $1 AND position > $2 AND position <= $3
"""
WRITE = "SELECT ledger.write_views($1, $2, $3, $4, $5, $6, $7)"


async def connected(url: str, search_path: str = "pg_catalog") -> Connection:
    """A connection of the owner's, for long statements; ``json`` and ``uuid`` are bytes on it."""
    settings = {
        "application_name": "crmledger views",
        "search_path": search_path,
        "statement_timeout": "0",
        "TimeZone": "UTC",
    }
    connection = await asyncpg.connect(url, timeout=10, server_settings=settings)
    for name in ("json", "uuid"):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary"
        )
    return connection


async def heads(connection: Connection) -> Heads:
    """The organisations that have facts, and how many."""
    return {row["organisation"]: row["head"] for row in await connection.fetch(HEADS)}


class Folder:
    """Folds streams into the tables that ``writer``'s search path names.

    :param reader: another connection than ``writer``; both see the same facts, or ``reader`` more.
    :param advance: is told how many facts were folded.
    """

    def __init__(
        self,
        reader: Connection,
        writer: Connection,
        ring: KeyRing,
        zone: ZoneInfo,
        advance: Callable[[int], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._ring = ring
        self._zone = zone
        self._advance = advance
        self._keys: dict[bytes, tuple[UUID, bytes | None]] = {}
        self.written: set[tuple[str, ...]] | None = None
        """If it is a set: the view, organisation and key of what is written are put into it."""

    async def whole(self, organisation: str) -> None:
        """Folds all streams of an organisation.

        Raises ``ValueError`` naming a fact that this build or key cannot read.
        """
        await self._write(organisation, self._pages(organisation))

    async def touched(self, organisation: str, after: int, upto: int) -> None:
        """Folds anew, as a whole, the streams with facts at the positions ``after < p <= upto``.

        Raises as `whole`.
        """
        await self._write(organisation, self._touched(organisation, after, upto))

    async def _pages(self, organisation: str) -> AsyncIterator[Facts]:
        """Whole streams: the last one of a page waits for the page that shows where it ends."""
        held: Facts = []
        async with _ahead(self._after(organisation, bytes(16), 0)) as first:
            reading = first
            while page := await reading.result():
                last = page[-1]
                if len(page) == PAGE:
                    await reading.next(
                        self._after(organisation, last["stream_id"], last["version"])
                    )
                held += page
                if len(page) < PAGE:
                    break
                begin = _first_of_last(held)
                yield held[:begin]
                held = held[begin:]
        yield held

    def _after(self, organisation: str, stream: bytes, version: int) -> Coroutine[Any, Any, Facts]:
        return self._reader.fetch(FACTS_AFTER, organisation, stream, version, PAGE)

    async def _touched(self, organisation: str, after: int, upto: int) -> AsyncIterator[Facts]:
        for start in range(after, upto, WINDOW):
            end = min(start + WINDOW, upto)
            rows = await self._reader.fetch(TOUCHED, organisation, start, end)
            for some in batched((row["stream_id"] for row in rows), STREAMS):
                yield await self._reader.fetch(FACTS_OF, organisation, list(some))
