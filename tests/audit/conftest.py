"""The organisations that the tests of a file share."""

from __future__ import annotations

import pytest_asyncio

from tests.fixtures.auditors import Auditor, auditor
from tests.fixtures.read_models import populate
from tests.fixtures.service import Service


@pytest_asyncio.fixture(scope="module")
async def audited(service: Service) -> Auditor:
    return await auditor(service)


@pytest_asyncio.fixture(scope="module")
async def past(service: Service) -> Auditor:
    """An organisation in which every event of the API has happened."""
    return await auditor(service, await populate(service))
