"""The clients' side of the story: what was asked of the service, and what it answered.

A journal drives real HTTP writes and keeps every attempt with its answer, or that there was none.
`tests.faults.invariants` then holds it against what is stored.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import aiohttp

from services.pipeline.method import BASE
from tests.fixtures.organisation import OrganisationClient, organisation_client
from tests.fixtures.service import Api, Service

__all__ = ["ACKNOWLEDGED", "REFUSED", "UNKNOWN", "Attempt", "Journal", "begun"]

Json = dict[str, Any]

ACKNOWLEDGED, REFUSED, UNKNOWN = "ACKNOWLEDGED", "REFUSED", "UNKNOWN"
UNWRITTEN = {"nothing was written", "the database is away", "too many calls are waiting"}
"""Reasons of HTTP 503 by which the service says that it has written nothing."""

CREATE, UPDATE = "contact_information/create", "contact_information/update"
SAY, PROCESS = "communications/create", "communications/queue/process"


@dataclass
class Attempt:
    """One request. ``id`` is its X-Request-Id, which its events carry."""

    id: str
    path: str
    body: Json
    key: str | None = None
    status: int = 0
    retry_after: str | None = None
    answer: Json | None = None

    @property
    def outcome(self) -> str:
        """What the client may rely on."""
        if self.answer is None:
            return UNKNOWN
        said = self.answer["status"]
        if said["code"] == "OK":
            return ACKNOWLEDGED
        if self.status == 503 and said["description"] not in UNWRITTEN:
            return UNKNOWN
        return REFUSED

    @property
    def data(self) -> Any:
        assert self.answer is not None
        return self.answer["data"]


@dataclass
class Journal:
    """Writes of clients of one organisation; ``service`` may be replaced by one that took over."""

    api: Api
    service: Service
    attempts: list[Attempt] = field(default_factory=list)
    contacts: list[str] = field(default_factory=list)
    queue: list[str] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    stopped: bool = False

    @property
    def organisation(self) -> str:
        return self.api.organisation

    def at_service(self) -> Api:
        """The organisation as this journal's service serves it."""
        return replace(self.api, service=self.service)

    async def send(self, path: str, body: Json, key: str | None = None) -> Attempt:
        """One request, once; never raises for what happens to it."""
        attempt = Attempt(uuid4().hex, path, body, key)
        self.attempts.append(attempt)
        headers = {"X-Request-Id": attempt.id, "Content-Type": "application/json"}
        data = json.dumps({"token": self.api.token} | body).encode()
        try:
            attempt.status, answer, answer_headers = await self.service.send(
                "POST",
                BASE + path,
                data=data,
                headers=headers | ({"Idempotency-Key": key} if key else {}),
            )
        except (aiohttp.ClientError, TimeoutError, OSError):
            return attempt
        attempt.answer, attempt.retry_after = answer, answer_headers.get("Retry-After")
        return attempt

    async def settle(self, attempt: Attempt) -> Attempt:
        """The same request with the same key until the answer is one to rely on."""
        assert attempt.key
        while attempt.outcome == UNKNOWN or attempt.status == 503:
            await asyncio.sleep(0.05)
            attempt = await self.send(attempt.path, attempt.body, attempt.key)
        return attempt

    async def create(self, key: str | None = None) -> Attempt:
        """A new contact, who can be changed and written to once it is acknowledged."""
        attempt = await self.send(CREATE, self.person(), key)
        if attempt.outcome == ACKNOWLEDGED:
            self.contacts.append(attempt.data["id"])
        return attempt

    def person(self) -> Json:
        name = f"Lannister-{uuid4().hex}"
        mail = {"type": "PERSONAL", "email_address": f"{name}@example.com"}
        return {
            "type": "PERSON",
            "first_name": "Tyrion",
            "last_name": name,
            "email_address_set": [mail],
        }

    async def update(self, contact: str, key: str | None = None) -> Attempt:
        """A change of a contact that is never the same as another."""
        named = {"contact_information_identifier": {"id": contact}}
        return await self.send(UPDATE, named | {"middle_name": f"M-{uuid4().hex}"}, key)

    async def say(self, contact: str, key: str | None = None) -> Attempt:
        """A message to a contact, which is queued in the same command."""
        body = {
            "contact_information_identifier": {"id": contact},
            "direction": "OUTGOING",
            "media": "EMAIL",
            "to": "tyrion@example.com",
            "subject": f"S-{uuid4().hex}",
            "content": "Call us",
        }
        return await self.send(SAY, body, key)

    async def process(self, entry: str, key: str | None = None) -> Attempt:
        """Says of a queue entry that it was sent; all but the first are refused."""
        return await self.send(PROCESS, {"communication_queue_identifier": {"id": entry}}, key)

    async def anything(self) -> Attempt:
        """One write of any kind, every second one with a key."""
        key = uuid4().hex if self.chance.random() < 0.5 else None
        kind = self.chance.random() if self.contacts else 0.0
        if kind < 0.35:
            return await self.create(key)
        contact = self.chance.choice(self.contacts[-8:])
        if kind < 0.65:
            return await self.update(contact, key)
        if kind < 0.9 or not self.queue:
            return await self.say(contact, key)
        return await self.process(self.chance.choice(self.queue), key)

    async def work(self) -> None:
        """One client: write after write until the journal is stopped, keyed ones to the end."""
        while not self.stopped:
            attempt = await self.anything()
            if attempt.key:
                await self.settle(attempt)
            elif attempt.outcome != ACKNOWLEDGED:
                await asyncio.sleep(0.02)

    async def acknowledged(self, more: int) -> None:
        """Waits until so many more attempts than now are acknowledged."""
        wanted = self.count(ACKNOWLEDGED) + more
        async with asyncio.timeout(60):
            while self.count(ACKNOWLEDGED) < wanted:
                await asyncio.sleep(0.02)

    def count(self, outcome: str) -> int:
        return sum(attempt.outcome == outcome for attempt in self.attempts)

    def keyed(self) -> dict[str, list[Attempt]]:
        """The attempts of each idempotency key."""
        found: dict[str, list[Attempt]] = {}
        for attempt in self.attempts:
            if attempt.key:
                found.setdefault(attempt.key, []).append(attempt)
        return found


async def begun(service: Service, contacts: int = 2) -> Journal:
    """The journal of a new, usable organisation with some contacts and something in its queue."""
    api = Api(service)
    await usable(api)
    journal = Journal(api, service)
    await asyncio.gather(*(journal.create() for _ in range(contacts)))
    await asyncio.gather(*(journal.say(contact) for contact in journal.contacts))
    assert journal.count(ACKNOWLEDGED) == 2 * contacts, journal.attempts
    queue = await api.get("communications/queue/list", media="EMAIL", number_of_results=1000)
    journal.queue = [entry["id"] for entry in queue]
    return journal


async def usable(api: Api) -> OrganisationClient:
    """Registers what calls need and begins the session."""
    made = await organisation_client(api)
    api.token = await api.login()
    return made
