"""Turns HTTP requests into calls and their outcomes into responses, for every path.

Route and verb come first, then size and syntax; the use cases decide everything after that. Only here
does an error become the contract's envelope (common.md, sections 1, 2 and 12).
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

import structlog
from aiohttp import web

from domain.errors import (
    OUTCOME_UNKNOWN,
    InternalError,
    MethodNotAllowed,
    MethodNotFound,
    ServiceError,
    ServiceUnavailable,
)
from infra.http.api.envelope import failed
from infra.http.client_address import Caller, TrustedProxies
from infra.observability.logs import REQUEST_ID
from infra.observability.metrics import observe
from infra.observability.security_log import security_log
from infra.observability.tracing import NOT_TRACED, Tracing
from infra.postgres.pool import CONNECTION_ERRORS
from services.pipeline.principal import PRINCIPAL, Principal

__all__ = ["JSON", "Exchange", "Handler", "Router", "StreamedResponse", "response"]

JSON = "application/json; charset=utf-8"
CALL_TIMEOUT = 60.0
"""The longest time in seconds that a call may take until its response begins."""

CHUNK_TIMEOUT = 30.0
"""The longest time in seconds that one part of a streamed response may take: to be made, and to be read."""

STREAM_TIMEOUT = 900.0
"""The longest time in seconds that a streamed response may take."""

STRICT_TRANSPORT = "max-age=31536000; includeSubDomains"
"""Said over TLS only: for a year browsers ask for the host and those below it over TLS."""

_FIXED_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Server": "crmledger",
}

_ORIGIN = re.compile(r"^https?://[^/?#]*", re.IGNORECASE)
"""Precedes the path in requests to a proxy; servers must accept it, too (RFC 9112, section 3.2.2)."""

_SLASHES = re.compile(r"/+")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Exchange:
    """One request, its caller and routing: id, path, raw query, and ``path_rest``, which follows a prefix.

    ``status`` is the HTTP status of a refusal if it differs from the contract's usual one.
    """

    request: web.BaseRequest
    caller: Caller
    request_id: str
    path: str
    query: str
    path_rest: str = ""
    label: str = ""
    outcome: str = "OK"
    status: int = 0

    @property
    def correlation_id(self) -> str:
        """The id of the chain of calls that the caller names; empty if it names none."""
        header = self.request.headers.get("X-Correlation-Id", "")
        return header if _REQUEST_ID.fullmatch(header) else ""

    def is_gone(self) -> bool:
        """Return True once the caller has hung up."""
        transport = self.request.transport
        return transport is None or transport.is_closing()


Handler = Callable[[Exchange], Awaitable[web.StreamResponse]]


def response(
    body: bytes,
    *,
    status: int = 200,
    mime_type: str = JSON,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Return a response that no cache stores, whose type no browser guesses, and that names no versions."""
    http_response = web.Response(body=body, status=status, headers=_FIXED_HEADERS)
    http_response.headers["Content-Type"] = mime_type
    if headers:
        http_response.headers.update(headers)
    return http_response


class StreamedResponse(web.StreamResponse):
    """A response whose body is made in parts while it is sent, so that few are held in memory."""

    def __init__(
        self, first: bytes, chunks: AsyncGenerator[bytes, None], headers: Mapping[str, str]
    ) -> None:
        super().__init__(headers={**_FIXED_HEADERS, **headers})
        self._first = first
        self._chunks = chunks

    @classmethod
    async def begin(
        cls,
        chunks: AsyncGenerator[bytes, None],
        *,
        mime_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> StreamedResponse:
        """Return the response once its first part is made: a failure until then is answered as any."""
        return cls(await anext(chunks), chunks, {"Content-Type": mime_type, **(headers or {})})

    async def send(self, request: web.BaseRequest) -> None:
        """Send the response.

        Raises what goes wrong meanwhile, `TimeoutError` for a client that stops reading, after the
        connection was broken: the client must not take what it has got for the whole.
        """
        try:
            async with aclosing(self._chunks) as chunks, asyncio.timeout(STREAM_TIMEOUT):
                await self.prepare(request)
                chunk: bytes | None = self._first
                while chunk is not None:
                    async with asyncio.timeout(CHUNK_TIMEOUT):
                        await self.write(chunk)
                        chunk = await anext(chunks, None)
                await self.write_eof()
        except BaseException:
            if request.transport is not None:
                request.transport.abort()
            raise


class Router:
    """Dispatches requests to handlers by path and verb.

    Exact paths are tried first, then prefixes; their handlers find the rest in ``path_rest``.
    """

    def __init__(
        self, tracing: Tracing = NOT_TRACED, proxies: TrustedProxies | None = None
    ) -> None:
        """:param tracing: records a span for each call.
        :param proxies: tells who has called; None: whoever is connected.
        """
        self._tracing = tracing
        self._proxies = proxies or TrustedProxies()
        self._exact: dict[str, dict[str, tuple[Handler, str]]] = {}
        self._prefixes: dict[str, dict[str, tuple[Handler, str]]] = {}

    def add(self, verb: str, path: str, handler: Handler, label: str = "") -> None:
        """Route a path to a handler; one that ends in ``*`` is a prefix. ``label`` names it in metrics."""
        table = self._prefixes if path.endswith("*") else self._exact
        table.setdefault(path.rstrip("*"), {})[verb] = (handler, label or path)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the response to a request; raise nothing unless the client disconnects."""
        target, _, query = request.raw_path.partition("?")
        header = request.headers.get("X-Request-Id", "")
        request_id = header if _REQUEST_ID.fullmatch(header) else secrets.token_hex(16)
        caller = self._proxies.caller(request)
        exchange = Exchange(request, caller, request_id, _normalised(target), query)
        started = time.perf_counter()
        # Never reset: aiohttp runs every request in a task, and so in a context, of its own.
        REQUEST_ID.set(request_id)
        principal = Principal()
        PRINCIPAL.set(principal)
        with self._tracing.call(request.headers, exchange):
            answer = await self._respond(exchange)
            answer.headers["X-Request-Id"] = request_id
            if caller.is_secure:
                answer.headers["Strict-Transport-Security"] = STRICT_TRANSPORT
            if isinstance(answer, StreamedResponse):
                await self._send(exchange, answer)
        seconds = time.perf_counter() - started
        observe(exchange.label or "unknown", exchange.outcome, seconds)
        log.info(
            "call",
            method=exchange.label or "unknown",
            status=answer.status,
            code=exchange.outcome,
            milliseconds=round(seconds * 1000, 2),
        )
        security_log.record_call(
            principal,
            exchange.label,
            request.method,
            exchange.path,
            exchange.outcome,
            caller.address,
        )
        return answer

    async def _send(self, exchange: Exchange, answer: StreamedResponse) -> None:
        """Send a streamed response. One that is cut counts as a failure, except if the client has left."""
        try:
            await answer.send(exchange.request)
        except ConnectionResetError:
            log.info("response.left", path=exchange.label)
        except (ServiceError, TimeoutError, *CONNECTION_ERRORS) as error:
            exchange.outcome = ServiceUnavailable.code
            log.warning("response.cut", error=type(error).__name__)
        except Exception:
            exchange.outcome = InternalError.code
            log.exception("response.cut")

    async def _respond(self, exchange: Exchange) -> web.StreamResponse:
        try:
            handler = self._route(exchange)
            async with asyncio.timeout(CALL_TIMEOUT):
                return await handler(exchange)
        except ServiceError as error:
            refusal = error
        except TimeoutError:
            log.warning("request.timeout")
            refusal = ServiceUnavailable(OUTCOME_UNKNOWN)
        except CONNECTION_ERRORS as error:
            log.warning("unavailable", error=type(error).__name__)
            refusal = ServiceUnavailable(retry_after=1)
        except Exception:
            log.exception("failed")
            refusal = InternalError(f"request {exchange.request_id}")
        exchange.outcome = refusal.code
        headers = {}
        if isinstance(refusal, MethodNotAllowed):
            headers["Allow"] = refusal.allowed
        if refusal.retry_after is not None:
            headers["Retry-After"] = str(refusal.retry_after)
        return response(failed(refusal), status=exchange.status or refusal.status, headers=headers)

    def _route(self, exchange: Exchange) -> Handler:
        verbs = self._exact.get(exchange.path)
        if verbs is None:
            for prefix, table in self._prefixes.items():
                if exchange.path.startswith(prefix):
                    exchange.path_rest, verbs = exchange.path.removeprefix(prefix), table
        if verbs is None:
            raise MethodNotFound
        if exchange.request.method not in verbs:
            exchange.label = next(iter(verbs.values()))[1]
            raise MethodNotAllowed(", ".join(sorted(verbs)))
        handler, exchange.label = verbs[exchange.request.method]
        return handler


def _normalised(path: str) -> str:
    """Return the path with each run of slashes as one, and none at its end (common.md, section 1)."""
    if not path.startswith("/"):
        path = _ORIGIN.sub("", path, count=1)
    path = _SLASHES.sub("/", path)
    return path.removesuffix("/") or "/"
