"""What a read costs is what it shows: each object is looked up once, and a circle comes to an end."""

from __future__ import annotations

from typing import Any

import asyncpg
import orjson
import pytest

from infra.views.queries import MAX_DEPTH, statement
from services.context import ViewQuery
from tests.fixtures.communications import CommunicationsClient, communications_client
from tests.fixtures.query_plans import plan_nodes
from tests.fixtures.read_models import connection
from tests.fixtures.service import Service

ENTRIES = 5


async def read(
    asked: asyncpg.Connection, made: CommunicationsClient, select: ViewQuery
) -> list[asyncpg.Record]:
    sql, values = statement(select)
    return list(await asked.fetch(sql, made.api.organisation, None, 100, 0, *values))


async def plan(asked: asyncpg.Connection, made: CommunicationsClient, select: ViewQuery) -> Any:
    sql, values = statement(select)
    explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}"
    found = await asked.fetchval(explain, made.api.organisation, None, 100, 0, *values)
    return orjson.loads(found)[0]["Plan"]


def looked_up(plan: Any) -> int:
    """How many rows of objects were read, each by its key."""
    scans = [node for node in plan_nodes(plan) if node.get("Relation Name") == "entities"]
    assert {node["Node Type"] for node in scans} == {"Index Scan"}
    return int(sum(node["Actual Rows"] * node["Actual Loops"] for node in scans))


@pytest.fixture
def select() -> ViewQuery:
    return ViewQuery("queue_entries", {"life_cycle_state": "PENDING"})


async def test_an_object_that_many_show_is_looked_up_once(
    service: Service, select: ViewQuery
) -> None:
    made = await communications_client(service)
    for _ in range(ENTRIES):
        await made.create_email()
    async with connection(service.database) as asked:
        shown = {row["ref"] for row in await read(asked, made, select) if row["place"] is None}
        # The communications of the entries, and their one contact.
        assert len(shown) == ENTRIES + 1
        assert looked_up(await plan(asked, made, select)) == ENTRIES + 1


async def test_objects_that_show_each_other_do_not_keep_it_going(
    service: Service, select: ViewQuery
) -> None:
    made = await communications_client(service)
    await made.create_email()
    async with connection(service.database) as asked:
        await asked.execute(
            "UPDATE views.entities SET refs = ARRAY[ref] WHERE organisation = $1 AND starts_with(ref, 'communication/')",
            made.api.organisation,
        )
        rows = [row["ref"] for row in await read(asked, made, select) if row["place"] is None]
    assert len(rows) == MAX_DEPTH
    assert len(set(rows)) == 1
