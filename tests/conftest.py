"""What every test may ask for."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

from infra.postgres.embedded.server import EmbeddedPostgres
from tests.fixtures import databases
from tests.fixtures.communications import CommunicationsClient
from tests.fixtures.leftovers import find_leftovers, new_event_loop
from tests.fixtures.read_models import populate
from tests.fixtures.service import Api, Service, run_in_process

# The same examples in every run; `--hypothesis-profile=deep` looks for new ones, and longer.
SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large)
settings.register_profile(
    "ci",
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=SLOW,
)
settings.register_profile("deep", max_examples=1000, deadline=None, suppress_health_check=SLOW)
settings.load_profile("ci")


def pytest_configure() -> None:
    # A killed run must not leave its server behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop of the program. A test that is no coroutine has none, and so no fixtures that need one."""
    return {"uvloop": new_event_loop}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """A module that leaves something behind has failed, and says so at its last test."""
    result = yield
    if nextitem is None or nextitem.path != item.path:
        left = find_leftovers()
        assert not left, "left behind: " + "; ".join(left)
    return result


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One server for the whole run, without fsync."""
    with databases.server() as server:
        yield server


@pytest_asyncio.fixture(scope="session")
async def template(postgres: EmbeddedPostgres) -> str:
    """Name of the migrated and otherwise empty database that `database` copies."""
    await databases.build_template(postgres)
    return databases.TEMPLATE


@pytest_asyncio.fixture
async def database(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[str]:
    """URL of a migrated database of the test's own."""
    async with databases.database(postgres, template) as url:
        yield url


@pytest_asyncio.fixture
async def empty_database(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """URL of a database of the test's own in which nothing was migrated."""
    async with databases.database(postgres, "template0") as url:
        yield url


@pytest_asyncio.fixture(scope="session")
async def populated_database(
    postgres: EmbeddedPostgres, template: str
) -> AsyncIterator[tuple[str, CommunicationsClient]]:
    """Name of a database in which every event has happened, and the organisation in it."""
    async with databases.database(postgres, template) as url:
        async with run_in_process(url) as running:
            made = await populate(running)
        yield databases.name_of(url), made


@pytest_asyncio.fixture
async def populated_client(
    postgres: EmbeddedPostgres, database: str, populated_database: tuple[str, CommunicationsClient]
) -> AsyncIterator[CommunicationsClient]:
    """That organisation, served from ``database``, which becomes a copy of its own."""
    name, desk = populated_database
    await databases.replace(postgres, databases.name_of(database), name)
    async with run_in_process(database) as running:
        yield replace(desk, api=replace(desk.api, service=running))


@pytest_asyncio.fixture(scope="session")
async def service(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[Service]:
    """One service for the whole run, on a database of its own; tests share it, not their data."""
    async with databases.database(postgres, template) as url, run_in_process(url) as running:
        yield running


@pytest_asyncio.fixture
async def api(service: Service) -> Api:
    """An organisation of the test's own, with nothing registered yet."""
    return Api(service)
