"""Fault 3: PostgreSQL is restarted under load, in good order and by a crash, again and again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from infra.postgres.embedded.server import EmbeddedPostgres
from tests.faults.acknowledged_log import begun
from tests.faults.invariants import following, sound
from tests.fixtures import databases
from tests.fixtures.service import run_in_process

pytestmark = pytest.mark.slow

OTHER_WRITERS = """
SELECT pid FROM pg_stat_activity
 WHERE backend_type IN ('walwriter', 'checkpointer', 'background writer', 'autovacuum launcher')
"""


def fast(server: EmbeddedPostgres) -> None:
    """As ``pg_ctl restart -m fast``: open transactions are rolled back."""
    server.stop()


def immediate(server: EmbeddedPostgres) -> None:
    """As ``pg_ctl restart -m immediate``: a crash, after which the log is replayed."""
    os.kill(server.pid, signal.SIGQUIT)
    server.stop()


def killed(server: EmbeddedPostgres) -> None:
    """All processes of the server at once, by the kernel."""
    server.kill()


async def restarted(folder: Path, server: EmbeddedPostgres, how: Callable[..., None]) -> None:
    await asyncio.to_thread(how, server)
    url = server.url
    again = await asyncio.to_thread(start, folder)
    assert again.url == url
    server.__dict__.update(again.__dict__)


def start(folder: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres.start(folder, options=databases.DURABLE, binaries=databases.binaries())


async def test_restarts_under_load() -> None:
    with databases.folder() as folder:
        server = await asyncio.to_thread(start, folder)
        try:
            await databases.build_template(server)
            url = server.url_of(databases.TEMPLATE)
            await _loaded(url, folder, server)
            await _numbers_outlive_a_crash(url, folder, server)
        finally:
            await asyncio.to_thread(server.stop)


async def _loaded(url: str, folder: Path, server: EmbeddedPostgres) -> None:
    async with run_in_process(url) as service:
        journal = await begun(service)
        async with following(url, journal.organisation) as follower:
            clients = [asyncio.create_task(journal.work()) for _ in range(16)]
            for how in (fast, immediate, killed, fast):
                await journal.acknowledged(20)
                await restarted(folder, server, how)
            await journal.acknowledged(20)
            journal.stopped = True
            await asyncio.gather(*clients)
            await sound(journal, url, follower)


async def _numbers_outlive_a_crash(url: str, folder: Path, server: EmbeddedPostgres) -> None:
    """A number that was given out is not given out again; without waiting for the disk, it is."""
    connection = await asyncpg.connect(url)
    # Whoever else writes would flush what is not to be waited for.
    for row in await connection.fetch(OTHER_WRITERS):
        os.kill(row["pid"], signal.SIGSTOP)
    assert await _number(connection, "safe") == 1
    await connection.execute("SET synchronous_commit = off")
    assert await _number(connection, "unsafe") == 1
    await restarted(folder, server, killed)
    await connection.close()
    connection = await asyncpg.connect(url)
    assert await _number(connection, "safe") == 2
    assert await _number(connection, "unsafe") == 1
    await connection.close()


async def _number(connection: asyncpg.Connection, name: str) -> int:
    sql = "SELECT last FROM ledger.take_numbers('ORG', ARRAY[$1], ARRAY[1])"
    return int(await connection.fetchval(sql, name))
