"""A load client: so many connections, each sending its next request when it has its answer.

A process of its own: reads a `Load` as JSON from standard input and prints a `Loaded`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import cast

import msgspec
import uvloop

from tests.bench.measure import WARM_UP
from tests.bench.results import Outcome

__all__ = ["Load", "loaded"]

HEAD = b"\r\n\r\n"
LENGTH = b"content-length:"


class Load(msgspec.Struct):
    """Requests, whole as they are sent, taken in turn; an answer counts that begins as expected."""

    host: str
    port: int
    requests: list[str]
    expect: str
    seconds: float
    connections: int = 64
    most: int = 500_000


class Counted:
    """What all connections of a load share."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.requests = [request.encode() for request in load.requests]
        self.expect = load.expect.encode()
        self.sent = 0
        self.took: list[float] = []
        self.wrong: bytes | None = None
        self.until = time.perf_counter() + load.seconds * 2

    def next(self) -> bytes | None:
        """The next request, unless the time is over or enough were sent."""
        if self.wrong or self.sent >= self.load.most or time.perf_counter() > self.until:
            return None
        self.sent += 1
        return self.requests[self.sent % len(self.requests)]


class Connection(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def __init__(self, counted: Counted) -> None:
        self._counted = counted
        self._seen = b""
        self._begun = 0.0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._counted.wrong = b"the connection was closed"
            self.done.set_result(None)

    def send(self) -> None:
        """Sends the next request, or ends."""
        request = self._counted.next()
        if request is None:
            self.done.set_result(None)
            self.transport.close()
            return
        self._begun = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._seen = self._seen + data if self._seen else data
        end = self._seen.find(HEAD)
        if end < 0:
            return
        body = end + len(HEAD)
        if len(self._seen) < body + _length(self._seen[:end]):
            return
        self._counted.took.append(time.perf_counter() - self._begun)
        if not self._seen.startswith(self._counted.expect, body):
            self._counted.wrong = self._seen
        self._seen = b""
        self.send()


def _length(head: bytes) -> int:
    head = head.lower()
    start = head.index(LENGTH) + len(LENGTH)
    return int(head[start:].split(b"\r\n", 1)[0])


async def _run(load: Load) -> Outcome:
    counted = Counted(load)
    loop = asyncio.get_running_loop()
    connections: list[Connection] = []
    for _ in range(load.connections):
        _, connection = await loop.create_connection(
            lambda: Connection(counted), load.host, load.port
        )
        connections.append(connection)
    for connection in connections:
        connection.send()
    await asyncio.sleep(load.seconds * WARM_UP)
    counted.took.clear()
    begun = time.perf_counter()
    counted.until = begun + load.seconds
    await asyncio.gather(*(connection.done for connection in connections))
    seconds = time.perf_counter() - begun
    if counted.wrong is not None:
        raise RuntimeError(f"not the expected answer: {counted.wrong[:500]!r}")
    took = sorted(counted.took)
    p50, p99 = (took[int(len(took) * share)] * 1000 for share in (0.5, 0.99))
    return Outcome(len(took) / seconds, p50, p99)


async def loaded(load: Load) -> Outcome:
    """Runs a load in a process of its own. Raises ``RuntimeError`` if an answer was wrong."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate(msgspec.json.encode(load))
    if child.returncode:
        raise RuntimeError(err.decode().strip().rpartition("\n")[2])
    return msgspec.json.decode(out, type=Outcome)


if __name__ == "__main__":
    found = uvloop.run(_run(msgspec.json.decode(sys.stdin.buffer.read(), type=Load)))
    sys.stdout.buffer.write(msgspec.json.encode(found))
