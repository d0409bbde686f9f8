"""Requests over HTTP to servers of others, and what is read of their answers.

A status line counts whatever follows it: headers and bodies that cannot be read are absent, and nothing
that a server answers raises. Each request has a connection of its own, so that what a server sends
after its answer is never taken for the answer to the next request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Literal, Self

import aiohttp
from aiohttp.abc import AbstractCookieJar
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

__all__ = ["MAX_RETRY_AFTER", "Answer", "Failure", "HttpExchange", "read_retry_after"]

MAX_BODY = 16 * 1024
"""Bytes that are read of a body."""
MAX_HEAD = 16 * 1024
"""Bytes before it that are kept, in which the status line must stand."""
MAX_RETRY_AFTER = 86_400.0
"""The longest Retry-After that is granted, in seconds."""

STATUS = re.compile(
    rb"(?:HTTP/\d\.\d 1(?!01)\d\d(?!\d)[^\n]*\n(?:[^\r\n][^\n]*\n)*\r?\n)*"  # interim answers
    rb"HTTP/\d\.\d (?!1(?!01)\d\d)([1-9]\d\d)(?!\d)"
)
"""The status line of an answer, after any interim ones (RFC 9112, section 4)."""
BLANK_LINE = re.compile(rb"\n\r?\n")

Failure = Literal["UNREACHABLE", "TLS", "TIMEOUT", "DISCONNECTED"]
"""Why there is no status: no connection was made, none that is secure, no status line came in time, or
it did not come at all."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request, as far as it was read.

    ``status`` is None if there was no status line: ``failure`` says why, and ``cause`` is the error.
    ``retry_after`` is the pause in seconds that the server asks for, None if it does not. ``body`` is the
    beginning of the body; ``is_cut`` is true if it broke off, and then it is as it came, chunked or not.
    """

    status: int | None
    failure: Failure | None = None
    cause: Exception | None = None
    retry_after: float | None = None
    body: bytes = b""
    is_cut: bool = False


class HttpExchange:
    """Sends requests: no redirect, no cookie, no proxy, no compression. Opened in a running loop.

    :param timeout: seconds for a whole request, and optionally for its connection.
    :param connector: options of the connector.
    """

    def __init__(self, timeout: aiohttp.ClientTimeout, **connector: Any) -> None:
        connections = aiohttp.TCPConnector(force_close=True, **connector)
        # There is no public way to keep the status line of an answer that the parser refuses.
        connections._factory = partial(_AnswerProtocol, loop=connections._loop)  # type: ignore[assignment]
        jar: AbstractCookieJar = aiohttp.DummyCookieJar()
        self._http = aiohttp.ClientSession(
            connector=connections,
            response_class=_Response,
            cookie_jar=jar,
            timeout=timeout,
            auto_decompress=False,
            trust_env=False,
            headers={"User-Agent": "crmledger", "Accept-Encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close what is open."""
        await self._http.close()

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        reads_body: Callable[[int], bool] | None = None,
    ) -> Answer:
        """Send a request. Whatever the server or the network does is in the answer, never an exception.

        :param reads_body: returns True for a status after which the body matters; else it is not read.
        """
        try:
            response = await self._http.request(
                method, url, data=body, headers=headers, allow_redirects=False
            )
        except _StatusOnlyError as error:
            return Answer(error.status, body=error.body, is_cut=True)
        except Exception as error:
            return Answer(None, _failure(error), error)
        try:
            wait = read_retry_after(response.headers.get("Retry-After"))
            content, is_cut = b"", False
            if reads_body is not None and reads_body(response.status):
                assert isinstance(response, _Response)
                content, is_cut = await response.read_beginning()
        finally:
            response.close()
        return Answer(response.status, retry_after=wait, body=content, is_cut=is_cut)


class _AnswerProtocol(ResponseHandler):
    """A connection that keeps the beginning of its answer, in case the parser refuses it."""

    def __init__(self, loop: Any) -> None:
        super().__init__(loop)
        self._beginning = b""

    @property
    def status(self) -> int | None:
        """The status of the answer; None as long as there is none."""
        match = STATUS.match(self._beginning)
        return int(match[1]) if match else None

    @property
    def body(self) -> bytes:
        """The first `MAX_BODY` bytes after the headers, as they came."""
        match = STATUS.match(self._beginning)
        parts = BLANK_LINE.split(self._beginning[match.end() :], 1) if match else []
        return parts[1][:MAX_BODY] if len(parts) > 1 else b""

    def data_received(self, data: bytes) -> None:
        """Keep the beginning and parse what comes."""
        self._beginning += data[: MAX_HEAD + MAX_BODY - len(self._beginning)]
        super().data_received(data)


class _StatusOnlyError(Exception):
    """The parser can read no more of an answer than its status."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class _Response(aiohttp.ClientResponse):
    """An answer whose status counts even if nothing else can be read, and is read in one way."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Read the head. Raises `_StatusOnlyError` if nothing but the status can be read."""
        assert isinstance(connection.protocol, _AnswerProtocol)
        self._received = connection.protocol
        try:
            await super().start(connection)
        except Exception as error:
            if self._received.status is None:
                raise
            raise _StatusOnlyError(self._received.status, self._received.body) from error
        if self._received.status is None:
            raise aiohttp.ClientError("no status line")
        return self

    async def read_beginning(self) -> tuple[bytes, bool]:
        """Return the first `MAX_BODY` bytes of the body, and True if it broke off before."""
        content = b""
        try:
            async for part in self.content.iter_any():
                content += part
                if len(content) >= MAX_BODY:
                    break
        except Exception:
            return self._received.body, True
        return content[:MAX_BODY], False


def _failure(error: Exception) -> Failure:
    """Return why a request has no answer."""
    if isinstance(error, aiohttp.ClientSSLError):
        return "TLS"
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return "UNREACHABLE"
    return "TIMEOUT" if isinstance(error, TimeoutError) else "DISCONNECTED"


def read_retry_after(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, section 10.2.3), at most `MAX_RETRY_AFTER`.

    None if it holds neither a number of seconds nor a date.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text.lstrip("0")[:9] or 0), MAX_RETRY_AFTER)
    # The parser of dates raises whatever a text makes it raise.
    with suppress(Exception):
        moment = parsedate_to_datetime(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), MAX_RETRY_AFTER)
    return None
