"""The program as a newcomer meets it: one command, an embedded PostgreSQL, a login to try."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from services.pipeline.method import BASE
from tests.fixtures.databases import folder
from tests.fixtures.programs import start_program


@dataclass
class Program:
    """A running ``crmledger serve --demo`` with what it printed."""

    process: asyncio.subprocess.Process
    said: str

    @property
    def url(self) -> str:
        return re.findall(r"http://127\.0\.0\.1:\d+", self.said)[0]

    @property
    def login(self) -> str:
        found = re.search(r"-d '(\{.*\})'", self.said)
        assert found, self.said
        return found[1]


@asynccontextmanager
async def program(data_dir: Path) -> AsyncIterator[Program]:
    """Starts the program on its own database and waits until it says that it listens."""
    environment = {
        "CRMLEDGER_DATA_DIR": str(data_dir),
        "CRMLEDGER_PORT": "0",
        "CRMLEDGER_ADMIN_PORT": "0",
        "COLUMNS": "300",
    }
    process = await start_program(environment, "serve", "--demo")
    assert process.stdout is not None
    said = ""
    try:
        async with asyncio.timeout(120):
            while "curl" not in said:
                line = await process.stdout.readline()
                assert line, said
                said += line.decode()
        yield Program(process, said)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()


async def log_in(running: Program) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{running.url}{BASE}authentication/token", data=running.login) as answer,
    ):
        return str((await answer.json())["data"]["token"])


async def show_session_works(running: Program, token: str) -> bool:
    query = {"token": token, "id_number": "nobody has this"}
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{running.url}{BASE}contact_information/list", params=query) as answer,
    ):
        return json.loads(await answer.read())["status"]["code"] == "OK"


@pytest.mark.timeout(300)
async def test_one_command_and_again_after_a_kill() -> None:
    with folder() as path:
        async with program(path) as running:
            token = await log_in(running)
            assert await show_session_works(running, token)
            running.process.kill()
            await running.process.wait()
        # The server that the killed program left is adopted; sessions and secrets are still good.
        async with program(path) as again:
            assert again.login == running.login
            assert await show_session_works(again, token)
        assert again.process.returncode == 0


async def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    settings = {"DATABASE_URL": "postgresql://nobody@localhost/nothing"}
    process = await start_program(settings, "serve", stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 1
    assert b"CRMLEDGER_TOKEN_SECRET" in said
    assert b"Traceback" not in said
