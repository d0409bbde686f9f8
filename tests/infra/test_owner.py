"""A database of an owner who is no superuser and may not create roles."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from infra.analytics.install import deploy
from infra.postgres.pool import PooledConnection
from infra.schema.migrate import MigrationError

ROLES = (
    "crmledger_service, crmledger_projector, crmledger_deliverer, crmledger_analyst,"
    " crmledger_analyst_personal"
)


@pytest_asyncio.fixture
async def owned(empty_database: str, template: str) -> AsyncIterator[str]:
    """URL of an empty database for its owner, on a server where another one has made the roles."""
    admin = await asyncpg.connect(empty_database)
    name = await admin.fetchval("SELECT current_database()")
    owner = f"owner_of_{name}"
    await admin.execute(f"CREATE ROLE {owner} LOGIN")
    await admin.execute(f"ALTER DATABASE {name} OWNER TO {owner}")
    yield empty_database.replace("postgres@", f"{owner}@")
    await admin.execute(f"REASSIGN OWNED BY {owner} TO postgres")
    await admin.execute(f"DROP OWNED BY {owner}")
    await admin.execute(f"DROP ROLE {owner}")
    await admin.close()


async def test_an_owner_who_was_given_the_roles_can_do_all(owned: str, empty_database: str) -> None:
    admin = await asyncpg.connect(empty_database)
    await admin.execute(f"GRANT {ROLES} TO {owned.partition('//')[2].partition('@')[0]}")
    await admin.close()
    connection = await asyncpg.connect(owned)
    assert len(await deploy(connection)) >= 4
    await connection.close()
    lane = await PooledConnection.open(owned, 10)
    assert await lane.connection.fetchval("SELECT current_user") == "crmledger_service"
    await lane.connection.close()


async def test_an_owner_without_the_roles_is_told(owned: str) -> None:
    connection = await asyncpg.connect(owned)
    with pytest.raises(MigrationError, match="crmledger_service"):
        await deploy(connection)
    await connection.close()
