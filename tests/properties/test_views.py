"""Whatever is done, the views that commands wrote are those that a rebuild would write."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.postgres.embedded.server import EmbeddedPostgres
from tests.fixtures import databases
from tests.fixtures.access_tokens import ON, TokensClient, by_code, tokens_client
from tests.fixtures.organisation import company, person
from tests.fixtures.read_models import run_rebuild, run_verify
from tests.fixtures.service import run_in_process

pytestmark = pytest.mark.slow

STEPS = (
    *("contact", "company", "rename", "phone", "marketing", "own", "disown"),
    *("draft", "change", "complete", "view", "mail", "process", "reject", "remove"),
    *("retire", "reinstate", "setting", "login", "release"),
    *("issue", "pending", "verify", "amend", "once", "use", "off", "on", "end", "back", "enter"),
)


@pytest_asyncio.fixture(scope="module")
async def own(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[tuple[str, TokensClient]]:
    """An organisation in a database of its own, and the database."""
    async with databases.database(postgres, template) as url, run_in_process(url) as service:
        yield url, await tokens_client(service)


TOKENS = STEPS[STEPS.index("issue") :]


class Player:
    """Takes steps; those that are not legal where they come are refused, which changes nothing."""

    def __init__(self, made: TokensClient) -> None:
        self.made = made
        self.contacts = list(made.contacts)
        self.said: list[dict[str, Any]] = []
        self.queued: list[dict[str, Any]] = []
        self.tokens: list[dict[str, Any]] = []
        self.password = ""

    async def step(self, name: str, n: int) -> None:
        contact = self.contacts[n % len(self.contacts)]
        if name in ("contact", "company"):
            body = company() if name == "company" else person()
            self.contacts.append(await self.made.new_contact(body))
        elif name in ("rename", "phone", "marketing"):
            await self.update(name, contact, n)
        elif name in ("own", "disown", "retire", "reinstate", "setting"):
            await self.register(name, contact, n)
        elif name == "login":
            self.made.api.token = await self.made.api.login()
        elif name == "release":
            await self.made.api.call("POST", "authentication/token/release", body={})
            self.made.api.token = ""
        elif name in TOKENS:
            await self.show(name, contact, n)
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
            await self.made.register_settings(unique_person=["id_number"] if n % 2 else [])
        elif name in ("own", "disown"):
            owner = contact if name == "own" else None
            await self.made.register("accounts_receivable", f"A{n}", account_owner_id=owner)
        else:
            await self.made.register("lead", f"LX{n}", number=f"LX{n}", retired=name == "retire")

    async def show(self, name: str, contact: str, n: int) -> None:
        """What happens to access tokens, and to accounts that have some."""
        made, account = self.made, f"T{n % 2}"
        if name in ("issue", "pending", "end", "back"):
            states = ({"retired": True}, {"life_cycle_state": "TERMINATED"})
            fields = states[n % 2] if name == "end" else {}
            await made.register_account(account, account_owner_id=contact, **fields)
        if name in ("issue", "pending"):
            make = made.create_pending_token if name == "pending" else made.create_token
            of = {"accounts_receivable_identifier": {"id": account}} if n else {}
            self.tokens.append(await make(**of))
        elif name == "use":
            await made.add_reference({"one_time_password": self.password or "none"})
        elif self.tokens and name not in ("end", "back"):
            await self.act(name, self.tokens[n % len(self.tokens)], n)

    async def act(self, name: str, token: dict[str, Any], n: int) -> None:
        if name == "enter":
            await self.made.log_in(by_code(token))
            return
        more: dict[str, dict[str, Any]] = {
            "verify": {"verification_code": token["verification_code"] or "0"},
            "amend": {"udf_string_1": f"U{n}"},
        }
        methods = {"amend": "update", "once": "generate_otp", "on": "set_as_effective"}
        methods |= {"off": "set_as_not_effective", "verify": "verify"}
        body = {ON: by_code(token)} | more.get(name, {})
        answer = await self.made.api.call("POST", f"access_tokens/{methods[name]}", body=body)
        self.password = answer["data"].get("one_time_password", self.password)

    async def talk(self, name: str, n: int) -> None:
        made = self.made
        if name == "draft":
            self.said.append(await made.create_draft())
        elif name == "mail":
            self.queued.append(await made.create_email())
        elif name in ("process", "reject", "remove"):
            if self.queued:
                await made.call_queue(name, self.queued[n % len(self.queued)])
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
    own: tuple[str, TokensClient], steps: list[tuple[str, int]]
) -> None:
    url, made = own
    player = Player(made)
    for name, n in steps:
        await player.step(name, n)
    assert (await run_verify(url)).differences == []
    report = await run_rebuild(url)
    assert report.switched, report.differences
