"""Real PostgreSQL for tests and benchmarks: a server in a temporary folder, a database of its own for every test."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg

from infra.analytics.install import deploy
from infra.postgres.embedded.server import EmbeddedPostgres, system_postgres

TEMPLATE = "crmledger_template"
KIND = "CRMLEDGER_TEST_POSTGRES"
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}
DURABLE = {"max_connections": "200"}


def binaries() -> Path | None:
    """The server to test on, as CRMLEDGER_TEST_POSTGRES says: `embedded` (the default, None) or `system`.

    :raises LookupError: there is no such server on this machine.
    """
    kind = os.environ.get(KIND) or "embedded"
    if kind == "embedded":
        return None
    found = system_postgres() if kind == "system" else None
    if found is None:
        raise LookupError(f"{KIND}={kind}: no such PostgreSQL here")
    return found


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder with a short path, which the server's user may pass when the tests run as root."""
    path = Path(tempfile.mkdtemp(prefix="crmledger-test-"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextmanager
def server(*, durable: bool = False, **more: str) -> Iterator[EmbeddedPostgres]:
    """A server with an empty cluster, stopped and removed afterwards.

    :param durable: with fsync, for tests of crashes and for benchmarks; else as fast as can be.
    :param more: further settings of it.
    """
    with folder() as path:
        options = (DURABLE if durable else NOT_DURABLE) | more
        with EmbeddedPostgres.start(path, options=options, binaries=binaries()) as postgres:
            yield postgres


async def build_template(postgres: EmbeddedPostgres) -> None:
    """Make the migrated database that `database` copies."""
    admin = await asyncpg.connect(postgres.url)
    try:
        await admin.execute(f"CREATE DATABASE {TEMPLATE}")
    finally:
        await admin.close()
    connection = await asyncpg.connect(postgres.url_of(TEMPLATE))
    try:
        await deploy(connection)
    finally:
        await connection.close()


@asynccontextmanager
async def database(postgres: EmbeddedPostgres, template: str = TEMPLATE) -> AsyncIterator[str]:
    """A new database, dropped afterwards whoever is still connected.

    :param template: what it is a copy of; `template0` for an empty one.
    :return: its URL.
    """
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(postgres.url)
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield postgres.url_of(name)
        finally:
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


def name_of(url: str) -> str:
    """The name of a database, by its URL."""
    return urlsplit(url).path.removeprefix("/")


async def replace(postgres: EmbeddedPostgres, name: str, template: str) -> None:
    """Makes a database a copy of another one, whoever is connected to it."""
    admin = await asyncpg.connect(postgres.url)
    try:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    finally:
        await admin.close()
