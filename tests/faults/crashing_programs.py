"""Programs that kill themselves (SIGKILL) in the middle of a rebuild or of projecting.

``python -m tests.faults.crashing_programs rebuild|project URL KEY SHARE``: at that share of the events, inside the transaction that
writes a batch; a share of 1 is the middle of the rebuild's switch.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg

from infra.encryption import KeyRing
from infra.projections import sql_projections as feeding
from infra.projections.projector import Projector
from infra.rebuild import rebuild
from infra.rebuild import shadow_build as beside
from infra.replay import pipeline as folding
from tests.fixtures.service import RING

ZONE = ZoneInfo("Asia/Nicosia")
PAGE = 10
"""Events of a page or batch, so that there are many."""
COUNT = "SELECT count(*) FROM ledger.events"


def die() -> None:
    """Ends this process as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


async def events(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval(COUNT))
    finally:
        await connection.close()


async def rebuilding(url: str, key: str, share: float) -> None:
    folding.PAGE = PAGE
    total, folded = await events(url), 0

    async def dying(connection: Any, organisation: str, stream: bytes, count: int) -> None:
        nonlocal folded
        await keep(connection, organisation, stream, count)
        folded += count
        if folded >= total * share:
            die()

    async def switched(*what: Any) -> None:
        await switch(*what)
        die()

    keep, switch = beside.save_progress, rebuild.switch
    if share < 1:
        beside.save_progress = dying
    else:
        rebuild.switch = switched
    await rebuild.rebuild(url, KeyRing(key), ZONE)


async def projecting(url: str, _: str, share: float) -> None:
    total, fed = await events(url), 0

    async def dying(connection: Any, view: str, organisation: str, between: Any) -> Any:
        nonlocal fed
        fed += between[1] - between[0]
        if fed >= total * share:
            die()
        return await park(connection, view, organisation, between)

    park, feeding.park_unknown = feeding.park_unknown, dying
    await Projector(url, RING, batch_size=PAGE).once()


if __name__ == "__main__":
    what, url, key, share = sys.argv[1:]
    work = {"rebuild": rebuilding, "project": projecting}[what]
    asyncio.run(work(url, key, float(share)))
