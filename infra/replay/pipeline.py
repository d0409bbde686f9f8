"""Folding the ledger into view rows: what `rebuild` and `verify` share.

Events are read stream by stream in the order of their key, replayed and projected by the code that
answers calls, and written by COPY into tables that hold nothing yet, elsewhere by
``ledger.write_views``, the function that every append writes with.
Reading, folding and writing overlap: the next page is read and the last one written while one is
folded. At most a few pages for each processor and the events of one entity are in memory.
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
"""Takes an organisation, a page, and whether nothing was left out between it and the one before."""

PAGE = 5_000
"""Events that are read at once."""
STREAMS = 1_000
"""Touched streams that are read at once."""
WINDOW = 20_000
"""Positions that are searched for touched streams at once."""
LAST_VERSION = 2**31 - 1
EVENTS = """
SELECT e.stream_id, e.version, e.topic, e.schema_version, e.subject, e.payload, e.metadata,
       CASE WHEN f.subject IS NULL THEN k.wrapped ELSE '' END AS wrapped, e.position
  FROM ledger.events e
  LEFT JOIN ledger.personal_keys k ON k.organisation = e.organisation AND k.subject = e.subject
  LEFT JOIN ledger.forgotten f ON f.organisation = e.organisation AND f.subject = e.subject
 WHERE e.organisation = $1 AND {} ORDER BY e.stream_id, e.version{}
"""
EVENTS_AFTER = EVENTS.format(
    "e.position <= $2 AND (e.stream_id, e.version) > ($3, $4)", " LIMIT $5"
)
EVENTS_OF = EVENTS.format("e.position <= $2 AND e.stream_id = ANY ($3::uuid[])", "")
# Who is forgotten is forgotten in everything that the key encrypted, though only the contact has an event.
TOUCHED = """
WITH f AS (SELECT stream_id, topic FROM ledger.events
            WHERE organisation = $1 AND position > $2 AND position <= $3)
SELECT stream_id FROM f
UNION
SELECT unnest(ledger.streams_of_subject($1, stream_id)) FROM f WHERE topic = $4
"""
FORGOTTEN = ContactInformation.Forgotten.TOPIC
WRITE = "SELECT ledger.write_views($1, $2)"


# Pages are read in the order of the key. Left alone, a server without current statistics sorts the
# rest of the ledger for each page.
INDEX_ONLY_PLANS = {
    f"enable_{way}": "off" for way in ("bitmapscan", "hashjoin", "mergejoin", "seqscan", "sort")
}


async def connect_as_owner(
    url: str, search_path: str = "pg_catalog", *, by_key: bool = False
) -> Connection:
    """A connection of the owner's, for long statements; ``json`` and ``uuid`` are bytes on it.

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
    """Lets the server count the ledger: what writes a batch looks each stream's events up in it.

    A server that takes the ledger for empty, after a restore or an import, would read all of it
    for every batch.
    """
    await connection.execute(
        "ANALYZE ledger.events; ANALYZE ledger.personal_keys; ANALYZE ledger.forgotten"
    )


class Reprojector:
    """Folds streams into the tables that ``writer``'s search path names.

    :param reader: another connection than ``writer``; both see the same events, or ``reader`` more.
    :param advance: is told how many events were folded and written.
    :param upto: the last position of which anything is known.
    """

    def __init__(
        self,
        reader: Connection,
        writer: Connection,
        workers: ReplayPool,
        advance: Callable[[int], None],
        upto: int = FOREVER,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._workers = workers
        self._advance = advance
        self._upto = upto
        self.on_page: PageSink | None = None
        """Notes what is written, in the transaction that writes it; without it an event that cannot be
        read ends the work."""
        self.written: set[Key] | None = None
        """If it is a set: the view, organisation and key of what is written are put into it."""

    async def replay_organisation(self, organisation: str, after: bytes = bytes(16)) -> None:
        """Folds all streams of an organisation, or those after one, of which there are no rows yet.

        Raises ``ValueError`` naming an event that this build or key cannot read, unless that is kept.
        """
        await self._write(organisation, self._pages(organisation, after), in_order=True)

    async def replay_streams(self, organisation: str, streams: Sequence[bytes]) -> None:
        """Folds some streams. Raises as `replay_organisation`."""
        await self._write(organisation, self._some(organisation, streams))

    async def replay_changed(self, organisation: str, after: int, upto: int) -> None:
        """Folds anew, as a whole, the streams with events at the positions ``after < p <= upto``.

        Raises as `replay_organisation`.
        """
        await self._write(organisation, self._touched(organisation, after, upto))

    async def _pages(self, organisation: str, after: bytes) -> AsyncGenerator[Events, None]:
        """Whole streams: the last one of a page waits for the page that shows where it ends."""
        held: Events = []
        reading = await _begun(self._after(organisation, after, LAST_VERSION))
        try:
            while len(page := await reading) == PAGE:
                last = page[-1]
                more = self._after(organisation, last["stream_id"], last["version"])
                reading = await _begun(more)
                held += page
                end = _begin_of_last(held)
                if end:
                    yield held[:end]
                    held = held[end:]
            if held or page:
                yield held + page
        finally:
            reading.cancel()

    def _after(self, organisation: str, stream: bytes, version: int) -> Coroutine[Any, Any, Events]:
        return self._reader.fetch(EVENTS_AFTER, organisation, self._upto, stream, version, PAGE)

    def _of(self, organisation: str, streams: Sequence[bytes]) -> Coroutine[Any, Any, Events]:
        return self._reader.fetch(EVENTS_OF, organisation, self._upto, streams)

    async def _some(
        self, organisation: str, streams: Sequence[bytes]
    ) -> AsyncGenerator[Events, None]:
        for n in range(0, len(streams), STREAMS):
            yield await self._of(organisation, streams[n : n + STREAMS])

    async def _touched(
        self, organisation: str, after: int, upto: int
    ) -> AsyncGenerator[Events, None]:
        for start in range(after, upto, WINDOW):
            end = min(start + WINDOW, upto)
            rows = await self._reader.fetch(TOUCHED, organisation, start, end, FORGOTTEN)
            async for page in self._some(organisation, [row["stream_id"] for row in rows]):
                yield page

    async def _write(
        self, organisation: str, pages: AsyncGenerator[Events, None], *, in_order: bool = False
    ) -> None:
        """Folds and writes pages; ``in_order`` if nothing is left out between them."""
        settings = await self._settings(organisation)
        put = partial(self._put, organisation, in_order)
        folding: deque[asyncio.Task[ReplayedPage]] = deque()
        writing: asyncio.Task[None] | None = None
        try:
            async with aclosing(pages):
                async for page in pages:
                    events = [tuple(event) for event in page]
                    work = self._workers.fold(organisation, events, settings, encode=in_order)
                    folding.append(await _begun(work))
                    if len(folding) > self._workers.count:
                        writing = await _next(put, folding, writing)
            while folding:
                writing = await _next(put, folding, writing)
            if writing:
                await writing
        finally:
            for task in (*folding, writing):
                if task:
                    task.cancel()

    async def _put(self, organisation: str, in_order: bool, folded: ReplayedPage) -> None:  # noqa: FBT001
        if folded.unreadable and self.on_page is None:
            raise ValueError(next(iter(folded.unreadable.values())))
        async with self._writer.transaction():
            if in_order:
                for name, rows in folded.rows.items():
                    await self._writer.copy_to_table(
                        name,
                        columns=TABLES[name].names,
                        source=copy_stream(rows),
                        format="binary",
                    )
            else:
                await self._writer.execute(WRITE, organisation, folded.view_rows)
            if self.on_page is not None:
                await self.on_page(organisation, folded, in_order)
        if self.written is not None:
            self.written |= folded.keys
        self._advance(folded.events)

    async def _settings(self, organisation: str) -> Mapping[str, Any]:
        """The organisation's settings as they are now.

        Every row is projected with the same ones, though it was first written under those of its
        time: no row may depend on them, for nothing is projected anew when they change.
        """
        stream = record_stream_id(organisation, "organisation", organisation)
        events = await self._of(organisation, [stream.bytes])
        record = self._workers.own.replayed([tuple(event) for event in events]) if events else None
        return record.fields if isinstance(record, Record) else {}


async def _next(
    put: Callable[[ReplayedPage], Coroutine[Any, Any, None]],
    folding: deque[asyncio.Task[ReplayedPage]],
    writing: asyncio.Task[None] | None,
) -> asyncio.Task[None]:
    """Begins to write the next folded page when the one before is written."""
    folded = await folding.popleft()
    if writing:
        await writing
    return await _begun(put(folded))


def _begin_of_last(events: Events) -> int:
    """Where the last stream's events begin."""
    last, n = events[-1]["stream_id"], len(events) - 1
    while n and events[n - 1]["stream_id"] == last:
        n -= 1
    return n


async def _begun(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A statement that is sent before this returns, so that the server is at it meanwhile."""
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    return task
