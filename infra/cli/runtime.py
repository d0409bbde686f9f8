"""Shared by the commands of the ``crmledger`` program: database, schema, application."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from infra.analytics.install import assert_deployed, deploy
from infra.app import Application, open_application
from infra.postgres.embedded.server import EmbeddedPostgres
from infra.postgres.pool import wait_for_database
from infra.settings import Settings

__all__ = ["database", "open_command_application", "prepare_schema", "stop_signal"]


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[str]:
    """The URL of the configured server, or of the embedded one, which runs until the end of the block."""
    if settings.database_url:
        await wait_for_database(settings.database_url)
        yield settings.database_url
        return
    server = await asyncio.to_thread(EmbeddedPostgres.start, settings.data_dir / "postgres")
    try:
        yield server.url
    finally:
        await asyncio.to_thread(server.stop)


async def prepare_schema(url: str, *, own: bool) -> None:
    """Bring the schema up to date if the database is our ``own``; else check that it is.

    Raises ``MigrationError`` if it is not.
    """
    connection = await asyncpg.connect(url)
    try:
        await (deploy(connection) if own else assert_deployed(connection))
    finally:
        await connection.close()


@asynccontextmanager
async def open_command_application(settings: Settings) -> AsyncIterator[Application]:
    """The application on a database whose schema is that of this program."""
    async with database(settings) as url:
        await prepare_schema(url, own=settings.embedded)
        async with open_application(settings, url) as application:
            yield application


def stop_signal() -> asyncio.Event:
    """Return an event that SIGTERM and Ctrl-C set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
