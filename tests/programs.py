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

__all__ = ["Program", "attended"]

ROOT = Path(__file__).parents[1]


@dataclass
class Program:
    """A running program, and where its health and metrics are."""

    child: asyncio.subprocess.Process
    url: str

    async def ask(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as http, http.get(self.url + path) as answer:
            return answer.status, await answer.text()


@asynccontextmanager
async def attended(environment: dict[str, str], *words: str) -> AsyncIterator[Program]:
    """``crmledger`` with these words and a second port of its own, killed at the end."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "infra.cli", *words, "--admin-port", "0"),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "COLUMNS": "200"} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
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
