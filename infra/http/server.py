"""The HTTP server; it answers malformed requests, too, with the contract's envelope (common.md, section 1)."""

from __future__ import annotations

import asyncio
import os
import resource
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiohttp import web

from domain.errors import InternalError, InvalidRequest, TransportError
from infra.http.api.envelope import failed
from infra.http.router import response
from infra.observability.limits import note_limit
from services.pipeline.guard import source_of

__all__ = ["FEW_CONNECTIONS", "ListenError", "Server", "connection_limit", "listen"]

SHUTDOWN_TIMEOUT = 10.0
"""Seconds within which calls must end once the process is stopping."""

FIRST_REQUEST_TIMEOUT = 10.0
"""Seconds within which the headers of a connection's first request must have arrived."""

IDLE_TIMEOUT = 75.0
"""Seconds that a connection may wait for another request: longer than reverse proxies keep theirs."""

FEW_CONNECTIONS = 32
"""The most connections of a port that only operators use."""

log = structlog.get_logger(__name__)


def connection_limit() -> int:
    """Return the most connections of the API: half of the files that the process may open, at most 10,000.

    The rest is for the database and for health and metrics, which always answer.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(10_000, files // 2) if files > 0 else 10_000


class _Connection(web.RequestHandler):
    """The connection of one client. A malformed request is refused in the same form as any other.

    One too many is closed at once, and one on which nothing happens after a time.
    """

    __slots__ = ("_address", "_is_silent", "_server")

    def __init__(self, server: Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the connection, if there is room for it."""
        super().connection_made(transport)
        self._is_silent = True
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if peer else ""
        limit = self._server.admit(self._address)
        if limit:
            note_limit(limit)
            self.force_close()
        else:
            self._loop.call_later(self._server.header_timeout, self._close_silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the connection, which counts no longer."""
        self._server.release(self._address)
        super().connection_lost(exc)

    def note_request(self) -> None:
        """Note that the headers of a request have come; from now on the time of idle connections counts."""
        self._is_silent = False

    def _close_silent(self) -> None:
        if self._is_silent and not self._force_close:
            note_limit("silent_connections")
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the response to a malformed request; aiohttp's own would echo its bytes.

        Raises ``ConnectionError`` if a response has already begun, as aiohttp expects.
        """
        log.warning("malformed", error=type(exc).__name__ if exc else "")
        if request.writer.output_size > 0:
            raise ConnectionError
        refusal: TransportError = InvalidRequest("the request is not well-formed HTTP")
        if status >= InternalError.status:
            refusal = InternalError()
        answer = response(failed(refusal), status=refusal.status)
        answer.force_close()
        return answer


class Server(web.Server):
    """aiohttp's low-level server with our own class of connections, of which it holds at most a given number."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        most_connections: int,
        most_per_address: int | None = None,
        is_proxy: Callable[[str], bool] = lambda _: False,
        header_timeout: float | None = None,
        idle_timeout: float | None = None,
        **options: Any,
    ) -> None:
        """:param most_per_address: connections from one address, unless it ``is_proxy``; None: any number.

        :param header_timeout: seconds for the headers of the first request; ``idle_timeout`` between two.
        """
        idle = IDLE_TIMEOUT if idle_timeout is None else idle_timeout
        super().__init__(handler, keepalive_timeout=idle, access_log=None, **options)
        self.header_timeout = FIRST_REQUEST_TIMEOUT if header_timeout is None else header_timeout
        self._most_connections = most_connections
        self._most_per_address = most_per_address
        self._is_proxy = is_proxy
        self._by_address: Counter[str] = Counter()

    def admit(self, address: str) -> str | None:
        """Count a new connection; return the limit that refuses it, if one does."""
        source = source_of(address)
        self._by_address[source] += 1
        if len(self._connections) > self._most_connections:
            return "connections"
        most = self._most_per_address
        if most is None or self._by_address[source] <= most or self._is_proxy(address):
            return None
        return "connections_per_address"

    def release(self, address: str) -> None:
        """Count a connection no longer."""
        source = source_of(address)
        self._by_address[source] -= 1
        if self._by_address[source] <= 0:
            del self._by_address[source]

    def _make_request(self, *parts: Any) -> web.BaseRequest:
        protocol = parts[2]
        protocol.note_request()
        return super()._make_request(*parts)

    def __call__(self) -> Any:
        """Return a new connection; asyncio calls this for each client."""
        return _Connection(self, loop=self._loop, **self._kwargs)


class ListenError(OSError):
    """The server cannot listen on an address; the message names it and says why."""


@asynccontextmanager
async def listen(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    host: str,
    port: int,
    *,
    shared: bool = False,
    most_connections: int = FEW_CONNECTIONS,
    **options: Any,
) -> AsyncIterator[int]:
    """Serve requests on a port; on exit, finish those that have begun and accept no others.

    :param shared: let other processes listen on the same port, too.
    :param most_connections: how many may be open; more are closed as they come.
    :param options: further options of `Server`.
    :return: yields the port, a free one if ``port`` is 0.
    :raises ListenError: the address does not belong to this machine or is in use.
    """
    server = Server(handle, most_connections=most_connections, **options)
    runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_TIMEOUT)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port, backlog=1024, reuse_port=shared).start()
        except OSError as error:
            # Codes below zero come from the look-up of the host, which brings its own message.
            code = error.errno or 0
            reason = os.strerror(code) if code > 0 else error.strerror
            raise ListenError(f"cannot listen on {host}:{port} ({reason})") from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
