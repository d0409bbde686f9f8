"""Sessions that end for good (authentication.md, section 2): what brought the end about may be undone, they may not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from infra.http.api.routes import IMAGES
from infra.http.audit.routes import AUDIT
from infra.http.browser.history import COOKIE, PAGES
from infra.http.operators.sessions import OPERATOR
from infra.store.postgres_store import PostgresStore
from services.pipeline.shown_secrets import Proof
from services.pipeline.token_proofs import Authenticator
from tests.contract.test_authentication_customers import sees
from tests.contract.test_authentication_sessions import claims_of, outcome, signed
from tests.fixtures.access_tokens import (
    CONSUMER_KEY_LOGIN,
    LOGIN,
    ON,
    PASS_CODE,
    ConsumerSession,
    TokensClient,
    basic,
    by_code,
    by_pass_code,
    tokens_client,
    unique_code,
)
from tests.fixtures.organisation import UNIT
from tests.fixtures.read_models import connection
from tests.fixtures.service import OPERATOR_KEY, PASSWORD, Api, Service, refusal, run_in_process
from tests.fixtures.waits import wait_until_blocked

Json = dict[str, Any]
KEY_LOGIN = "authentication/web_api_key/token"
ACCOUNT, PARTICIPANT = "accounts_receivable_identifier", "rewards_participant_identifier"
BEARER = {"Authorization": f"Bearer {OPERATOR_KEY}"}


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    return await tokens_client(service)


class User:
    """A user with a password and a systemic key, and how each is registered."""

    def __init__(self, client: TokensClient) -> None:
        self.client, self.api = client, client.api
        self.id, self.name, self.key = uuid4().hex[:8], unique_code("u"), uuid4().hex.upper()

    async def register(self, password: str = PASSWORD, **more: Any) -> None:
        base = {"username": self.name, "default_unit_id": UNIT, "password": password}
        await self.client.register("user", self.id, **base | more)

    async def register_key(self, **more: Any) -> None:
        base = {"classification": "SYSTEMIC_KEY", "user_id": self.id, "key": self.key}
        await self.client.register("web_api_key", f"K{self.id}", **base | more)

    async def sessions(self, password: str = PASSWORD) -> list[str]:
        """A session by password and one by the key."""
        answer = await self.api.open(KEY_LOGIN, {}, basic(self.key))
        assert answer["status"]["code"] == "OK", answer
        return [await self.api.login(self.name, password), str(answer["data"]["token"])]


async def change_password(user: User) -> None:
    await user.register("another-password")
    await user.register(PASSWORD)


async def retire(user: User) -> None:
    await user.register(retired=True)
    await user.register()


async def change_key(user: User) -> None:
    await user.register_key(key=uuid4().hex.upper())
    await user.register_key()


async def retire_key(user: User) -> None:
    await user.register_key(retired=True)
    await user.register_key()


async def give_key_away(user: User) -> None:
    await user.register_key(user_id="2")
    await user.register_key()


async def end_all(user: User) -> None:
    query = {"organisation": user.api.organisation, "user": user.name.upper()}
    status, _, _ = await user.api.service.send(
        "POST", f"{OPERATOR}sessions/release", query=query, headers=BEARER
    )
    assert status == 200


@pytest.mark.parametrize(
    "end", [change_password, retire, change_key, retire_key, give_key_away, end_all]
)
async def test_of_a_user(client: TokensClient, end: Callable[[User], Awaitable[None]]) -> None:
    user = User(client)
    await user.register()
    await user.register_key()
    others = await client.api.login("second")
    sessions = await user.sessions()
    assert [await outcome(client.api, token) for token in sessions] == ["OK", "OK"]
    await end(user)
    assert [await outcome(client.api, token) for token in sessions] == ["INVALIDTOKEN"] * 2
    # The user is none the worse for it, and nobody else is touched.
    for token in (*await user.sessions(), others if end is not give_key_away else ""):
        assert not token or await outcome(client.api, token) == "OK"


async def test_what_changes_nothing_ends_nothing(client: TokensClient) -> None:
    user = User(client)
    await user.register()
    await user.register_key()
    sessions = await user.sessions()
    await user.register(person_name="Ada", roles=["service", "auditor"])
    await user.register(PASSWORD)
    await user.register_key()
    await client.register(
        "web_api_key", "KN", key=uuid4().hex, classification="SYSTEMIC_KEY", user_id=user.id
    )
    assert [await outcome(client.api, token) for token in sessions] == ["OK", "OK"]


async def disable_token(client: TokensClient, customer: ConsumerSession, token: Json) -> None:
    await client.register_account(customer.account, account_owner_id=customer.contact)
    await client.call_token("set_as_not_effective", token)
    await client.call_token("set_as_effective", token)


async def change_code(client: TokensClient, customer: ConsumerSession, token: Json) -> None:
    other = unique_code()
    await client.call_token("update", token, authentication_code=other)
    back = {"authentication_code": token["authentication_code"]}
    await client.call_token("update", {"authentication_code": other}, **back)


async def change_identifier(client: TokensClient, customer: ConsumerSession, token: Json) -> None:
    for identifier in (unique_code(), token["identifier"]):
        await client.call_token("update", token, identifier=identifier, pass_code=PASS_CODE)


async def change_pass_code(client: TokensClient, customer: ConsumerSession, token: Json) -> None:
    await client.call_token("update", token, pass_code="another-code-4711")
    await client.call_token("update", token, pass_code=PASS_CODE)


async def reset_pass_code(client: TokensClient, customer: ConsumerSession, token: Json) -> None:
    await client.call_token("reset_pass_code", token)
    await client.call_token("update", token, pass_code=PASS_CODE)


async def retire_account(client: TokensClient, customer: ConsumerSession, token: Json) -> None:
    owner = {"account_owner_id": customer.contact}
    await client.register_account(customer.account, **owner, retired=True)
    await client.register_account(customer.account, **owner)
    if (await client.show_token(token))["life_cycle_state"] != "EFFECTIVE":
        await client.call_token("set_as_effective", token)


async def change_owner(client: TokensClient, customer: ConsumerSession, token: Json) -> None:
    await client.register_account(customer.account, account_owner_id=client.contacts[1])
    await client.register_account(customer.account, account_owner_id=customer.contact)


async def retire_participant(client: TokensClient, customer: ConsumerSession, token: Json) -> None:
    await client.register_participant(customer.account, customer.participant, retired=True)
    await client.register_participant(customer.account, customer.participant)
    if (await client.show_token(token))["life_cycle_state"] != "EFFECTIVE":
        await client.call_token("set_as_effective", token)


async def move_participant(client: TokensClient, customer: ConsumerSession, token: Json) -> None:
    await client.register_participant(await client.create_owned_token(), customer.participant)
    await client.register_participant(customer.account, customer.participant)


async def change_app_key(client: TokensClient, customer: ConsumerSession, token: Json) -> None:
    application = {"classification": "CONSUMER_APPLICATION_KEY", "user_id": "1"}
    for key in (uuid4().hex.upper(), client.key):
        await client.register("web_api_key", "AP1", key=key, **application)
    client.api.token = await client.api.login()


THROUGH_ACCOUNT = [
    disable_token,
    change_code,
    change_identifier,
    change_pass_code,
    reset_pass_code,
    retire_account,
    change_owner,
    change_app_key,
]
THROUGH_PARTICIPANT = [retire_account, change_owner, retire_participant, move_participant]


@pytest.mark.parametrize(
    ("way", "end"),
    [
        *((ACCOUNT, end) for end in THROUGH_ACCOUNT),
        *((PARTICIPANT, end) for end in THROUGH_PARTICIPANT),
    ],
)
async def test_of_a_customer(
    client: TokensClient, way: str, end: Callable[..., Awaitable[None]]
) -> None:
    customer = await client.consumer_session()
    related = customer.account if way == ACCOUNT else customer.participant
    settings = {"allow_no_identifier": True, "not_effective_when_unrelated": False}
    named = await client.register_definition(**settings)
    token = await client.create_keyed_token(
        classification_identifier=named, authentication_code=unique_code(), **{way: {"id": related}}
    )
    session = await client.logged_in_api(by_pass_code(token))
    assert await sees(session, customer.contact) == "OK"
    await end(client, customer, token)
    assert await sees(session, customer.contact) == "INVALIDTOKEN"
    again = await client.logged_in_api(by_code(token))
    assert await sees(again, customer.contact) == "OK"


async def test_the_user_of_customers_ends_their_sessions(service: Service) -> None:
    own = await tokens_client(service)
    customer = await own.consumer_session()
    user = {"username": "demo", "default_unit_id": UNIT}
    await own.register("user", "1", **user, password="another-password")
    assert await sees(customer.api, customer.contact) == "INVALIDTOKEN"


async def test_verifying_a_token_takes_nobody_s_session_along(client: TokensClient) -> None:
    customer = await client.consumer_session()
    pending = await client.create_pending_token(**{ACCOUNT: {"id": customer.account}})
    code = {"verification_code": pending["verification_code"]}
    await client.api.post("access_tokens/verify", **{ON: by_code(pending)}, **code)
    assert await sees(customer.api, customer.contact) == "OK"


async def test_the_stored_expiry_counts_too(client: TokensClient) -> None:
    token = await client.api.login()
    longer = signed(claims_of(token) | {"exp": claims_of(token)["exp"] + 10**6})
    assert await outcome(client.api, longer) == "OK"
    update = "UPDATE views.sessions SET expires_at = $2 WHERE id = $1"
    session, until = claims_of(token)["jti"], claims_of(token)["exp"]
    async with connection(client.api.service.database) as owner:
        await owner.execute(update, session, int(time.time()))
        assert await outcome(client.api, token) == "TOKENEXPIRED"
        assert await outcome(client.api, longer) == "TOKENEXPIRED"
        # Others compare the views with the events.
        await owner.execute(update, session, until)


@asynccontextmanager
async def held_appends(api: Api) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """Nothing is written until the end of the block; what it yields waits until so many processes want to."""
    async with connection(api.service.database) as owner:
        lock = "SELECT pg_advisory_{}(ledger.append_lock($1))"
        await owner.fetch(lock.format("lock"), api.organisation)

        async def want(count: int) -> None:
            await wait_until_blocked(owner, count, "advisory")

        try:
            yield want
        finally:
            await owner.fetch(lock.format("unlock"), api.organisation)


@pytest_asyncio.fixture
async def elsewhere(client: TokensClient) -> AsyncIterator[Api]:
    """Another process, whose commits are not in one batch with those of the first."""
    async with run_in_process(client.api.service.database) as running:
        yield Api(running, client.api.organisation)


async def test_a_login_that_passed_before_the_password_was_changed(
    client: TokensClient, elsewhere: Api
) -> None:
    user = User(client)
    await user.register()
    async with held_appends(client.api) as want:
        change = asyncio.create_task(user.register("another-password"))
        await want(1)
        login = asyncio.create_task(elsewhere.login(user.name, PASSWORD))
        await want(2)
    await change
    assert await outcome(client.api, await login) == "INVALIDTOKEN"


async def test_a_login_by_a_key_that_is_being_changed(client: TokensClient, elsewhere: Api) -> None:
    user = User(client)
    await user.register()
    await user.register_key()
    async with held_appends(client.api) as want:
        change = asyncio.create_task(user.register_key(key=uuid4().hex.upper()))
        await want(1)
        login = asyncio.create_task(elsewhere.open(KEY_LOGIN, {}, basic(user.key)))
        await want(2)
    await change
    assert await outcome(client.api, (await login)["data"]["token"]) == "INVALIDTOKEN"


async def test_a_customer_s_login_while_the_token_is_disabled(
    client: TokensClient, elsewhere: Api
) -> None:
    customer = await client.consumer_session()
    body = {ON: by_code(customer.token)}
    async with held_appends(client.api) as want:
        change = asyncio.create_task(client.call_token("set_as_not_effective", customer.token))
        await want(1)
        login = asyncio.create_task(elsewhere.open(CONSUMER_KEY_LOGIN, body, basic(client.key)))
        await want(2)
    await change
    await client.call_token("set_as_effective", customer.token)
    late = Api(client.api.service, client.api.organisation, (await login)["data"]["token"])
    assert await sees(late, customer.contact) == "INVALIDTOKEN"


async def test_what_operators_are_told_of_a_user(client: TokensClient) -> None:
    user = User(client)
    await user.register()
    await user.register_key()
    sessions = {claims_of(token)["jti"] for token in await user.sessions()}
    send, query = client.api.service.send, {"organisation": client.api.organisation}

    async def listed(name: str) -> set[str]:
        _, answer, _ = await send(
            "GET", f"{OPERATOR}sessions", query=query | {"user": name}, headers=BEARER
        )
        return {session["id"] for session in answer["data"]}

    assert await listed(user.name) == await listed(user.id) == sessions
    await end_all(user)
    assert await listed(user.name) == set()


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        ({"user": "nobody"}, BEARER, (404, "ENTITYNOTFOUND")),
        ({}, BEARER, (400, "MANDATORYPARAMETER")),
        ({"user": "demo"}, {}, (401, "INVALIDTOKEN")),
    ],
)
async def test_ending_refused(
    client: TokensClient, query: Json, headers: Json, expected: tuple[int, str]
) -> None:
    token = await client.api.login()
    status, answer, _ = await client.api.service.send(
        "POST",
        f"{OPERATOR}sessions/release",
        query={"organisation": client.api.organisation} | query,
        headers=headers,
    )
    assert (status, expected[1] in answer["status"]["code"]) == (expected[0], True)
    assert await outcome(client.api, token) == "OK"


async def test_ending_is_attributed_and_may_be_repeated(client: TokensClient) -> None:
    user = User(client)
    await user.register()
    for _ in range(2):
        await end_all(user)
    async with connection(client.api.service.database) as owner:
        rows = await owner.fetch(
            """SELECT metadata ->> 'source' AS source FROM ledger.events
                WHERE organisation = $1 AND topic = 'record.sessions_ended' ORDER BY position DESC LIMIT 2""",
            client.api.organisation,
        )
    assert len({row["source"] for row in rows}) == 2
    assert await outcome(client.api, await client.api.login(user.name)) == "OK"


async def test_logins_by_password_of_customers_end_too(client: TokensClient) -> None:
    customer = await client.consumer_session()
    body = {"organisation": client.api.organisation, ON: by_code(customer.token)}
    token = (await client.api.open(LOGIN, body))["data"]["token"]
    session = Api(client.api.service, client.api.organisation, token)
    assert await sees(session, customer.contact) == "OK"
    await change_owner(client, customer, customer.token)
    assert await sees(session, customer.contact) == "INVALIDTOKEN"


async def test_a_key_that_is_changed_once_it_was_found(
    client: TokensClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = User(client)
    await user.register()
    await user.register_key()
    find, changes = PostgresStore.claim_holder, [uuid4().hex.upper()]

    async def find_and_change(store: PostgresStore, *claims: str) -> tuple[str, str] | None:
        holder = await find(store, *claims)
        if changes:
            await user.register_key(key=changes.pop())
        return holder

    monkeypatch.setattr(PostgresStore, "claim_holder", find_and_change)
    assert refusal(await client.api.open(KEY_LOGIN, {}, basic(user.key)))[0] == "INVALIDWEBAPIKEY"


async def test_a_code_that_is_changed_once_it_was_shown(
    client: TokensClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await client.consumer_session()
    code = {"authentication_code": unique_code()}
    token = await client.create_keyed_token(**code, **{ACCOUNT: {"id": customer.account}})
    verify = Authenticator.verify

    async def verify_and_change(*arguments: Any) -> Proof:
        proof = await verify(*arguments)
        monkeypatch.setattr(Authenticator, "verify", verify)
        await client.call_token("reset_pass_code", token)
        return proof

    monkeypatch.setattr(Authenticator, "verify", verify_and_change)
    assert refusal(await client.log_in(by_pass_code(token)))[0] == "INVALIDCREDENTIALS"


async def test_wherever_a_session_is_shown(client: TokensClient) -> None:
    """The API, photos, auditors' methods and pages, and what became of a call ask the same question."""
    user = User(client)
    await user.register(roles=["service", "auditor"])
    token = await client.api.login(user.name)
    bearer, cookie = {"Authorization": f"Bearer {token}"}, {"Cookie": f"{COOKIE}={token}"}
    send = client.api.service.send

    async def statuses() -> list[int]:
        return [
            (await send("GET", IMAGES, query={"token": token, "id": "0"}))[0],
            (await send("GET", f"{AUDIT}head", headers=bearer))[0],
            (await send("GET", PAGES, headers=cookie))[0],
            (await send("GET", "/requests/v1/unknown", headers=bearer))[0],
        ]

    assert await statuses() == [404, 200, 200, 200]
    await user.register("another-password", roles=["service", "auditor"])
    assert await statuses() == [401, 401, 303, 401]
