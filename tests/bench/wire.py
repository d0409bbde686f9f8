"""HTTP/1.1 as a load client needs it: next to no work between a request and its whole answer."""

from __future__ import annotations

import asyncio
from typing import cast

__all__ = ["Caller", "Wire", "get", "post"]

HEAD = b"\r\n\r\n"
LENGTH = b"content-length:"


def get(path: str) -> str:
    """A GET as it is sent."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(path: str, body: str) -> str:
    """A POST of JSON as it is sent."""
    length = len(body.encode())
    head = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}"
    return f"POST {path} HTTP/1.1\r\n{head}\r\n\r\n{body}"


class Wire(asyncio.Protocol):
    """A connection with at most one request on its way; large answers are not put together in between."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._body = 0
        self._whole = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if not self._whole and not self._begun():
            return
        if self._size >= self._whole:
            pieces, body = self._pieces, self._body
            self._pieces, self._size, self._whole = [], 0, 0
            self.answered(pieces, body)

    def _begun(self) -> bool:
        """Whether the head is there, which says how long the answer is."""
        start = b"".join(self._pieces)
        self._pieces = [start]
        end = start.find(HEAD)
        if end < 0:
            return False
        self._body = end + len(HEAD)
        self._whole = self._body + _length(start[:end])
        return True

    def answered(self, pieces: list[bytes], body: int) -> None:
        """Is told of an answer: its pieces, and where in them its body begins."""
        raise NotImplementedError


class Caller(Wire):
    """A connection on which somebody waits for each answer."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: asyncio.Future[bytes] | None = None

    async def ask(self, request: str) -> bytes:
        """The body of the answer."""
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request.encode())
        return await self._waiting

    def answered(self, pieces: list[bytes], body: int) -> None:
        assert self._waiting is not None
        self._waiting.set_result(b"".join(pieces)[body:])

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError("the connection was closed"))


def _length(head: bytes) -> int:
    head = head.lower()
    start = head.index(LENGTH) + len(LENGTH)
    return int(head[start:].split(b"\r\n", 1)[0])
