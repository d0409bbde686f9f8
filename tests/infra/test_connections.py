"""Limits on connections (contract common.md, section 1, "Limits"), through real sockets."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import pytest_asyncio
from aiohttp import web

from infra.http import server
from infra.http.router import response
from infra.http.server import connection_limit, listen

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
MOST = 3
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def answer(_: web.BaseRequest) -> web.StreamResponse:
    return response(b"{}")


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    async with listen(answer, "127.0.0.1", 0, most_connections=MOST) as bound:
        yield bound


@asynccontextmanager
async def connect(port: int, sent: bytes = b"") -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def is_answered(streams: Streams, sent: bytes = REQUEST) -> bool:
    """True if a request on a connection is answered, False if the connection is closed."""
    reader, writer = streams
    writer.write(sent)
    try:
        return (await reader.readuntil(b"{}")).startswith(b"HTTP/1.1 200")
    except (asyncio.IncompleteReadError, ConnectionError):
        return False


async def comes_in(port: int) -> bool:
    """True if a new connection is answered."""
    async with connect(port) as one:
        return await is_answered(one)


async def test_one_too_many_is_closed_and_others_go_on(port: int) -> None:
    async with AsyncExitStack() as stack:
        open_ones = [await stack.enter_async_context(connect(port)) for _ in range(MOST)]
        assert [await is_answered(one) for one in open_ones] == [True] * MOST
        assert not await comes_in(port)
        assert [await is_answered(one) for one in open_ones] == [True] * MOST
    while not await comes_in(port):  # until the server has seen that they have gone
        await asyncio.sleep(0)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", REQUEST[:-2]])
async def test_who_says_nothing_or_half_a_head_is_closed(
    port: int, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "FIRST_REQUEST_TIMEOUT", 0.05)
    async with connect(port, sent) as (reader, _):
        assert await reader.read() == b""


@pytest.mark.parametrize("sent", [b"", b"GET / HT", REQUEST[:-2]])
async def test_who_stays_idle_after_a_request_is_closed(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "IDLE_TIMEOUT", 0.05)
    async with listen(answer, "127.0.0.1", 0) as port, connect(port) as one:
        assert await is_answered(one)
        one[1].write(sent)
        assert await one[0].read() == b""


@pytest.mark.parametrize(
    ("files", "most"), [(256, 128), (1024, 512), (1 << 20, 10_000), (-1, 10_000)]
)
def test_the_limit_leaves_files_for_the_rest(
    files: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert connection_limit() == most
