"""Building the views anew from the ledger while the service goes on, and going back.

New tables are filled beside the live ones and caught up with what is written meanwhile. All rows are
compared before anybody has to wait. Only then appends are held up: for the facts since, the rows that
those facts touch, and the change of places, which takes milliseconds. Reads are never refused: one
that meets the change waits for it, and finds the new tables by the old names.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import asyncpg

from infra.ledger.cipher import KeyRing
from infra.ledger.heads import Heads, heads
from infra.views.comparing import LIMIT, Difference, compare
from infra.views.folding import Connection, Folder, analyse, connected
from infra.views.pages import Workers, workers
from infra.views.tables import (
    FORMER,
    NEXT,
    exists,
    index,
    keep_heads,
    kept_heads,
    make_next,
    switch,
    views,
)

__all__ = ["RebuildError", "Report", "rebuild", "rollback"]

ONE_AT_A_TIME = "SELECT pg_try_advisory_lock(hashtextextended('crmledger.views.rebuild', 0))"

# All appends insert here, so this lock excludes them, those of organisations that are only being
# registered, too. An append that waits for it holds nothing that a switch needs.
APPENDS = "LOCK TABLE ledger.events IN SHARE ROW EXCLUSIVE MODE"

CLOSE = 500
"""Facts behind the head with which catching up may go on while appends wait."""
ROUNDS = 20
"""How often it is tried to come so close."""

# The server looks for deadlocks after a second, and might then refuse a read; so whoever wants all
# tables gives up earlier, lets the others pass, and tries again.
LOCK_TIMEOUT = "300ms"
HELD = 4.0
"""Seconds for which appends may be held up in order to get hold of the tables."""


class RebuildError(RuntimeError):
    """The views could not be switched; the live ones are as they were."""


@dataclass(slots=True)
class Report:
    """What was done: facts folded, the differing rows, whether the tables changed places.

    ``seconds`` is the time of folding, ``held`` the time for which appends were held up.
    """

    facts: int = 0
    seconds: float = 0.0
    held: float = 0.0
    switched: bool = False
    differences: list[Difference] = field(default_factory=list)


def _ignore(_: int) -> None:
    return None


async def rebuild(
    owner_url: str,
    ring: KeyRing,
    zone: ZoneInfo,
    *,
    accept_differences: bool = False,
    total: Callable[[int], None] = _ignore,
    advance: Callable[[int], None] = _ignore,
    patience: float = 60.0,
) -> Report:
    """Folds all ledgers into new tables and lets them take the live ones' place.

    If rows differ, the live ones stay, and the new ones are left in ``views_next`` to be looked at.

    :param owner_url: the database, for a role that owns the schema.
    :param accept_differences: switch though rows differ, as they do after a view was redefined.
    :param total: is told how many facts there are; ``advance`` how many of them were folded.
    :param patience: seconds after which tables that others do not let go are given up.
    :raises RebuildError: another rebuild is running, or the tables could not be had.
    :raises ValueError: a fact cannot be read by this build or with this service key.
    """
    async with _work(owner_url, ring, zone, NEXT, advance) as work:
        await analyse(work.writer)
        await make_next(work.writer)
        at = await heads(work.reader)
        total(sum(at.values()))
        began = time.monotonic()
        for organisation in at:
            await work.folder.whole(organisation)
        work.report.seconds = time.monotonic() - began
        await index(work.writer)
        at = await work.catch_up(at)
        suspects = await work.compared()
        if not accept_differences and len(suspects) >= LIMIT:
            work.report.differences = suspects
            return work.report
        await _finish(work, at, suspects, patience, accept=accept_differences)
        return work.report


async def rollback(
    owner_url: str, ring: KeyRing, zone: ZoneInfo, *, patience: float = 60.0
) -> Report:
    """Lets the tables that were live before the last switch take their place again.

    They are caught up first, by this build's definitions: a switch back to older definitions is
    done by the older build. A second rollback undoes the first.

    :raises RebuildError: there are no former tables, or as `rebuild`.
    """
    async with _work(owner_url, ring, zone, FORMER, _ignore) as work:
        if not await exists(work.writer, FORMER):
            raise RebuildError("there are no former views to go back to")
        at = await work.catch_up(await kept_heads(work.writer, FORMER))
        await _finish(work, at, [], patience, accept=True)
        return work.report


class _Work:
    """The connections and the state of one rebuild or rollback."""

    def __init__(
        self,
        url: str,
        reader: Connection,
        writer: Connection,
        schema: str,
        working: Workers,
        advance: Callable[[int], None],
    ) -> None:
        self.url = url
        self.reader = reader
        self.writer = writer
        self.schema = schema
        self.report = Report()
        self.folder = Folder(reader, writer, working, self._count)
        self._advance = advance

    def _count(self, facts: int) -> None:
        self.report.facts += facts
        self._advance(facts)

    async def catch_up(self, at: Heads) -> Heads:
        """Folds the streams that were touched since ``at``, until little is left."""
        for _ in range(ROUNDS):
            behind, at = await self.step(at)
            await keep_heads(self.writer, self.schema, at)
            if behind <= CLOSE:
                break
        return at

    async def step(self, at: Heads) -> tuple[int, Heads]:
        """Folds the streams that were touched since ``at``: the number of facts, the new heads."""
        now = await heads(self.reader)
        for organisation, head in now.items():
            await self.folder.touched(organisation, at.get(organisation, 0), head)
        return sum(now.values()) - sum(at.values()), now

    async def compared(self) -> list[Difference]:
        """All rows that differ, some only because their facts came after the last step."""
        connection = await connected(self.url)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return [
                    difference
                    for view in await views(connection)
                    for difference in await compare(connection, view, self.schema)
                ]
        finally:
            await connection.close()

    async def settled(self, suspects: list[Difference], *, accept: bool) -> list[Difference]:
        """The rows that differ while nothing is appended: of the suspects and those just written.

        Many that do not hinder the switch are not looked at again: appends are waiting.
        """
        if accept and len(suspects) > CLOSE:
            return suspects
        only = (self.folder.written or set()) | {difference.scope for difference in suspects}
        found: list[Difference] = []
        for view in await views(self.writer):
            keys = [key for key in only if key[0] == view]
            found += await compare(self.writer, view, self.schema, keys)
        return found


@asynccontextmanager
async def _work(
    url: str, ring: KeyRing, zone: ZoneInfo, schema: str, advance: Callable[[int], None]
) -> AsyncIterator[_Work]:
    reader = await connected(url, by_key=True)
    try:
        writer = await connected(url, f"{schema}, pg_catalog, pg_temp")
        try:
            if not await writer.fetchval(ONE_AT_A_TIME):
                raise RebuildError("the views are being rebuilt already")
            facts = sum((await heads(reader)).values()) if schema == NEXT else 0
            async with workers(ring, zone, facts) as working:
                yield _Work(url, reader, writer, schema, working, advance)
        finally:
            await writer.close()
    finally:
        await reader.close()


async def _finish(
    work: _Work, at: Heads, suspects: list[Difference], patience: float, *, accept: bool
) -> None:
    """Switches, if need be after some tries between which appends go on."""
    until = time.monotonic() + patience
    while not await _tried(work, at, suspects, accept=accept):
        if time.monotonic() > until:
            raise RebuildError(f"others do not let go of the views: {await _users(work.reader)}")
        await asyncio.sleep(0.5)
        at = await work.catch_up(at)


async def _tried(work: _Work, at: Heads, suspects: list[Difference], *, accept: bool) -> bool:
    """Whether the matter is settled: switched, or refused because rows differ."""
    transaction = work.writer.transaction()
    await transaction.start()
    began = time.monotonic()
    try:
        await work.writer.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        await work.writer.execute(APPENDS)
        began = time.monotonic()
        work.folder.written = set()
        _, at = await work.step(at)
        work.report.differences = await work.settled(suspects, accept=accept)
        if accept or not work.report.differences:
            await _hold(work.writer, until=began + HELD)
            await switch(work.writer, work.schema, at)
            work.report.switched = True
        await transaction.commit()
        return True
    except asyncpg.LockNotAvailableError:
        await transaction.rollback()
        return False
    except BaseException:
        work.report.switched = False
        await transaction.rollback()
        raise
    finally:
        work.folder.written = None
        work.report.held = time.monotonic() - began


async def _hold(connection: Connection, until: float) -> None:
    """Gets hold of the live tables. Raises ``LockNotAvailableError`` if others keep them."""
    tables = ", ".join(f"views.{view}" for view in await views(connection))
    while True:
        try:
            async with connection.transaction():
                await connection.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
            return
        except asyncpg.LockNotAvailableError:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(0.05)


async def _users(connection: Connection) -> str:
    rows = await connection.fetch("""
        SELECT DISTINCT format('%s (process %s)', coalesce(nullif(a.application_name, ''), 'unnamed'), a.pid) AS who
          FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE l.granted AND a.pid <> pg_backend_pid()
           AND (c.relnamespace = 'views'::regnamespace OR c.oid = 'ledger.events'::regclass)""")
    return ", ".join(row["who"] for row in rows) or "nobody any more"
