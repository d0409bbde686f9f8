"""What our HTTP is measured against, in a process of its own: aiohttp with next to nothing behind it.

``/hello`` and ``/echo`` are aiohttp's own speed; ``/usual`` is a document read as it is mostly done,
``/library`` a command through the eventsourcing library's Application.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import uvloop
from aiohttp import web
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from tests.bench.append_references import place

__all__ = ["THREADS", "references"]

THREADS = 16
TABLE = "CREATE TABLE IF NOT EXISTS documents (id text PRIMARY KEY, document jsonb NOT NULL)"
SELECT = "SELECT document FROM documents WHERE id = $1"


class Communication(Aggregate):
    """A communication with the fields of the request."""

    @event("Recorded")
    def __init__(self, number: str, details: dict[str, Any]) -> None:
        self.number = number
        self.details = details


class QueueEntry(Aggregate):
    """The entry that sends it."""

    @event("Queued")
    def __init__(self, number: str, communication: UUID) -> None:
        self.number = number
        self.communication = communication


class Communications(Application[UUID]):
    """Use cases of communications."""

    def record(self, details: dict[str, Any]) -> dict[str, Any]:
        """Records a communication and queues it."""
        communication = Communication("CM000001", details)
        self.save(communication, QueueEntry("1", communication.id))
        return {"id": communication.id.hex, "number": communication.number} | details


class References:
    """The handlers."""

    def __init__(self, url: str, pool: asyncpg.Pool) -> None:
        at = place(url)
        persistence = {"PERSISTENCE_MODULE": "eventsourcing.postgres", "POSTGRES_PASSWORD": ""}
        persistence |= {f"POSTGRES_{name.upper()}": value for name, value in at.items()}
        self._threads = ThreadPoolExecutor(THREADS)
        self._library = Communications(persistence | {"POSTGRES_POOL_SIZE": str(THREADS)})
        self._pool = pool

    async def hello(self, _: web.Request) -> web.Response:
        """Nothing."""
        return web.Response(text="ok")

    async def echo(self, request: web.Request) -> web.Response:
        """What came."""
        return web.Response(body=await request.read())

    async def usual(self, request: web.Request) -> web.Response:
        """A stored document."""
        found = await self._pool.fetchval(SELECT, request.query["id"])
        return web.json_response({"status": {"code": "OK"}, "data": json.loads(found)})

    async def library(self, request: web.Request) -> web.Response:
        """A command."""
        details = await request.json()
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._threads, self._library.record, details)
        return web.json_response({"status": {"code": "OK"}, "data": answer})


async def _serve(url: str) -> None:
    handlers, app = References(url, await asyncpg.create_pool(url)), web.Application()
    app.router.add_get("/hello", handlers.hello)
    app.router.add_post("/echo", handlers.echo)
    app.router.add_get("/usual", handlers.usual)
    app.router.add_post("/library", handlers.library)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


@asynccontextmanager
async def references(url: str, documents: dict[str, bytes]) -> AsyncIterator[int]:
    """The port of a process that serves them, with documents to read."""
    connection = await asyncpg.connect(url)
    await connection.execute(TABLE)
    rows = [(id_, document.decode()) for id_, document in documents.items()]
    await connection.copy_records_to_table("documents", records=rows)
    await connection.execute("ANALYZE documents")
    await connection.close()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, url, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        yield int(await asyncio.wait_for(child.stdout.readline(), 30))
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGKILL)
        await child.wait()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
