"""Work on a set of tables beside the live ones: filling it, catching up, comparing it.

A rebuild does so with new tables, a rollback with those that were live before.
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
    save_heads,
    save_progress,
    save_unreadable,
    unreadable,
    view_names,
)
from infra.replay.pipeline import Connection, Reprojector, connect_as_owner
from infra.replay.worker import ReplayedPage, ReplayPool, workers

__all__ = ["ONE_AT_A_TIME", "RebuildError", "RebuildReport", "ShadowBuild", "open_shadow_build"]

ONE_AT_A_TIME = "SELECT pg_try_advisory_lock(hashtextextended('crmledger.views.rebuild', 0))"

CATCH_UP_THRESHOLD = 500
"""Events behind the head with which catching up may go on while appends wait."""
ROUNDS = 20
"""How often it is tried to come so close."""


class RebuildError(RuntimeError):
    """The views could not be switched; the live ones are as they were."""


@dataclass(slots=True)
class RebuildReport:
    """What was done: events folded, the differing rows, whether the tables changed places.

    ``seconds`` is the time of folding, ``writes_blocked_seconds`` the time for which appends were held up, ``resumed``
    whether an interrupted rebuild was gone on with. ``unreadable`` entities have events that this
    build or key cannot read.
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
        folders: ReplayPool,
        advance: Callable[[int], None],
    ) -> None:
        self.url = url
        self.reader = reader
        self.writer = writer
        self.schema = schema
        self.report = RebuildReport()
        self.folder = Reprojector(reader, writer, folders, self._count)
        self.advance = advance

    def _count(self, events: int) -> None:
        self.report.events += events
        self.advance(events)

    async def keep(self, organisation: str, folded: ReplayedPage, in_order: bool) -> None:  # noqa: FBT001
        """Notes with a page what it lacks, and where to go on after it."""
        if folded.unreadable:
            await save_unreadable(self.writer, organisation, folded.unreadable)
        if in_order:
            await save_progress(self.writer, organisation, folded.last, folded.events)

    async def has_unreadable(self, *, again: bool = False) -> bool:
        """Whether entities are lacking, which are reported; tries to read them ``again`` first."""
        if self.schema != NEXT:
            return False
        if again:
            for one in await unreadable(self.writer):
                async with self.writer.transaction():
                    await clear_unreadable(self.writer, one)
                    await self.folder.replay_streams(one.organisation, [one.stream])
        self.report.unreadable = await unreadable(self.writer)
        return bool(self.report.unreadable)

    async def catch_up(self, at: Heads) -> Heads:
        """Folds the streams that were touched since ``at``, until little is left."""
        for _ in range(ROUNDS):
            behind, at = await self.step(at)
            await save_heads(self.writer, self.schema, at)
            if behind <= CATCH_UP_THRESHOLD:
                break
        return at

    async def step(self, at: Heads) -> tuple[int, Heads]:
        """Folds the streams that were touched since ``at``: the number of events, the new heads."""
        now = await head_positions(self.reader)
        for organisation, head in now.items():
            await self.folder.replay_changed(organisation, at.get(organisation, 0), head)
        return sum(now.values()) - sum(at.values()), now

    async def compared(self) -> list[Difference]:
        """All rows that differ, some only because their events came after the last step."""
        async with self._moment() as connection:
            return [
                difference
                for view in await view_names(connection)
                for difference in await compare(connection, view, self.schema)
            ]

    async def recheck_after_catch_up(
        self, at: Heads, suspects: list[Difference], *, accept: bool
    ) -> tuple[Heads, list[Difference]]:
        """Catches up with what came since ``at``: the new heads, and which of the suspects and of the rows
        that were just written differ still.

        While all rows were compared, more was written; what is done about that here keeps no append waiting.
        """
        self.folder.written = set()
        try:
            at = await self.catch_up(at)
            async with self._moment() as connection:
                return at, await self.recheck(connection, suspects, accept=accept)
        finally:
            self.folder.written = None

    async def recheck(
        self, connection: Connection, suspects: list[Difference], *, accept: bool
    ) -> list[Difference]:
        """The rows that differ, of the suspects and those just written.

        Many that do not hinder the switch are not looked at again: appends may be waiting.
        """
        if accept and len(suspects) > CATCH_UP_THRESHOLD:
            return suspects
        only = (self.folder.written or set()) | {difference.scope for difference in suspects}
        found: list[Difference] = []
        for view in await view_names(connection):
            keys = [key for key in only if key[0] == view]
            found += await compare(connection, view, self.schema, keys)
        return found

    @asynccontextmanager
    async def _moment(self) -> AsyncIterator[Connection]:
        """A connection that sees one moment of the database."""
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
    """Work on the tables in ``schema``, as the only one of its kind.

    :param advance: is told how many events were folded.
    :raises RebuildError: another rebuild is running.
    """
    reader = await connect_as_owner(url, by_key=True)
    try:
        writer = await connect_as_owner(url, f"{schema}, pg_catalog, pg_temp")
        try:
            if not await writer.fetchval(ONE_AT_A_TIME):
                raise RebuildError("the views are being rebuilt already")
            events = sum((await head_positions(reader)).values()) if schema == NEXT else 0
            async with workers(ring, zone, events) as folders:
                yield ShadowBuild(url, reader, writer, schema, folders, advance)
        finally:
            await writer.close()
    finally:
        await reader.close()
