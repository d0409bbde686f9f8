"""One guard for every secret (access_tokens.md, section 9; authentication.md, section 8)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.fixtures.access_tokens import (
    CONSUMER_KEY_LOGIN,
    LOGIN,
    ON,
    TokensClient,
    basic,
    by_code,
    by_pass_code,
    from_address,
    tokens_client,
    try_secrets,
    unique_code,
)
from tests.fixtures.organisation import UNIT, query_rows
from tests.fixtures.service import OPERATOR_KEY, PASSWORD, Api, Service, refusal

Json = dict[str, Any]
PER_SOURCE, PER_TOKEN, PER_SPRAY = 3, 6, 9
LIMITS: Json = {
    "attempts_per_source": PER_SOURCE,
    "attempts_per_token": PER_TOKEN,
    "attempts_per_spray": PER_SPRAY,
    "first_wait_seconds": 600,
}
_addresses = count(20)
Try = Callable[[Api, str | None], Awaitable[tuple[str, int]]]
"""Shows a wrong secret, or the right one if it is None: ``OK`` or the refusal, and the seconds to wait."""


@dataclass(frozen=True)
class Secret:
    """A secret of the organisation, how it is shown, and how it is refused.

    ``free`` are the wrong tries of one source before it waits.
    """

    show: Try
    refused: str
    free: int = PER_SOURCE


Kind = Callable[[TokensClient], Awaitable[Secret]]


def address() -> str:
    """A network address that no other test uses."""
    n = next(_addresses)
    return f"127.0.{n // 200}.{n % 200 + 1}"


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    made = await tokens_client(service)
    await made.register_settings(guess_limits=LIMITS)
    made.api.token = await made.api.login()
    return made


async def new_user(client: TokensClient, **more: Any) -> str:
    """The name of a new user."""
    name = unique_code("user")
    fields = {"username": name, "default_unit_id": UNIT, "password": PASSWORD} | more
    await client.register("user", name, **fields)
    return name


async def customer_token(client: TokensClient) -> Json:
    """An access token of a new customer."""
    account = await client.register_account(account_owner_id=await client.new_contact())
    return await client.create_token(accounts_receivable_identifier={"id": account})


async def password(client: TokensClient) -> Secret:
    username = await new_user(client)
    named = {"username": username, "organisation": client.api.organisation}

    async def show(api: Api, wrong: str | None) -> tuple[str, int]:
        return await try_secrets(api, LOGIN, named | {"password": wrong or PASSWORD}, {})

    return Secret(show, "INVALIDCREDENTIALS")


async def page_password(client: TokensClient) -> Secret:
    username = await new_user(client, roles=["operator"])

    async def show(api: Api, wrong: str | None) -> tuple[str, int]:
        form = {"organisation": api.organisation, "username": username}
        form["password"] = wrong or PASSWORD
        url = f"{api.service.url}/console/sign-in"
        async with api.service.http.post(url, data=form, allow_redirects=False) as answer:
            wait = int(answer.headers.get("Retry-After", 0))
            assert (f"wait {wait} seconds" in await answer.text()) == bool(wait)
            return {303: "OK", 401: "INVALIDCREDENTIALS"}[answer.status], wait

    return Secret(show, "INVALIDCREDENTIALS")


async def authentication_code(client: TokensClient) -> Secret:
    token = await customer_token(client)

    async def show(api: Api, wrong: str | None) -> tuple[str, int]:
        shown = {"authentication_code": wrong} if wrong else by_code(token)
        return await try_secrets(api, CONSUMER_KEY_LOGIN, {ON: shown}, basic(client.key))

    return Secret(show, "INVALIDCREDENTIALS")


async def code_in_an_identifier(client: TokensClient) -> Secret:
    token = await customer_token(client)

    async def show(api: Api, wrong: str | None) -> tuple[str, int]:
        shown = {"authentication_code": wrong} if wrong else by_code(token)
        return await try_secrets(api, *client.reference_to(shown))

    return Secret(show, "ENTITYNOTFOUND")


async def pass_code(client: TokensClient) -> Secret:
    token = await client.create_keyed_token()

    async def show(api: Api, wrong: str | None) -> tuple[str, int]:
        shown = by_pass_code(token, wrong) if wrong else by_pass_code(token)
        return await try_secrets(api, "access_tokens/show", {ON: shown})

    return Secret(show, "ENTITYNOTFOUND")


async def verification_code(client: TokensClient) -> Secret:
    token = await client.create_pending_token()

    async def show(api: Api, wrong: str | None) -> tuple[str, int]:
        body = {ON: by_code(token), "verification_code": wrong or token["verification_code"]}
        return await try_secrets(api, "access_tokens/verify", body)

    return Secret(show, "INVALIDVERIFICATIONCODE")


async def one_time_password(client: TokensClient, *, alone: bool = False) -> Secret:
    account = {"id": await client.register_account()}
    token = await client.create_keyed_token(accounts_receivable_identifier=account)

    async def show(api: Api, wrong: str | None) -> tuple[str, int]:
        shown = {} if alone else {"identifier": token["identifier"]}
        shown["one_time_password"] = wrong or await client.one_time_password(token)
        return await try_secrets(api, *client.reference_to(shown))

    return Secret(show, "INVALIDONETIMEPASSWORD")


async def one_time_password_alone(client: TokensClient) -> Secret:
    return await one_time_password(client, alone=True)


async def web_api_key(client: TokensClient) -> Secret:
    key = uuid4().hex
    fields = {"classification": "SYSTEMIC_KEY", "user_id": "1", "key": key}
    await client.register("web_api_key", unique_code("K"), **fields)

    async def show(api: Api, wrong: str | None) -> tuple[str, int]:
        header = basic(uuid4().hex if wrong else key)
        return await try_secrets(api, "authentication/web_api_key/token", {}, header)

    return Secret(show, "INVALIDWEBAPIKEY", free=5)


async def operator_key(client: TokensClient) -> Secret:
    async def show(api: Api, wrong: str | None) -> tuple[str, int]:
        status, answer, headers = await api.service.send(
            "GET",
            "/operator/v1/sessions",
            query={"organisation": api.organisation},
            headers={"Authorization": f"Bearer {wrong or OPERATOR_KEY}"},
        )
        name = "OK" if status == 200 else refusal(answer)[0]
        return name, int(headers.get("Retry-After", 0))

    return Secret(show, "INVALIDTOKEN", free=5)


NAMED = (password, page_password, pass_code, one_time_password)
"""Kinds of secrets that are shown with the name of whose they are, and that may be shown again."""

KINDS = (
    *NAMED,
    one_time_password_alone,
    authentication_code,
    code_in_an_identifier,
    web_api_key,
    operator_key,
)


def name_of(kind: Any) -> str:
    """The name of a kind, for the names of tests."""
    return str(kind.__name__)


@pytest_asyncio.fixture(params=KINDS, ids=name_of)
async def secret(request: pytest.FixtureRequest, client: TokensClient) -> Secret:
    made: Secret = await request.param(client)
    return made


@pytest.mark.parametrize("secret", [*KINDS, verification_code], ids=name_of, indirect=True)
async def test_a_source_waits_after_its_free_tries_even_with_the_right_one(
    client: TokensClient, secret: Secret
) -> None:
    async with from_address(client.api, address()) as stranger:
        for n in range(secret.free):
            assert await secret.show(stranger, f"wrong-{n}") == (secret.refused, 0)
        name, wait = await secret.show(stranger, None)
        assert (name, wait > 500 or wait > 20) == (secret.refused, True)
        assert (await secret.show(stranger, "wrong-again"))[1] > 0


async def test_whoever_has_succeeded_from_there_before_does_not_wait_for_others(
    client: TokensClient, secret: Secret
) -> None:
    async with from_address(client.api, address()) as home:
        assert await secret.show(home, None) == ("OK", 0)
        for n in range(3):
            async with from_address(client.api, address()) as stranger:
                for m in range(secret.free + 1):
                    await secret.show(stranger, f"wrong-{n}-{m}")
        assert await secret.show(home, None) == ("OK", 0)


async def test_the_right_one_never_waits_however_often(
    client: TokensClient, secret: Secret
) -> None:
    async with from_address(client.api, address()) as home:
        for _ in range(PER_SPRAY + 3):
            assert await secret.show(home, None) == ("OK", 0)


@pytest.mark.parametrize("kind", NAMED, ids=name_of)
async def test_a_success_forgives_the_tries_of_that_secret_alone(
    client: TokensClient, kind: Kind
) -> None:
    one, other = await kind(client), await kind(client)
    async with from_address(client.api, address()) as source:
        for secret in (one, other):
            for _ in range(PER_SOURCE - 1):
                assert await secret.show(source, "wrong") == (secret.refused, 0)
        assert await one.show(source, None) == ("OK", 0)
        assert await other.show(source, "wrong") == (other.refused, 0)
        assert (await other.show(source, None))[1] > 0
        assert await one.show(source, "wrong") == (one.refused, 0)


async def test_a_one_time_password_of_one_s_own_forgives_nothing(client: TokensClient) -> None:
    """It is shown in a call that is refused later, so that it is not used up."""
    token = await client.create_token(accounts_receivable_identifier={"id": "AR1"})
    own = {"one_time_password": await client.one_time_password(token)}
    path, right = client.reference_to(own)
    _, wrong = client.reference_to({"one_time_password": "X"})
    refused = right | {"category_identifier": {"id": "NONE"}}
    session = await client.api.login(await new_user(client))
    async with from_address(client.api, address()) as source:
        source.token = session
        for _ in range(PER_SOURCE - 1):
            assert await try_secrets(source, path, wrong) == ("INVALIDONETIMEPASSWORD", 0)
            assert (await try_secrets(source, path, refused))[0] == "ENTITYNOTFOUND"
        assert await try_secrets(source, path, wrong) == ("INVALIDONETIMEPASSWORD", 0)
        assert (await try_secrets(source, path, right))[1] > 0


@pytest.mark.parametrize("kind", NAMED, ids=name_of)
async def test_one_source_that_tries_many_waits(client: TokensClient, kind: Kind) -> None:
    secrets = [await kind(client) for _ in range(PER_SPRAY + 1)]
    async with from_address(client.api, address()) as source:
        for secret in secrets[:PER_SPRAY]:
            assert await secret.show(source, "wrong") == (secret.refused, 0)
        name, wait = await secrets[-1].show(source, None)
        assert (name, wait > 0) == (secrets[-1].refused, True)
    async with from_address(client.api, address()) as another:
        assert await secrets[-1].show(another, None) == ("OK", 0)


@pytest.mark.parametrize("kind", NAMED, ids=name_of)
async def test_many_sources_that_try_one_wait(client: TokensClient, kind: Kind) -> None:
    secret = await kind(client)
    for n in range(PER_TOKEN):
        async with from_address(client.api, address()) as source:
            assert await secret.show(source, f"wrong-{n}") == (secret.refused, 0)
    async with from_address(client.api, address()) as source:
        assert (await secret.show(source, None))[1] > 0


async def test_operators_lift_the_waits_of_a_user(client: TokensClient) -> None:
    username = await new_user(client)
    body = {"username": username, "organisation": client.api.organisation}
    async with from_address(client.api, address()) as source:
        for _ in range(PER_SOURCE):
            await try_secrets(source, LOGIN, body | {"password": "wrong"}, {})
        assert (await try_secrets(source, LOGIN, body | {"password": PASSWORD}, {}))[1] > 0
        await client.forgive(f"users/{username}")
        assert await try_secrets(source, LOGIN, body | {"password": PASSWORD}, {}) == ("OK", 0)
    sql = "SELECT topic FROM ledger.events WHERE organisation = $1 ORDER BY position DESC LIMIT 2"
    topics = [row["topic"] for row in await query_rows(client.api, sql)]
    assert topics == ["session.issued", "record.guesses_forgiven"]


async def test_names_that_nobody_has_wait_as_well(client: TokensClient) -> None:
    body = {"username": unique_code("nobody"), "password": "wrong"}
    for organisation in (client.api.organisation, "NOWHERE"):
        async with from_address(client.api, address()) as source:
            waits = [
                (await try_secrets(source, LOGIN, body | {"organisation": organisation}, {}))[1]
                for _ in range(6)
            ]
        assert waits[0] == 0
        assert waits[-1] > 0


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("seven77", True),
        ("x" * 1025, True),
        ("password123", True),
        ("Sunshine1", True),
        ("x7-Kp.qz", False),
    ],
)
async def test_passwords_that_are_easily_guessed_are_not_registered(
    client: TokensClient, name: str, refused: bool
) -> None:
    user = {
        "kind": "user",
        "id": unique_code("U"),
        "username": unique_code(),
        "default_unit_id": UNIT,
    }
    status, answer = await put(client, user | {"password": name})
    assert (status, name in str(answer)) == (400 if refused else 200, False)
    if refused:
        code, description = refusal(answer)
        assert (code, description.partition(":")[0]) == ("INVALIDPARAMETERVALUE", "password")


async def test_the_username_is_no_password(client: TokensClient) -> None:
    user = {
        "kind": "user",
        "id": unique_code("U"),
        "username": "Long-Enough-Name",
        "default_unit_id": UNIT,
    }
    status, answer = await put(client, user | {"password": "long-enough-name"})
    assert (status, refusal(answer)) == (
        400,
        ("INVALIDPARAMETERVALUE", "password: not the username"),
    )


async def test_a_key_of_equal_digits_is_not_registered(client: TokensClient) -> None:
    record = {
        "kind": "web_api_key",
        "id": unique_code("K"),
        "classification": "SYSTEMIC_KEY",
        "user_id": "1",
    }
    status, answer = await put(client, record | {"key": "0" * 30 + "1a"})
    assert (status, refusal(answer)[0]) == (400, "INVALIDPARAMETERVALUE")


async def put(client: TokensClient, record: Json) -> tuple[int, Json]:
    """The answer to the registration of one record."""
    status, answer, _ = await client.api.service.send(
        "PUT",
        f"/reference/v1/{record['kind']}/{record['id']}",
        query={"organisation": client.api.organisation},
        data=json.dumps({k: v for k, v in record.items() if k not in ("kind", "id")}).encode(),
        headers={"Authorization": f"Bearer {OPERATOR_KEY}"},
    )
    return status, answer
