"""A service, an organisation that has set servers, and a sender that looks when it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from infra.delivery.dispatcher import MessageDispatcher
from infra.postgres.embedded.server import EmbeddedPostgres
from tests import databases, sending_world
from tests.communications_world import Desk
from tests.sending_world import Gateway, Mailbox, gateway, mailbox, sender
from tests.service import Service, in_process


@pytest_asyncio.fixture(scope="package")
async def own(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[Service]:
    """A service on a database of its own, since a sender looks at all organisations."""
    async with databases.database(postgres, template) as url, in_process(url) as running:
        yield running


@pytest_asyncio.fixture
async def office(own: Service) -> AsyncIterator[Desk]:
    """An organisation; what it has set is taken back, so that no other test's sender works for it."""
    made = await sending_world.office(own)
    yield made
    await made.settings()


@pytest_asyncio.fixture(scope="package")
async def undisturbed(own: Service) -> Desk:
    """An organisation for tests that change nothing."""
    return await sending_world.office(own)


@pytest_asyncio.fixture
async def working(own: Service) -> AsyncIterator[MessageDispatcher]:
    """A sender; what other tests have left behind is nothing new to it."""
    async with sender(own.database) as made:
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
