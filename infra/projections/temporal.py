"""The views as they were: folding the ledger into the schema ``temporal``, and reading it.

A batch of events is folded outside any transaction; its rows are then written together with the
position that they lead to, and only if history still stands where it was read (compare and swap). So
any number of processes may bring it forward at once, and one that dies leaves whole batches only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import structlog

from domain.errors import ServiceUnavailable
from infra.encryption import KeyRing
from infra.postgres.pool import ConnectionPool
from infra.projections.parked import LONGEST, UNPARKED
from infra.projections.row_versions import RowVersions, UnreadableStream, row_versions
from infra.replay.pipeline import EVENTS, EVENTS_OF
from infra.replay.worker import FOREVER, PageReplayer, RawEvent
from services.projection_versions import VERSION

__all__ = ["HISTORY", "PAST", "AsOfPool", "TemporalViews"]

T = TypeVar("T")

HISTORY, PAST = "history", "past"
"""The schema of all versions of rows (and what progress calls it), and that of the views on them."""

BATCH = 1_000
"""Events that are folded and written at once."""
PATIENCE = 5.0
"""Seconds for which a reader brings history forward before it is told to come again."""

AT = """
SELECT least(position, (SELECT min(q.position) - 1 FROM projection.parked q
                         WHERE q.organisation = $1 AND q.view = 'history'))
  FROM projection.checkpoints p
 WHERE organisation = $1 AND view = 'history' AND version = $2
   AND NOT EXISTS (SELECT FROM temporal.invalidated d WHERE d.organisation = $1)
"""
BEGIN = "SELECT position, epoch, streams FROM temporal.start_batch($1, $2, $3)"
WRITE = "SELECT temporal.write($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
STAND_AT = f"SELECT ({AT}) AS at, set_config('crmledger.as_of_position', $3, true)"
PARK = "SELECT temporal.park($1, $2, $3, $4, $5, $6, $7)"
RETRY = "SELECT temporal.retry($1, $2, $3)"
EVENTS_OF_TOUCHED = EVENTS.format(
    f"""e.position <= $2 AND e.stream_id = ANY (ARRAY(
       SELECT DISTINCT t.stream_id FROM ledger.events t
        WHERE t.organisation = $1 AND t.position > $3 AND t.position <= $2))
   AND {UNPARKED.format(view=HISTORY)}""",  # noqa: S608 (a view's name)
    "",
)

log = structlog.get_logger(__name__)


class AsOfPool:
    """Lanes on which the views in `PAST` are as they were after a position of one organisation."""

    def __init__(self, lanes: ConnectionPool, organisation: str, position: int) -> None:
        self.size = lanes.size
        self._lanes = lanes
        self._organisation = organisation
        self._position = position

    async def read(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Runs a read in one snapshot, again if the connection was lost.

        Raises `ServiceUnavailable`, also if rows were dropped since history was brought so far: then
        it would look as if there had never been any.
        """

        async def then(connection: asyncpg.Connection) -> T:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                values = (self._organisation, VERSION, str(self._position))
                at: int | None = await connection.fetchval(STAND_AT, *values)
                if at is None or at < self._position:
                    raise ServiceUnavailable("history is being folded anew", retry_after=1)
                return await work(connection)

        return await self._lanes.read(then)


class TemporalViews:
    """Brings history forward. Events are folded in a thread, so that calls go on meanwhile."""

    def __init__(self, lanes: ConnectionPool, ring: KeyRing, zone: ZoneInfo) -> None:
        """:param lanes: of the service's role; a statement writes at most one batch."""
        self._lanes = lanes
        self._ring = ring
        self._zone = zone
        self._turn = asyncio.Lock()

    async def catch_up_to(
        self, organisation: str, position: int, seconds: float = PATIENCE
    ) -> None:
        """Brings an organisation's history to a position of its ledger, if it is not there yet.

        What is done stays done. Raises `ServiceUnavailable` after so many seconds, and if history
        cannot be read up to there, because something is parked.
        """
        until = time.monotonic() + seconds
        at = await self._at(organisation)
        while at < position:
            left = await self._advance(organisation, position)
            at = await self._at(organisation)
            if at < position and (not left or time.monotonic() > until):
                says = "is written" if left else "can be read, since something is parked,"
                raise ServiceUnavailable(f"history {says} up to position {at}", retry_after=1)

    async def catch_up(self, organisation: str, position: int) -> None:
        """Brings history to a position but for what is parked, however long it takes."""
        while await self._advance(organisation, position):
            pass

    async def retry(self, organisation: str, stream: UUID) -> None:
        """Folds an entity anew that is parked, if it can be read by now."""
        events = await self._read(EVENTS_OF, organisation, FOREVER, [stream])
        found = await self._versions(organisation, events, 0)
        reason = found.unreadable[0].reason[:LONGEST] if found.unreadable else None
        await self._lanes.read(
            lambda connection: connection.execute(RETRY, organisation, stream, reason)
        )
        await self.catch_up(organisation, 0)

    async def _read(self, sql: str, *values: object) -> list[RawEvent]:
        rows = await self._lanes.read(lambda connection: connection.fetch(sql, *values))
        return [_event(row) for row in rows]

    async def _versions(self, organisation: str, events: list[RawEvent], after: int) -> RowVersions:
        # Each batch unwraps the keys anew: the key of a person who was forgotten must not be remembered.
        folder = PageReplayer(self._ring, self._zone)
        return await asyncio.to_thread(
            row_versions, folder, self._zone, organisation, events, after
        )

    async def _at(self, organisation: str) -> int:
        """Up to which position history can be read; -1 if none of it can."""
        found: int | None = await self._lanes.read(
            lambda connection: connection.fetchval(AT, organisation, VERSION)
        )
        return -1 if found is None else found

    async def _advance(self, organisation: str, position: int) -> bool:
        """Writes one batch: of entities whose rows were dropped, if there are any, else of events.

        Nothing is written if another process was faster. False if there was nothing to write.
        """
        async with self._turn:
            ((at, generation, streams),) = await self._lanes.read(
                lambda connection: connection.fetch(BEGIN, organisation, VERSION, BATCH)
            )
            if at is None:
                raise ServiceUnavailable("history is written by a newer program", retry_after=1)
            if streams:
                await self._write(organisation, generation, (at, at), streams)
            elif at < position:
                await self._write(organisation, generation, (at, min(at + BATCH, position)))
            return bool(streams or at < position)

    async def _write(
        self,
        organisation: str,
        generation: int,
        between: tuple[int, int],
        streams: Sequence[UUID] = (),
    ) -> None:
        """Folds and writes what happened between two positions, or all of some streams anew."""
        after, upto = between
        sql, which = (EVENTS_OF, list(streams)) if streams else (EVENTS_OF_TOUCHED, after)
        events = await self._read(sql, organisation, upto, which)
        found = await self._versions(organisation, events, 0 if streams else after)
        if found.unreadable:
            await self._park(organisation, generation, after, found.unreadable)
            return
        values = (generation, after, upto, list(streams), *found.ended, *found.begun)
        await self._lanes.read(
            lambda connection: connection.fetchval(WRITE, organisation, VERSION, *values)
        )

    async def _park(
        self, organisation: str, generation: int, after: int, unreadable: Sequence[UnreadableStream]
    ) -> None:
        """Sets entities aside, so that the next batch leaves them out."""
        log.warning("history.parked", organisation=organisation, entities=len(unreadable))
        streams = [UUID(bytes=one.stream) for one in unreadable]
        positions = [one.position for one in unreadable]
        reasons = [one.reason[:LONGEST] for one in unreadable]
        values = (VERSION, generation, after, streams, positions, reasons)
        await self._lanes.read(lambda connection: connection.fetchval(PARK, organisation, *values))


def _event(row: asyncpg.Record) -> RawEvent:
    """An event whose ids are bytes."""
    stream, version, topic, schema, subject, *rest = row
    return (stream.bytes, version, topic, schema, subject.bytes if subject else None, *rest)
