"""A load client: so many connections, each sending its next request when it has its answer.

With a rate it sends by the clock instead, whether answers come or not: what waits for a connection waits
on the account of whoever is late, so that no stall is left out. A process of its own: reads a `Load` as
JSON from standard input and prints an `Outcome`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque

import msgspec
import uvloop

from tests.bench.measure import WARM_UP, Run, percentiles
from tests.bench.results import Outcome
from tests.bench.wire import Wire

__all__ = ["CONNECTIONS", "OK", "OTHERS_OK", "Load", "client", "loaded", "loading"]

CONNECTIONS = 64
OK, OTHERS_OK = '{"status":{"code":"OK"', '{"status": {"code": "OK"'
"""How an answer begins: one of ours, and one of the standard library's JSON."""

TICK = 0.001
"""Seconds between two looks at the clock, the shortest that the event loop knows."""
PATIENCE = 60.0
"""Seconds after which answers that are still missing are given up."""


class Load(msgspec.Struct):
    """Requests, whole as they are sent, taken in turn; an answer counts that begins as expected.

    The connections are spread over the ports. ``rate`` is how many requests a second are sent whatever
    comes back; None if each connection waits for its answers.
    """

    ports: list[int]
    requests: list[str]
    expect: str
    seconds: float
    connections: int = CONNECTIONS
    rate: float | None = None
    host: str = "127.0.0.1"
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
        self.begun = time.perf_counter() + load.seconds * WARM_UP
        self.until = self.begun + load.seconds
        self.idle: list[Connection] = []
        self.due: deque[float] = deque()

    def request(self) -> bytes:
        """The next request."""
        self.sent += 1
        return self.requests[self.sent % len(self.requests)]

    def note(self, since: float) -> None:
        """Counts an answer to what was to be sent at a time, unless that was for warming up.

        By the clock a request belongs to when it was due. Else what ends is counted: where a request
        takes as long as the measurement, nothing else would be left.
        """
        now = time.perf_counter()
        if (now if self.load.rate is None else since) >= self.begun:
            self.took.append(now - since)

    def next(self) -> float | None:
        """When the next request is to be sent, for a connection that is free now; None if not now."""
        if self.wrong:
            return None
        if self.load.rate is not None:
            return self.due.popleft() if self.due else None
        now = time.perf_counter()
        return now if now < self.until and self.sent < self.load.most else None

    def fire(self, at: float) -> None:
        """A request is due: on a connection that is free, or on the first that will be."""
        self.due.append(at)
        if self.idle:
            self.idle.pop().send()


class Connection(Wire):
    """One connection."""

    def __init__(self, counted: Counted) -> None:
        super().__init__()
        self._counted = counted
        self._since = 0.0

    def connection_lost(self, exc: Exception | None) -> None:
        if self not in self._counted.idle:
            self._counted.wrong = b"the connection was closed"
            self._counted.idle.append(self)

    def send(self) -> None:
        """Sends the next request, or waits for one."""
        since = self._counted.next()
        if since is None:
            self._counted.idle.append(self)
            return
        self._since = since
        self.transport.write(self._counted.request())

    def answered(self, pieces: list[bytes], body: int) -> None:
        self._counted.note(self._since)
        start = b"".join(pieces[:2])
        if not start.startswith(self._counted.expect, body):
            self._counted.wrong = start
        self.send()


async def _connected(load: Load, counted: Counted) -> None:
    loop = asyncio.get_running_loop()
    for n in range(load.connections):
        port = load.ports[n % len(load.ports)]
        _, connection = await loop.create_connection(lambda: Connection(counted), load.host, port)
        counted.idle.append(connection)


async def _closed(counted: Counted) -> None:
    """Every connection is always busy."""
    connections, counted.idle = counted.idle, []
    for connection in connections:
        connection.send()
    await asyncio.sleep(max(0.0, counted.until - time.perf_counter()))


async def _open(counted: Counted, rate: float) -> None:
    """Requests go out by the clock, up to a tick late: the delay counts as theirs who answer."""
    started = time.perf_counter()
    sent, count = 0, int((counted.until - started) * rate)
    while sent < count:
        due = min(count, int((time.perf_counter() - started) * rate) + 1)
        for n in range(sent, due):
            counted.fire(started + n / rate)
        sent = due
        await asyncio.sleep(TICK)


async def _run(load: Load) -> Outcome:
    counted = Counted(load)
    await _connected(load, counted)
    counted.begun = time.perf_counter() + load.seconds * WARM_UP
    counted.until = counted.begun + load.seconds
    await (_closed(counted) if load.rate is None else _open(counted, load.rate))
    late = time.perf_counter() + PATIENCE
    while (len(counted.idle) < load.connections or counted.due) and not counted.wrong:
        if time.perf_counter() > late:
            raise RuntimeError("not all answers have come")
        await asyncio.sleep(0.001)
    seconds = time.perf_counter() - counted.begun
    if counted.wrong is not None:
        raise RuntimeError(f"not the expected answer: {counted.wrong[:500]!r}")
    p50, p99 = percentiles(counted.took)
    longest = max(counted.took) * 1000
    return Outcome(len(counted.took) / seconds, p50, p99, longest)


async def client(module: str, order: object) -> Outcome:
    """Runs a client in a process of its own. Raises ``RuntimeError`` if an answer was wrong."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await child.communicate(msgspec.json.encode(order))
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        raise RuntimeError(err.decode().strip().rpartition("\n")[2])
    return msgspec.json.decode(out, type=Outcome)


async def loaded(load: Load) -> Outcome:
    """What a load has found. Raises ``RuntimeError`` if an answer was wrong."""
    return await client(__name__, load)


def loading(ports: int | list[int], requests: list[str], expect: str) -> Run:
    """A contender that answers such requests."""
    at = [ports] if isinstance(ports, int) else ports

    async def run(seconds: float) -> Outcome:
        return await loaded(Load(at, requests, expect, seconds))

    return run


if __name__ == "__main__":
    sys.setswitchinterval(0.0005)
    found = uvloop.run(_run(msgspec.json.decode(sys.stdin.buffer.read(), type=Load)))
    sys.stdout.buffer.write(msgspec.json.encode(found))
