"""Limits on connections (contract common.md, section 1, "Limits"), through real sockets."""

from __future__ import annotations

import asyncio
import re
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from structlog.testing import capture_logs

from domain.reference.fields import NOTICE_LIMIT
from infra.app import STREAMS
from infra.batcher import QUEUE_LIMIT
from infra.fair_queue import FairQueue
from infra.http import server
from infra.http.api.routes import BODY_TIMEOUT, FORM_LIMIT, JSON_LIMIT
from infra.http.audit.events import MAX_WAIT
from infra.http.router import CALL_TIMEOUT, CHUNK_TIMEOUT, STREAM_TIMEOUT, response
from infra.http.server import connection_limit, listen
from infra.observability import limits
from infra.observability.metrics import REGISTRY
from infra.observability.security_log import LINES
from infra.settings import Settings
from infra.store.request_outcomes import REVOKED_PER_HOUR
from services.pipeline.query_runner import PAGE_SIZE
from services.request_outcomes import RETENTION

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


async def test_one_address_has_a_share_of_its_own() -> None:
    """Of IPv6 the address is a network; a trusted proxy speaks for many."""
    proxies: set[str] = set()
    options = {"most_connections": 10, "most_per_address": 2, "is_proxy": proxies.__contains__}
    async with listen(answer, "127.0.0.1", 0, **options) as bound, AsyncExitStack() as stack:  # type: ignore[arg-type]
        held = [await stack.enter_async_context(connect(bound)) for _ in range(2)]
        assert await is_answered(held[0])
        assert not await comes_in(bound)
        async with from_address(bound, "127.0.0.9") as other:
            assert await is_answered(other)
        held[0][1].transport.abort()
        await until_it_comes_in(bound)
        proxies.add("127.0.0.1")
        held += [await stack.enter_async_context(connect(bound)) for _ in range(4)]
        assert await comes_in(bound)


@asynccontextmanager
async def from_address(port: int, address: str) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def until_it_comes_in(port: int) -> None:
    """Return once a new connection is answered."""
    async with asyncio.timeout(60):
        while not await comes_in(port):
            await asyncio.sleep(0)


async def test_limits_that_bite_are_counted_and_logged_once(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_logged", {})
    before = counted("connections")
    with capture_logs() as logs:
        async with AsyncExitStack() as stack:
            for _ in range(MOST):
                await is_answered(await stack.enter_async_context(connect(port)))
            for _ in range(3):
                assert not await comes_in(port)
    assert counted("connections") == before + 3
    said = [line for line in logs if line["event"] == "limit.reached"]
    assert [line["limit"] for line in said] == ["connections"]


def counted(limit: str) -> float:
    return REGISTRY.get_sample_value("crmledger_limits_reached_total", {"limit": limit}) or 0.0


def test_the_table_of_limits_is_that_of_the_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
    table = page.partition("## Limits")[2].partition("\n## ")[0]
    defaults = dict(_setting_defaults())
    rows = {
        row.split(" | ")[0].strip("| "): row.split(" | ")[1]
        for row in table.split("\n")
        if row.startswith("| ")
    }
    assert rows == {
        "limit": "default",
        "---": "---",
        "connections of clients, per process": "half of the open files, at most 10,000",
        "connections from one address (IPv6 /64) that is no trusted proxy": f"{defaults['client_connections_per_address']:,}",
        "time until the headers of the first request": f"{defaults['header_timeout']} s",
        "time between two requests": f"{defaults['idle_timeout']} s",
        "memory for bodies under way, beyond 64 KiB of each": f"{defaults['body_megabytes']} MiB",
        "one JSON body, one form": f"{JSON_LIMIT >> 20} MiB, {FORM_LIMIT >> 20} MiB",
        "time for a body": f"{BODY_TIMEOUT:.0f} s",
        "time for a call; for a long list": f"{CALL_TIMEOUT:.0f} s; {STREAM_TIMEOUT:.0f} s, {CHUNK_TIMEOUT:.0f} s a piece",
        "memory of a list": f"{PAGE_SIZE} rows at a time",
        "long lists at a time, per process": f"{STREAMS}",
        "calls that wait for the database": f"{QUEUE_LIMIT:,}",
        "calls per second and session, per process": "none",
        "slow comparisons that wait: in all, from one source": ", ".join(
            map(str, FairQueue(1)._limits)
        ),
        "tries of secrets": "[guessing](security.md#guessing)",
        "notices that a customer causes in an hour": f"{NOTICE_LIMIT}",
        "stored answers, outcomes of calls": f"24 hours, {RETENTION.days} days",
        "idempotency keys that a caller revokes in an hour": f"{REVOKED_PER_HOUR}, kept for {RETENTION.days} days",
        "long polling of the event feed": f"{MAX_WAIT} s",
        "lines of the security log of one action and address in a minute": f"{LINES}",
    }
    assert set(re.findall(r"`([a-z_]+)`\)", table)) - {"lines_suppressed"} == set(limits.LIMITS)


def _setting_defaults() -> Iterator[tuple[str, Any]]:
    return zip(
        Settings.__struct_fields__[-len(Settings.__struct_defaults__) :],
        Settings.__struct_defaults__,
        strict=True,
    )
