"""Listing service requests: pages of a very large view, beside the same number of rows by their keys."""

from __future__ import annotations

import asyncpg

from infra.postgres.embedded.server import EmbeddedPostgres
from infra.postgres.pool import ConnectionPool
from infra.views.queries import ViewReader, statement
from services.context import ConsumerScope, ViewQuery
from tests.bench.measure import Cell, Plan, Progress, Run, in_tasks, measured
from tests.bench.results import Outcome, Table
from tests.fixtures.databases import database
from tests.fixtures.service_request_seed import CUSTOMER, ORGANISATION, seed, selected

__all__ = ["lists"]

PAGES = 100_000
"""More than can be read in a cell's time."""

ROWS = 100
CALLS: tuple[tuple[str, ConsumerScope | None], ...] = (
    ("list type", None),
    ("get_overdue", None),
    ("get_pending type", None),
    ("get_completed category", None),
    ("get_completed", CUSTOMER),
)
KEYS = "SELECT id FROM views.service_requests WHERE organisation = $1 LIMIT 100"
NOTE = (
    "{rows} service requests of one organisation and a tenth as many of another one; pages of up to "
    f"{ROWS}, one caller at a time. Ours: what a list method asks the views for, with the filters named. "
    "By key: as many service requests by their ids. Both come with what they show of other entities. A "
    "customer has about ten."
)


async def lists(postgres: EmbeddedPostgres, plan: Plan, progress: Progress) -> list[Table]:
    """One table."""
    async with database(postgres) as url:
        progress(f"Lists: writing {plan.service_requests} service requests")
        connection = await asyncpg.connect(url)
        await seed(connection, plan.service_requests)
        lanes = ConnectionPool(url, 1)
        reader = ViewReader(lanes, lanes)
        cells = [_cell(reader, name, customer) for name, customer in CALLS]
        cells.append(Cell("by key", f"{ROWS} rows by key", await _by_key(connection)))
        title = "Lists of service requests"
        note = NOTE.format(rows=plan.service_requests)
        found = await measured(plan, progress, "lists", title, "pages/s", cells, note)
        await lanes.close()
        await connection.close()
        return [found]


def _cell(reader: ViewReader, name: str, customer: ConsumerScope | None) -> Cell:
    select = selected(name, customer)

    async def page(_: int, __: int) -> None:
        assert (await reader.select(ORGANISATION, select)).documents

    async def run(seconds: float) -> Outcome:
        return await in_tasks(range(PAGES), page, 1, seconds)

    shown = f"{name} (customer)" if customer else name
    return Cell(shown, shown, run, ours=True)


async def _by_key(connection: asyncpg.Connection) -> Run:
    ids = [row["id"] for row in await connection.fetch(KEYS, ORGANISATION)]
    sql, values = statement(ViewQuery("service_requests", {"id": tuple(ids)}))
    prepared = await connection.prepare(sql)

    async def page(_: int, __: int) -> None:
        assert len(await prepared.fetch(ORGANISATION, None, ROWS, 0, *values)) >= ROWS

    async def run(seconds: float) -> Outcome:
        return await in_tasks(range(PAGES), page, 1, seconds)

    return run
