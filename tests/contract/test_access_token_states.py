"""The life cycle of access tokens: contract access_tokens.md, sections 2 and 6.3."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.access_tokens import (
    ON,
    PASS_CODE,
    TokensClient,
    by_code,
    tokens_client,
    unique_code,
)
from tests.fixtures.communications import (
    call_concurrently,
    error_names,
    event_topics,
    new_key,
    post_raw,
)
from tests.fixtures.organisation import untouched
from tests.fixtures.service import Service, refusal

Json = dict[str, Any]
ACCOUNT, PARTICIPANT = "accounts_receivable_identifier", "rewards_participant_identifier"
STATES = ("EFFECTIVE", "NOT_EFFECTIVE", "PENDING_VERIFICATION")
LEADS: dict[tuple[str, str], str] = {
    ("EFFECTIVE", "reset_pass_code"): "EFFECTIVE",
    ("EFFECTIVE", "generate_otp"): "EFFECTIVE",
    ("EFFECTIVE", "set_as_not_effective"): "NOT_EFFECTIVE",
    ("NOT_EFFECTIVE", "set_as_effective"): "EFFECTIVE",
    ("PENDING_VERIFICATION", "verify"): "EFFECTIVE",
    ("PENDING_VERIFICATION", "reset_verification_code"): "PENDING_VERIFICATION",
    **{(state, method): state for state in STATES for method in ("show", "update")},
}
"""The table of section 2; what is not in it is refused."""
METHODS = sorted({method for _, method in LEADS})


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    return await tokens_client(service)


async def token_in(client: TokensClient, state: str, **more: Any) -> Json:
    keys: Json = {"identifier": unique_code(), "pass_code": PASS_CODE} | more
    if state == "PENDING_VERIFICATION":
        return await client.create_pending_token(**keys)
    token = await client.create_token(**keys)
    return (
        await client.call_token("set_as_not_effective", token)
        if state == "NOT_EFFECTIVE"
        else token
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("state", STATES)
async def test_the_table(client: TokensClient, state: str, method: str) -> None:
    token = await token_in(client, state)
    more: Json = {"update": {"udf_string_1": "x"}}.get(method, {})
    if method == "verify":
        more = {"verification_code": token["verification_code"] or "1234567"}
    if leads_to := LEADS.get((state, method)):
        await client.call_token(method, token, **more)
        assert (await client.show_token(token))["life_cycle_state"] == leads_to
    else:
        async with untouched(client.api):
            refused = await client.call_token_refused(method, token, **more)
        assert refused[0] == "INVALIDLIFECYCLESTATE"


async def test_there_and_back(client: TokensClient) -> None:
    token = await client.create_keyed_token()
    off = await client.call_token("set_as_not_effective", token)
    on = await client.call_token("set_as_effective", token)
    stamped = ("life_cycle_state", "log_information")
    assert off | dict.fromkeys(stamped) == token | dict.fromkeys(stamped)
    assert on | {"log_information": 0} == token | {"log_information": 0}
    said = await event_topics(client.api, "access_token.")
    assert said[-2:] == ["access_token.disabled", "access_token.enabled"]


async def test_an_ended_effect_voids_the_one_time_password(client: TokensClient) -> None:
    token = await client.create_token(**{ACCOUNT: {"id": await client.register_account()}})
    password = await client.one_time_password(token)
    for method in ("set_as_not_effective", "set_as_effective"):
        await client.call_token(method, token)
        assert (
            await client.add_reference({"one_time_password": password}) == "INVALIDONETIMEPASSWORD"
        )


async def test_a_participant_that_is_not_terminated_keeps_its_tokens_effective(
    client: TokensClient,
) -> None:
    account = await client.register_account()
    participant = await client.register_participant(account)
    both = {ACCOUNT: {"id": account}, PARTICIPANT: {"id": participant}}
    tokens = [
        await client.create_token(**both),
        await client.create_token(**{PARTICIPANT: {"id": participant}}),
    ]
    for token in tokens:
        async with untouched(client.api):
            refused = await client.call_token_refused("set_as_not_effective", token)
            assert refused[0] == "INVALIDLIFECYCLESTATE"
    await client.register_participant(account, participant, life_cycle_state="TERMINATED")
    for token in tokens:
        await client.call_token("set_as_not_effective", token)
    await client.register_participant(account, participant)
    await client.call_token("set_as_effective", tokens[0])
    assert (await client.call_token_refused("set_as_not_effective", tokens[0]))[
        0
    ] == "INVALIDLIFECYCLESTATE"


async def unassociated(client: TokensClient, **more: Any) -> list[str]:
    found = await client.api.get("access_tokens/get_not_associated", number=1000, **more)
    return [token["id"] for token in found]


async def state_of(client: TokensClient, token: Json) -> tuple[str, bool]:
    """The token's state, and whether it is associated."""
    shown = await client.show_token(token)
    return shown["life_cycle_state"], token["id"] not in await unassociated(client)


@pytest.mark.parametrize("kind", ["account", "participant"])
async def test_what_becomes_of_the_only_entity(client: TokensClient, kind: str) -> None:
    account = await client.register_account()
    of = await client.register_participant(account) if kind == "participant" else account
    token = await client.create_token(**{ACCOUNT if kind == "account" else PARTICIPANT: {"id": of}})

    async def becomes(**fields: Any) -> tuple[str, bool]:
        if kind == "account":
            await client.register_account(of, **fields)
        else:
            await client.register_participant(account, of, **fields)
        return await state_of(client, token)

    assert await state_of(client, token) == ("EFFECTIVE", True)
    assert await becomes(life_cycle_state="TERMINATED") == ("EFFECTIVE", False)
    assert await becomes() == ("EFFECTIVE", True)
    assert await becomes(retired=True) == ("NOT_EFFECTIVE", False)
    assert await becomes() == ("NOT_EFFECTIVE", True)
    await client.call_token("set_as_effective", token)
    assert await becomes(retired=True, life_cycle_state="TERMINATED") == ("NOT_EFFECTIVE", False)
    log = (await client.show_token(token))["log_information"]
    assert log["updated_by_user"]["username"] == "demo"


async def test_only_the_last_entity_that_is_retired_ends_the_effect(client: TokensClient) -> None:
    for order in (("account", "participant"), ("participant", "account")):
        account = await client.register_account()
        participant = await client.register_participant(account)
        both = {ACCOUNT: {"id": account}, PARTICIPANT: {"id": participant}}
        token = await client.create_token(**both)

        for kind, expected in zip(
            order, (("EFFECTIVE", True), ("NOT_EFFECTIVE", False)), strict=True
        ):
            if kind == "account":
                await client.register_account(account, retired=True)
            else:
                await client.register_participant(None, participant, retired=True)
            assert await state_of(client, token) == expected


async def test_a_terminated_entity_beside_a_retired_one_keeps_the_effect(
    client: TokensClient,
) -> None:
    account = await client.register_account()
    participant = await client.register_participant(account)
    token = await client.create_token(
        **{ACCOUNT: {"id": account}, PARTICIPANT: {"id": participant}}
    )
    await client.register_participant(account, participant, life_cycle_state="TERMINATED")
    await client.register_account(account, retired=True)
    assert await state_of(client, token) == ("EFFECTIVE", False)


async def test_whether_the_effect_ends_is_a_setting(client: TokensClient) -> None:
    classified = await client.register_definition(
        allow_no_identifier=True, not_effective_when_unrelated=False
    )
    account = await client.register_account()
    named = {ACCOUNT: {"id": account}, "classification_identifier": classified}
    token = await client.create_token(**named)
    await client.register_account(account, retired=True)
    assert await state_of(client, token) == ("EFFECTIVE", False)


@pytest.mark.parametrize("state", ["NOT_EFFECTIVE", "PENDING_VERIFICATION"])
async def test_what_is_not_effective_stays_as_it_is(client: TokensClient, state: str) -> None:
    account = await client.register_account()
    token = await token_in(client, state, **{ACCOUNT: {"id": account}})
    await client.register_account(account, retired=True)
    assert await state_of(client, token) == (state, False)


async def test_an_automatic_end_voids_the_one_time_password(client: TokensClient) -> None:
    account = await client.register_account()
    token = await client.create_token(**{ACCOUNT: {"id": account}})
    password = await client.one_time_password(token)
    await client.register_account(account, retired=True)
    await client.register_account(account)
    await client.call_token("set_as_effective", token)
    assert await client.add_reference({"one_time_password": password}) == "INVALIDONETIMEPASSWORD"


async def test_a_re_assigned_account_or_participant_keeps_its_tokens(client: TokensClient) -> None:
    account, other = await client.create_owned_token(), await client.register_account()
    participant = await client.register_participant(account)
    token = await client.create_token(
        **{ACCOUNT: {"id": account}, PARTICIPANT: {"id": participant}}
    )
    await client.register_account(account, account_owner_id=client.contacts[1])
    await client.register_participant(other, participant)
    shown = await client.show_token(token)
    assert shown["accounts_receivable"]["account_owner"]["id"] == client.contacts[1]
    assert shown["reward_participant"]["accounts_receivable"]["id"] == other
    assert await state_of(client, token) == ("EFFECTIVE", True)


async def test_not_associated_ones(client: TokensClient) -> None:
    made = {state: await token_in(client, state) for state in STATES}
    found = await unassociated(client)
    assert [found.index(made[state]["id"]) for state in STATES] == sorted(
        found.index(made[state]["id"]) for state in STATES
    )
    for state in STATES:
        of_state = await unassociated(client, life_cycle_state=state.lower())
        assert {s for s in STATES if made[s]["id"] in of_state} == {state}
    assert await unassociated(client) == found
    shown = await client.api.get("access_tokens/get_not_associated", number=1)
    assert [token["id"] for token in shown] == found[:1]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({}, "MANDATORYPARAMETER"),
        ({"number": "0"}, "INVALIDPARAMETERVALUE"),
        ({"number": str(2**53)}, "INVALIDPARAMETERVALUE"),
        ({"number": "x"}, "INVALIDPARAMETERTYPE"),
    ],
)
async def test_how_many_are_wanted(client: TokensClient, query: Json, name: str) -> None:
    answer = await client.api.call("GET", "access_tokens/get_not_associated", query=query)
    assert refusal(answer) == (name, "number")


async def test_raced_with_an_account_that_ends(client: TokensClient) -> None:
    """Whoever is first: no token is left effective that has lost its last entity."""
    for _ in range(5):
        account = await client.register_account()
        body = {"classification_identifier": {"name": "Bare"}, ACCOUNT: {"id": account}}
        creating = call_concurrently(client.api, [("access_tokens/create", body)] * 4)
        answers, _ = await asyncio.gather(creating, client.register_account(account, retired=True))
        assert set(error_names(answers)) <= {"OK", "ENTITYNOTFOUND"}
        for answer in answers:
            if answer["status"]["code"] == "OK":
                assert (await client.show_token(answer["data"]))[
                    "life_cycle_state"
                ] == "NOT_EFFECTIVE"


@pytest.mark.parametrize("method", ["set_as_effective", "set_as_not_effective"])
async def test_repeated_and_raced(client: TokensClient, method: str) -> None:
    state = "EFFECTIVE" if method == "set_as_not_effective" else "NOT_EFFECTIVE"
    path, key = f"access_tokens/{method}", {"Idempotency-Key": new_key()}
    body = {ON: by_code(await token_in(client, state))}
    before = await event_topics(client.api)
    answers = await call_concurrently(client.api, [(path, body)] * 10, **key)
    assert answers == [answers[0]] * 10
    assert len(await event_topics(client.api)) == len(before) + 1
    status, answer = await post_raw(client.api, path, body | {"x": 1}, **key)
    assert (status, refusal(answer)[0]) == (422, "INVALIDREQUEST")
    body = {ON: by_code(await token_in(client, state))}
    answers = await call_concurrently(client.api, [(path, body)] * 6)
    assert error_names(answers) == ["INVALIDLIFECYCLESTATE"] * 5 + ["OK"]
