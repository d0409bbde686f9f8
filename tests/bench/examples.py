"""What is written and read: the communication of a golden pair, as the service itself makes it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, urlsplit
from uuid import UUID

import orjson

from infra.ledger.mapper import to_payload
from infra.store.postgres_store import PostgresStore
from services.ids import format_id, new_id
from services.pipeline.method import BASE
from services.ports import AppendResult, Commit, StreamCommit
from services.projections import ViewRow
from tests.bench.wire import get, post
from tests.contract.scenes import Case, Scene, cases
from tests.fixtures.service import Api, Service, run_in_process

__all__ = [
    "Example",
    "Life",
    "caught",
    "events_only",
    "example",
    "fresh",
    "numbered",
    "shows",
    "systems",
]

CASE = "communications/show_1.json"
CONTACTS = 50
TOGETHER = 64
_numbers = count(1000)
SENT = {"life_cycle_state": "COMPLETED"}
RECEIVED = {"life_cycle_state": "COMPLETED", "direction": "INCOMING"}


@dataclass
class Example:
    """An organisation with contacts, and the body of a create for each of them."""

    api: Api
    bodies: list[dict[str, Any]]

    @property
    def port(self) -> int:
        """Of the service that it is in."""
        return urlsplit(self.api.service.url).port or 0

    async def create(self, n: int, changed: dict[str, Any]) -> dict[str, Any]:
        """A communication with one of the contacts."""
        body = self.bodies[n % len(self.bodies)]
        created: dict[str, Any] = await self.api.post("communications/create", **body | changed)
        return created

    async def created(self, many: int, changed: dict[str, Any]) -> list[dict[str, Any]]:
        """So many communications, as they were answered."""
        found: list[dict[str, Any]] = []
        for start in range(0, many, TOGETHER):
            numbers = range(start, min(start + TOGETHER, many))
            found += await asyncio.gather(*(self.create(n, changed) for n in numbers))
        return found

    def creates(self) -> list[str]:
        """Requests that create a communication with each contact."""
        bodies = [json.dumps({"token": self.api.token} | body | SENT) for body in self.bodies]
        return [post(BASE + "communications/create", body) for body in bodies]

    def shows(self, ids: Iterable[str]) -> list[str]:
        """Requests that show communications."""
        return shows(self.api, ids)


def shows(api: Api, ids: Iterable[str]) -> list[str]:
    """Requests that show communications, with a session's token."""
    path = f"{BASE}communications/show?token={quote(api.token)}&communication_identifier=id%3D"
    return [get(path + id_) for id_ in ids]


async def systems(api: Api, many: int) -> list[str]:
    """The ids of new external systems that messages may be sent by."""
    ids = [f"SYSTEM{n}" for n in range(many)]
    kind = "communication_queue_external_system"
    await api.register([{"kind": kind, "id": id_, "name": f"Sender {id_}"} for id_ in ids])
    return ids


def _case() -> Case:
    return next(case for case in cases() if case.name == CASE)


async def example(service: Service) -> Example:
    """Registers everything the golden pair starts from, and further contacts like its own."""
    case, scene = _case(), Scene(Api(service))
    await scene.prepare(case.given)
    body = scene.resolve(case.given["calls"][0]["body"])
    person = case.given["contacts"][0]["body"]
    bodies = []
    for n in range(CONTACTS):
        numbers = person["demographics"] | {"id_number": f"B{n}", "passport_number": f"P{n}"}
        contact = await scene.api.post(  # type: ignore[attr-defined]
            "contact_information/create", **person | {"demographics": numbers}
        )
        bodies.append(body | {"contact_information_identifier": {"id": contact["id"]}})
    return Example(scene.api, bodies)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Life:
    """The changes of one communication: it is received, and seen."""

    received: Commit
    seen: Commit
    organisation: str
    bodies: list[dict[str, Any]]

    @property
    def stream(self) -> UUID:
        """The communication."""
        return self.received.written[0].events[0].originator_id

    def payloads(self, stream: UUID, number: int) -> list[str]:
        """What its events would say of another one, encrypted for that."""
        return [
            to_payload(event, written.key).decode()
            for change in (self.received, self.seen)
            for written in fresh(events_only(change), stream, number).written
            for event in written.events
        ]


async def caught(url: str) -> Life:
    """Lets a service receive a communication and mark it as viewed, and keeps what it appends."""
    changes: list[Commit] = []
    append = PostgresStore.append

    async def appended(ledger: PostgresStore, organisation: str, change: Commit) -> AppendResult:
        changes.append(change)
        return await append(ledger, organisation, change)

    with patch.object(PostgresStore, "append", appended):
        async with run_in_process(url) as service:
            given = await example(service)
            created = await given.create(0, RECEIVED)
            on = {"communication_identifier": {"id": created["id"]}}
            await given.api.post("communications/set_as_viewed", **on)
    return Life(changes[-2], changes[-1], given.api.organisation, given.bodies)


def events_only(change: Commit) -> Commit:
    """The change without its documents."""
    return replace(change, rows=[])


def fresh(change: Commit, id_: UUID | None = None, number: int | None = None) -> Commit:
    """The same change of another entity, with a number and a code of its own."""
    (written,) = change.written
    old, new = written.events[0].originator_id, id_ or new_id()
    number = next(_numbers) if number is None else number
    command = new_id().hex
    events = [_event(event, new, number) for event in written.events]
    texts = {format_id(old): format_id(new)} | _numbered(written.events[0], number)
    return Commit(
        command=command,
        metadata=change.metadata | {"command": command},
        written=[StreamCommit(events, written.subject, written.key)],
        rows=[_row(row, new, texts) for row in change.rows],
        side_effects=change.side_effects,
    )


def numbered(number: int) -> dict[str, str]:
    """How a communication is called."""
    return {"number": f"CM{number:06d}", "code": str(number)}


def _event(event: Any, stream: UUID, number: int) -> Any:
    own = numbered(number) if hasattr(event, "code") else {}
    return replace(event, originator_id=stream, **own)


def _numbered(event: Any, number: int) -> dict[str, str]:
    """What stands in documents, and what is to stand there."""
    if not hasattr(event, "code"):
        return {}
    return {
        f'"{name}":"{getattr(event, name)}"': f'"{name}":"{value}"'
        for name, value in numbered(number).items()
    }


def _row(row: ViewRow, stream: UUID, texts: dict[str, str]) -> ViewRow:
    columns, document = orjson.dumps(row.columns), row.document
    assert document is not None
    for old, new in texts.items():
        columns = columns.replace(old.encode(), new.encode())
        document = document.replace(old.encode(), new.encode())
    return replace(row, stream=stream, columns=orjson.loads(columns), document=document)
