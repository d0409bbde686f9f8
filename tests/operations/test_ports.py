"""The ports of a process: its own, or one that several share; what is taken is said in one line."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.fixtures.programs import start_program
from tests.fixtures.service import Service, environment, run_as_process

pytestmark = pytest.mark.slow

MANY = 200
"""Connections of which every process must get some: that one gets none is as likely as 200 equal throws of a coin."""


async def call(service: Service, times: int) -> None:
    """Calls, each on a connection of its own."""
    for _ in range(times):
        async with aiohttp.ClientSession() as http, http.get(f"{service.url}/docs") as answer:
            assert answer.status == 200


async def test_processes_share_a_port(database: str) -> None:
    async with run_as_process(database, CRMLEDGER_SHARE_PORT="true") as one:
        shared = {"CRMLEDGER_SHARE_PORT": "true", "CRMLEDGER_PORT": str(urlsplit(one.url).port)}
        async with run_as_process(database, **shared) as two:
            assert two.url == one.url
            before = await one.answered("/docs"), await two.answered("/docs")
            await call(one, MANY)
            now = await one.answered("/docs"), await two.answered("/docs")
            got = now[0] - before[0], now[1] - before[1]
            assert sum(got) == MANY
            assert all(got)
            assert one.process is not None
            one.process.terminate()
            assert await one.process.wait() == 0
            await call(two, 20)


async def test_a_port_that_is_taken_is_named(database: str) -> None:
    async with run_as_process(database) as one:
        port = str(urlsplit(one.url).port)
        settings = environment(database, CRMLEDGER_PORT=port)
        child = await start_program(settings, "serve", stderr=asyncio.subprocess.PIPE)
        _, said = await child.communicate()
    assert child.returncode == 1
    assert said.decode().splitlines()[-1] == (
        f"crmledger: cannot listen on 127.0.0.1:{port} (Address already in use)"
    )
    assert b"Traceback" not in said
