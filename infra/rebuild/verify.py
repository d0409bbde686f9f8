"""Proving that the views say what the ledger says, while the service goes on.

The whole ledger is folded into temporary tables of the verifying session, by the code and the
function that write the live ones, and compared with these row by row. Everything is seen in one
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
from infra.replay.worker import workers

__all__ = ["VerifyReport", "verify"]


@dataclass(slots=True)
class VerifyReport:
    """What was looked at, and every row that is not as it should be, by view and key."""

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
    """Replays all ledgers and compares each row of the views with what it should be.

    :param owner_url: the database, for a role that owns the schema and may make temporary tables.
    :param total: is told how many events there are; ``advance`` how many of them were folded.
    :raises ValueError: an event cannot be read by this build or with this service key.
    """
    findings = VerifyReport()
    async with _snapshot(owner_url) as (reader, writer, names):
        at = await head_positions(reader)
        total(sum(at.values()))
        began = time.monotonic()
        async with workers(ring, zone, sum(at.values())) as working:
            folder = Reprojector(reader, writer, working, advance)
            for organisation in at:
                await folder.replay_organisation(organisation)
        findings.events, findings.seconds = sum(at.values()), time.monotonic() - began
        for view in names:
            await writer.execute(f"ANALYZE pg_temp.{view}")
            findings.rows += await writer.fetchval(f"SELECT count(*) FROM views.{view}")  # noqa: S608
            findings.differences += await compare(writer, view, "pg_temp")
    return findings


@asynccontextmanager
async def _snapshot(url: str) -> AsyncIterator[tuple[Connection, Connection, list[str]]]:
    """Two connections that see the same moment, and the views; the second has temporary ones."""
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
