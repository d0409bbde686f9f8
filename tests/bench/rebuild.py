"""Rebuilding: facts into views, beside the server's own speed at handing out the same rows."""

from __future__ import annotations

import asyncio
import time
from zoneinfo import ZoneInfo

import asyncpg

from infra.embedded import EmbeddedPostgres
from infra.ledger.cipher import KeyRing
from infra.views.rebuild import rebuild as rebuilt
from services.ids import new_id
from tests.bench.append import ledger_on
from tests.bench.examples import caught, fresh
from tests.bench.measure import Cell, Plan, Progress, Run, measured
from tests.bench.results import Outcome, Table
from tests.databases import database
from tests.service import environment

__all__ = ["rebuild"]

ZONE = ZoneInfo("Asia/Nicosia")
BATCH = 256
ROWS = "SELECT * FROM ledger.events ORDER BY organisation, stream_id, version"
NOTE = (
    "{facts} facts, nearly all of {streams} communications with two each (received, viewed). Ours: "
    "`crmledger views rebuild`, from reading and opening the encrypted part to the rows of the new "
    "tables; without indexing, comparing and switching them. COPY: the same facts in binary, dropped "
    "as they arrive."
)


async def rebuild(postgres: EmbeddedPostgres, plan: Plan, progress: Progress) -> list[Table]:
    """One table."""
    async with database(postgres) as url:
        progress("Rebuild: writing the facts")
        await _write(url, plan.facts)
        cells = [
            Cell("ours", "rebuild", _rebuilding(url), ours=True),
            Cell("copy", "binary COPY", _copying(url)),
        ]
        note = NOTE.format(facts=plan.facts, streams=plan.facts // 2)
        title = "Rebuild of the views"
        return [await measured(plan, progress, "rebuild", title, "facts/s", cells, note)]


async def _write(url: str, facts: int) -> None:
    """Fills the ledger of the organisation that the example belongs to."""
    life, ledger = await caught(url), ledger_on(url)
    streams = [new_id() for _ in range(facts // 2)]

    for change in (life.received, life.seen):
        for start in range(0, len(streams), BATCH):
            changes = (fresh(change, stream) for stream in streams[start : start + BATCH])
            await asyncio.gather(*(ledger.append(life.organisation, one) for one in changes))
    await ledger.close()


def _rebuilding(url: str) -> Run:
    ring = KeyRing(environment(url)["CRMLEDGER_SERVICE_KEY"])

    async def run(_: float) -> Outcome:
        report = await rebuilt(url, ring, ZONE)
        assert report.switched, report.differences
        return Outcome(report.facts / report.seconds)

    return run


def _copying(url: str) -> Run:
    async def drop(_: bytes) -> None:
        return None

    async def run(_: float) -> Outcome:
        connection = await asyncpg.connect(url)
        facts = await connection.fetchval("SELECT count(*) FROM ledger.events")
        begun = time.perf_counter()
        await connection.copy_from_query(ROWS, output=drop, format="binary")
        seconds = time.perf_counter() - begun
        await connection.close()
        return Outcome(facts / seconds)

    return run
