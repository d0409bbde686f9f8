"""The organisation that the tests of a file share."""

from __future__ import annotations

import pytest_asyncio

from tests.auditors import Auditor, auditor
from tests.service import Service


@pytest_asyncio.fixture(scope="module")
async def audited(service: Service) -> Auditor:
    return await auditor(service)
