"""A server that keeps what it has acknowledged, as the checks want it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from infra.postgres.embedded.server import EmbeddedPostgres
from tests.fixtures import databases
from tests.fixtures.read_models import populate
from tests.fixtures.service import run_in_process


@pytest.fixture(scope="package")
def durable() -> Iterator[EmbeddedPostgres]:
    with databases.server(durable=True) as server:
        yield server


@pytest_asyncio.fixture(scope="package")
async def used(durable: EmbeddedPostgres) -> str:
    """Name of a database in which every event of the API has happened."""
    await databases.build_template(durable)
    async with run_in_process(durable.url_of(databases.TEMPLATE)) as service:
        await populate(service)
    return databases.TEMPLATE


@pytest_asyncio.fixture
async def lively(durable: EmbeddedPostgres, used: str) -> AsyncIterator[str]:
    """URL of a copy of it, of the test's own."""
    async with databases.database(durable, used) as url:
        yield url
