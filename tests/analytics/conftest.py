"""The demo organisation with everything fed: one database for all tests that only read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from infra.app import open_application
from infra.demo.load import load_demo
from infra.postgres.embedded.server import EmbeddedPostgres
from infra.projections.projector import Projector
from infra.settings import Settings
from tests.fixtures import databases
from tests.fixtures.service import RING, environment


async def made(url: str, folder: Path) -> None:
    """Loads the demo organisation and feeds what the projector feeds."""
    async with open_application(Settings.from_environment(environment(url)), url) as application:
        await load_demo(application, folder / "demo.json", lambda _: None)
    projector = Projector(url, RING)
    await projector.once()
    await projector.close()


@pytest_asyncio.fixture(scope="session")
async def demo(
    postgres: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """URL of a database with the demo organisation."""
    async with databases.database(postgres, template) as url:
        await made(url, tmp_path_factory.mktemp("demo"))
        yield url
