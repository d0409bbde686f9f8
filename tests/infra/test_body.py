"""Contract common.md, section 1 (limits), and fault 42, through a real server."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import ClientSession, FormData, web
from aiohttp.http_exceptions import TransferEncodingError

from domain.errors import InvalidRequest, RequestTooLarge, ServiceError, ServiceUnavailable
from infra.http.api.body import SMALL_BODY, BodyBudget, RawUpload, parse_multipart, read_body

LIMIT = 100_000
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass
class Server:
    port: int = 0
    seconds: float = 30.0
    outcomes: asyncio.Queue[bytes | ServiceError] = field(default_factory=asyncio.Queue)
    content_type: str = ""
    budget: BodyBudget = field(default_factory=BodyBudget)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.content_type = request.headers.get("Content-Type", "")
        try:
            with self.budget.share() as take:
                outcome: bytes | ServiceError = await read_body(request, LIMIT, self.seconds, take)
        except ServiceError as error:
            outcome = error
        await self.outcomes.put(outcome)
        return web.Response(headers={"Connection": "close"})

    async def receives(
        self, sent: bytes, then: Callable[[asyncio.StreamWriter], object] | None = None
    ) -> object:
        """What the server makes of these bytes, sent on a connection of their own."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(sent)
            await writer.drain()
            if then:
                then(writer)
            return await self.outcomes.get()
        finally:
            writer.transport.abort()


@asynccontextmanager
async def running() -> AsyncIterator[Server]:
    server = Server()
    protocol = web.Server(server.handle, auto_decompress=False, lingering_time=0.0)
    listener = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await protocol.shutdown(1.0)


async def endless(server: Server, head: bytes, unit: bytes) -> object:
    """Sends until the server stops reading; ends only because the server refuses."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)

    async def send() -> None:
        writer.write(head)
        while True:
            writer.write(unit)
            await writer.drain()

    sender = asyncio.create_task(send())
    try:
        return await server.outcomes.get()
    finally:
        sender.cancel()
        await asyncio.wait([sender])
        writer.transport.abort()


@pytest.mark.parametrize(
    ("request_bytes", "body"),
    [
        (POST + b"\r\n", b""),
        (POST + b"Content-Length: 0\r\n\r\n", b""),
        (POST + b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (CHUNKED + b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc"),
        (POST + b"Content-Length: %d\r\n\r\n" % LIMIT + b"x" * LIMIT, b"x" * LIMIT),
    ],
)
async def test_bodies_within_the_limit(request_bytes: bytes, body: bytes) -> None:
    async with running() as server:
        assert await server.receives(request_bytes) == body


async def test_a_body_that_claims_to_be_too_large_is_refused_before_it_is_sent() -> None:
    async with running() as server:
        outcome = await server.receives(POST + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1))
        assert isinstance(outcome, RequestTooLarge)


@pytest.mark.parametrize("unit", [b"1\r\nx\r\n" * 1000, b"10000\r\n" + b"x" * 0x10000 + b"\r\n"])
async def test_an_endless_chunked_body_is_refused(unit: bytes) -> None:
    async with running() as server:
        assert isinstance(await endless(server, CHUNKED, unit), RequestTooLarge)


async def test_an_endless_multipart_preamble_is_refused() -> None:
    head = CHUNKED.replace(
        b"\r\n\r\n", b"\r\nContent-Type: multipart/form-data; boundary=xx\r\n\r\n"
    )
    async with running() as server:
        assert isinstance(
            await endless(server, head, b"3e8\r\n" + b"\n" * 1000 + b"\r\n"), RequestTooLarge
        )


def test_large_bodies_share_a_budget() -> None:
    budget = BodyBudget(100)
    with budget.share() as first, budget.share() as second, budget.share() as small:
        first(SMALL_BODY + 60)
        first(SMALL_BODY + 70)
        with pytest.raises(ServiceUnavailable) as refused:
            second(SMALL_BODY + 31)
        assert refused.value.retry_after == 1
        second(SMALL_BODY + 30)
        small(SMALL_BODY)
        with pytest.raises(ServiceUnavailable):
            small(SMALL_BODY + 1)
    with budget.share() as again:
        again(SMALL_BODY + 100)


async def test_slow_large_bodies_hold_up_no_ordinary_one() -> None:
    """One that does not end takes the whole budget, and gives it back when its client leaves."""
    async with running() as server:
        server.budget = BodyBudget(LIMIT - SMALL_BODY - 1)
        head = POST + b"Content-Length: %d\r\n\r\n"
        _, slow = await asyncio.open_connection("127.0.0.1", server.port)
        slow.write(head % LIMIT + b"x" * (LIMIT - 1))
        while server.budget._left:
            await asyncio.sleep(0.001)
        refused = await server.receives(head % LIMIT + b"x" * LIMIT)
        assert isinstance(refused, ServiceUnavailable)
        assert await server.receives(head % SMALL_BODY + b"x" * SMALL_BODY) == b"x" * SMALL_BODY
        slow.transport.abort()
        assert isinstance(await server.outcomes.get(), InvalidRequest)
        assert await server.receives(head % (LIMIT - 1) + b"x" * (LIMIT - 1)) == b"x" * (LIMIT - 1)


async def test_a_compressed_body_stays_compressed() -> None:
    bomb = gzip.compress(bytes(LIMIT * 100))
    async with running() as server:
        head = POST + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
        assert await server.receives(head + bomb) == bomb


async def test_a_body_that_does_not_arrive_in_time_is_refused() -> None:
    async with running() as server:
        server.seconds = 0.01
        outcome = await server.receives(POST + b"Content-Length: 10\r\n\r\nabc")
        assert isinstance(outcome, InvalidRequest)
        assert outcome.description == "the body did not arrive in time"


@pytest.mark.parametrize(
    "sent", [POST + b"Content-Length: 10\r\n\r\nabc", CHUNKED + b"3\r\nabc\r\n5\r\nab"]
)
@pytest.mark.parametrize(
    "leave", [asyncio.StreamWriter.close, lambda writer: writer.transport.abort()]
)
async def test_a_client_that_leaves_early(
    sent: bytes, leave: Callable[[asyncio.StreamWriter], object]
) -> None:
    async with running() as server:
        outcome = await server.receives(sent, then=leave)
        assert isinstance(outcome, InvalidRequest)
        assert outcome.description == "the body is incomplete"


class Failing:
    """A request whose body fails while it is read."""

    content_length = None

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.content = self
        self.headers: dict[str, str] = {}

    def is_eof(self) -> bool:
        return False

    async def readany(self) -> bytes:
        raise self.error


async def test_broken_framing_found_by_the_parser_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        await read_body(Failing(TransferEncodingError("chunk")), 10, 1.0)  # type: ignore[arg-type]


async def test_a_cancelled_read_stays_cancelled() -> None:
    with pytest.raises(asyncio.CancelledError):
        await read_body(Failing(asyncio.CancelledError()), 10, 1.0)  # type: ignore[arg-type]


async def test_what_a_real_client_sends() -> None:
    content = bytes(range(256)) * 20 + b"\r\n--not-the-boundary\r\n\r\n"
    form = FormData(quote_fields=False)
    form.add_field("token", "a.b.c")
    form.add_field("contact_information_identifier", "number=CI000111 é")
    form.add_field("file", content, filename='my "фото".jpg', content_type="image/png")
    async with running() as server, ClientSession() as session:
        async with session.post(f"http://127.0.0.1:{server.port}/", data=form):
            raw = await server.outcomes.get()
        assert isinstance(raw, bytes)
        fields, files = await parse_multipart(server.content_type, raw)
    assert fields == {"token": ["a.b.c"], "contact_information_identifier": ["number=CI000111 é"]}
    assert files == {"file": RawUpload('my "фото".jpg', content)}
