"""The lists of service requests stay on indexes, whatever they are asked for and however many there are.

The plans are those of the service's own statements on its own kind of connection: made once for a
statement, without looking at its values (``plan_cache_mode = force_generic_plan``).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from infra.postgres.embedded.server import EmbeddedPostgres
from infra.views.queries import customer_refs, statement
from services.context import ViewQuery
from tests.fixtures import databases
from tests.fixtures.query_plans import plan_nodes
from tests.fixtures.service_request_seed import CALLS, CUSTOMER, ORGANISATION, seed, selected

ROWS = 20_000
Json = dict[str, Any]


@pytest_asyncio.fixture(scope="module")
async def seeded(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[asyncpg.Connection]:
    async with databases.database(postgres, template) as url:
        connection = await asyncpg.connect(url)
        await seed(connection, ROWS)
        await connection.execute("SET plan_cache_mode = force_generic_plan; SET jit = off")
        yield connection
        await connection.close()


def literal(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"ARRAY[{', '.join(map(literal, value))}]"
    return "NULL" if value is None else str(value) if isinstance(value, int) else f"'{value}'"


async def plan(connection: asyncpg.Connection, select: ViewQuery) -> Json:
    """The plan of the page, without what follows its references."""
    sql, values = statement(select)
    arguments = [ORGANISATION, customer_refs(select.customer), 100, 0, *values]
    await connection.execute(f"PREPARE asked AS {sql}")
    try:
        said = f"EXPLAIN (FORMAT JSON) EXECUTE asked({', '.join(map(literal, arguments))})"
        whole = json.loads(await connection.fetchval(said, timeout=60))[0]["Plan"]
    finally:
        await connection.execute("DEALLOCATE asked")
    return next(node for node in plan_nodes(whole) if node.get("Subplan Name") == "CTE page")


def index_for(name: str) -> str:
    """The one index that a call should be answered from."""
    method, *filters = name.split()
    if "accounts_receivable" in filters:
        return "service_requests_accounts_receivable"
    if "caller" in filters:
        return "service_requests_contact"
    by_type = "_by_type" if "type" in filters else ""
    if method == "list":
        return "service_requests_type"
    if method in ("get_overdue", "get_close_to_estimated_completion_time"):
        return f"service_requests_due{by_type}"
    if method.endswith("pending_acceptance"):
        return f"service_requests_pending_acceptance{by_type}"
    by_category = "_by_category" if "category" in filters else ""
    return f"service_requests_state{by_category or by_type}"


@pytest.mark.parametrize("name", CALLS)
async def test_one_index_finds_and_orders_the_page(seeded: asyncpg.Connection, name: str) -> None:
    page = await plan(seeded, selected(name))
    found = {node["Node Type"] for node in plan_nodes(page)}
    if not {"accounts_receivable", "caller"} & set(name.split()):
        assert found == {"Limit", "Index Scan"}, page
    assert {n["Index Name"] for n in plan_nodes(page) if "Index Name" in n} == {index_for(name)}
    assert not found & {"Seq Scan", "Incremental Sort"}


@pytest.mark.parametrize("name", CALLS)
async def test_a_customer_is_found_by_account_or_caller(
    seeded: asyncpg.Connection, name: str
) -> None:
    page = await plan(seeded, selected(name, CUSTOMER))
    used = {node["Index Name"] for node in plan_nodes(page) if "Index Name" in node}
    both = {"service_requests_accounts_receivable", "service_requests_contact"}
    # What waits, or is due within a period, may be fewer than what a customer has.
    few = {index_for(name)} if "pending_acceptance" in name or "close_to" in name else both
    assert used
    assert used <= both or used == few
    assert not [node for node in plan_nodes(page) if node["Node Type"] == "Seq Scan"]


async def test_one_service_request_is_found_by_its_key(seeded: asyncpg.Connection) -> None:
    page = await plan(seeded, ViewQuery("service_requests", {"id": ("x",)}))
    assert {n["Index Name"] for n in plan_nodes(page) if "Index Name" in n} == {
        "service_requests_pkey"
    }
