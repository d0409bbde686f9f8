"""Replaying a page of events into rows: the part that only computes, in this process or in others."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

from domain.aggregate import Aggregate
from infra.background_pool import low_priority_pool
from infra.encryption import KeyRing
from infra.ledger.event_mac import require_authentic
from infra.ledger.mapper import replay, replay_states
from infra.ledger.stored_event import StoredEvent
from infra.replay.copy_encoding import encode_row, encoders
from infra.replay.table_rows import scope_keys, table_rows
from infra.views.tables import TABLES
from services import registry  # noqa: F401 (declares the projections)
from services.projections import ViewRow, project

__all__ = [
    "FOREVER",
    "Key",
    "PageReplayer",
    "RawEvent",
    "ReplayPool",
    "ReplayedPage",
    "open_replay_pool",
]

RawEvent: TypeAlias = tuple[
    bytes, int, str, int, bytes | None, bytes, bytes, bytes, bytes | None, int
]
"""Stream, version, topic, schema, subject, payload, metadata, MAC, the subject's wrapped key, position."""
Key: TypeAlias = tuple[str, ...]
"""A view, an organisation, and the rest of what finds a row."""

FOREVER = 2**63 - 1
"""A position that no ledger reaches."""

MAX_CACHED_KEYS = 50_000
"""Contacts' keys that are cached at most."""

PARALLEL_THRESHOLD = 200_000
"""Events from which further processes are worth the seconds that they take to start."""

ENCODERS = {name: encoders(table.columns) for name, table in TABLES.items()}
"""The encoders of each table's columns."""

_stream = itemgetter(0)


@dataclass(slots=True)
class ReplayedPage:
    """The rows of a page: encoded by view, or as ``ledger.view_row`` with their keys."""

    events: int
    rows: dict[str, bytes] = field(default_factory=dict)
    view_rows: list[tuple[Any, ...]] = field(default_factory=list)
    keys: set[Key] = field(default_factory=set)
    unreadable: dict[bytes, str] = field(default_factory=dict)
    """The streams that are left out because this build or key cannot read an event, with the reasons."""
    last: bytes = b""
    """The last stream of the page."""


class PageReplayer:
    """Replays and projects whole streams."""

    def __init__(self, ring: KeyRing, zone: ZoneInfo) -> None:
        self._ring = ring
        self._zone = zone
        self._keys: dict[tuple[bytes, bytes | None], tuple[UUID, bytes | None]] = {}

    def replay_page(
        self,
        organisation: str,
        page: list[RawEvent],
        settings: Mapping[str, Any],
        *,
        encode: bool = False,
    ) -> ReplayedPage:
        """The rows of a page of whole streams, each stream's events together and in order.

        :param settings: the organisation's, for all rows.
        :param encode: encode the rows for COPY; the tables must hold none of these streams' rows yet.
        """
        result = ReplayedPage(len(page))
        encoded: dict[str, list[bytes]] = {name: [] for name in TABLES}
        for stream, grouped in groupby(page, _stream):
            result.last = stream
            events = list(grouped)
            try:
                aggregate = self.replay(organisation, events)
            except ValueError as error:
                result.unreadable[stream] = str(error)
                continue
            rows = project(aggregate, settings, self._zone).rows
            if not encode:
                _add_view_rows(result, organisation, stream, rows)
                continue
            created, changed = events[0][-1], events[-1][-1]
            for row in rows:
                for table, values in table_rows(row, organisation, stream, created, changed):
                    encoded[table.name].append(encode_row(ENCODERS[table.name], values))
        result.rows = {name: b"".join(rows) for name, rows in encoded.items() if rows}
        return result

    def replay(self, organisation: str, events: list[RawEvent]) -> Aggregate:
        """The aggregate of one stream. Raises ``ValueError`` naming an event that cannot be read.

        Nor can one that was not written with the service key.
        """
        return replay(*self._stored_events(organisation, events))

    def replay_states(self, organisation: str, events: list[RawEvent]) -> Iterator[Aggregate]:
        """The aggregate after each event, as one object that changes. Raises as `replay`."""
        return replay_states(*self._stored_events(organisation, events))

    def _stored_events(
        self, organisation: str, events: list[RawEvent]
    ) -> tuple[list[StoredEvent], dict[UUID, bytes]]:
        """The events of one stream, and the keys that decrypt them."""
        stream = UUID(bytes=events[0][0])
        stored: list[StoredEvent] = []
        keys: dict[UUID, bytes] = {}
        for _, version, topic, schema, subject, payload, metadata, mac, wrapped, _ in events:
            contact = None
            if subject is not None:
                contact, key = self._unwrap(subject, wrapped)
                if key is not None:
                    keys[contact] = key
            stored.append(
                StoredEvent(stream, version, topic, schema, contact, payload, metadata, mac)
            )
        require_authentic(self._ring, organisation, stored)
        return stored, keys

    def _unwrap(self, subject: bytes, wrapped: bytes | None) -> tuple[UUID, bytes | None]:
        # Cached by the wrapped key, too: the key of a person who was forgotten must not be used again.
        unwrapped = self._keys.get((subject, wrapped))
        if unwrapped is None:
            if len(self._keys) >= MAX_CACHED_KEYS:
                self._keys.clear()
            key = self._ring.unwrap(wrapped) if wrapped else wrapped
            unwrapped = self._keys[subject, wrapped] = UUID(bytes=subject), key
        return unwrapped


def _add_view_rows(
    page: ReplayedPage, organisation: str, stream: bytes, rows: list[ViewRow]
) -> None:
    for row in rows:
        columns = orjson.dumps(row.columns).decode()
        document = row.document.decode() if row.document is not None else None
        view_row = (None, row.view, stream, row.version, columns, document, " ".join(row.refs))
        page.view_rows.append(view_row)
        page.keys |= set(scope_keys(row, organisation))


@contextmanager
def _no_gc() -> Iterator[None]:
    """Switch off the garbage collector, which would search for cycles where there are none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class ReplayPool:
    """Replays pages: in this process, or ``count`` of them at a time in others."""

    def __init__(self, local: PageReplayer, pool: ProcessPoolExecutor | None, count: int) -> None:
        self.local = local
        self.count = count
        self._pool = pool

    async def replay_page(
        self,
        organisation: str,
        page: list[RawEvent],
        settings: Mapping[str, Any],
        *,
        encode: bool = False,
    ) -> ReplayedPage:
        """As `PageReplayer.replay_page`."""
        if self._pool is None:
            return self.local.replay_page(organisation, page, settings, encode=encode)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._pool, _replay_page, organisation, page, settings, encode
        )


_process_replayers: list[PageReplayer] = []


def _initialise(ring: KeyRing, zone: ZoneInfo) -> None:
    gc.disable()
    _process_replayers.append(PageReplayer(ring, zone))


def _replay_page(
    organisation: str,
    page: list[RawEvent],
    settings: Mapping[str, Any],
    encode: bool,  # noqa: FBT001 (an executor passes no keywords)
) -> ReplayedPage:
    return _process_replayers[0].replay_page(organisation, page, settings, encode=encode)


@asynccontextmanager
async def open_replay_pool(
    ring: KeyRing, zone: ZoneInfo, events: int, count: int | None = None
) -> AsyncIterator[ReplayPool]:
    """Start the processes for a number of events: one for each processor, or none for few events.

    :param count: the number of processes, if it is not chosen by the number of events.
    """
    if count is None:
        count = (os.cpu_count() or 1) if events >= PARALLEL_THRESHOLD else 1
    local = PageReplayer(ring, zone)
    with _no_gc():
        if count == 1:
            yield ReplayPool(local, None, 1)
            return
        pool = low_priority_pool(count, partial(_initialise, ring, zone))
        try:
            yield ReplayPool(local, pool, count)
        finally:
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)
