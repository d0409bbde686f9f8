"""How much memory a process and those that it has started hold. Known on Linux only."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["KNOWN", "Peak", "highest", "resident", "watched"]

PROC = Path("/proc")
KNOWN = (PROC / "self" / "statm").exists()
EVERY = 0.2
"""Seconds between two looks, each of which takes some milliseconds from who is measured."""
MIB = 2**20


@dataclass(slots=True)
class Peak:
    """The most that was seen, in MiB."""

    most: float = 0.0


def _parents() -> dict[int, int]:
    """The parent of every process."""
    found = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            # A process may end at any moment.
            with suppress(OSError, ProcessLookupError):
                said = (folder / "stat").read_text()
                found[int(folder.name)] = int(said.rpartition(")")[2].split()[1])
    return found


def _family(pid: int) -> set[int]:
    parents, found = _parents(), {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def resident(pid: int) -> float:
    """The resident memory of a process and its children, in MiB."""
    pages = 0
    for member in _family(pid):
        with suppress(OSError, ProcessLookupError):
            pages += int((PROC / str(member) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def highest(pid: int) -> float:
    """The most that a process has held since it began, in MiB, as the system has noted it."""
    (said,) = re.findall(r"^VmHWM:\s+(\d+) kB$", (PROC / str(pid) / "status").read_text(), re.M)
    return int(said) * 1024 / MIB


@asynccontextmanager
async def watched(pid: int) -> AsyncIterator[Peak]:
    """Looks again and again meanwhile."""
    peak = Peak()

    async def look() -> None:
        while True:
            peak.most = max(peak.most, resident(pid))
            await asyncio.sleep(EVERY)

    looking = asyncio.create_task(look())
    try:
        yield peak
    finally:
        looking.cancel()
        peak.most = max(peak.most, resident(pid))
