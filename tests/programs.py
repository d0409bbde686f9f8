"""The programs that work beside the service, as processes of their own."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

__all__ = ["ROOT", "Program", "attended", "begun"]

ROOT = Path(__file__).parents[1]


@dataclass
class Program:
    """A running program, and where its health and metrics are."""

    child: asyncio.subprocess.Process
    url: str

    async def ask(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as http, http.get(self.url + path) as answer:
            return answer.status, await answer.text()


async def begun(
    environment: dict[str, str], *words: str, stderr: int = asyncio.subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    """``crmledger`` with these words; what it prints is to be read."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "infra.cli.main", *words),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "COLUMNS": "200"} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
    )


@asynccontextmanager
async def attended(environment: dict[str, str], *words: str) -> AsyncIterator[Program]:
    """The same with a second port of its own, killed at the end."""
    child = await begun(environment, *words, "--admin-port", "0")
    try:
        assert child.stdout is not None
        said = (await child.stdout.readline()).decode()
        found = re.search(r"http://[\d.]+:\d+", said)
        assert found, said
        yield Program(child, found[0])
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
