"""Latency at half of the load that is too much, while the server flushes and tidies up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from msgspec.structs import replace

from infra.postgres.embedded.server import EmbeddedPostgres
from tests.bench.examples import SENT, example
from tests.bench.http_references import references
from tests.bench.load import CONNECTIONS, OK, Load, loaded
from tests.bench.measure import WARM_UP, Cell, Plan, Progress, Run, measured
from tests.bench.results import Outcome, Table
from tests.bench.wire import get
from tests.fixtures.databases import database
from tests.fixtures.service import run_as_process

__all__ = ["latency"]

AS_AUTOVACUUM = (
    "SELECT set_config('vacuum_cost_delay', current_setting('autovacuum_vacuum_cost_delay'), false)"
)
LONGER = 2
"""How much longer than others a cell with a fixed rate takes: a stall is rare."""
NOTE = (
    "Maximum: {connections} connections that are always busy. Half: as many requests as are half of that, "
    "sent by the clock, each one's latency counted from when it was due; meanwhile the server makes a "
    "checkpoint every 30 seconds, over most of them as it does by itself, and in each pass a VACUUM ANALYZE of "
    "all tables with the pauses of autovacuum. Longest is the slowest request of all passes."
)
HELLO = (
    " That of aiohttp with nothing behind it: what is left of the others' latency is what a call does, and how "
    "much dearer it gets where a processor rests in between."
)


async def latency(postgres: EmbeddedPostgres, plan: Plan, progress: Progress) -> list[Table]:
    """The tables of creates, of shows, and of nothing."""
    async with (
        _checkpoints(postgres.url),
        database(postgres) as url,
        run_as_process(url) as service,
        database(postgres, "template0") as theirs,
        references(theirs) as port,
    ):
        progress("Latency: making the organisation")
        given = await example(service)
        shown = await given.created(plan.documents, SENT)
        tables = []
        for name, at, requests, expect in (
            ("create", given.port, given.creates(), OK),
            ("show", given.port, given.shows([one["id"] for one in shown]), OK),
            ("hello", port, [get("/hello")], "ok"),
        ):
            title = f"Latency of {name} at half of the maximum load"
            cells = _cells(url, Load([at], requests, expect, 0))
            note = NOTE.format(connections=CONNECTIONS) + (HELLO if name == "hello" else "")
            tables.append(
                await measured(plan, progress, f"latency-{name}", title, "requests/s", cells, note)
            )
    return tables


def _cells(url: str, load: Load) -> list[Cell]:
    most: list[float] = []

    async def maximum(seconds: float) -> Outcome:
        found = await loaded(replace(load, seconds=seconds))
        most.append(found.rate)
        return found

    return [
        Cell("maximum", "maximum", maximum, ours=True),
        Cell("half", "half of it", _half(url, load, most), ours=True),
    ]


def _half(url: str, load: Load, most: list[float]) -> Run:
    async def run(seconds: float) -> Outcome:
        timed = replace(load, seconds=seconds * LONGER, rate=most[-1] / 2)
        found, _ = await asyncio.gather(loaded(timed), _disturbed(url, timed.seconds))
        return found

    return run


@asynccontextmanager
async def _checkpoints(url: str) -> AsyncIterator[None]:
    """Makes the server's own checkpoints as frequent as can be."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("ALTER SYSTEM SET checkpoint_timeout = '30s'")
        await connection.execute("SELECT pg_reload_conf()")
        yield
    finally:
        await connection.execute("ALTER SYSTEM RESET checkpoint_timeout")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()


async def _disturbed(url: str, seconds: float) -> None:
    """What a server does from time to time, within the measured time."""
    connection = await asyncpg.connect(url)
    try:
        await asyncio.sleep(seconds * (WARM_UP + 1 / 4))
        await connection.execute(AS_AUTOVACUUM)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
