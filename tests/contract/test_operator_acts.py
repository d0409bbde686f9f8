"""What operators do to sessions and access tokens, over HTTP (/operator/v1)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.contract.test_authentication_sessions import claims_of
from tests.fixtures.access_tokens import ON, TokensClient, by_pass_code, tokens_client, try_secrets
from tests.fixtures.communications import OTHER_UNIT, event_topics
from tests.fixtures.organisation import UNIT, untouched
from tests.fixtures.service import OPERATOR_KEY, Service, refusal

Json = dict[str, Any]
SHOW = "access_tokens/show"
KEY = f"Bearer {OPERATOR_KEY}"


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    return await tokens_client(service)


async def send(
    client: TokensClient,
    verb: str,
    path: str,
    query: Mapping[str, str] | None = None,
    key: str | None = KEY,
) -> tuple[int, Json]:
    query = {"organisation": client.api.organisation} | dict(query or {})
    query = {name: value for name, value in query.items() if value != ""}
    headers = {"Authorization": key} if key else {}
    path = f"/operator/v1/{path}"
    status, answer, _ = await client.api.service.send(verb, path, query=query, headers=headers)
    return status, answer


async def listed(client: TokensClient, **query: Any) -> list[Json]:
    given = {name: str(value) for name, value in query.items()}
    status, answer = await send(client, "GET", "sessions", given)
    assert (status, answer["status"]["code"]) == (200, "OK")
    return list(answer["data"])


async def test_sessions_that_can_be_used_the_newest_first(service: Service) -> None:
    own = await tokens_client(service)
    first = claims_of(await own.api.login(unit=OTHER_UNIT))
    customer = await own.consumer_session()
    last = claims_of(customer.api.token)
    sessions = await listed(own)
    mine = {s["id"]: s for s in sessions}
    assert sessions[0]["id"] == last["jti"]
    assert mine[first["jti"]] == {
        "id": first["jti"],
        "user_id": "1",
        "username": "demo",
        "unit_id": OTHER_UNIT,
        "expires_at": first["exp"],
        "access_token": None,
        "account": None,
        "contact": None,
    }
    assert mine[last["jti"]] | {"expires_at": 0} == {
        "id": last["jti"],
        "user_id": "1",
        "username": "demo",
        "unit_id": UNIT,
        "expires_at": 0,
        "access_token": customer.token["id"],
        "account": customer.account,
        "contact": customer.contact,
    }
    page = await listed(own, number_of_results=1, offset=1)
    assert page == sessions[1:2]
    await own.call_token("set_as_not_effective", customer.token)
    assert last["jti"] not in {s["id"] for s in await listed(own)}


async def test_a_released_session_ends_at_once(client: TokensClient) -> None:
    token = await client.api.login()
    id_ = claims_of(token)["jti"]
    status, answer = await send(client, "POST", f"sessions/{id_}/release")
    assert (status, answer["status"]["code"], answer["data"]) == (200, "OK", {})
    used = await client.api.open("contact_information/create", {"token": token})
    assert refusal(used)[0] == "INVALIDTOKEN"
    assert id_ not in {s["id"] for s in await listed(client)}
    assert (await event_topics(client.api))[-1] == "session.released"
    async with untouched(client.api):
        status, answer = await send(client, "POST", f"sessions/{id_}/release")
        assert (status, refusal(answer)[0]) == (400, "INVALIDLIFECYCLESTATE")


async def test_lifting_a_wait(client: TokensClient) -> None:
    await client.register_settings(guess_limits={"attempts_per_source": 2})
    token = await client.create_keyed_token()
    wrong, right = {ON: by_pass_code(token, "0")}, {ON: by_pass_code(token)}
    client.api.token = client.api.token or await client.api.login()
    for _ in range(2):
        assert await try_secrets(client.api, SHOW, wrong) == ("ENTITYNOTFOUND", 0)
    assert (await try_secrets(client.api, SHOW, right))[1] > 0
    path = f"access_tokens/{token['number']}/forgive"
    status, answer = await send(client, "POST", path)
    assert (status, answer["status"]["code"]) == (200, "OK")
    assert (await event_topics(client.api))[-1] == "access_token.guesses_forgiven"
    for _ in range(2):
        assert await try_secrets(client.api, SHOW, wrong) == ("ENTITYNOTFOUND", 0)
    assert await client.show_token(token) == token
    await client.register_settings()


async def test_what_there_is_not(client: TokensClient, service: Service) -> None:
    other = await tokens_client(service)
    session = claims_of(await other.api.login())["jti"]
    token = (await other.create_token())["number"]
    cases: list[tuple[str, Json, int, str]] = [
        (f"sessions/{session}/release", {}, 404, "ENTITYNOTFOUND"),
        (f"sessions/{uuid4().hex}/release", {}, 404, "ENTITYNOTFOUND"),
        ("sessions/x/release", {}, 404, "ENTITYNOTFOUND"),
        (f"sessions/{client.recipient}/release", {}, 404, "ENTITYNOTFOUND"),
        ("access_tokens/ACT9999999999/forgive", {}, 404, "ENTITYNOTFOUND"),
        ("sessions/x/release", {"organisation": "nowhere"}, 404, "ENTITYNOTFOUND"),
        ("sessions/x/release", {"organisation": ""}, 400, "MANDATORYPARAMETER"),
        ("sessions/x/forgive", {}, 404, "METHODNOTFOUND"),
        ("access_tokens/x/release", {}, 404, "METHODNOTFOUND"),
        ("access_tokens//forgive", {}, 404, "METHODNOTFOUND"),
        ("sessions/x", {}, 404, "METHODNOTFOUND"),
    ]
    if (await client.create_token())["number"] != token:
        cases.append((f"access_tokens/{token}x/forgive", {}, 404, "ENTITYNOTFOUND"))
    async with untouched(other.api):
        for path, query, expected, name in cases:
            status, answer = await send(client, "POST", path, query)
            assert (status, refusal(answer)[0]) == (expected, name), path


@pytest.mark.parametrize("key", [None, "", "Bearer", "Bearer wrong", f"Basic {OPERATOR_KEY}"])
async def test_only_operators(client: TokensClient, key: str | None) -> None:
    id_ = claims_of(await client.api.login())["jti"]
    number = (await client.create_token())["number"]
    calls = (
        ("GET", "sessions"),
        ("POST", f"sessions/{id_}/release"),
        ("POST", f"access_tokens/{number}/forgive"),
    )
    async with untouched(client.api):
        for verb, path in calls:
            status, answer = await send(client, verb, path, key=key)
            assert (status, refusal(answer)[0]) == (401, "INVALIDTOKEN")


@pytest.mark.parametrize(
    ("query", "status", "name"),
    [
        ({"organisation": ""}, 400, "MANDATORYPARAMETER"),
        ({"organisation": "nowhere"}, 404, "ENTITYNOTFOUND"),
        ({"number_of_results": "0"}, 400, "INVALIDPARAMETERVALUE"),
        ({"offset": "x"}, 400, "INVALIDPARAMETERTYPE"),
    ],
)
async def test_lists_refused(client: TokensClient, query: Json, status: int, name: str) -> None:
    found, answer = await send(client, "GET", "sessions", query)
    assert (found, refusal(answer)[0]) == (status, name)


async def test_releasing_raced(client: TokensClient) -> None:
    id_ = claims_of(await client.api.login())["jti"]
    answers = await asyncio.gather(
        *(send(client, "POST", f"sessions/{id_}/release") for _ in range(6))
    )
    assert sorted(status for status, _ in answers) == [200] + [400] * 5


async def test_of_an_unassociated_token_too(client: TokensClient) -> None:
    token = await client.create_disabled_token()
    status, _ = await send(client, "POST", f"access_tokens/{token['number']}/forgive")
    assert status == 200
    assert await client.show_token(token) == token
