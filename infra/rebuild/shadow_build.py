"""A set of tables beside the live ones: filling it, catching up, comparing it.

A rebuild works on new tables, a rollback on those that were live before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from infra.encryption import KeyRing
from infra.ledger.positions import Heads, head_positions
from infra.rebuild.table_diff import Difference, compare
from infra.rebuild.table_sets import (
    NEXT,
    Unreadable,
    clear_unreadable,
    load_unreadable,
    save_heads,
    save_progress,
    save_unreadable,
    view_names,
)
from infra.replay.pipeline import Connection, Reprojector, connect_as_owner
from infra.replay.worker import ReplayedPage, ReplayPool, open_replay_pool

__all__ = ["ONE_AT_A_TIME", "RebuildError", "RebuildReport", "ShadowBuild", "open_shadow_build"]

ONE_AT_A_TIME = "SELECT pg_try_advisory_lock(hashtextextended('crmledger.views.rebuild', 0))"

CATCH_UP_THRESHOLD = 500
"""The lag in events with which the last step of catching up may run while appends wait."""
MAX_ROUNDS = 20
"""Steps after which catching up ends even if the lag is larger."""


class RebuildError(RuntimeError):
    """The views could not be switched; the live ones are as they were."""


@dataclass(slots=True)
class RebuildReport:
    """The result of a rebuild or rollback: events replayed, the differing rows, ``switched`` if it switched.

    ``seconds`` is the time of replaying, ``writes_blocked_seconds`` the time for which appends were held
    up. ``resumed`` is True if an interrupted rebuild was resumed. ``unreadable`` entities have events
    that this build or key cannot read.
    """

    events: int = 0
    seconds: float = 0.0
    writes_blocked_seconds: float = 0.0
    switched: bool = False
    resumed: bool = False
    unreadable: list[Unreadable] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)


class ShadowBuild:
    """The connections and the state of one rebuild or rollback."""

    def __init__(
        self,
        url: str,
        reader: Connection,
        writer: Connection,
        schema: str,
        pool: ReplayPool,
        advance: Callable[[int], None],
    ) -> None:
        self.url = url
        self.reader = reader
        self.writer = writer
        self.schema = schema
        self.report = RebuildReport()
        self.reprojector = Reprojector(reader, writer, pool, self._count)
        self.advance = advance

    def _count(self, events: int) -> None:
        self.report.events += events
        self.advance(events)

    async def save_page(self, organisation: str, page: ReplayedPage, in_order: bool) -> None:  # noqa: FBT001
        """Save, with a page, the entities that it lacks and the place at which a rebuild resumes after it."""
        if page.unreadable:
            await save_unreadable(self.writer, organisation, page.unreadable)
        if in_order:
            await save_progress(self.writer, organisation, page.last, page.events)

    async def has_unreadable(self, *, retry: bool = False) -> bool:
        """True if entities are lacking, which are reported; with ``retry``, try to read them first."""
        if self.schema != NEXT:
            return False
        if retry:
            for entity in await load_unreadable(self.writer):
                async with self.writer.transaction():
                    await clear_unreadable(self.writer, entity)
                    await self.reprojector.replay_streams(entity.organisation, [entity.stream])
        self.report.unreadable = await load_unreadable(self.writer)
        return bool(self.report.unreadable)

    async def catch_up(self, heads: Heads) -> Heads:
        """Replay the streams that changed since ``heads``, until the lag is small; return the new heads."""
        for _ in range(MAX_ROUNDS):
            behind, heads = await self.catch_up_once(heads)
            await save_heads(self.writer, self.schema, heads)
            if behind <= CATCH_UP_THRESHOLD:
                break
        return heads

    async def catch_up_once(self, heads: Heads) -> tuple[int, Heads]:
        """Replay the streams that changed since ``heads``; return the number of events and the new heads."""
        current = await head_positions(self.reader)
        for organisation, head in current.items():
            await self.reprojector.replay_changed(organisation, heads.get(organisation, 0), head)
        return sum(current.values()) - sum(heads.values()), current

    async def compare_all(self) -> list[Difference]:
        """Return all rows that differ, some only because their events came after the last step."""
        async with self._open_snapshot() as connection:
            return [
                difference
                for view in await view_names(connection)
                for difference in await compare(connection, view, self.schema)
            ]

    async def recheck_after_catch_up(
        self, heads: Heads, suspects: list[Difference], *, accept: bool
    ) -> tuple[Heads, list[Difference]]:
        """Catch up; return the new heads, and those of the suspects and of the rows just written that differ.

        While all rows were compared, more was written. To catch up with that here keeps no append waiting.
        """
        self.reprojector.written = set()
        try:
            heads = await self.catch_up(heads)
            async with self._open_snapshot() as connection:
                return heads, await self.recheck(connection, suspects, accept=accept)
        finally:
            self.reprojector.written = None

    async def recheck(
        self, connection: Connection, suspects: list[Difference], *, accept: bool
    ) -> list[Difference]:
        """Return the rows that still differ, of the suspects and of those just written.

        Many suspects that do not hinder the switch are not compared again: appends may be waiting.
        """
        if accept and len(suspects) > CATCH_UP_THRESHOLD:
            return suspects
        keys_by_view = (self.reprojector.written or set()) | {
            difference.scope for difference in suspects
        }
        differences: list[Difference] = []
        for view in await view_names(connection):
            keys = [key for key in keys_by_view if key[0] == view]
            differences += await compare(connection, view, self.schema, keys)
        return differences

    @asynccontextmanager
    async def _open_snapshot(self) -> AsyncIterator[Connection]:
        """Open a connection that sees one snapshot of the database."""
        connection = await connect_as_owner(self.url)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def open_shadow_build(
    url: str, ring: KeyRing, zone: ZoneInfo, schema: str, advance: Callable[[int], None]
) -> AsyncIterator[ShadowBuild]:
    """Open the tables in ``schema``, as the only rebuild or rollback.

    :param advance: called with the number of events that were replayed.
    :raises RebuildError: another rebuild is running.
    """
    reader = await connect_as_owner(url, by_key=True)
    try:
        writer = await connect_as_owner(url, f"{schema}, pg_catalog, pg_temp")
        try:
            if not await writer.fetchval(ONE_AT_A_TIME):
                raise RebuildError("the views are being rebuilt already")
            events = sum((await head_positions(reader)).values()) if schema == NEXT else 0
            async with open_replay_pool(ring, zone, events) as pool:
                yield ShadowBuild(url, reader, writer, schema, pool, advance)
        finally:
            await writer.close()
    finally:
        await reader.close()
