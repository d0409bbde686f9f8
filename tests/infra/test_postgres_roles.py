"""What the service's role may do, and what not even the owner may."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from infra.postgres.embedded.server import EmbeddedPostgres
from infra.postgres.pool import PooledConnection
from tests.fixtures import databases
from tests.fixtures.ledgers import call_append, commit_of, ledger_problems, record

COLUMNS = (
    "SELECT 'X', 1, gen_random_uuid(), 1, 'record.retired', 1, NULL, '{}', '{}', now(), '', ''"
)
FORBIDDEN = [
    f"INSERT INTO ledger.events {COLUMNS}",
    "UPDATE ledger.events SET topic = 'x'",
    "DELETE FROM ledger.events",
    "TRUNCATE ledger.events",
    "DROP TABLE ledger.events",
    "ALTER TABLE ledger.events DISABLE TRIGGER ALL",
    "DELETE FROM ledger.claims",
    "DELETE FROM ledger.stored_responses",
    "INSERT INTO ledger.abandoned_commands VALUES ('X', 'x', now())",
    "UPDATE ledger.sequences SET value = 0",
    "UPDATE ledger.secrets SET verifier = ''",
    "DELETE FROM ledger.personal_keys",
    "UPDATE views.contacts SET version = 1",
    "TRUNCATE views.records",
    "SELECT ledger.write_side_effects('X', '{}', now())",
    "SELECT ledger.rebuild_claims('X', 'PERSON', '{}')",
    "SELECT ledger.write_views('X', '{}')",
    "CREATE TABLE views.mine ()",
    "CREATE FUNCTION ledger.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
]


@pytest_asyncio.fixture(scope="module")
async def shared(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[str]:
    """A database in which nothing changes but by what is refused."""
    async with databases.database(postgres, template) as url:
        yield url


@pytest.mark.parametrize("sql", FORBIDDEN)
async def test_the_service_may_only_call_functions(shared: str, sql: str) -> None:
    lane = await PooledConnection.open(shared, 10)
    assert await lane.connection.fetchval("SELECT current_user") == "crmledger_service"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await lane.connection.execute(sql)
    assert await call_append(lane.connection, commit_of(record())) == ["WRITTEN"]
    await lane.connection.close()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE ledger.events SET topic = 'x'",
        "UPDATE ledger.events SET position = position",
        "DELETE FROM ledger.events",
        "TRUNCATE ledger.events",
        "TRUNCATE ledger.events CASCADE",
        "INSERT INTO ledger.events SELECT * FROM ledger.events"
        " ON CONFLICT (organisation, position) DO UPDATE SET topic = 'x'",
    ],
)
async def test_the_owner_cannot_change_events(shared: str, sql: str) -> None:
    owner = await asyncpg.connect(shared)
    await call_append(owner, commit_of(record()))
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
        await owner.execute(sql)
    await owner.close()
    assert await ledger_problems(shared) == []


async def test_revert_without_the_triggers_the_owner_can(database: str) -> None:
    owner = await asyncpg.connect(database)
    await call_append(owner, commit_of(record()))
    await owner.execute("DROP TRIGGER append_only ON ledger.events")
    await owner.execute("UPDATE ledger.events SET topic = 'record.retired'")
    await owner.close()
    assert await ledger_problems(database) == [
        "position 1: the hash does not fit",
        "position 1: record.retired was not written with the service key",
    ]


async def test_every_function_that_runs_as_its_owner_names_its_search_path(shared: str) -> None:
    owner = await asyncpg.connect(shared)
    rows = await owner.fetch(
        "SELECT proname, proconfig FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace"
        " WHERE nspname = 'ledger' AND prosecdef"
    )
    await owner.close()
    assert {"append", "resolve_commands", "take_numbers"} <= {row["proname"] for row in rows}
    for row in rows:
        assert any(setting.startswith("search_path=") for setting in row["proconfig"] or ()), row
        assert any(setting.endswith("pg_temp") for setting in row["proconfig"]), row
