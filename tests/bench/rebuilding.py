"""A rebuild as a process of its own, as `crmledger views rebuild` is one; prints a `Rebuilt` as JSON."""

from __future__ import annotations

import asyncio
import sys
from zoneinfo import ZoneInfo

import msgspec
import uvloop

from infra.encryption import KeyRing
from infra.rebuild.rebuild import rebuild
from tests.bench.memory import KNOWN, watched
from tests.fixtures.service import environment

__all__ = ["ZONE", "Rebuilt", "rebuilt"]

ZONE = ZoneInfo("Asia/Nicosia")


class Rebuilt(msgspec.Struct):
    """What a rebuild has reported; ``memory`` is the most that it held, in MiB."""

    events: int
    seconds: float
    held: float
    switched: bool
    differences: int
    memory: float | None = None


async def _run(url: str) -> Rebuilt:
    ring = KeyRing(environment(url)["CRMLEDGER_SERVICE_KEY"])
    report = await rebuild(url, ring, ZONE)
    differences = len(report.differences) + len(report.unreadable)
    return Rebuilt(
        report.events, report.seconds, report.writes_blocked_seconds, report.switched, differences
    )


async def rebuilt(url: str) -> Rebuilt:
    """Rebuilds the views of a database. Raises ``RuntimeError`` if that cannot be done."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    if KNOWN:
        async with watched(child.pid) as peak:
            out, err = await child.communicate()
    else:
        out, err = await child.communicate()
    if child.returncode:
        raise RuntimeError(err.decode().strip().rpartition("\n")[2])
    found = msgspec.json.decode(out, type=Rebuilt)
    found.memory = peak.most if KNOWN else None
    return found


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(_run(sys.argv[1]))))
