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
# Of every database: the oldest transaction holds back vacuum in all of them.
OLDEST = """
SELECT pid, coalesce(nullif(application_name, ''), '?') AS program, coalesce(datname, '?') AS name,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds
  FROM pg_stat_activity
 WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend'
 ORDER BY xact_start LIMIT 1
"""
FOLDER = "SELECT setting FROM pg_settings WHERE name = 'data_directory'"

LONG = 600.0
"""Age in seconds from which a transaction is reported."""
DIFFERENCE = 1.0
"""Tolerated difference between two clocks in seconds."""
SCARCE, CRITICAL = 0.10, 0.03
"""Free parts of a disk: below the first a warning, below the second a failure."""
CROWDED = 0.8
"""Part of the server's connections that may be in use."""


async def database(context: CheckContext) -> CheckResult:
    """Check that the server is recent enough, and a primary."""
    row = await context.connection.fetchrow(DATABASE)
    assert row is not None
    message = f"{row['name']} on PostgreSQL {row['version']}, {decimal(row['size'])}"
    if row["number"] < LEAST:
        return CheckResult("failed", f"{message}; {LEAST // 10_000} or newer is needed")
    if row["encoding"] != "UTF8":
        return CheckResult(
            "failed", f"{message}; its encoding is {row['encoding']} and must be UTF8"
        )
    if row["replica"]:
        return CheckResult("failed", f"{message}; it is a replica, which cannot be written to")
    return CheckResult("ok", message)


async def durability(context: CheckContext) -> CheckResult:
    """Check that commits survive a crash."""
    off = [row["name"] for row in await context.connection.fetch(DANGEROUS)]
    if off:
        return CheckResult("failed", f"{', '.join(off)} off: a crash loses what was acknowledged")
    return CheckResult("ok", "fsync, full_page_writes and synchronous_commit are on")


async def connections(context: CheckContext) -> CheckResult:
    """Check that connections are left."""
    used, most = await context.connection.fetchrow(CONNECTIONS) or (0, 0)
    crowded = used > CROWDED * most
    return CheckResult("warning" if crowded else "ok", f"{used} of {most} in use")


async def transactions(context: CheckContext) -> CheckResult:
    """Check that no old transaction holds back vacuum."""
    row = await context.connection.fetchrow(OLDEST)
    if row is None or row["seconds"] < LONG:
        return CheckResult("ok", f"none is older than {LONG / 60:.0f} minutes")
    process = f"process {row['pid']} ({row['program']}, database {row['name']})"
    return CheckResult(
        "warning", f"{process} has had one open for {row['seconds'] / 60:,.0f} minutes"
    )


async def clock(context: CheckContext) -> CheckResult:
    """Check the difference of this machine's clock to the database's, which is authoritative."""
    before = time.time()
    theirs = await context.connection.fetchval(
        "SELECT extract(epoch FROM clock_timestamp())::float8"
    )
    after = time.time()
    # The server read its clock at some moment in between.
    difference = max(0.0, before - theirs, theirs - after)
    message = f"{difference:.3f} s from the database's, read in {(after - before) * 1000:.1f} ms"
    return CheckResult("warning" if difference > DIFFERENCE else "ok", message)


async def disk(context: CheckContext) -> CheckResult:
    """Check the free space of the disks of this machine."""
    # Only privileged roles can read this setting.
    folder = await context.connection.fetchval(FOLDER)
    free = _free({"data folder": context.settings.data_dir, "database": Path(folder or "/nowhere")})
    if not free:
        return CheckResult(
            "unknown", "neither the database's disk nor a data folder is on this machine"
        )
    least = min(usage.free / usage.total for usage in free.values())
    message = ", ".join(
        f"{decimal(usage.free)} free for the {name}" for name, usage in free.items()
    )
    if "database" not in free:
        message += "; the database's disk is not on this machine"
    verdict: Verdict = "failed" if least < CRITICAL else "warning" if least < SCARCE else "ok"
    return CheckResult(verdict, message)


def _free(paths: Mapping[str, Path]) -> dict[str, shutil._ntuple_diskusage]:
    """The disk usage of those paths that are on this machine."""
    usages = {}
    for name, path in paths.items():
        with contextlib.suppress(OSError):
            usages[name] = shutil.disk_usage(path)
    return usages


SERVER_CHECKS = (database, durability, connections, transactions, clock, disk)
"""In the order in which they are run."""
