"""What operators do to sessions and access tokens, over HTTP (/operator/v1)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.communications_world import OTHER_UNIT, events
from tests.contract.test_authentication_sessions import claims_of
from tests.service import OPERATOR_KEY, Service, refusal
from tests.tokens_world import ON, TokenDesk, by_pass_code, token_desk, tried
from tests.world import UNIT, untouched

Json = dict[str, Any]
SHOW = "access_tokens/show"
KEY = f"Bearer {OPERATOR_KEY}"


@pytest_asyncio.fixture(scope="module")
async def here(service: Service) -> TokenDesk:
    return await token_desk(service)


async def send(
    here: TokenDesk,
    verb: str,
    path: str,
    query: Mapping[str, str] | None = None,
    key: str | None = KEY,
) -> tuple[int, Json]:
    query = {"organisation": here.api.organisation} | dict(query or {})
    query = {name: value for name, value in query.items() if value != ""}
    headers = {"Authorization": key} if key else {}
    path = f"/operator/v1/{path}"
    status, answer, _ = await here.api.service.send(verb, path, query=query, headers=headers)
    return status, answer


async def listed(here: TokenDesk, **query: Any) -> list[Json]:
    given = {name: str(value) for name, value in query.items()}
    status, answer = await send(here, "GET", "sessions", given)
    assert (status, answer["status"]["code"]) == (200, "OK")
    return list(answer["data"])


async def test_sessions_that_can_be_used_the_newest_first(service: Service) -> None:
    own = await token_desk(service)
    first = claims_of(await own.api.login(unit=OTHER_UNIT))
    customer = await own.consumer()
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
    await own.do("set_as_not_effective", customer.token)
    assert last["jti"] not in {s["id"] for s in await listed(own)}


async def test_a_released_session_ends_at_once(here: TokenDesk) -> None:
    token = await here.api.login()
    id_ = claims_of(token)["jti"]
    status, answer = await send(here, "POST", f"sessions/{id_}/release")
    assert (status, answer["status"]["code"], answer["data"]) == (200, "OK", {})
    used = await here.api.open("contact_information/create", {"token": token})
    assert refusal(used)[0] == "INVALIDTOKEN"
    assert id_ not in {s["id"] for s in await listed(here)}
    assert (await events(here.api))[-1] == "session.released"
    async with untouched(here.api):
        status, answer = await send(here, "POST", f"sessions/{id_}/release")
        assert (status, refusal(answer)[0]) == (400, "INVALIDLIFECYCLESTATE")


async def test_lifting_a_wait(here: TokenDesk) -> None:
    await here.settings(guess_limits={"attempts_per_source": 2})
    token = await here.keyed()
    wrong, right = {ON: by_pass_code(token, "0")}, {ON: by_pass_code(token)}
    here.api.token = here.api.token or await here.api.login()
    for _ in range(2):
        assert await tried(here.api, SHOW, wrong) == ("ENTITYNOTFOUND", 0)
    assert (await tried(here.api, SHOW, right))[1] > 0
    path = f"access_tokens/{token['number']}/forgive"
    status, answer = await send(here, "POST", path)
    assert (status, answer["status"]["code"]) == (200, "OK")
    assert (await events(here.api))[-1] == "access_token.guesses_forgiven"
    for _ in range(2):
        assert await tried(here.api, SHOW, wrong) == ("ENTITYNOTFOUND", 0)
    assert await here.look(token) == token
    await here.settings()


async def test_what_there_is_not(here: TokenDesk, service: Service) -> None:
    other = await token_desk(service)
    session = claims_of(await other.api.login())["jti"]
    token = (await other.issue())["number"]
    cases: list[tuple[str, Json, int, str]] = [
        (f"sessions/{session}/release", {}, 404, "ENTITYNOTFOUND"),
        (f"sessions/{uuid4().hex}/release", {}, 404, "ENTITYNOTFOUND"),
        ("sessions/x/release", {}, 404, "ENTITYNOTFOUND"),
        (f"sessions/{here.reader}/release", {}, 404, "ENTITYNOTFOUND"),
        ("access_tokens/ACT9999999999/forgive", {}, 404, "ENTITYNOTFOUND"),
        ("sessions/x/release", {"organisation": "nowhere"}, 404, "ENTITYNOTFOUND"),
        ("sessions/x/release", {"organisation": ""}, 400, "MANDATORYPARAMETER"),
        ("sessions/x/forgive", {}, 404, "METHODNOTFOUND"),
        ("access_tokens/x/release", {}, 404, "METHODNOTFOUND"),
        ("access_tokens//forgive", {}, 404, "METHODNOTFOUND"),
        ("sessions/x", {}, 404, "METHODNOTFOUND"),
    ]
    if (await here.issue())["number"] != token:
        cases.append((f"access_tokens/{token}x/forgive", {}, 404, "ENTITYNOTFOUND"))
    async with untouched(other.api):
        for path, query, expected, name in cases:
            status, answer = await send(here, "POST", path, query)
            assert (status, refusal(answer)[0]) == (expected, name), path


@pytest.mark.parametrize("key", [None, "", "Bearer", "Bearer wrong", f"Basic {OPERATOR_KEY}"])
async def test_only_operators(here: TokenDesk, key: str | None) -> None:
    id_ = claims_of(await here.api.login())["jti"]
    number = (await here.issue())["number"]
    calls = (
        ("GET", "sessions"),
        ("POST", f"sessions/{id_}/release"),
        ("POST", f"access_tokens/{number}/forgive"),
    )
    async with untouched(here.api):
        for verb, path in calls:
            status, answer = await send(here, verb, path, key=key)
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
async def test_lists_refused(here: TokenDesk, query: Json, status: int, name: str) -> None:
    found, answer = await send(here, "GET", "sessions", query)
    assert (found, refusal(answer)[0]) == (status, name)


async def test_releasing_raced(here: TokenDesk) -> None:
    id_ = claims_of(await here.api.login())["jti"]
    answers = await asyncio.gather(
        *(send(here, "POST", f"sessions/{id_}/release") for _ in range(6))
    )
    assert sorted(status for status, _ in answers) == [200] + [400] * 5


async def test_of_an_unassociated_token_too(here: TokenDesk) -> None:
    token = await here.disabled()
    status, _ = await send(here, "POST", f"access_tokens/{token['number']}/forgive")
    assert status == 200
    assert await here.look(token) == token
