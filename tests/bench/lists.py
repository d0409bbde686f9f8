"""Listing service requests: pages of a very large view, and lists of any length."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing

import asyncpg
from msgspec import structs

from infra.postgres.embedded.server import EmbeddedPostgres
from infra.postgres.pool import ConnectionPool
from infra.views.queries import ViewReader, statement
from services.context import ConsumerScope, ViewQuery
from services.pipeline.query_runner import PAGE_SIZE
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


COMPLETED = "get_completed"
LENGTHS = (1, 1_000, 100_000)
LENGTH_NOTE = (
    "The first completed service requests, one caller at a time, with what they show of other entities. "
    f"More than {PAGE_SIZE} are served page by page from one snapshot, and a process holds one page in "
    "memory; in one statement, it holds all."
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
        tables = [await measured(plan, progress, "lists", title, "pages/s", cells, note)]
        # Nine in ten are completed.
        for rows in (min(length, plan.service_requests * 4 // 5) for length in LENGTHS):
            cells = [
                Cell("served", "as it is served", _whole_list(_served(reader, rows)), ours=True),
                Cell("at once", "in one statement", _whole_list(_at_once(reader, rows))),
            ]
            title = f"A list of {rows:,}"
            name = f"list of {rows}"
            tables.append(
                await measured(plan, progress, name, title, "lists/s", cells, LENGTH_NOTE)
            )
        await lanes.close()
        await connection.close()
        return tables


def _whole_list(read: Callable[[], Awaitable[None]]) -> Run:
    async def one(_: int, __: int) -> None:
        await read()

    async def run(seconds: float) -> Outcome:
        return await in_tasks(range(PAGES), one, 1, seconds)

    return run


def _served(reader: ViewReader, rows: int) -> Callable[[], Awaitable[None]]:
    if rows <= PAGE_SIZE:
        return _at_once(reader, rows)
    query = structs.replace(selected(COMPLETED), limit=rows)

    async def read() -> None:
        found = 0
        async with aclosing(reader.stream(ORGANISATION, query, PAGE_SIZE)) as pages:
            async for page in pages:
                found += len(page.documents)
        assert found == rows

    return read


def _at_once(reader: ViewReader, rows: int) -> Callable[[], Awaitable[None]]:
    query = structs.replace(selected(COMPLETED), limit=rows)

    async def read() -> None:
        assert len((await reader.select(ORGANISATION, query)).documents) == rows

    return read


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
