"""An organisation with customers and their access tokens, and short ways to make and use them."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from uuid import uuid4

import aiohttp

from services.pipeline.method import BASE
from tests.communications_world import Desk, desk
from tests.service import OPERATOR_KEY, PASSWORD, Api, Service, refusal
from tests.world import UNIT

__all__ = [
    "AUTOMATIC",
    "BARE",
    "CONSUMER_KEY_LOGIN",
    "LOGIN",
    "ON",
    "PASS_CODE",
    "VERIFIED",
    "Consumer",
    "TokenDesk",
    "basic",
    "by_code",
    "by_pass_code",
    "elsewhere",
    "token_desk",
    "tried",
    "unique",
]

Json = dict[str, Any]

ON = "access_token_identifier"
LOGIN = "authentication/token"
CONSUMER_KEY_LOGIN = "authentication/consumer_application_key/token"
PASS_CODE = "Pass-Code1"

BARE, VERIFIED, AUTOMATIC = {"name": "Bare"}, {"name": "Verified"}, {"name": "Automatic"}
"""Classifications: no identifier needed; a code to be verified first; pass codes made up."""

CLASSIFICATIONS: tuple[Json, ...] = (
    {"id": "CL1", "name": "Bare", "alternative_code": "B", "allow_no_identifier": True},
    {
        "id": "CL2",
        "name": "Verified",
        "alternative_code": "V",
        "allow_no_identifier": True,
        "generate_verification_code": True,
    },
    {"id": "CL3", "name": "Automatic", "alternative_code": "A", "pass_code_creation": "AUTOMATIC"},
)
SETTINGS: Json = {
    "consumer_username": "demo",
    "guess_limits": {"attempts_per_source": 1000, "attempts_per_token": 1000},
}
"""Tests that are not about guesses may guess as often as they like."""

_numbers = count(1)


def unique(prefix: str = "T") -> str:
    """A name that no other call of the run uses."""
    return f"{prefix}{next(_numbers)}-{uuid4().hex[:6]}"


def basic(key: str) -> dict[str, str]:
    """The header by which an application shows its key."""
    return {"Authorization": f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"}


def by_code(token: Json) -> Json:
    """A token shown by its authentication code."""
    return {"authentication_code": token["authentication_code"]}


def by_pass_code(token: Json, pass_code: Any = PASS_CODE) -> Json:
    """A token shown by its identifier and pass code."""
    return {"identifier": token["identifier"], "pass_code": pass_code}


@dataclass(frozen=True)
class Consumer:
    """A customer with an account, an access token related to it, and a session."""

    api: Api
    contact: str
    account: str
    participant: str
    token: Json


@dataclass
class TokenDesk(Desk):
    """A usable organisation; calls answer ``data`` and must not fail."""

    key: str = ""

    async def settings(self, **fields: Any) -> None:
        """Registers the organisation anew with these settings."""
        await super().settings(**SETTINGS | fields)

    async def definition(self, **fields: Any) -> Json:
        """The identifier of a new classification with these settings."""
        id_ = unique("CL")
        await self.register("access_token_classification", id_, name=id_, **fields)
        return {"id": id_}

    async def issue(self, **body: Any) -> Json:
        """A new token without identifier, unless the body says otherwise."""
        body = {"classification_identifier": BARE} | body
        return dict(await self.api.post("access_tokens/create", **body))

    async def pending(self, **body: Any) -> Json:
        """A new token that is not verified yet."""
        return await self.issue(classification_identifier=VERIFIED, **body)

    async def keyed(self, **body: Any) -> Json:
        """A new token with an identifier and the pass code ``PASS_CODE``."""
        return await self.issue(**{"identifier": unique(), "pass_code": PASS_CODE} | body)

    async def disabled(self, **body: Any) -> Json:
        """A new token that is not effective."""
        return await self.do("set_as_not_effective", await self.issue(**body))

    async def unissued(self, **body: Any) -> tuple[str, str]:
        """NAME and description with which a create is refused."""
        return await self.api.refused("access_tokens/create", **body)

    async def do(self, method: str, token: Json, **more: Any) -> Json:
        """A method on a token that is shown by its authentication code."""
        return dict(await self.api.post(f"access_tokens/{method}", **named(method, token) | more))

    async def undone(self, method: str, token: Json, **more: Any) -> tuple[str, str]:
        """NAME and description with which that is refused."""
        return await self.api.refused(f"access_tokens/{method}", **named(method, token) | more)

    async def look(self, token: Json, **more: Any) -> Json:
        """A token as it is shown now."""
        return await self.do("show", token, **more)

    async def once(self, token: Json) -> str:
        """A new one-time password."""
        return str((await self.do("generate_otp", token))["one_time_password"])

    async def account(self, id_: str = "", **fields: Any) -> str:
        """The id of a new account, or the same with other fields."""
        id_ = id_ or unique("AR")
        base = {"number": id_, "name": id_, "life_cycle_state": "ACTIVE"}
        await self.register("accounts_receivable", id_, **base | fields)
        return id_

    async def participant(self, account: str | None, id_: str = "", **fields: Any) -> str:
        """The id of a new rewards participant, or the same with other fields."""
        id_ = id_ or unique("RP")
        base = {"number": id_, "accounts_receivable_id": account, "life_cycle_state": "ACTIVE"}
        await self.register("rewards_participant", id_, **base | fields)
        return id_

    async def owned(self, **fields: Any) -> str:
        """The id of a new account that belongs to the first contact."""
        return await self.account(account_owner_id=self.reader, **fields)

    async def enter(self, shown: Json, **more: Any) -> Json:
        """The envelope of a customer's login through an application."""
        return await self.api.open(CONSUMER_KEY_LOGIN, {ON: shown} | more, basic(self.key))

    async def entered(self, shown: Json) -> Api:
        """A consumer session that must come about."""
        answer = await self.enter(shown)
        assert answer["status"]["code"] == "OK", answer
        return Api(self.api.service, self.api.organisation, answer["data"]["token"])

    async def consumer(self) -> Consumer:
        """A new customer who has logged in."""
        contact = await self.contact()
        account = await self.account(account_owner_id=contact)
        participant = await self.participant(account)
        token = await self.issue(accounts_receivable_identifier={"id": account})
        api = await self.entered(by_code(token))
        return Consumer(api, contact, account, participant, token)

    async def forgive(self, token: Json) -> None:
        """An operator lifts the waits after wrong guesses."""
        path = f"/operator/v1/access_tokens/{token['number']}/forgive"
        query = {"organisation": self.api.organisation}
        key = {"Authorization": f"Bearer {OPERATOR_KEY}"}
        status, answer, _ = await self.api.service.send("POST", path, query=query, headers=key)
        assert status == 200, answer

    def referring(self, shown: Json, kind: str = "accounts_receivable") -> tuple[str, Json]:
        """A communication about what a token leads to: path and body."""
        links = {f"{kind}_identifier": {ON: shown}}
        return "communications/create", self.body(referring_to=links)

    async def refer(self, shown: Json, kind: str = "accounts_receivable") -> str:
        """``OK`` or the NAME with which such a communication is refused."""
        path, body = self.referring(shown, kind)
        answer = await self.api.call("POST", path, body=body)
        return "OK" if answer["status"]["code"] == "OK" else refusal(answer)[0]


def named(method: str, token: Json) -> Json:
    """The parameters by which a method knows its token: an object, or keys of the body."""
    return by_code(token) if method.startswith("reset_") else {ON: by_code(token)}


async def tried(
    api: Api, path: str, body: Json, headers: Mapping[str, str] | None = None
) -> tuple[str, int]:
    """``OK`` or the NAME of the refusal of a POST, and its seconds of Retry-After (0: none)."""
    data = json.dumps({"token": api.token} | body).encode()
    _, answer, said = await api.service.send("POST", BASE + path, data=data, headers=headers)
    name = "OK" if answer["status"]["code"] == "OK" else refusal(answer)[0]
    return name, int(said.get("Retry-After", 0))


@asynccontextmanager
async def elsewhere(api: Api, address: str) -> AsyncIterator[Api]:
    """The same organisation for somebody with another network address (127.0.0.x)."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with aiohttp.ClientSession(connector=connector) as http:
        yield Api(replace(api.service, http=http), api.organisation, api.token)


async def token_desk(service: Service) -> TokenDesk:
    """An organisation of its own on ``service``, whose first contact owns no account."""
    begun = await desk(service)
    made = TokenDesk(begun.api, begun.contacts, uuid4().hex.upper())
    await made.settings()
    records = [{"kind": "access_token_classification"} | record for record in CLASSIFICATIONS]
    application = {"id": "AP1", "classification": "CONSUMER_APPLICATION_KEY", "user_id": "1"}
    user = {"kind": "user", "id": "2", "username": "second", "default_unit_id": UNIT}
    user |= {"password": PASSWORD}
    await made.api.register(
        [*records, {"kind": "web_api_key", "key": made.key} | application, user]
    )
    return made
