"""Building the views anew from the ledger while the service goes on, and going back.

New tables are filled beside the live ones and caught up with what is written meanwhile. All rows are
compared before anybody has to wait. Only then appends are held up: for the events since, the rows that
those events touch, and the change of places, which takes milliseconds. Reads are never refused: one
that meets the change waits for it, and finds the new tables by the old names.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg

from infra.encryption import KeyRing
from infra.ledger.positions import Heads, head_positions
from infra.rebuild.shadow_build import (
    ONE_AT_A_TIME,
    RebuildError,
    RebuildReport,
    ShadowBuild,
    open_shadow_build,
)
from infra.rebuild.table_diff import LIMIT, Difference
from infra.rebuild.table_sets import (
    NEXT,
    PREVIOUS,
    build_indexes,
    create_shadow_tables,
    discard,
    exists,
    load_heads,
    load_progress,
    save_progress,
    switch,
    view_names,
)
from infra.replay.pipeline import Connection, connect_as_owner, refresh_statistics

__all__ = [
    "ROOT",
    "ROW_SOURCES",
    "RebuildError",
    "RebuildReport",
    "discard_all",
    "rebuild",
    "rollback",
    "row_sources",
]

ROOT = Path(__file__).parents[2]
ROW_SOURCES = (
    "domain",
    "services",
    "infra/background_pool.py",
    "infra/encryption.py",
    "infra/ledger",
    "infra/rebuild",
    "infra/replay",
    "infra/schema",
    "infra/views",
)
"""The code and the SQL that rows depend on: what decrypts, replays, projects, encodes and writes them."""

# All appends insert here, so this lock excludes them, those of organisations that are only being
# registered, too. An append that waits for it holds nothing that a switch needs.
APPENDS = "LOCK TABLE ledger.events IN SHARE ROW EXCLUSIVE MODE"

# The server looks for deadlocks after a second, and might then refuse a read; so whoever wants all
# tables gives up earlier, lets the others pass, and tries again.
LOCK_TIMEOUT = "300ms"
TRY = "30ms"
"""How long one try to get hold of the tables may take: a read that has one of them and wants another
one waits for us as we wait for it, and many short tries end sooner than a few long ones."""
LAST_STREAM = b"\xff" * 16
SWITCH_IDLE_TIMEOUT = "5s"
"""How long appends wait for a process that is paused while it holds them up."""
# Few rows are compared while appends wait, and they are found by their keys: else all might be read.
SWITCH_SETTINGS = f"""
SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; SET LOCAL idle_in_transaction_session_timeout = '{SWITCH_IDLE_TIMEOUT}';
SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off
"""
MAX_WRITE_BLOCK = 4.0
"""Seconds for which appends may be held up in order to get hold of the tables."""


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
) -> RebuildReport:
    """Folds all ledgers into new tables and lets them take the live ones' place.

    A rebuild that was interrupted is gone on with. If rows differ, or events cannot be read, the live
    tables stay, and the new ones are left in ``views_next`` to be looked at.

    :param owner_url: the database, for a role that owns the schema.
    :param accept_differences: switch though rows differ, as they do after a view was redefined; never
        if events cannot be read.
    :param total: is told how many events there are; ``advance`` how many of them were folded.
    :param patience: seconds after which tables that others do not let go are given up.
    :raises RebuildError: another rebuild is running, or the tables could not be had.
    """
    async with open_shadow_build(owner_url, ring, zone, NEXT, advance) as work:
        at = await _fold(work, _definition(zone), total)
        await build_indexes(work.writer)
        at = await work.catch_up(at)
        suspects = await work.compared()
        if await work.has_unreadable() or (not accept_differences and len(suspects) >= LIMIT):
            work.report.differences = suspects
            return work.report
        await _finish(work, at, suspects, patience, accept=accept_differences)
        return work.report


async def _fold(work: ShadowBuild, definition: str, total: Callable[[int], None]) -> Heads:
    """Fills the new tables, from where an interrupted rebuild stands; the heads when that began."""
    await refresh_statistics(work.writer)
    found = await load_progress(work.writer, definition)
    work.report.resumed = found is not None
    if found is None:
        found = await create_shadow_tables(
            work.writer, definition, await head_positions(work.reader)
        )
    at = {one.organisation: one.position for one in found}
    total(sum(at.values()))
    work.advance(sum(one.events for one in found))
    work.folder.on_page = work.keep
    began = time.monotonic()
    for one in found:
        await work.folder.replay_organisation(one.organisation, one.folded)
        # What is caught up with from here on is not copied again by whoever goes on with this.
        await save_progress(work.writer, one.organisation, LAST_STREAM, 0)
    work.report.seconds = time.monotonic() - began
    await work.has_unreadable(again=True)
    return at


def row_sources(roots: Sequence[str] = ROW_SOURCES) -> list[Path]:
    """The files below some modules and packages, in the order of their names."""
    paths = [ROOT / root for root in roots]
    files = [path for path in paths if path.is_file()]
    files += [found for path in paths for found in path.rglob("*") if found.is_file()]
    return sorted(path for path in files if path.suffix in (".py", ".sql"))


def _definition(zone: ZoneInfo) -> str:
    """The digest of all that rows depend on besides events. A rebuild resumes only what has the same."""
    digest = hashlib.sha256(str(zone).encode())
    for source in row_sources():
        content = source.read_bytes()
        digest.update(
            f"\n{source.relative_to(ROOT).as_posix()}\n{len(content)}\n".encode() + content
        )
    return f"crmledger rebuild by {digest.hexdigest()}"


async def rollback(
    owner_url: str, ring: KeyRing, zone: ZoneInfo, *, patience: float = 60.0
) -> RebuildReport:
    """Lets the tables that were live before the last switch take their place again.

    They are caught up first, by this build's definitions: a switch back to older definitions is
    done by the older build. A second rollback undoes the first.

    :raises RebuildError: there are no former tables, or as `rebuild`.
    """
    async with open_shadow_build(owner_url, ring, zone, PREVIOUS, _ignore) as work:
        if not await exists(work.writer, PREVIOUS):
            raise RebuildError("there are no former views to go back to")
        at = await load_heads(work.writer, PREVIOUS)
        await _finish(work, at, [], patience, accept=True)
        return work.report


async def discard_all(owner_url: str) -> list[str]:
    """Drops the tables of an interrupted rebuild and those that are kept for a rollback: which.

    :raises RebuildError: a rebuild is running.
    """
    connection = await connect_as_owner(owner_url)
    try:
        if not await connection.fetchval(ONE_AT_A_TIME):
            raise RebuildError("the views are being rebuilt")
        found = [schema for schema in (NEXT, PREVIOUS) if await exists(connection, schema)]
        for schema in found:
            await discard(connection, schema)
        return found
    finally:
        await connection.close()


async def _finish(
    work: ShadowBuild, at: Heads, suspects: list[Difference], patience: float, *, accept: bool
) -> None:
    """Switches, if need be after some tries between which appends go on."""
    until = time.monotonic() + patience
    while True:
        at, suspects = await work.recheck_after_catch_up(at, suspects, accept=accept)
        if await _tried(work, at, suspects, accept=accept):
            if work.report.switched:
                await discard(work.writer, NEXT)
            return
        if time.monotonic() > until:
            raise RebuildError(f"others do not let go of the views: {await _users(work.reader)}")
        await asyncio.sleep(0.5)


async def _tried(work: ShadowBuild, at: Heads, suspects: list[Difference], *, accept: bool) -> bool:
    """Whether the matter is settled: switched, or refused because rows differ."""
    transaction = work.writer.transaction()
    await transaction.start()
    began = time.monotonic()
    try:
        await work.writer.execute(SWITCH_SETTINGS)
        await work.writer.execute(APPENDS)
        began = time.monotonic()
        work.folder.written = set()
        _, at = await work.step(at)
        lacking = await work.has_unreadable()
        work.report.differences = await work.recheck(work.writer, suspects, accept=accept)
        if not lacking and (accept or not work.report.differences):
            await _hold(work.writer, until=began + MAX_WRITE_BLOCK)
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
        work.report.writes_blocked_seconds = time.monotonic() - began


async def _hold(connection: Connection, until: float) -> None:
    """Gets hold of the live tables. Raises ``LockNotAvailableError`` if others keep them."""
    tables = ", ".join(f"views.{view}" for view in await view_names(connection))
    await connection.execute(f"SET LOCAL lock_timeout = '{TRY}'")
    while True:
        try:
            async with connection.transaction():
                await connection.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
            return
        except asyncpg.LockNotAvailableError:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(0.01)


async def _users(connection: Connection) -> str:
    rows = await connection.fetch("""
        SELECT DISTINCT format('%s (process %s)', coalesce(nullif(a.application_name, ''), 'unnamed'), a.pid) AS who
          FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE l.granted AND a.pid <> pg_backend_pid()
           AND (c.relnamespace = 'views'::regnamespace OR c.oid = 'ledger.events'::regclass)""")
    return ", ".join(row["who"] for row in rows) or "nobody any more"
