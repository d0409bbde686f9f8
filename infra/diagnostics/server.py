"""Checks of the server and of this machine."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from rich.filesize import decimal

from infra.diagnostics.runner import LEAST, CheckContext, CheckResult, Verdict

__all__ = ["SERVER_CHECKS"]

DATABASE = """
SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version,
       current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS replica,
       current_database() AS name, pg_database_size(current_database()) AS size
"""
DANGEROUS = """
SELECT name FROM pg_settings
 WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name
"""
CONNECTIONS = """
SELECT count(*) AS used, current_setting('max_connections')::int AS most FROM pg_stat_activity
 WHERE backend_type = 'client backend'
"""
# Of every database: the oldest one holds back the cleaning of all of them.
OLDEST = """
SELECT pid, coalesce(nullif(application_name, ''), '?') AS program, coalesce(datname, '?') AS name,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds
  FROM pg_stat_activity
 WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend'
 ORDER BY xact_start LIMIT 1
"""
FOLDER = "SELECT setting FROM pg_settings WHERE name = 'data_directory'"

LONG = 600.0
"""Seconds after which a transaction is named."""
DIFFERENCE = 1.0
"""Seconds between two clocks that nobody minds."""
SCARCE, CRITICAL = 0.10, 0.03
"""Free parts of a disk: from the one on it is said, from the other on it is a failure."""
CROWDED = 0.8
"""Part of the server's connections that may be taken."""


async def database(site: CheckContext) -> CheckResult:
    """Whether the server is new enough, and the one that can be written to."""
    row = await site.connection.fetchrow(DATABASE)
    assert row is not None
    said = f"{row['name']} on PostgreSQL {row['version']}, {decimal(row['size'])}"
    if row["number"] < LEAST:
        return CheckResult("failed", f"{said}; {LEAST // 10_000} or newer is needed")
    if row["encoding"] != "UTF8":
        return CheckResult("failed", f"{said}; its encoding is {row['encoding']} and must be UTF8")
    if row["replica"]:
        return CheckResult("failed", f"{said}; it is a replica, which cannot be written to")
    return CheckResult("ok", said)


async def durability(site: CheckContext) -> CheckResult:
    """Whether what was committed survives a crash."""
    off = [row["name"] for row in await site.connection.fetch(DANGEROUS)]
    if off:
        return CheckResult("failed", f"{', '.join(off)} off: a crash loses what was acknowledged")
    return CheckResult("ok", "fsync, full_page_writes and synchronous_commit are on")


async def connections(site: CheckContext) -> CheckResult:
    """Whether there is room for more connections."""
    used, most = await site.connection.fetchrow(CONNECTIONS) or (0, 0)
    crowded = used > CROWDED * most
    return CheckResult("warning" if crowded else "ok", f"{used} of {most} are taken")


async def transactions(site: CheckContext) -> CheckResult:
    """Whether somebody's transaction keeps the server from cleaning up, and whose it is."""
    row = await site.connection.fetchrow(OLDEST)
    if row is None or row["seconds"] < LONG:
        return CheckResult("ok", f"none is older than {LONG / 60:.0f} minutes")
    whose = f"process {row['pid']} ({row['program']}, database {row['name']})"
    return CheckResult(
        "warning", f"{whose} has had one open for {row['seconds'] / 60:,.0f} minutes"
    )


async def clock(site: CheckContext) -> CheckResult:
    """How far this machine's clock is from the database's, which is the one that counts."""
    before = time.time()
    theirs = await site.connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    after = time.time()
    # It was read at some moment in between.
    difference = max(0.0, before - theirs, theirs - after)
    said = f"{difference:.3f} s from the database's, read in {(after - before) * 1000:.1f} ms"
    return CheckResult("warning" if difference > DIFFERENCE else "ok", said)


async def disk(site: CheckContext) -> CheckResult:
    """How full the disks are that can be seen from here."""
    # The server tells its folder to those only who may know.
    folder = await site.connection.fetchval(FOLDER)
    free = _free({"data folder": site.settings.data_dir, "database": Path(folder or "/nowhere")})
    if not free:
        return CheckResult(
            "unseen", "neither the database's disk nor a data folder is on this machine"
        )
    least = min(usage.free / usage.total for usage in free.values())
    said = ", ".join(f"{decimal(usage.free)} free for the {name}" for name, usage in free.items())
    if "database" not in free:
        said += "; the database's disk cannot be seen from here"
    verdict: Verdict = "failed" if least < CRITICAL else "warning" if least < SCARCE else "ok"
    return CheckResult(verdict, said)


def _free(places: Mapping[str, Path]) -> dict[str, shutil._ntuple_diskusage]:
    """The usage of the disks of those places that are on this machine."""
    found = {}
    for name, path in places.items():
        with contextlib.suppress(OSError):
            found[name] = shutil.disk_usage(path)
    return found


SERVER_CHECKS = (database, durability, connections, transactions, clock, disk)
"""In the order in which they are made."""
