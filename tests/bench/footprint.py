"""What the service costs before it does anything, and while it does: memory, and the time of a start."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg

from infra.postgres.embedded.server import EmbeddedPostgres
from tests.bench.clones import cloned
from tests.bench.examples import SENT, caught, example
from tests.bench.load import CONNECTIONS, OK, loading
from tests.bench.measure import Cell, Plan, Progress, Run, measured
from tests.bench.memory import KNOWN, highest, resident, watched
from tests.bench.results import LARGER, SLOWER, Measured, Outcome, Table, ratios
from tests.fixtures.databases import database
from tests.fixtures.service import ROOT, Api, environment, run_as_process

__all__ = ["memory", "start"]

MEMORY = (
    "Resident memory of `crmledger serve`: before its first call, and after {connections} connections have shown "
    "and created communications as fast as they could."
)
PROJECTOR = (
    "Resident memory of `crmledger project`, which seals nothing meanwhile, the most until it has caught up "
    "with all events."
)
START = (
    "From the start of `crmledger serve` on a database with data to its first answer (a show), beside a "
    "fresh interpreter that imports the libraries which it has loaded by then, and nothing else."
)
LOADED = """
import sys
import infra.app, infra.cli
own = {'domain', 'services', 'infra'} | sys.stdlib_module_names
print(' '.join(n for n in sys.modules if n.partition('.')[0] not in own and not n.startswith('_')))
"""
BEHIND = """
SELECT count(*) FROM (SELECT organisation, max(position) AS head FROM ledger.events GROUP BY 1) AS e
  LEFT JOIN projection.checkpoints p ON p.organisation = e.organisation
 WHERE p.position IS NULL OR p.position < e.head
"""
SOON = 0.2


async def memory(postgres: EmbeddedPostgres, plan: Plan, progress: Progress) -> list[Table]:
    """The tables of an API process and of the projector; none where memory is not known."""
    if not KNOWN:
        return []
    return [await _serving(postgres, plan, progress), await _projecting(postgres, plan, progress)]


async def _serving(postgres: EmbeddedPostgres, plan: Plan, progress: Progress) -> Table:
    starts, loads = Measured("start", "after start", False, []), Measured("loaded", "", True, [])
    loads.title = f"after {CONNECTIONS} connections"
    for number in range(1, plan.passes + 1):
        progress(f"Memory of an API process: pass {number} of {plan.passes}")
        async with database(postgres) as url, run_as_process(url) as service:
            starts.passes.append(Outcome(resident(service.pid)))
            given = await example(service)
            shown = await given.created(CONNECTIONS, SENT)
            async with watched(service.pid) as peak:
                for requests in (given.shows([one["id"] for one in shown]), given.creates()):
                    await loading(given.port, requests, OK)(plan.seconds)
            loads.passes.append(Outcome(peak.most))
    cells = [starts, loads]
    note = MEMORY.format(connections=CONNECTIONS)
    return Table("memory", "Memory of an API process", "MiB", cells, note, ratios(cells), LARGER)


async def _projecting(postgres: EmbeddedPostgres, plan: Plan, progress: Progress) -> Table:
    cells = []
    for name, events in zip(("small", "large"), plan.projected, strict=True):
        progress(f"Memory of the projector at {events:,} events")
        async with database(postgres) as url:
            life = await caught(url)
            await cloned(url, life.organisation, life.stream, events // 2, life.payloads)
            found = [Outcome(await _caught_up(url))]
        cells.append(Measured(name, f"{events:,} events", name == "large", found))
    title = "Memory of the projector"
    return Table("memory-projector", title, "MiB", cells, PROJECTOR, ratios(cells), LARGER)


async def _caught_up(url: str) -> float:
    """Runs a projector until nothing is behind: the most memory that it held."""
    connection = await asyncpg.connect(url)
    try:
        async with _program(url, "project", CRMLEDGER_SEAL_SECONDS="0") as child:
            await asyncio.sleep(SOON)
            while await connection.fetchval(BEHIND):
                assert child.returncode is None, "the projector ended"
                await asyncio.sleep(SOON)
            return highest(child.pid)
    finally:
        await connection.close()


@asynccontextmanager
async def _program(
    url: str, *arguments: str, **more: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.cli.main", *arguments),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]} | environment(url, **more),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def start(postgres: EmbeddedPostgres, plan: Plan, progress: Progress) -> list[Table]:
    """One table."""
    async with database(postgres) as url:
        progress("Start: making the organisation")
        async with run_as_process(url) as service:
            given = await example(service)
            (shown,) = await given.created(1, SENT)
        libraries = await _python(LOADED)
        imports = "import " + ", ".join(libraries.split())
        cells = [
            Cell(
                "serve", "serve, to its first answer", _started(url, given.api, shown["id"]), True
            ),
            Cell("imports", "its libraries", _imported(imports)),
        ]
        title = "Start on existing data"
        return [await measured(plan, progress, "start", title, "ms", cells, START, SLOWER)]


def _started(url: str, api: Api, id_: str) -> Run:
    async def run(_: float) -> Outcome:
        begun = time.perf_counter()
        async with run_as_process(url) as service:
            again = replace(api, service=service)
            await again.get("communications/show", communication_identifier=f"id={id_}")
            return Outcome((time.perf_counter() - begun) * 1000)

    return run


def _imported(statement: str) -> Run:
    async def run(_: float) -> Outcome:
        begun = time.perf_counter()
        await _python(statement)
        return Outcome((time.perf_counter() - begun) * 1000)

    return run


async def _python(statements: str) -> str:
    """What statements print in a fresh interpreter."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", statements],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout
