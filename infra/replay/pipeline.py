"""The pipeline from events to rows of the read models, which `rebuild`, `verify` and `replay` share.

Events are read stream by stream in the order of their key, replayed and projected by the code that
answers calls, and written by COPY into tables that are still empty, elsewhere by
``ledger.write_views``, the function by which every append writes.
Reading, replaying and writing overlap: the next page is read and the last one written while one is
replayed. At most a few pages for each processor and the events of one entity are in memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, TypeAlias, TypeVar

import asyncpg

from domain.contact_information import ContactInformation
from domain.reference.records import Record
from infra.replay.copy_encoding import copy_stream
from infra.replay.worker import FOREVER, Key, ReplayedPage, ReplayPool
from infra.views.tables import TABLES
from services.ids import record_stream_id

__all__ = ["Connection", "PageSink", "Reprojector", "connect_as_owner", "refresh_statistics"]

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Events: TypeAlias = list[asyncpg.Record]
PageSink: TypeAlias = Callable[[str, ReplayedPage, bool], Awaitable[None]]
"""Called with an organisation, a page, and True if no stream was left out between it and the page before."""

PAGE = 5_000
"""Events of one page."""
STREAMS = 1_000
"""Changed streams that are read at once."""
WINDOW = 20_000
"""Positions that are searched for changed streams at once."""
LAST_VERSION = 2**31 - 1
EVENTS = """
SELECT e.stream_id, e.version, e.topic, e.schema_version, e.subject, e.payload, e.metadata, e.mac,
       CASE WHEN f.subject IS NULL THEN k.wrapped ELSE '' END AS wrapped, e.position
  FROM ledger.events e
  LEFT JOIN ledger.personal_keys k ON k.organisation = e.organisation AND k.subject = e.subject
  LEFT JOIN ledger.forgotten f ON f.organisation = e.organisation AND f.subject = e.subject
 WHERE e.organisation = $1 AND {} ORDER BY e.stream_id, e.version{}
"""
EVENTS_AFTER = EVENTS.format(
    "e.position <= $2 AND (e.stream_id, e.version) > ($3, $4)", " LIMIT $5"
)
EVENTS_OF_STREAMS = EVENTS.format("e.position <= $2 AND e.stream_id = ANY ($3::uuid[])", "")
# To forget a person changes every stream that the key encrypted, though only the contact has an event.
CHANGED_STREAMS = """
WITH f AS (SELECT stream_id, topic FROM ledger.events
            WHERE organisation = $1 AND position > $2 AND position <= $3)
SELECT stream_id FROM f
UNION
SELECT unnest(ledger.streams_of_subject($1, stream_id)) FROM f WHERE topic = $4
"""
ERASED_TOPIC = ContactInformation.Forgotten.TOPIC
WRITE = "SELECT ledger.write_views($1, $2)"


# Pages are read in the order of the key. Without current statistics a server would otherwise sort the
# rest of the ledger for each page.
INDEX_ONLY_PLANS = {
    f"enable_{way}": "off" for way in ("bitmapscan", "hashjoin", "mergejoin", "seqscan", "sort")
}


async def connect_as_owner(
    url: str, search_path: str = "pg_catalog", *, by_key: bool = False
) -> Connection:
    """Return a connection of the owner, for long statements; ``json`` and ``uuid`` are bytes on it.

    :param by_key: for a `Reprojector` to read on.
    """
    settings = {
        "application_name": "crmledger views",
        "search_path": search_path,
        "statement_timeout": "0",
        "TimeZone": "UTC",
    } | (INDEX_ONLY_PLANS if by_key else {})
    connection = await asyncpg.connect(url, timeout=10, server_settings=settings)
    for name in ("json", "uuid"):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary"
        )
    return connection


async def refresh_statistics(connection: Connection) -> None:
    """Refresh the statistics of the ledger, in which each batch that is written looks up its streams.

    A server that takes the ledger for empty, after a restore or an import, would read all of it
    for every batch.
    """
    await connection.execute(
        "ANALYZE ledger.events; ANALYZE ledger.personal_keys; ANALYZE ledger.forgotten"
    )


class Reprojector:
    """Replays streams into the tables that ``writer``'s search path names.

    :param reader: another connection than ``writer``; both see the same events, or ``reader`` more.
    :param advance: called with the number of events that were replayed and written.
    :param upto: the last position that is read.
    """

    def __init__(
        self,
        reader: Connection,
        writer: Connection,
        pool: ReplayPool,
        advance: Callable[[int], None],
        upto: int = FOREVER,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._pool = pool
        self._advance = advance
        self._upto = upto
        self.on_page: PageSink | None = None
        """Called in the transaction that writes a page. Without it an event that cannot be read ends the work."""
        self.written: set[Key] | None = None
        """A set to which the keys of the rows that are written are added, if there is one."""

    async def replay_organisation(self, organisation: str, after: bytes = bytes(16)) -> None:
        """Replay all streams of an organisation, or those after one, of which there are no rows yet.

        Raises ``ValueError`` naming an event that this build or key cannot read, unless there is `on_page`.
        """
        await self._replay_and_write(
            organisation, self._read_all(organisation, after), in_order=True
        )

    async def replay_streams(self, organisation: str, streams: Sequence[bytes]) -> None:
        """Replay some streams. Raises as `replay_organisation`."""
        await self._replay_and_write(organisation, self._read_streams(organisation, streams))

    async def replay_changed(self, organisation: str, after: int, upto: int) -> None:
        """Replay again, from their beginning, the streams with events at the positions ``after < p <= upto``.

        Raises as `replay_organisation`.
        """
        await self._replay_and_write(organisation, self._read_changed(organisation, after, upto))

    async def _read_all(self, organisation: str, after: bytes) -> AsyncGenerator[Events, None]:
        """Yield whole streams: the last stream of a page is held back until the next page shows where it ends."""
        pending: Events = []
        reading = await _start(self._fetch_after(organisation, after, LAST_VERSION))
        try:
            while len(page := await reading) == PAGE:
                last = page[-1]
                following = self._fetch_after(organisation, last["stream_id"], last["version"])
                reading = await _start(following)
                pending += page
                end = _start_of_last_stream(pending)
                if end:
                    yield pending[:end]
                    pending = pending[end:]
            if pending or page:
                yield pending + page
        finally:
            reading.cancel()

    def _fetch_after(
        self, organisation: str, stream: bytes, version: int
    ) -> Coroutine[Any, Any, Events]:
        return self._reader.fetch(EVENTS_AFTER, organisation, self._upto, stream, version, PAGE)

    def _fetch_streams(
        self, organisation: str, streams: Sequence[bytes]
    ) -> Coroutine[Any, Any, Events]:
        return self._reader.fetch(EVENTS_OF_STREAMS, organisation, self._upto, streams)

    async def _read_streams(
        self, organisation: str, streams: Sequence[bytes]
    ) -> AsyncGenerator[Events, None]:
        for n in range(0, len(streams), STREAMS):
            yield await self._fetch_streams(organisation, streams[n : n + STREAMS])

    async def _read_changed(
        self, organisation: str, after: int, upto: int
    ) -> AsyncGenerator[Events, None]:
        for start in range(after, upto, WINDOW):
            end = min(start + WINDOW, upto)
            rows = await self._reader.fetch(CHANGED_STREAMS, organisation, start, end, ERASED_TOPIC)
            async for page in self._read_streams(organisation, [row["stream_id"] for row in rows]):
                yield page

    async def _replay_and_write(
        self, organisation: str, pages: AsyncGenerator[Events, None], *, in_order: bool = False
    ) -> None:
        """Replay and write pages; ``in_order`` if no stream is left out between them."""
        settings = await self._load_settings(organisation)
        write = partial(self._write_page, organisation, in_order)
        replaying: deque[asyncio.Task[ReplayedPage]] = deque()
        writing: asyncio.Task[None] | None = None
        try:
            async with aclosing(pages):
                async for page in pages:
                    events = [tuple(event) for event in page]
                    work = self._pool.replay_page(organisation, events, settings, encode=in_order)
                    replaying.append(await _start(work))
                    if len(replaying) > self._pool.count:
                        writing = await _write_next(write, replaying, writing)
            while replaying:
                writing = await _write_next(write, replaying, writing)
            if writing:
                await writing
        finally:
            for task in (*replaying, writing):
                if task:
                    task.cancel()

    async def _write_page(self, organisation: str, in_order: bool, page: ReplayedPage) -> None:  # noqa: FBT001
        if page.unreadable and self.on_page is None:
            raise ValueError(next(iter(page.unreadable.values())))
        async with self._writer.transaction():
            if in_order:
                for name, rows in page.rows.items():
                    await self._writer.copy_to_table(
                        name,
                        columns=TABLES[name].names,
                        source=copy_stream(rows),
                        format="binary",
                    )
            else:
                await self._writer.execute(WRITE, organisation, page.view_rows)
            if self.on_page is not None:
                await self.on_page(organisation, page, in_order)
        if self.written is not None:
            self.written |= page.keys
        self._advance(page.events)

    async def _load_settings(self, organisation: str) -> Mapping[str, Any]:
        """Return the present settings of an organisation.

        Every row is projected with these, though it was first written under those of its time: no row
        may depend on the settings, because a change of them projects nothing again.
        """
        stream = record_stream_id(organisation, "organisation", organisation)
        events = await self._fetch_streams(organisation, [stream.bytes])
        record = self._pool.local.replay(organisation, list(map(tuple, events))) if events else None
        return record.fields if isinstance(record, Record) else {}


async def _write_next(
    write: Callable[[ReplayedPage], Coroutine[Any, Any, None]],
    replaying: deque[asyncio.Task[ReplayedPage]],
    writing: asyncio.Task[None] | None,
) -> asyncio.Task[None]:
    """Start to write the next replayed page once the page before is written."""
    page = await replaying.popleft()
    if writing:
        await writing
    return await _start(write(page))


def _start_of_last_stream(events: Events) -> int:
    """Return the index of the last stream's first event."""
    last, n = events[-1]["stream_id"], len(events) - 1
    while n and events[n - 1]["stream_id"] == last:
        n -= 1
    return n


async def _start(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task and let it send its statement, so that the server works on it meanwhile."""
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    return task
