"""The HTTP server; it answers malformed requests, too, with the contract's envelope (common.md, section 1)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiohttp import web

from domain.errors import InternalError, InvalidRequest, TransportError
from infra.http.api.envelope import failed
from infra.http.router import response

__all__ = ["ListenError", "Server", "listen"]

SHUTDOWN_TIMEOUT = 10.0
"""Seconds within which calls must end once the process is stopping."""

log = structlog.get_logger(__name__)


class _Connection(web.RequestHandler):
    """The connection of one client. A malformed request is refused in the same form as any other."""

    __slots__ = ()

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
    """aiohttp's low-level server with our own class of connections."""

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
    **options: Any,
) -> AsyncIterator[int]:
    """Serve requests on a port; on exit, finish those that have begun and accept no others.

    :param shared: let other processes listen on the same port, too.
    :param options: further options of `Server`.
    :return: yields the port, a free one if ``port`` is 0.
    :raises ListenError: the address does not belong to this machine or is in use.
    """
    server = Server(handle, access_log=None, **options)
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
