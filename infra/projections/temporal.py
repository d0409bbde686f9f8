"""The temporal tables: replaying the ledger into the schema ``temporal``, and reading the views as they were.

A batch of events is replayed outside any transaction; its rows are then written together with the
position that they lead to, and only if the position is still the one that was read (compare and swap). So
any number of processes may catch up at once, and one that dies leaves whole batches only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
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
from infra.replay.pipeline import EVENTS, EVENTS_OF_STREAMS
from infra.replay.worker import FOREVER, PageReplayer, RawEvent
from services.projection_versions import VERSION

__all__ = ["HISTORY", "PAST", "AsOfPool", "TemporalViews"]

T = TypeVar("T")

HISTORY, PAST = "history", "past"
"""The schema of all versions of rows (also its name as a projection), and that of the SQL views over them."""

BATCH = 1_000
"""Events that are replayed and written at once."""
MAX_WAIT = 5.0
"""Seconds for which a reader catches up before it is refused with a time to try again."""

READABLE_POSITION = """
SELECT least(position, (SELECT min(q.position) - 1 FROM projection.parked q
                         WHERE q.organisation = $1 AND q.view = 'history'))
  FROM projection.checkpoints p
 WHERE organisation = $1 AND view = 'history' AND version = $2
   AND NOT EXISTS (SELECT FROM temporal.invalidated d WHERE d.organisation = $1)
"""
BEGIN = "SELECT position, epoch, streams FROM temporal.start_batch($1, $2, $3)"
WRITE = "SELECT temporal.write($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
SET_POSITION = (
    f"SELECT ({READABLE_POSITION}) AS at, set_config('crmledger.as_of_position', $3, true)"
)
PARK = "SELECT temporal.park($1, $2, $3, $4, $5, $6, $7)"
RETRY = "SELECT temporal.retry($1, $2, $3)"
EVENTS_OF_CHANGED = EVENTS.format(
    f"""e.position <= $2 AND e.stream_id = ANY (ARRAY(
       SELECT DISTINCT t.stream_id FROM ledger.events t
        WHERE t.organisation = $1 AND t.position > $3 AND t.position <= $2))
   AND {UNPARKED.format(view=HISTORY)}""",  # noqa: S608 (a view's name)
    "",
)

log = structlog.get_logger(__name__)


class AsOfPool:
    """A pool of connections on which the views in `PAST` are those after a position of one organisation."""

    def __init__(self, lanes: ConnectionPool, organisation: str, position: int) -> None:
        self.size = lanes.size
        self._lanes = lanes
        self._organisation = organisation
        self._position = position

    async def read(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Run a read in one snapshot, again if the connection was lost. Raises `ServiceUnavailable`."""

        async def then(connection: asyncpg.Connection) -> T:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await self._set_position(connection)
                return await work(connection)

        return await self._lanes.read(then)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection that sees one snapshot. Raises `ServiceUnavailable`."""
        async with self._lanes.snapshot() as connection:
            await self._set_position(connection)
            yield connection

    async def _set_position(self, connection: asyncpg.Connection) -> None:
        """Let the views of this transaction be those after the position.

        Raises `ServiceUnavailable` if rows were dropped since the position was reached: they would
        look as if they had never existed.
        """
        values = (self._organisation, VERSION, str(self._position))
        at: int | None = await connection.fetchval(SET_POSITION, *values)
        if at is None or at < self._position:
            raise ServiceUnavailable("history is being folded anew", retry_after=1)


class TemporalViews:
    """Catches up with the ledger. Events are replayed in a thread, so that calls are served meanwhile."""

    def __init__(self, lanes: ConnectionPool, ring: KeyRing, zone: ZoneInfo) -> None:
        """:param lanes: of the service's role; a statement writes at most one batch."""
        self._lanes = lanes
        self._ring = ring
        self._zone = zone
        self._lock = asyncio.Lock()

    async def catch_up_to(
        self, organisation: str, position: int, seconds: float = MAX_WAIT
    ) -> None:
        """Bring the tables of an organisation up to a position of its ledger, if they are not there yet.

        Batches that are written stay written. Raises `ServiceUnavailable` after ``seconds``, and if the
        tables cannot be read up to there because an entity is parked.
        """
        until = time.monotonic() + seconds
        at = await self._readable_position(organisation)
        while at < position:
            wrote = await self._advance(organisation, position)
            at = await self._readable_position(organisation)
            if at < position and (not wrote or time.monotonic() > until):
                state = "is written" if wrote else "can be read, since something is parked,"
                raise ServiceUnavailable(f"history {state} up to position {at}", retry_after=1)

    async def catch_up(self, organisation: str, position: int) -> None:
        """Bring the tables up to a position, except for parked entities, however long it takes."""
        while await self._advance(organisation, position):
            pass

    async def retry(self, organisation: str, stream: UUID) -> None:
        """Replay a parked entity from its beginning, if its events can be read by now."""
        events = await self._read(EVENTS_OF_STREAMS, organisation, FOREVER, [stream])
        versions = await self._versions(organisation, events, 0)
        reason = versions.unreadable[0].reason[:LONGEST] if versions.unreadable else None
        await self._lanes.read(
            lambda connection: connection.execute(RETRY, organisation, stream, reason)
        )
        await self.catch_up(organisation, 0)

    async def _read(self, sql: str, *values: object) -> list[RawEvent]:
        rows = await self._lanes.read(lambda connection: connection.fetch(sql, *values))
        return [_raw_event(row) for row in rows]

    async def _versions(self, organisation: str, events: list[RawEvent], after: int) -> RowVersions:
        # Each batch unwraps the keys again: the key of a person who was forgotten must not be cached.
        replayer = PageReplayer(self._ring, self._zone)
        return await asyncio.to_thread(
            row_versions, replayer, self._zone, organisation, events, after
        )

    async def _readable_position(self, organisation: str) -> int:
        """Return the position up to which the tables can be read; -1 if they cannot."""
        position: int | None = await self._lanes.read(
            lambda connection: connection.fetchval(READABLE_POSITION, organisation, VERSION)
        )
        return -1 if position is None else position

    async def _advance(self, organisation: str, position: int) -> bool:
        """Write one batch: of entities whose rows were dropped, if there are any, else of events.

        Nothing is written if another process was faster. Return False if there was nothing to write.
        """
        async with self._lock:
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
        """Replay and write the events between two positions, or some streams from their beginning."""
        after, upto = between
        sql, selection = (
            (EVENTS_OF_STREAMS, list(streams)) if streams else (EVENTS_OF_CHANGED, after)
        )
        events = await self._read(sql, organisation, upto, selection)
        versions = await self._versions(organisation, events, 0 if streams else after)
        if versions.unreadable:
            await self._park(organisation, generation, after, versions.unreadable)
            return
        values = (generation, after, upto, list(streams), *versions.ended, *versions.begun)
        await self._lanes.read(
            lambda connection: connection.fetchval(WRITE, organisation, VERSION, *values)
        )

    async def _park(
        self, organisation: str, generation: int, after: int, unreadable: Sequence[UnreadableStream]
    ) -> None:
        """Park entities, so that the next batch leaves them out."""
        log.warning("history.parked", organisation=organisation, entities=len(unreadable))
        streams = [UUID(bytes=entity.stream) for entity in unreadable]
        positions = [entity.position for entity in unreadable]
        reasons = [entity.reason[:LONGEST] for entity in unreadable]
        values = (VERSION, generation, after, streams, positions, reasons)
        await self._lanes.read(lambda connection: connection.fetchval(PARK, organisation, *values))


def _raw_event(row: asyncpg.Record) -> RawEvent:
    """Return an event with its ids as bytes."""
    stream, version, topic, schema, subject, *rest = row
    return (stream.bytes, version, topic, schema, subject.bytes if subject else None, *rest)
