"""The views as they were: folding the ledger into the schema ``history``, and reading it.

A batch of facts is folded outside any transaction; its rows are then written together with the
position that they lead to, and only if history still stands where it was read (compare and swap). So
any number of processes may bring it forward at once, and one that dies leaves whole batches only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg

from domain.errors import ServiceUnavailable
from infra.ledger.cipher import KeyRing
from infra.postgres import Lanes
from infra.views.pages import PageFolder
from infra.views.tables import VERSIONS
from infra.views.versions import Placed, Versions, versions

__all__ = ["HISTORY", "PAST", "VERSION", "History", "Then"]

T = TypeVar("T")

HISTORY, PAST = "history", "past"
"""The schema of all versions of rows (and what progress calls it), and that of the views on them."""

VERSION = sum(VERSIONS.values())
"""Rises with that of any view, so that history is then folded anew."""

BATCH = 1_000
"""Facts that are folded and written at once."""
PATIENCE = 5.0
"""Seconds for which a reader brings history forward before it is told to come again."""

POSITION = """
SELECT position FROM analytics.progress WHERE organisation = $1 AND view = 'history' AND version = $2
"""
BEGIN = "SELECT history.begin($1, $2)"
WRITE = "SELECT history.write($1, $2, $3, $4, $5, $6, $7, $8, $9)"
STAND_AT = "SELECT set_config('crmledger.position', $1, true)"

_FACTS = """
SELECT e.position, e.stream_id, e.version, e.topic, e.schema_version, e.subject, e.payload, e.metadata, k.wrapped
  FROM ledger.events e
  LEFT JOIN ledger.personal_keys k ON k.organisation = e.organisation AND k.subject = e.subject
 WHERE e.organisation = $1 AND e.position <= $2 AND e.stream_id = ANY ({}) ORDER BY e.stream_id, e.version
"""
FACTS_OF = _FACTS.format("$3::uuid[]")
FACTS_OF_TOUCHED = _FACTS.format("""ARRAY(
    SELECT DISTINCT t.stream_id FROM ledger.events t
     WHERE t.organisation = $1 AND t.position > $3 AND t.position <= $2)""")


class Then:
    """The lanes of another one, on which the views in `PAST` are as they were after a position."""

    def __init__(self, lanes: Lanes, position: int) -> None:
        self.count = lanes.count
        self._lanes = lanes
        self._position = str(position)

    async def read(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Runs a read in one snapshot, again if the connection was lost.

        Raises `ServiceUnavailable`.
        """

        async def then(connection: asyncpg.Connection) -> T:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await connection.execute(STAND_AT, self._position)
                return await work(connection)

        return await self._lanes.read(then)


class History:
    """Brings history forward. Facts are folded in a thread, so that calls go on meanwhile."""

    def __init__(self, lanes: Lanes, ring: KeyRing, zone: ZoneInfo) -> None:
        """:param lanes: of the service's role; a statement writes at most one batch."""
        self._lanes = lanes
        self._zone = zone
        self._folder = PageFolder(ring, zone)
        self._turn = asyncio.Lock()

    async def bring(self, organisation: str, position: int, seconds: float = PATIENCE) -> None:
        """Brings an organisation's history to a position of its ledger, if it is not there yet.

        What is done stays done. Raises `ServiceUnavailable` after so many seconds, ``ValueError``
        naming a fact that this build or key cannot read.
        """
        until = time.monotonic() + seconds
        while (at := await self._position(organisation)) < position:
            if time.monotonic() > until:
                raise ServiceUnavailable(f"history is written up to position {at}", retry_after=1)
            async with self._turn:
                at = await self._begun(organisation)
                if at < position:
                    await self._advance(organisation, at, min(at + BATCH, position))

    async def refold(self, organisation: str, streams: Collection[UUID]) -> None:
        """Drops all that history says of some streams and folds it anew from what their facts say now.

        Raises as `bring`.
        """
        async with self._turn:
            written = False
            while not written:
                at = await self._begun(organisation)
                facts = await self._facts(FACTS_OF, organisation, at, list(streams))
                found = await self._folded(organisation, facts, 0)
                written = await self._written(organisation, at, at, found, streams)

    async def _advance(self, organisation: str, after: int, upto: int) -> None:
        """Writes one batch, unless another process does."""
        facts = await self._facts(FACTS_OF_TOUCHED, organisation, upto, after)
        found = await self._folded(organisation, facts, after)
        await self._written(organisation, after, upto, found)

    async def _position(self, organisation: str) -> int:
        """How far it is; 0 if it is not yet written by this definition."""
        found: int | None = await self._lanes.read(
            lambda connection: connection.fetchval(POSITION, organisation, VERSION)
        )
        return found or 0

    async def _begun(self, organisation: str) -> int:
        """How far it is, ready to be brought forward."""
        found: int | None = await self._lanes.read(
            lambda connection: connection.fetchval(BEGIN, organisation, VERSION)
        )
        if found is None:
            raise ServiceUnavailable("history is written by a newer program", retry_after=1)
        return found

    async def _facts(self, sql: str, organisation: str, upto: int, which: object) -> list[Placed]:
        rows = await self._lanes.read(
            lambda connection: connection.fetch(sql, organisation, upto, which)
        )
        return [_placed(row) for row in rows]

    async def _folded(self, organisation: str, facts: list[Placed], after: int) -> Versions:
        return await asyncio.to_thread(
            versions, self._folder, self._zone, organisation, facts, after
        )

    async def _written(
        self,
        organisation: str,
        after: int,
        upto: int,
        found: Versions,
        streams: Collection[UUID] = (),
    ) -> bool:
        values = (after, upto, list(streams), *found.ended, *found.begun)
        written: bool = await self._lanes.read(
            lambda connection: connection.fetchval(WRITE, organisation, VERSION, *values)
        )
        return written


def _placed(row: asyncpg.Record) -> Placed:
    position, stream, version, topic, schema, subject, payload, metadata, wrapped = row
    contact = subject.bytes if subject else None
    return position, (
        stream.bytes,
        version,
        topic,
        schema,
        contact,
        payload,
        metadata,
        wrapped,
    )
