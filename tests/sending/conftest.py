"""A service, an organisation that has set servers, and a sender that looks when it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from infra.delivery.dispatcher import MessageDispatcher
from infra.postgres.embedded.server import EmbeddedPostgres
from tests.fixtures import databases
from tests.fixtures import delivery as sending_world
from tests.fixtures.communications import CommunicationsClient
from tests.fixtures.delivery import Gateway, Mailbox, gateway, mailbox, message_dispatcher
from tests.fixtures.service import Service, run_in_process


@pytest_asyncio.fixture(scope="package")
async def own_service(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[Service]:
    """A service on a database of its own, since a sender looks at all organisations."""
    async with databases.database(postgres, template) as url, run_in_process(url) as running:
        yield running


@pytest_asyncio.fixture
async def client(own_service: Service) -> AsyncIterator[CommunicationsClient]:
    """An organisation; what it has set is taken back, so that no other test's sender works for it."""
    made = await sending_world.delivery_client(own_service)
    yield made
    await made.register_settings()


@pytest_asyncio.fixture(scope="package")
async def undisturbed(own_service: Service) -> CommunicationsClient:
    """An organisation for tests that change nothing."""
    return await sending_world.delivery_client(own_service)


@pytest_asyncio.fixture
async def working(own_service: Service) -> AsyncIterator[MessageDispatcher]:
    """A sender; what other tests have left behind is nothing new to it."""
    async with message_dispatcher(own_service.database) as made:
        made._heads |= await made._leases.heads()
        yield made


@pytest_asyncio.fixture
async def box() -> AsyncIterator[Mailbox]:
    """An e-mail server in clear."""
    async with mailbox() as made:
        yield made


@pytest_asyncio.fixture
async def sms() -> AsyncIterator[Gateway]:
    """An SMS gateway in clear."""
    async with gateway() as made:
        yield made
