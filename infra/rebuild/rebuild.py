"""Rebuilding the views from the ledger while the service runs, and rolling back.

New tables are filled beside the live ones and catch up with what is written meanwhile. All rows are
compared before anybody has to wait. Only then appends are held up: for the events since, the rows that
those events change, and the switch, which takes milliseconds. Reads are never refused: one that meets
the switch waits for it, and finds the new tables by the old names.
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
    drop_schema,
    load_heads,
    load_progress,
    save_progress,
    schema_exists,
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
LOCK_APPENDS = "LOCK TABLE ledger.events IN SHARE ROW EXCLUSIVE MODE"

# The server looks for deadlocks after a second, and might then refuse a read; so the switch, which
# locks all tables, gives up earlier, lets the others pass, and tries again.
LOCK_TIMEOUT = "300ms"
TRY_TIMEOUT = "30ms"
"""The longest wait of one try to lock the tables. A read that holds one of them and needs another waits for
the switch as the switch waits for it: many short tries end sooner than a few long ones."""
LAST_STREAM = b"\xff" * 16
SWITCH_IDLE_TIMEOUT = "5s"
"""The longest wait of appends for a process that is paused while it holds them up."""
# Few rows are compared while appends wait. They must be looked up by their keys: a scan would read all.
SWITCH_SETTINGS = f"""
SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; SET LOCAL idle_in_transaction_session_timeout = '{SWITCH_IDLE_TIMEOUT}';
SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off
"""
MAX_WRITE_BLOCK = 4.0
"""Seconds for which appends may be held up until the tables are locked."""


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
    """Replay all ledgers into new tables and switch to them.

    An interrupted rebuild resumes. If rows differ, or events cannot be read, the live tables stay, and
    the new ones are left in ``views_next`` to be examined.

    :param owner_url: the database, for a role that owns the schema.
    :param accept_differences: switch though rows differ, as they do after a view was redefined; never
        if events cannot be read.
    :param total: called with the number of events; ``advance`` with the number of those just replayed.
    :param patience: seconds after which the attempt to lock the tables is given up.
    :raises RebuildError: another rebuild is running, or the tables could not be locked.
    """
    async with open_shadow_build(owner_url, ring, zone, NEXT, advance) as work:
        heads = await _fill(work, _definition(zone), total)
        await build_indexes(work.writer)
        heads = await work.catch_up(heads)
        suspects = await work.compare_all()
        if await work.has_unreadable() or (not accept_differences and len(suspects) >= LIMIT):
            work.report.differences = suspects
            return work.report
        await _finish(work, heads, suspects, patience, accept=accept_differences)
        return work.report


async def _fill(work: ShadowBuild, definition: str, total: Callable[[int], None]) -> Heads:
    """Fill the new tables, from where an interrupted rebuild stopped; return the heads when it began."""
    await refresh_statistics(work.writer)
    progress = await load_progress(work.writer, definition)
    work.report.resumed = progress is not None
    if progress is None:
        progress = await create_shadow_tables(
            work.writer, definition, await head_positions(work.reader)
        )
    heads = {state.organisation: state.position for state in progress}
    total(sum(heads.values()))
    work.advance(sum(state.events for state in progress))
    work.reprojector.on_page = work.save_page
    began = time.monotonic()
    for state in progress:
        await work.reprojector.replay_organisation(state.organisation, state.folded)
        # A rebuild that resumes here must not copy again what is caught up with from here on.
        await save_progress(work.writer, state.organisation, LAST_STREAM, 0)
    work.report.seconds = time.monotonic() - began
    await work.has_unreadable(retry=True)
    return heads


def row_sources(roots: Sequence[str] = ROW_SOURCES) -> list[Path]:
    """Return the source files of some modules and packages, in the order of their names."""
    paths = [ROOT / root for root in roots]
    files = [path for path in paths if path.is_file()]
    files += [file for path in paths for file in path.rglob("*") if file.is_file()]
    return sorted(path for path in files if path.suffix in (".py", ".sql"))


def _definition(zone: ZoneInfo) -> str:
    """Return a digest of all that rows depend on besides events: a rebuild resumes only under the same one."""
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
    """Switch back to the tables that were live before the last switch.

    They catch up first, by this build's definitions: the older build must be used to switch back to
    older definitions. A second rollback undoes the first.

    :raises RebuildError: there are no former tables, or as `rebuild`.
    """
    async with open_shadow_build(owner_url, ring, zone, PREVIOUS, _ignore) as work:
        if not await schema_exists(work.writer, PREVIOUS):
            raise RebuildError("there are no former views to go back to")
        heads = await load_heads(work.writer, PREVIOUS)
        await _finish(work, heads, [], patience, accept=True)
        return work.report


async def discard_all(owner_url: str) -> list[str]:
    """Drop the tables of an interrupted rebuild and those for a rollback; return their schemas.

    :raises RebuildError: a rebuild is running.
    """
    connection = await connect_as_owner(owner_url)
    try:
        if not await connection.fetchval(ONE_AT_A_TIME):
            raise RebuildError("the views are being rebuilt")
        schemas = [schema for schema in (NEXT, PREVIOUS) if await schema_exists(connection, schema)]
        for schema in schemas:
            await drop_schema(connection, schema)
        return schemas
    finally:
        await connection.close()


async def _finish(
    work: ShadowBuild, heads: Heads, suspects: list[Difference], patience: float, *, accept: bool
) -> None:
    """Switch, if need be after several tries between which appends run."""
    until = time.monotonic() + patience
    while True:
        heads, suspects = await work.recheck_after_catch_up(heads, suspects, accept=accept)
        if await _try_switch(work, heads, suspects, accept=accept):
            if work.report.switched:
                await drop_schema(work.writer, NEXT)
            return
        if time.monotonic() > until:
            raise RebuildError(
                f"others do not let go of the views: {await _lock_holders(work.reader)}"
            )
        await asyncio.sleep(0.5)


async def _try_switch(
    work: ShadowBuild, heads: Heads, suspects: list[Difference], *, accept: bool
) -> bool:
    """True if the switch is done, or refused because rows differ; False if the tables were not free."""
    transaction = work.writer.transaction()
    await transaction.start()
    began = time.monotonic()
    try:
        await work.writer.execute(SWITCH_SETTINGS)
        await work.writer.execute(LOCK_APPENDS)
        began = time.monotonic()
        work.reprojector.written = set()
        _, heads = await work.catch_up_once(heads)
        unreadable = await work.has_unreadable()
        work.report.differences = await work.recheck(work.writer, suspects, accept=accept)
        if not unreadable and (accept or not work.report.differences):
            await _lock_tables(work.writer, until=began + MAX_WRITE_BLOCK)
            await switch(work.writer, work.schema, heads)
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
        work.reprojector.written = None
        work.report.writes_blocked_seconds = time.monotonic() - began


async def _lock_tables(connection: Connection, until: float) -> None:
    """Lock the live tables. Raises ``LockNotAvailableError`` if others hold them."""
    tables = ", ".join(f"views.{view}" for view in await view_names(connection))
    await connection.execute(f"SET LOCAL lock_timeout = '{TRY_TIMEOUT}'")
    while True:
        try:
            async with connection.transaction():
                await connection.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
            return
        except asyncpg.LockNotAvailableError:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(0.01)


async def _lock_holders(connection: Connection) -> str:
    rows = await connection.fetch("""
        SELECT DISTINCT format('%s (process %s)', coalesce(nullif(a.application_name, ''), 'unnamed'), a.pid) AS who
          FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE l.granted AND a.pid <> pg_backend_pid()
           AND (c.relnamespace = 'views'::regnamespace OR c.oid = 'ledger.events'::regclass)""")
    return ", ".join(row["who"] for row in rows) or "nobody any more"
