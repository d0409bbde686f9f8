"""The same use cases with the eventsourcing library's Application, behind aiohttp.

Nothing of it is asynchronous, so it works on threads. Which entries wait is kept in memory, which no read
model of its own would be faster than.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import UUID

from aiohttp import web
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from tests.bench.append_references import place

__all__ = ["THREADS", "Library"]

T = TypeVar("T")
THREADS = 16


class Communication(Aggregate):
    """A communication with the fields of the request."""

    @event("Recorded")
    def __init__(self, number: str, details: dict[str, Any]) -> None:
        self.number = number
        self.details = details


class QueueEntry(Aggregate):
    """The entry that sends it."""

    @event("Queued")
    def __init__(self, number: str, communication: UUID) -> None:
        self.number = number
        self.communication = communication
        self.state = "PENDING"

    @event("Processed")
    def process(self) -> None:
        """Says that the message was sent."""
        self.state = "COMPLETED"


class Communications(Application[UUID]):
    """Use cases of communications."""

    def record(self, details: dict[str, Any]) -> dict[str, Any]:
        """Records a communication and queues it."""
        communication = Communication("CM000001", details)
        self.save(communication, QueueEntry("1", communication.id))
        return {"id": communication.id.hex, "number": communication.number} | details

    def queue(self, count: int) -> list[UUID]:
        """New entries that wait."""
        entries = [QueueEntry(str(n), UUID(int=n)) for n in range(count)]
        self.save(*entries)
        return [entry.id for entry in entries]

    def process(self, id_: UUID) -> dict[str, Any]:
        """Loads an entry, changes it and saves it."""
        entry: QueueEntry = self.repository.get(id_)
        entry.process()
        self.save(entry)
        return {"id": id_.hex, "number": entry.number, "life_cycle_state": entry.state}


class Library:
    """The handlers."""

    def __init__(self, url: str) -> None:
        at = place(url)
        persistence = {"PERSISTENCE_MODULE": "eventsourcing.postgres", "POSTGRES_PASSWORD": ""}
        persistence |= {f"POSTGRES_{name.upper()}": value for name, value in at.items()}
        self._threads = ThreadPoolExecutor(THREADS)
        self._application = Communications(persistence | {"POSTGRES_POOL_SIZE": str(THREADS)})
        self._waiting: dict[str, dict[UUID, None]] = defaultdict(dict)

    async def _run(self, act: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, act, *arguments)

    async def record(self, request: web.Request) -> web.Response:
        """A create."""
        return _answer(await self._run(self._application.record, await request.json()))

    async def fill(self, request: web.Request) -> web.Response:
        """Entries for each of some external systems, to begin with."""
        asked = await request.json()
        for system in asked["systems"]:
            made = await self._run(self._application.queue, asked["count"])
            self._waiting[system] = dict.fromkeys(made)
        return _answer({})

    async def latest(self, request: web.Request) -> web.Response:
        """The entries of an external system that wait, the newest first."""
        waiting = self._waiting[request.query["system"]]
        ids = list(waiting)[-int(request.query["number"]) :]
        found = [{"id": id_.hex, "life_cycle_state": "PENDING"} for id_ in reversed(ids)]
        return _answer(found)

    async def process(self, request: web.Request) -> web.Response:
        """An entry was sent."""
        asked = await request.json()
        id_ = UUID(asked["id"])
        answer = await self._run(self._application.process, id_)
        self._waiting[asked["system"]].pop(id_, None)
        return _answer(answer)


def _answer(data: Any) -> web.Response:
    return web.json_response({"status": {"code": "OK"}, "data": data})
