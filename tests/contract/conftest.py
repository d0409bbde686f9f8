"""Usable organisations: one of a test's own, and one that the tests of a file share."""

from __future__ import annotations

import pytest_asyncio

from tests.fixtures.organisation import OrganisationClient, organisation_client
from tests.fixtures.service import Api, Service


@pytest_asyncio.fixture
async def fresh(api: Api) -> OrganisationClient:
    """An organisation in which nothing has happened yet."""
    return await organisation_client(api)


@pytest_asyncio.fixture(scope="module")
async def shared(service: Service) -> OrganisationClient:
    """The organisation of a file, for tests that do not mind each other's contacts."""
    return await organisation_client(Api(service))
