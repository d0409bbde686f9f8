"""What a number depends on: the machine, the versions, the settings of the server."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from importlib import metadata
from pathlib import Path
from statistics import median

import asyncpg

__all__ = ["machine", "settings", "versions"]

PACKAGES = ("aiohttp", "asyncpg", "eventsourcing", "msgspec", "orjson", "psycopg", "uvloop")
SETTINGS = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "wal_compression",
    "shared_buffers",
    "max_wal_size",
    "max_connections",
    "jit",
)
MUST_BE_ON = ("fsync", "synchronous_commit", "full_page_writes")
WRITES = 200


def machine() -> dict[str, str]:
    """Processor, memory, system, and what a flush to its disk takes."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": _system(),
        "load before the run": f"{os.getloadavg()[0]:.1f}",
        "flush of 8 kB to disk": f"{_flush() * 1e6:.0f} µs",
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def _flush() -> float:
    """The median seconds of a write and its fdatasync."""
    sync = getattr(os, "fdatasync", os.fsync)
    took = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(WRITES):
            begun = time.perf_counter()
            os.pwrite(file.fileno(), bytes(8192), 0)
            sync(file.fileno())
            took.append(time.perf_counter() - begun)
    return median(took)


async def versions(connection: asyncpg.Connection) -> dict[str, str]:
    """What was measured with."""
    server = await connection.fetchval("SHOW server_version")
    packages = {name: metadata.version(name) for name in PACKAGES}
    return {"PostgreSQL": server, "Python": platform.python_version()} | packages


async def settings(connection: asyncpg.Connection) -> dict[str, str]:
    """The server's settings. Raises ``RuntimeError`` if a commit would not be durable."""
    found = {name: await connection.fetchval(f"SHOW {name}") for name in SETTINGS}
    off = [name for name in MUST_BE_ON if found[name] != "on"]
    if off:
        raise RuntimeError(f"not a durable server: {', '.join(off)}")
    return found
