"""What our HTTP is measured against, in a process of its own: aiohttp with next to nothing behind it.

``/hello``, ``/echo`` and ``/static`` are aiohttp's own speed; ``/usual`` is a document read as it is mostly
done, ``/page`` a hundred of them; ``/library`` is a command through the eventsourcing library's Application,
``/fill``, ``/latest`` and ``/process`` its queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import NamedTuple

import asyncpg
import uvloop
from aiohttp import web

from tests.bench.library import Library

__all__ = ["Stored", "references"]

TABLE = """
CREATE TABLE documents (id text PRIMARY KEY, owner text NOT NULL, created bigint NOT NULL, document jsonb NOT NULL);
CREATE INDEX ON documents (owner, created);
"""
SELECT = "SELECT document FROM documents WHERE id = $1"
PAGE = "SELECT document FROM documents WHERE owner = $1 ORDER BY created LIMIT 100"


class Stored(NamedTuple):
    """A document that the usual code reads: alone by its id, or with all of its owner."""

    id: str
    owner: str
    created: int
    document: str


class References:
    """The handlers of reads."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def hello(self, _: web.Request) -> web.Response:
        """Nothing."""
        return web.Response(text="ok")

    async def echo(self, request: web.Request) -> web.Response:
        """What came."""
        return web.Response(body=await request.read())

    async def static(self, request: web.Request) -> web.Response:
        """So many bytes."""
        return web.Response(body=bytes(int(request.query["size"])))

    async def usual(self, request: web.Request) -> web.Response:
        """A stored document."""
        found = await self._pool.fetchval(SELECT, request.query["id"])
        return web.json_response({"status": {"code": "OK"}, "data": json.loads(found)})

    async def page(self, request: web.Request) -> web.Response:
        """Up to a hundred stored documents of an owner."""
        rows = await self._pool.fetch(PAGE, request.query["owner"])
        data = [json.loads(row["document"]) for row in rows]
        return web.json_response({"status": {"code": "OK"}, "data": data})


async def _serve(url: str) -> None:
    handlers, app = References(await asyncpg.create_pool(url)), web.Application()
    library = Library(url)
    app.router.add_get("/hello", handlers.hello)
    app.router.add_get("/static", handlers.static)
    app.router.add_post("/echo", handlers.echo)
    app.router.add_get("/usual", handlers.usual)
    app.router.add_get("/page", handlers.page)
    app.router.add_post("/library", library.record)
    app.router.add_post("/fill", library.fill)
    app.router.add_get("/latest", library.latest)
    app.router.add_post("/process", library.process)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


@asynccontextmanager
async def references(url: str, documents: Iterable[Stored] = ()) -> AsyncIterator[int]:
    """The port of a process that serves them, with documents to read."""
    connection = await asyncpg.connect(url)
    await connection.execute(TABLE)
    await connection.copy_records_to_table("documents", records=documents)
    await connection.execute("ANALYZE documents")
    await connection.close()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, url, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        yield int(await asyncio.wait_for(child.stdout.readline(), 60))
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGKILL)
        await child.wait()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
