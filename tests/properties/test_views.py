"""Whatever is done, the views that commands wrote are those that a rebuild would write."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.embedded import EmbeddedPostgres
from tests import databases
from tests.communications_world import Desk, desk
from tests.service import in_process
from tests.views_world import rebuilt, verified
from tests.world import company, person

STEPS = (
    *("contact", "company", "rename", "phone", "marketing", "own", "disown"),
    *("draft", "change", "complete", "view", "mail", "process", "reject", "remove"),
    *("retire", "reinstate", "setting", "login", "release"),
)


@pytest_asyncio.fixture(scope="module")
async def own(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[tuple[str, Desk]]:
    """An organisation in a database of its own, and the database."""
    async with databases.database(postgres, template) as url, in_process(url) as service:
        yield url, await desk(service)


class Player:
    """Takes steps; those that are not legal where they come are refused, which changes nothing."""

    def __init__(self, made: Desk) -> None:
        self.made = made
        self.contacts = list(made.contacts)
        self.said: list[dict[str, Any]] = []
        self.queued: list[dict[str, Any]] = []

    async def step(self, name: str, n: int) -> None:
        contact = self.contacts[n % len(self.contacts)]
        if name in ("contact", "company"):
            body = company() if name == "company" else person()
            self.contacts.append(await self.made.contact(body))
        elif name in ("rename", "phone", "marketing"):
            await self.update(name, contact, n)
        elif name in ("own", "disown", "retire", "reinstate", "setting"):
            await self.register(name, contact, n)
        elif name == "login":
            self.made.api.token = await self.made.api.login()
        elif name == "release":
            await self.made.api.call("POST", "authentication/token/release", body={})
            self.made.api.token = ""
        else:
            await self.talk(name, n)

    async def update(self, name: str, contact: str, n: int) -> None:
        bodies: dict[str, Any] = {
            "rename": {"last_name": f"Name {n}", "company_name": f"Firm {n}"},
            "phone": {"phone_set": [{"action": "ADD", "type": "MOBILE", "number": "22114455"}]},
            "marketing": {"send_direct_marketing_material": n % 2 == 0},
        }
        named = {"contact_information_identifier": {"id": contact}}
        body = named | bodies[name]
        await self.made.api.call("POST", "contact_information/update", body=body)

    async def register(self, name: str, contact: str, n: int) -> None:
        if name == "setting":
            await self.made.settings(unique_person=["id_number"] if n % 2 else [])
        elif name in ("own", "disown"):
            owner = contact if name == "own" else None
            await self.made.register("accounts_receivable", f"A{n}", account_owner_id=owner)
        else:
            await self.made.register("lead", f"LX{n}", number=f"LX{n}", retired=name == "retire")

    async def talk(self, name: str, n: int) -> None:
        made = self.made
        if name == "draft":
            self.said.append(await made.draft())
        elif name == "mail":
            self.queued.append(await made.mail())
        elif name in ("process", "reject", "remove"):
            if self.queued:
                await made.queue(name, self.queued[n % len(self.queued)])
        elif self.said:
            method = {"change": "update", "complete": "complete", "view": "set_as_viewed"}[name]
            named = {"communication_identifier": {"id": self.said[n % len(self.said)]["id"]}}
            more = {"subject": f"S{n}"} if name == "change" else {}
            await made.api.call("POST", f"communications/{method}", body=named | more)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5)), min_size=5, max_size=25)
)
async def test_inline_views_are_the_rebuilt_ones(
    own: tuple[str, Desk], steps: list[tuple[str, int]]
) -> None:
    url, made = own
    player = Player(made)
    for name, n in steps:
        await player.step(name, n)
    assert (await verified(url)).differences == []
    report = await rebuilt(url)
    assert report.switched, report.differences
