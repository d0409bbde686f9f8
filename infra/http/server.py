"""The HTTP server, with the contract's envelope also for what is no HTTP (common.md, section 1)."""

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
"""Seconds that calls have to end in when the process is told to stop."""

log = structlog.get_logger(__name__)


class _Connection(web.RequestHandler):
    """One client. What the parser cannot read is refused like everything else."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what never became a request. aiohttp's own would echo what was sent.

        Raises ``ConnectionError`` if an answer has already begun, as aiohttp expects.
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
    """aiohttp's low-level server with connections of our own."""

    def __call__(self) -> Any:
        """A new connection; what asyncio calls for each client."""
        return _Connection(self, loop=self._loop, **self._kwargs)


class ListenError(OSError):
    """An address on which one cannot listen; the message names it and says why."""


@asynccontextmanager
async def listen(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    host: str,
    port: int,
    *,
    shared: bool = False,
    **options: Any,
) -> AsyncIterator[int]:
    """Answers requests on a port until left; then those that have begun, and no others.

    :param shared: whether other processes may listen on the same port, too.
    :param options: what `Server` takes besides.
    :return: the port, which is a free one where 0 was given.
    :raises Unlistening: the address is not ours, or in use.
    """
    server = Server(handle, access_log=None, **options)
    runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_TIMEOUT)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port, backlog=1024, reuse_port=shared).start()
        except OSError as error:
            # Below zero are those of the look-up of a host, which say themselves what they mean.
            code = error.errno or 0
            reason = os.strerror(code) if code > 0 else error.strerror
            raise ListenError(f"cannot listen on {host}:{port} ({reason})") from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
