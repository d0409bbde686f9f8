"""Rebuilding: events into views, beside the server's own speed at handing out the same rows."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg

from infra.postgres.embedded.server import EmbeddedPostgres
from tests.bench.beside import READERS, WRITERS, calling
from tests.bench.clones import cloned
from tests.bench.examples import Example, Life, caught
from tests.bench.measure import Cell, Plan, Progress, Run, measured
from tests.bench.rebuilding import Rebuilt, rebuilt
from tests.bench.results import LARGER, Measured, Outcome, Table, ratios
from tests.fixtures.databases import database
from tests.fixtures.service import Api, run_as_process

__all__ = ["rebuild"]

ROWS = "SELECT * FROM ledger.events ORDER BY organisation, stream_id, version"
NOTE = (
    "{events:,} events, nearly all of {streams:,} communications with two each (received, viewed). Ours: "
    "`crmledger views rebuild`, from reading and opening the encrypted part to the rows of the new "
    "tables; without indexing, comparing and switching them. COPY: the same events in binary, dropped "
    "as they arrive."
)
BESIDE = (
    f" Beside {WRITERS} writers and {READERS} readers of a service on the same database: each read must "
    "succeed and show what was acknowledged before it; at the switch no row may differ. What does not hold "
    "is a fault; longest is for how long writes were held up by the switch."
)
MEMORY = "The rebuild and the processes that it starts, the most that they held together."
Rebuilds = list[Rebuilt]


async def rebuild(postgres: EmbeddedPostgres, plan: Plan, progress: Progress) -> list[Table]:
    """The tables of a rebuild in every pass, of one of very many events, and of its memory."""
    small: Rebuilds = []
    large: Rebuilds = []
    async with _written(postgres, plan.events, progress) as (url, _):
        cells = [
            Cell("ours", "rebuild", _rebuilding(url, small), ours=True),
            Cell("copy", "binary COPY", _copying(url)),
        ]
        note = NOTE.format(events=plan.events, streams=plan.events // 2)
        title = f"Rebuild of the views from {plan.events:,} events"
        often = await measured(plan, progress, "rebuild", title, "events/s", cells, note)
    async with _written(postgres, plan.most_events, progress) as (url, life):
        cells = [
            Cell("ours", "rebuild", _rebuilding(url, large), ours=True),
            Cell("copy", "binary COPY", _copying(url)),
            Cell("beside", f"rebuild beside {WRITERS} writers", _beside(url, life), ours=True),
        ]
        note = NOTE.format(events=plan.most_events, streams=plan.most_events // 2) + BESIDE
        title = f"Rebuild of the views from {plan.most_events:,} events, once"
        once = replace(plan, passes=1)
        most = await measured(once, progress, "rebuild-large", title, "events/s", cells, note)
    return [often, most, *_memory(plan, small, large)]


@asynccontextmanager
async def _written(
    postgres: EmbeddedPostgres, events: int, progress: Progress
) -> AsyncIterator[tuple[str, Life]]:
    progress(f"Rebuild: writing {events:,} events")
    async with database(postgres) as url:
        life = await caught(url)
        await cloned(url, life.organisation, life.stream, events // 2, life.payloads)
        yield url, life


def _rebuilding(url: str, into: Rebuilds) -> Run:
    async def run(_: float) -> Outcome:
        found = await rebuilt(url)
        into.append(found)
        assert found.switched, found
        return Outcome(found.events / found.seconds, memory=found.memory)

    return run


def _beside(url: str, life: Life) -> Run:
    async def run(_: float) -> Outcome:
        async with run_as_process(url, CRMLEDGER_SEAL_SECONDS="0") as service:
            given = Example(Api(service, life.organisation), life.bodies)
            given.api.token = await given.api.login()
            async with calling(given) as seen:
                found = await rebuilt(url)
        assert seen.written, seen
        assert seen.read, seen
        wrong = seen.faults + found.differences + (not found.switched)
        rate = found.events / found.seconds
        return Outcome(rate, longest=found.held * 1000, faults=wrong, memory=found.memory)

    return run


def _copying(url: str) -> Run:
    async def run(_: float) -> Outcome:
        connection = await asyncpg.connect(url, command_timeout=None)
        try:
            began = time.perf_counter()
            status = await connection.copy_from_query(ROWS, output=_dropped, format="binary")
            return Outcome(int(status.split()[-1]) / (time.perf_counter() - began))
        finally:
            await connection.close()

    return run


async def _dropped(_: bytes) -> None:
    return None


def _memory(plan: Plan, small: Rebuilds, large: Rebuilds) -> list[Table]:
    """One row for each size; nothing where it is not known."""
    sizes = ((False, "small", plan.events, small), (True, "large", plan.most_events, large))
    cells = [
        Measured(name, f"{events:,} events", ours, [Outcome(max(known))])
        for ours, name, events, found in sizes
        if (known := [one.memory for one in found if one.memory is not None])
    ]
    if not cells:
        return []
    title = "Memory of a rebuild"
    return [Table("memory-rebuild", title, "MiB", cells, MEMORY, ratios(cells), LARGER)]
