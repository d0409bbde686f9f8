"""Verifying that the views agree with the ledger, while the service runs.

The whole ledger is replayed into temporary tables of the verifying session, by the code and the
function that write the live ones, and compared with these row by row. Everything is read in one
snapshot, in read-only transactions: nothing that is written meanwhile can look like a difference,
and nothing but temporary tables can be written.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from infra.encryption import KeyRing
from infra.ledger.positions import head_positions
from infra.rebuild.table_diff import Difference, compare
from infra.rebuild.table_sets import view_names
from infra.replay.pipeline import Connection, Reprojector, connect_as_owner, refresh_statistics
from infra.replay.worker import open_replay_pool

__all__ = ["VerifyReport", "verify"]


@dataclass(slots=True)
class VerifyReport:
    """The numbers of events and rows that were compared, and the rows that differ, by view and key."""

    events: int = 0
    rows: int = 0
    seconds: float = 0.0
    differences: list[Difference] = field(default_factory=list)


def _ignore(_: int) -> None:
    return None


async def verify(
    owner_url: str,
    ring: KeyRing,
    zone: ZoneInfo,
    *,
    total: Callable[[int], None] = _ignore,
    advance: Callable[[int], None] = _ignore,
) -> VerifyReport:
    """Replay all ledgers and compare each row of the views with the replayed one.

    :param owner_url: the database, for a role that owns the schema and may make temporary tables.
    :param total: called with the number of events; ``advance`` with the number of those just replayed.
    :raises ValueError: an event cannot be read by this build or with this service key.
    """
    report = VerifyReport()
    async with _open_snapshot(owner_url) as (reader, writer, names):
        heads = await head_positions(reader)
        total(sum(heads.values()))
        began = time.monotonic()
        async with open_replay_pool(ring, zone, sum(heads.values())) as pool:
            reprojector = Reprojector(reader, writer, pool, advance)
            for organisation in heads:
                await reprojector.replay_organisation(organisation)
        report.events, report.seconds = sum(heads.values()), time.monotonic() - began
        for view in names:
            await writer.execute(f"ANALYZE pg_temp.{view}")
            report.rows += await writer.fetchval(f"SELECT count(*) FROM views.{view}")  # noqa: S608
            report.differences += await compare(writer, view, "pg_temp")
    return report


@asynccontextmanager
async def _open_snapshot(url: str) -> AsyncIterator[tuple[Connection, Connection, list[str]]]:
    """Open two connections with the same snapshot, the second with temporary tables, and name the views."""
    reader = await connect_as_owner(url, by_key=True)
    try:
        writer = await connect_as_owner(url, "pg_temp, pg_catalog")
        try:
            await refresh_statistics(writer)
            names = await view_names(writer)
            for view in names:
                await writer.execute(f"CREATE TEMP TABLE {view} (LIKE views.{view} INCLUDING ALL)")
            async with writer.transaction(isolation="repeatable_read", readonly=True):
                # Before there is a snapshot: tables that were switched after it would look empty.
                tables = ", ".join(f"views.{view}" for view in names)
                await writer.execute(f"LOCK TABLE {tables} IN ACCESS SHARE MODE")
                snapshot = await writer.fetchval("SELECT pg_export_snapshot()")
                async with reader.transaction(isolation="repeatable_read", readonly=True):
                    await reader.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
                    yield reader, writer, names
        finally:
            await writer.close()
    finally:
        await reader.close()
