"""A bad network: a proxy between service and PostgreSQL that loses, keeps and delays messages."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

__all__ = ["Proxy", "proxied"]

APPEND = b'"command":"'
"""Stands in the metadata of every command, and so in every message that is an append."""


class Proxy:
    """Passes everything on, until a fault is armed; a fault strikes one append, then is over.

    ``lose request``: the append never reaches the server. ``lose answer``: it does, and the answer
    never comes back. ``delay request``: the append is kept and its caller loses the connection;
    `deliver` hands it to the server. ``hold answer``: the answer is kept as long as there is
    a connection. ``away``: nobody gets through.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        self._name = f".s.PGSQL.{query['port'][0]}"
        self._target = str(Path(query["host"][0]) / self._name)
        self.folder = Path(tempfile.mkdtemp(prefix="crmledger-proxy-"))
        self.url = parts._replace(query=f"host={self.folder}&port={query['port'][0]}").geturl()
        self.fault = ""
        self.struck = asyncio.Event()
        self.turned_away = asyncio.Event()
        self._kept: tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._accept, self.folder / self._name)

    def arm(self, fault: str) -> None:
        """The next append meets this fault."""
        self.struck.clear()
        self.fault = fault

    def leave(self) -> None:
        """The database is away: all connections are cut, new ones refused."""
        self.fault = "away"
        self.turned_away.clear()
        for writer in list(self._open):
            writer.transport.abort()

    def come_back(self) -> None:
        self.fault = ""

    async def deliver(self) -> bytes:
        """Sends the kept append at last; what the server answers."""
        assert self._kept
        data, reader, writer = self._kept
        writer.write(data)
        await writer.drain()
        answer = b""
        async with asyncio.timeout(60):
            # Ready for query: the transaction is over.
            while b"Z\x00\x00\x00\x05I" not in answer:
                answer += await reader.read(65536)
        writer.close()
        return answer

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fault == "away":
            self.turned_away.set()
            writer.transport.abort()
            return
        there, back = await asyncio.open_unix_connection(self._target)
        self._open |= {writer, back}
        answers = asyncio.create_task(self._answers(there, writer))
        with suppress(OSError):
            await self._requests(reader, writer, there, back, answers)
        writer.close()
        if self._kept is None or self._kept[2] is not back:
            back.close()
        answers.cancel()
        self._open -= {writer, back}

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await there.read(65536):
                writer.write(data)
            writer.close()

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
        answers: asyncio.Task[None],
    ) -> None:
        while data := await reader.read(1 << 20):
            if not self.fault or APPEND not in data:
                back.write(data)
                continue
            fault, self.fault = self.fault, ""
            answers.cancel()
            with suppress(asyncio.CancelledError):
                await answers
            await self._strike(fault, data, reader, there, back)
            self.struck.set()
            if fault == "hold answer":
                await reader.read()
            writer.transport.abort()
            return

    async def _strike(
        self,
        fault: str,
        data: bytes,
        reader: asyncio.StreamReader,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        if fault == "delay request":
            self._kept = (data, there, back)
        elif fault in ("lose answer", "hold answer"):
            back.write(data)
            answer = b""
            while b"Z\x00\x00\x00\x05I" not in answer:
                answer += await there.read(65536)


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of the server of ``url``."""
    proxy = Proxy(url)
    server = await proxy.start()
    try:
        yield proxy
    finally:
        proxy.leave()
        server.close()
        shutil.rmtree(proxy.folder)
