"""Usable organisations: one of a test's own, and one that the tests of a file share."""

from __future__ import annotations

import pytest_asyncio

from tests.service import Api, Service
from tests.world import World, world


@pytest_asyncio.fixture
async def fresh(api: Api) -> World:
    """An organisation in which nothing has happened yet."""
    return await world(api)


@pytest_asyncio.fixture(scope="module")
async def shared(service: Service) -> World:
    """The organisation of a file, for tests that do not mind each other's contacts."""
    return await world(Api(service))
