"""The life cycle of access tokens: contract access_tokens.md, sections 2 and 6.3."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from tests.communications_world import events, names, new_key, posted, together
from tests.service import Service, refusal
from tests.tokens_world import ON, PASS_CODE, TokenDesk, by_code, token_desk, unique
from tests.world import untouched

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
async def here(service: Service) -> TokenDesk:
    return await token_desk(service)


async def token_in(here: TokenDesk, state: str, **more: Any) -> Json:
    keys: Json = {"identifier": unique(), "pass_code": PASS_CODE} | more
    if state == "PENDING_VERIFICATION":
        return await here.pending(**keys)
    token = await here.issue(**keys)
    return await here.do("set_as_not_effective", token) if state == "NOT_EFFECTIVE" else token


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("state", STATES)
async def test_the_table(here: TokenDesk, state: str, method: str) -> None:
    token = await token_in(here, state)
    more: Json = {"update": {"udf_string_1": "x"}}.get(method, {})
    if method == "verify":
        more = {"verification_code": token["verification_code"] or "1234567"}
    if leads_to := LEADS.get((state, method)):
        await here.do(method, token, **more)
        assert (await here.look(token))["life_cycle_state"] == leads_to
    else:
        async with untouched(here.api):
            refused = await here.undone(method, token, **more)
        assert refused[0] == "INVALIDLIFECYCLESTATE"


async def test_there_and_back(here: TokenDesk) -> None:
    token = await here.keyed()
    off = await here.do("set_as_not_effective", token)
    on = await here.do("set_as_effective", token)
    stamped = ("life_cycle_state", "log_information")
    assert off | dict.fromkeys(stamped) == token | dict.fromkeys(stamped)
    assert on | {"log_information": 0} == token | {"log_information": 0}
    said = await events(here.api, "access_token.")
    assert said[-2:] == ["access_token.disabled", "access_token.enabled"]


async def test_an_ended_effect_voids_the_one_time_password(here: TokenDesk) -> None:
    token = await here.issue(**{ACCOUNT: {"id": await here.account()}})
    password = await here.once(token)
    for method in ("set_as_not_effective", "set_as_effective"):
        await here.do(method, token)
        assert await here.refer({"one_time_password": password}) == "INVALIDONETIMEPASSWORD"


async def test_a_participant_that_is_not_terminated_keeps_its_tokens_effective(
    here: TokenDesk,
) -> None:
    account = await here.account()
    participant = await here.participant(account)
    both = {ACCOUNT: {"id": account}, PARTICIPANT: {"id": participant}}
    tokens = [await here.issue(**both), await here.issue(**{PARTICIPANT: {"id": participant}})]
    for token in tokens:
        async with untouched(here.api):
            refused = await here.undone("set_as_not_effective", token)
            assert refused[0] == "INVALIDLIFECYCLESTATE"
    await here.participant(account, participant, life_cycle_state="TERMINATED")
    for token in tokens:
        await here.do("set_as_not_effective", token)
    await here.participant(account, participant)
    await here.do("set_as_effective", tokens[0])
    assert (await here.undone("set_as_not_effective", tokens[0]))[0] == "INVALIDLIFECYCLESTATE"


async def unassociated(here: TokenDesk, **more: Any) -> list[str]:
    found = await here.api.get("access_tokens/get_not_associated", number=1000, **more)
    return [token["id"] for token in found]


async def state_of(here: TokenDesk, token: Json) -> tuple[str, bool]:
    """The token's state, and whether it is associated."""
    shown = await here.look(token)
    return shown["life_cycle_state"], token["id"] not in await unassociated(here)


@pytest.mark.parametrize("kind", ["account", "participant"])
async def test_what_becomes_of_the_only_entity(here: TokenDesk, kind: str) -> None:
    account = await here.account()
    of = await here.participant(account) if kind == "participant" else account
    token = await here.issue(**{ACCOUNT if kind == "account" else PARTICIPANT: {"id": of}})

    async def becomes(**fields: Any) -> tuple[str, bool]:
        if kind == "account":
            await here.account(of, **fields)
        else:
            await here.participant(account, of, **fields)
        return await state_of(here, token)

    assert await state_of(here, token) == ("EFFECTIVE", True)
    assert await becomes(life_cycle_state="TERMINATED") == ("EFFECTIVE", False)
    assert await becomes() == ("EFFECTIVE", True)
    assert await becomes(retired=True) == ("NOT_EFFECTIVE", False)
    assert await becomes() == ("NOT_EFFECTIVE", True)
    await here.do("set_as_effective", token)
    assert await becomes(retired=True, life_cycle_state="TERMINATED") == ("NOT_EFFECTIVE", False)
    log = (await here.look(token))["log_information"]
    assert log["updated_by_user"]["username"] == "demo"


async def test_only_the_last_entity_that_is_retired_ends_the_effect(here: TokenDesk) -> None:
    for order in (("account", "participant"), ("participant", "account")):
        account = await here.account()
        participant = await here.participant(account)
        both = {ACCOUNT: {"id": account}, PARTICIPANT: {"id": participant}}
        token = await here.issue(**both)

        for kind, expected in zip(
            order, (("EFFECTIVE", True), ("NOT_EFFECTIVE", False)), strict=True
        ):
            if kind == "account":
                await here.account(account, retired=True)
            else:
                await here.participant(None, participant, retired=True)
            assert await state_of(here, token) == expected


async def test_a_terminated_entity_beside_a_retired_one_keeps_the_effect(here: TokenDesk) -> None:
    account = await here.account()
    participant = await here.participant(account)
    token = await here.issue(**{ACCOUNT: {"id": account}, PARTICIPANT: {"id": participant}})
    await here.participant(account, participant, life_cycle_state="TERMINATED")
    await here.account(account, retired=True)
    assert await state_of(here, token) == ("EFFECTIVE", False)


async def test_whether_the_effect_ends_is_a_setting(here: TokenDesk) -> None:
    classified = await here.definition(allow_no_identifier=True, not_effective_when_unrelated=False)
    account = await here.account()
    named = {ACCOUNT: {"id": account}, "classification_identifier": classified}
    token = await here.issue(**named)
    await here.account(account, retired=True)
    assert await state_of(here, token) == ("EFFECTIVE", False)


@pytest.mark.parametrize("state", ["NOT_EFFECTIVE", "PENDING_VERIFICATION"])
async def test_what_is_not_effective_stays_as_it_is(here: TokenDesk, state: str) -> None:
    account = await here.account()
    token = await token_in(here, state, **{ACCOUNT: {"id": account}})
    await here.account(account, retired=True)
    assert await state_of(here, token) == (state, False)


async def test_an_automatic_end_voids_the_one_time_password(here: TokenDesk) -> None:
    account = await here.account()
    token = await here.issue(**{ACCOUNT: {"id": account}})
    password = await here.once(token)
    await here.account(account, retired=True)
    await here.account(account)
    await here.do("set_as_effective", token)
    assert await here.refer({"one_time_password": password}) == "INVALIDONETIMEPASSWORD"


async def test_a_re_assigned_account_or_participant_keeps_its_tokens(here: TokenDesk) -> None:
    account, other = await here.owned(), await here.account()
    participant = await here.participant(account)
    token = await here.issue(**{ACCOUNT: {"id": account}, PARTICIPANT: {"id": participant}})
    await here.account(account, account_owner_id=here.contacts[1])
    await here.participant(other, participant)
    shown = await here.look(token)
    assert shown["accounts_receivable"]["account_owner"]["id"] == here.contacts[1]
    assert shown["reward_participant"]["accounts_receivable"]["id"] == other
    assert await state_of(here, token) == ("EFFECTIVE", True)


async def test_not_associated_ones(here: TokenDesk) -> None:
    made = {state: await token_in(here, state) for state in STATES}
    found = await unassociated(here)
    assert [found.index(made[state]["id"]) for state in STATES] == sorted(
        found.index(made[state]["id"]) for state in STATES
    )
    for state in STATES:
        of_state = await unassociated(here, life_cycle_state=state.lower())
        assert {s for s in STATES if made[s]["id"] in of_state} == {state}
    assert await unassociated(here) == found
    shown = await here.api.get("access_tokens/get_not_associated", number=1)
    assert [token["id"] for token in shown] == found[:1]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({}, "MANDATORYPARAMETER"),
        ({"number": "0"}, "INVALIDPARAMETERVALUE"),
        ({"number": "1001"}, "INVALIDPARAMETERVALUE"),
        ({"number": "x"}, "INVALIDPARAMETERTYPE"),
    ],
)
async def test_how_many_are_wanted(here: TokenDesk, query: Json, name: str) -> None:
    answer = await here.api.call("GET", "access_tokens/get_not_associated", query=query)
    assert refusal(answer) == (name, "number")


async def test_raced_with_an_account_that_ends(here: TokenDesk) -> None:
    """Whoever is first: no token is left effective that has lost its last entity."""
    for _ in range(5):
        account = await here.account()
        body = {"classification_identifier": {"name": "Bare"}, ACCOUNT: {"id": account}}
        creating = together(here.api, [("access_tokens/create", body)] * 4)
        answers, _ = await asyncio.gather(creating, here.account(account, retired=True))
        assert set(names(answers)) <= {"OK", "ENTITYNOTFOUND"}
        for answer in answers:
            if answer["status"]["code"] == "OK":
                assert (await here.look(answer["data"]))["life_cycle_state"] == "NOT_EFFECTIVE"


@pytest.mark.parametrize("method", ["set_as_effective", "set_as_not_effective"])
async def test_repeated_and_raced(here: TokenDesk, method: str) -> None:
    state = "EFFECTIVE" if method == "set_as_not_effective" else "NOT_EFFECTIVE"
    path, key = f"access_tokens/{method}", {"Idempotency-Key": new_key()}
    body = {ON: by_code(await token_in(here, state))}
    before = await events(here.api)
    answers = await together(here.api, [(path, body)] * 10, **key)
    assert answers == [answers[0]] * 10
    assert len(await events(here.api)) == len(before) + 1
    status, answer = await posted(here.api, path, body | {"x": 1}, **key)
    assert (status, refusal(answer)[0]) == (422, "INVALIDREQUEST")
    body = {ON: by_code(await token_in(here, state))}
    answers = await together(here.api, [(path, body)] * 6)
    assert names(answers) == ["INVALIDLIFECYCLESTATE"] * 5 + ["OK"]
