"""The service and a naive model of it take the same random walk and never differ.

Legal and illegal calls in any order, over HTTP; after each one the model says what the answer must
be, and now and then what everything must look like.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.fixtures.organisation import EXTERNAL_SYSTEM, organisation_client, person
from tests.fixtures.service import Api, Service, refusal
from tests.properties.model import OK, Message, Model

STEPS = 500
MEDIA = ("EMAIL", "SMS", "PHONE", "LETTER", "FACE_TO_FACE")
Json = dict[str, Any]


class Walk:
    """One organisation and its model."""

    def __init__(self, api: Api, seed: int) -> None:
        self.api = api
        self.model = Model()
        self.random = Random(seed)
        self.trail: list[Any] = []

    async def call(self, verb: str, path: str, given: Json) -> tuple[str, Any]:
        """NAME or OK, and ``data``."""
        self.trail.append((path, given))
        sent = {"query": given} if verb == "GET" else {"body": given}
        answer = await self.api.call(verb, f"communications/{path}", **sent)  # type: ignore[arg-type]
        code = answer["status"]["code"]
        return (OK if code == OK else refusal(answer)[0]), answer["data"]

    def said(self, *, some: bool) -> Json:
        """Passive fields in the model's terms; ``some`` of them for an update."""
        whole: Json = {
            "direction": self.random.choice(("INCOMING", "OUTGOING", "OUTGOING", "OUTGOING")),
            "media": self.random.choice(MEDIA),
            "subject": f"Subject {self.random.random()}",
            "to": self.random.choice(("a@b.c", "a@b.c", "a@b.c", "nobody", None)),
            "system": self.random.choice((None, EXTERNAL_SYSTEM)),
            "life_cycle_state": self.random.choice(("DRAFT", "DRAFT", "COMPLETED")),
        }
        if not some:
            return whole
        if self.random.random() < 0.1:
            whole["subject"] = self.random.choice((None, "", "  "))
        names = self.random.sample(sorted(whole), self.random.randint(0, 3))
        return {name: whole[name] for name in names}

    @staticmethod
    def worded(given: Json) -> Json:
        """The same in the contract's terms."""
        body = {name: value for name, value in given.items() if name != "system"}
        if "system" in given:
            system = given["system"] and {"id": given["system"]}
            body["communication_queue_external_system_identifier"] = system
        return body

    def number_of(self, numbers: list[str], otherwise: str) -> str:
        """A number, of late ones more often; sometimes one of nothing."""
        if not numbers or self.random.random() < 0.03:
            return otherwise
        return self.random.choice(numbers[-8:] if self.random.random() < 0.8 else numbers)

    async def step(self) -> None:
        kinds = (
            ["create"] * 2 + ["update"] * 3 + ["complete", "viewed"] + ["queue"] * 4 + ["read"] * 2
        )
        await getattr(self, self.random.choice(kinds))()

    async def create(self) -> None:
        given = self.said(some=False)
        body = self.worded(given) | {"content": "c"}
        contact = {"contact_information_identifier": {"number": "CI000001"}}
        code, data = await self.call("POST", "create", contact | body)
        assert code == self.model.create(given)
        if code == OK:
            self.compare(data, self.model.messages[-1])

    async def update(self) -> None:
        number = self.number_of([m.number for m in self.model.messages], "CM999999")
        given = self.said(some=True)
        named = {"communication_identifier": {"number": number}}
        code, data = await self.call("POST", "update", named | self.worded(given))
        told = {n: (v.strip() if n == "subject" and v else v) for n, v in given.items()}
        assert code == self.model.update(number, told)
        if code == OK:
            self.compare(data, self.model.message(number))

    async def complete(self) -> None:
        await self.on_message("complete", self.model.complete)

    async def viewed(self) -> None:
        await self.on_message("set_as_viewed", self.model.set_as_viewed)

    async def on_message(self, path: str, modelled: Any) -> None:
        number = self.number_of([m.number for m in self.model.messages], "41")
        named = {"communication_identifier": {"number": number}}
        code, data = await self.call("POST", path, named)
        assert code == modelled(number)
        if code == OK:
            message = self.model.message(number)
            assert message is not None
            for name in ("number", "life_cycle_state", "viewed", "subject"):
                assert data[name] == getattr(message, name)

    async def queue(self) -> None:
        path = self.random.choice(("process", "reject", "remove"))
        number = self.number_of([e.number for e in self.model.entries], "CM000001")
        body: Json = {"communication_queue_identifier": {"number": number}}
        error = None
        if path == "reject":
            error = self.random.choice(("E1", "E2", "E3", ""))
            body |= {"error_code": error, "error_description": "It failed"}
        code, data = await self.call("POST", f"queue/{path}", body)
        assert code == self.model.on_entry(path, number, error)
        if code == OK:
            self.compare_entry(data)

    async def read(self) -> None:
        by_media = self.random.random() < 0.5
        media = self.random.choice(MEDIA) if by_media else None
        system = None if by_media else EXTERNAL_SYSTEM
        count = self.random.choice((1, 5, 1000))
        method = self.random.choice(("list", "get_latest", "get_pending_completed"))
        size = "number" if method == "get_latest" else "number_of_results"
        query = {size: str(count)}
        if media:
            query["media"] = media
        else:
            query["communication_queue_external_system_identifier"] = f"id={system}"
        code, data = await self.call("GET", f"queue/{method}", query)
        assert code == OK
        assert [e["number"] for e in data] == self.model.listed(method, media, system, count)
        for entry in data:
            self.compare_entry(entry)

    def compare(self, data: Json, message: Message | None) -> None:
        assert message is not None
        for name in ("number", "direction", "media", "to", "subject", "life_cycle_state", "viewed"):
            assert data[name] == getattr(message, name), name
        system = data["communication_queue_external_system"]
        assert (system and system["id"]) == message.system
        assert data["from"] == message.from_

    def compare_entry(self, data: Json) -> None:
        entry = self.model.entry(data["number"])
        assert entry is not None
        assert data["life_cycle_state"] == entry.life_cycle_state
        assert data["error_code"] == entry.error_code
        assert data["communication"]["number"] == entry.message.number
        assert data["communication"]["subject"] == entry.message.subject
        assert data["communication"]["viewed"] == entry.message.viewed
        system = data["communication_queue_external_system"]
        assert (system and system["id"]) == entry.system

    async def look_at_everything(self) -> None:
        query = {"contact_information_identifier": "number=CI000001", "number_of_results": "1000"}
        code, data = await self.call("GET", "list", query)
        assert code == OK
        assert len(data) == len(self.model.messages)
        for shown, message in zip(data, self.model.messages, strict=True):
            self.compare(shown, message)
        for media in MEDIA:
            code, data = await self.call(
                "GET", "queue/list", {"media": media, "number_of_results": "1000"}
            )
            assert [e["number"] for e in data] == self.model.listed("list", media, None, 1000)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_random_walk(service: Service, seed: int) -> None:
    api = Api(service)
    await (await organisation_client(api)).register_settings(default_email_address="info@crm.com")
    await api.post("contact_information/create", **person())
    walk = Walk(api, seed)
    for n in range(STEPS):
        try:
            await walk.step()
            if n % 100 == 99:
                await walk.look_at_everything()
        except AssertionError as error:
            error.add_note(f"seed {seed}, step {n}; last calls: {walk.trail[-6:]}")
            raise
    assert walk.model.entries
