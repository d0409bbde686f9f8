"""Latency at half of the load that is too much, while the server flushes and tidies up."""

from __future__ import annotations

import asyncio

import asyncpg

from infra.embedded import EmbeddedPostgres
from tests.bench.examples import SENT, example
from tests.bench.load import CONNECTIONS, OK, Load, loaded
from tests.bench.measure import WARM_UP, Cell, Plan, Progress, Run, measured
from tests.bench.results import Outcome, Table
from tests.databases import database
from tests.service import process

__all__ = ["latency"]

AS_AUTOVACUUM = (
    "SELECT set_config('vacuum_cost_delay', current_setting('autovacuum_vacuum_cost_delay'), false)"
)
LONGER = 2
"""How much longer than others a cell with a fixed rate takes: a stall is rare."""
NOTE = (
    "Maximum: {connections} connections that are always busy. Half: as many requests as are half of that, "
    "sent by the clock, each one's latency counted from when it was due; meanwhile a CHECKPOINT is made at "
    "once, and a VACUUM ANALYZE of all tables with the pauses that autovacuum makes. Longest is the slowest "
    "request of all passes."
)


async def latency(postgres: EmbeddedPostgres, plan: Plan, progress: Progress) -> list[Table]:
    """The tables of creates and of shows."""
    async with database(postgres) as url, process(url) as service:
        progress("Latency: making the organisation")
        given = await example(service)
        shown = await given.created(plan.documents, SENT)
        tables = []
        for name, requests in (
            ("create", given.creates()),
            ("show", given.shows([one["id"] for one in shown])),
        ):
            title = f"Latency of {name} at half of the maximum load"
            cells = _cells(url, given.port, requests)
            note = NOTE.format(connections=CONNECTIONS)
            tables.append(
                await measured(plan, progress, f"latency-{name}", title, "requests/s", cells, note)
            )
    return tables


def _cells(url: str, port: int, requests: list[str]) -> list[Cell]:
    most: list[float] = []

    async def maximum(seconds: float) -> Outcome:
        found = await loaded(Load([port], requests, OK, seconds))
        most.append(found.rate)
        return found

    return [
        Cell("maximum", "maximum", maximum, ours=True),
        Cell("half", "half of it", _half(url, port, requests, most), ours=True),
    ]


def _half(url: str, port: int, requests: list[str], most: list[float]) -> Run:
    async def run(seconds: float) -> Outcome:
        load = Load([port], requests, OK, seconds * LONGER, rate=most[-1] / 2)
        found, _ = await asyncio.gather(loaded(load), _disturbed(url, load.seconds))
        return found

    return run


async def _disturbed(url: str, seconds: float) -> None:
    """What a server does from time to time, one after the other within the measured time."""
    connection = await asyncpg.connect(url)
    try:
        await asyncio.sleep(seconds * (WARM_UP + 1 / 4))
        await connection.execute("CHECKPOINT")
        await connection.execute(AS_AUTOVACUUM)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
