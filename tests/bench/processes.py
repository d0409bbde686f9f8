"""Two API processes on one database, beside one."""

from __future__ import annotations

from dataclasses import replace

from infra.postgres.embedded.server import EmbeddedPostgres
from tests.bench.examples import SENT, Example, example
from tests.bench.load import CONNECTIONS, OK, loading
from tests.bench.measure import Cell, Plan, Progress, measured
from tests.bench.results import Table
from tests.fixtures.databases import database
from tests.fixtures.service import run_as_process

__all__ = ["processes"]

NOTE = (
    "{connections} connections that show communications, half of them to each of two processes, or all to one. "
    "Client and PostgreSQL take their share of the machine's processors."
)


async def processes(postgres: EmbeddedPostgres, plan: Plan, progress: Progress) -> list[Table]:
    """One table."""
    async with database(postgres) as url, run_as_process(url) as one, run_as_process(url) as other:
        progress("Two processes: making the organisation")
        given = await example(one)
        shown = await given.created(plan.documents, SENT)
        second = Example(replace(given.api, service=other), given.bodies)
        requests = given.shows([found["id"] for found in shown])
        both = [given.port, second.port]
        cells = [
            Cell("two", "two processes", loading(both, requests, OK), ours=True),
            Cell("one", "one process", loading(given.port, requests, OK)),
        ]
        title = "Shows by two API processes"
        note = NOTE.format(connections=CONNECTIONS)
        return [await measured(plan, progress, "processes", title, "requests/s", cells, note)]
