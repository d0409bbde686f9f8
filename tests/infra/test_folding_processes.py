"""The processes that fold pages beside a rebuild."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDING = """
import asyncio, multiprocessing
from zoneinfo import ZoneInfo
from infra.encryption import KeyRing
from infra.replay.worker import open_replay_pool

async def main():
    async with open_replay_pool(KeyRing("service-key-of-the-tests-0123456789"), ZoneInfo("UTC"), 1, 2) as pool:
        await asyncio.gather(*(pool.replay_page("ORG", [], {}) for _ in range(2)))
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def runs(pid: int) -> bool:
    """Whether a process is there, and not only what nobody has collected of it."""
    try:
        said = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return said.rpartition(")")[2].split()[0] not in ("Z", "X")


async def test_they_end_with_a_rebuild_that_is_killed() -> None:
    rebuilding = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", FOLDING),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
    )
    assert rebuilding.stdout is not None
    async with asyncio.timeout(60):
        folding = [int(pid) for pid in (await rebuilding.stdout.readline()).split()]
        assert len(folding) == 2
        assert all(map(runs, folding))
        rebuilding.kill()
        await rebuilding.wait()
        while any(map(runs, folding)):
            await asyncio.sleep(0.02)
