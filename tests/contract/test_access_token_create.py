"""Method 29, access_tokens/create: contract access_tokens.md, sections 3, 5, 6.4 and 10."""

from __future__ import annotations

import re
from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.access_tokens import (
    AUTOMATIC,
    BARE,
    PASS_CODE,
    VERIFIED,
    TokensClient,
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
CREATE = "access_tokens/create"
ACCOUNT, PARTICIPANT = "accounts_receivable_identifier", "rewards_participant_identifier"
CLASSIFICATION = "classification_identifier"


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    return await tokens_client(service)


async def test_happens(client: TokensClient) -> None:
    account = await client.create_owned_token()
    participant = await client.register_participant(account)
    before = await event_topics(client.api)
    given: Json = {
        "authentication_code": unique_code(),
        "identifier": unique_code(),
        "udf_string_8": "eight",
        "udf_float_4": "1.5",
        "udf_date_4": "2016-05-20",
    }
    token = await client.api.post(
        CREATE,
        **given,
        pass_code=PASS_CODE,
        **{ACCOUNT: {"name": account}, PARTICIPANT: {"number": participant}},
        **{CLASSIFICATION: {"alternative_code": "B"}},
    )
    assert token == await client.show_token(token)
    expected = given | {"udf_float_4": 1.5, "udf_date_4": "2016-05-20T00:00:00"}
    assert {name: token[name] for name in expected} == expected
    assert re.fullmatch(r"[0-9A-F]{32}", token["id"])
    assert re.fullmatch(r"ACT\d{10}", token["number"])
    assert token["life_cycle_state"] == "EFFECTIVE"
    assert token["classification"] == {"id": "CL1", "name": "Bare", "alternative_code": "B"}
    assert token["accounts_receivable"]["account_owner"]["id"] == client.recipient
    assert token["reward_participant"]["accounts_receivable"] == token["accounts_receivable"]
    log = token["log_information"]
    assert log["created_date"] == log["updated_date"]
    assert log["created_by_user"]["username"] == log["updated_by_user"]["username"] == "demo"
    assert (await event_topics(client.api))[len(before) :] == ["access_token.issued"]


async def test_what_is_not_given_is_null(client: TokensClient) -> None:
    token = await client.create_token()
    given = {"id", "number", "life_cycle_state", "authentication_code", "classification"}
    unset = token.keys() - given - {"log_information"}
    assert [token[name] for name in unset] == [None] * len(unset)


async def test_numbers_follow_each_other(client: TokensClient) -> None:
    first, second = await client.create_token(), await client.create_token()
    assert int(first["number"][3:]) < int(second["number"][3:])


async def test_null_and_empty_are_absent(client: TokensClient) -> None:
    for nothing in (None, ""):
        texts = ("authentication_code", "identifier", "pass_code", "udf_string_1")
        body = dict.fromkeys(texts, nothing) | dict.fromkeys((ACCOUNT, PARTICIPANT))
        token = await client.create_token(**body)
        assert re.fullmatch(r"[0-9A-F]{32}", token["authentication_code"])
        assert (token["identifier"], token["udf_string_1"]) == (None, None)


async def test_a_given_authentication_code_is_used_as_it_is(client: TokensClient) -> None:
    for code in ("7", unique_code("ET"), unique_code("pk_test é "), "x" * 255):
        assert (await client.create_token(authentication_code=code))["authentication_code"] == code
    assert await client.create_token_refused(
        **{CLASSIFICATION: BARE}, authentication_code="x" * 256
    ) == (
        "INVALIDPARAMETERVALUE",
        "authentication_code",
    )


async def test_tokens_that_are_verified_first(client: TokensClient) -> None:
    before = await event_topics(client.api)
    token = await client.create_pending_token()
    assert token["life_cycle_state"] == "PENDING_VERIFICATION"
    assert re.fullmatch(r"\d{7}", token["verification_code"])
    assert (await client.show_token(token))["verification_code"] is None
    assert (await event_topics(client.api))[len(before) :] == ["access_token.issued_unverified"]


REFUSED: list[tuple[Json, str, str]] = [
    ({}, "MANDATORYPARAMETER", "identifier"),
    ({"pass_code": "x"}, "MANDATORYPARAMETER", "identifier"),
    ({"identifier": "x"}, "MANDATORYPARAMETER", "pass_code"),
    ({"identifier": "x", CLASSIFICATION: BARE}, "MANDATORYPARAMETER", "pass_code"),
    ({"pass_code": "x", CLASSIFICATION: BARE}, "INVALIDPARAMETERVALUE", "pass_code"),
    ({"authentication_code": [], CLASSIFICATION: BARE}, "INVALIDPARAMETERTYPE", "authentication_code"),
    ({"identifier": True}, "INVALIDPARAMETERTYPE", "identifier"),
    ({"identifier": "a\0b", "pass_code": "x"}, "INVALIDPARAMETERVALUE", "identifier"),
    ({"identifier": "x" * 256, "pass_code": "x"}, "INVALIDPARAMETERVALUE", "identifier"),
    ({"identifier": "x", "pass_code": "x" * 256}, "INVALIDPARAMETERVALUE", "pass_code"),
    ({"udf_float_1": "x", CLASSIFICATION: BARE}, "INVALIDPARAMETERTYPE", "udf_float_1"),
    ({"udf_date_1": "2015-02-30", CLASSIFICATION: BARE}, "INVALIDPARAMETERVALUE", "udf_date_1"),
    ({"identifier": "x", CLASSIFICATION: AUTOMATIC}, "SEMIOPTIONALPARAMETER", f"{ACCOUNT}, {PARTICIPANT}"),
    (
        {"identifier": "x", "pass_code": "y", CLASSIFICATION: AUTOMATIC, ACCOUNT: {"id": "AR1"}},
        "INVALIDPARAMETERVALUE",
        "pass_code",
    ),
    ({CLASSIFICATION: {"name": "nothing"}}, "ENTITYNOTFOUND", CLASSIFICATION),
    ({CLASSIFICATION: {"number": "1"}}, "INVALIDIDENTIFIER", CLASSIFICATION),
    ({ACCOUNT: {"id": "nothing"}, CLASSIFICATION: BARE}, "ENTITYNOTFOUND", ACCOUNT),
    ({PARTICIPANT: {"number": "nothing"}, CLASSIFICATION: BARE}, "ENTITYNOTFOUND", PARTICIPANT),
    ({PARTICIPANT: {"name": "x"}, CLASSIFICATION: BARE}, "INVALIDIDENTIFIER", PARTICIPANT),
    ({ACCOUNT: {"id": "AR1", "number": "ACR1"}, CLASSIFICATION: BARE}, "SEMIOPTIONALPARAMETER", ACCOUNT),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: f"{c[1]}-{str(c[0])[:60]}")
async def test_refused(client: TokensClient, case: tuple[Json, str, str]) -> None:
    given, name, description = case
    async with untouched(client.api):
        assert await client.create_token_refused(**given) == (name, description)


async def test_an_automatic_pass_code_is_shown_to_nobody(client: TokensClient) -> None:
    account = {"id": await client.register_account()}
    token = await client.create_token(
        identifier=unique_code(), **{CLASSIFICATION: AUTOMATIC, ACCOUNT: account}
    )
    assert not {"pass_code", "random_pass_code"} & token.keys()


async def test_the_account_name_may_repeat(client: TokensClient) -> None:
    name = unique_code()
    for _ in range(2):
        await client.register_account(name=name)
    refused = await client.create_token_refused(**{ACCOUNT: {"name": name}, CLASSIFICATION: BARE})
    assert refused == ("ENTITYNOTUNIQUE", ACCOUNT)


@pytest.mark.parametrize("kind", ["account", "participant"])
async def test_what_is_terminated_or_retired_gets_no_new_token(
    client: TokensClient, kind: str
) -> None:
    at = ACCOUNT if kind == "account" else PARTICIPANT
    for fields, name in (
        ({"life_cycle_state": "TERMINATED"}, "INVALIDLIFECYCLESTATE"),
        ({"retired": True}, "ENTITYNOTFOUND"),
    ):
        made = (
            client.register_account(**fields)
            if kind == "account"
            else client.register_participant("AR1", **fields)
        )
        body = {at: {"id": await made}, CLASSIFICATION: BARE}
        async with untouched(client.api):
            assert await client.create_token_refused(**body) == (name, at)


async def test_suspended_accounts_do(client: TokensClient) -> None:
    account = await client.register_account(life_cycle_state="SUSPENDED")
    token = await client.create_token(**{ACCOUNT: {"id": account}})
    assert token["accounts_receivable"]["life_cycle_state"] == "SUSPENDED"


async def test_the_participant_must_be_the_accounts(client: TokensClient) -> None:
    own, other = await client.register_account(), await client.register_account()
    for participant in (
        await client.register_participant(other),
        await client.register_participant(None),
    ):
        body = {ACCOUNT: {"id": own}, PARTICIPANT: {"id": participant}, CLASSIFICATION: BARE}
        async with untouched(client.api):
            assert await client.create_token_refused(**body) == ("PARTICIPANTNOTOWNED", PARTICIPANT)


async def test_limits_for_each_account_and_participant(client: TokensClient) -> None:
    limits = {"max_per_accounts_receivable": 2, "max_per_rewards_participant": 1}
    classified = await client.register_definition(allow_no_identifier=True, **limits)
    account, other = await client.register_account(), await client.register_account()
    participant = await client.register_participant(account)
    body = {CLASSIFICATION: classified, ACCOUNT: {"id": account}}
    await client.create_token(**body, **{PARTICIPANT: {"id": participant}})
    full = await client.create_token_refused(**body, **{PARTICIPANT: {"id": participant}})
    assert full == ("MAXIMUMACCESSTOKENS", PARTICIPANT)
    await client.create_token(**body)
    assert await client.create_token_refused(**body) == ("MAXIMUMACCESSTOKENS", ACCOUNT)
    await client.create_token(**body | {ACCOUNT: {"id": other}})
    await client.create_token(**body | {CLASSIFICATION: BARE})
    assert (await client.create_token_refused(**body))[0] == "MAXIMUMACCESSTOKENS"


async def test_limits_hold_when_raced(client: TokensClient) -> None:
    limits = {"max_per_accounts_receivable": 3}
    classified = await client.register_definition(allow_no_identifier=True, **limits)
    body = {CLASSIFICATION: classified, ACCOUNT: {"id": await client.register_account()}}
    answers = await call_concurrently(client.api, [(CREATE, body)] * 20)
    assert error_names(answers) == ["MAXIMUMACCESSTOKENS"] * 17 + ["OK"] * 3


@pytest.mark.parametrize("name", ["authentication_code", "identifier"])
async def test_codes_are_unique_but_for_blanks_around_them(client: TokensClient, name: str) -> None:
    code = unique_code("Code")
    await client.create_keyed_token(**{name: code})
    for same in (code, f"  {code} "):
        body = {
            "identifier": unique_code(),
            "pass_code": PASS_CODE,
            CLASSIFICATION: BARE,
            name: same,
        }
        async with untouched(client.api):
            assert await client.create_token_refused(**body) == ("DUPLICATEENTITY", name)
    await client.create_keyed_token(**{name: code.lower()})


async def test_an_identifier_may_be_another_ones_authentication_code(client: TokensClient) -> None:
    token = await client.create_token()
    await client.create_keyed_token(identifier=token["authentication_code"])


async def test_codes_are_unique_whatever_the_state(client: TokensClient) -> None:
    for token in (await client.create_disabled_token(), await client.create_pending_token()):
        body = {"authentication_code": token["authentication_code"], CLASSIFICATION: BARE}
        assert (await client.create_token_refused(**body))[0] == "DUPLICATEENTITY"


@pytest.mark.parametrize("name", ["authentication_code", "identifier"])
async def test_codes_are_unique_when_raced(client: TokensClient, name: str) -> None:
    body = {"identifier": unique_code(), "pass_code": PASS_CODE, CLASSIFICATION: BARE}
    calls = [
        (CREATE, body | {"identifier": unique_code(), name: body["identifier"]}) for _ in range(8)
    ]
    answers = await call_concurrently(client.api, calls)
    assert error_names(answers) == ["DUPLICATEENTITY"] * 7 + ["OK"]


async def test_of_another_organisation_codes_do_not_matter(
    client: TokensClient, service: Service
) -> None:
    token = await client.create_token()
    other = await tokens_client(service)
    await other.create_token(authentication_code=token["authentication_code"])


async def test_repeated(client: TokensClient) -> None:
    key, body = {"Idempotency-Key": new_key()}, {CLASSIFICATION: VERIFIED}
    before = await event_topics(client.api)
    answers = await call_concurrently(client.api, [(CREATE, body)] * 20, **key)
    assert answers == [answers[0]] * 20
    assert re.fullmatch(r"\d{7}", answers[0]["data"]["verification_code"])
    assert len(await event_topics(client.api)) == len(before) + 1
    status, answer = await post_raw(client.api, CREATE, body | {"udf_string_1": "x"}, **key)
    assert (status, refusal(answer)[0]) == (422, "INVALIDREQUEST")


async def test_repeated_without_a_key_makes_another(client: TokensClient) -> None:
    first, second = await client.create_token(), await client.create_token()
    assert first["authentication_code"] != second["authentication_code"]


async def test_order_of_checks(client: TokensClient) -> None:
    """Parameters, references, states, conditions of settings, ownership, limits, uniqueness."""
    taken = (await client.create_token())["authentication_code"]
    limits = {"max_per_accounts_receivable": 0, "allow_no_identifier": True}
    classified = await client.register_definition(**limits)
    account, terminated = (
        await client.register_account(),
        await client.register_account(life_cycle_state="TERMINATED"),
    )
    stranger = await client.register_participant(terminated)
    steps: list[tuple[Json, str]] = [
        ({"udf_date_1": "x"}, "INVALIDPARAMETERTYPE"),
        ({"udf_date_1": None, ACCOUNT: {"id": "nothing"}}, "ENTITYNOTFOUND"),
        ({ACCOUNT: {"id": terminated}}, "INVALIDLIFECYCLESTATE"),
        ({ACCOUNT: {"id": account}}, "INVALIDPARAMETERVALUE"),
        ({"pass_code": None}, "PARTICIPANTNOTOWNED"),
        ({PARTICIPANT: None}, "MAXIMUMACCESSTOKENS"),
        ({ACCOUNT: None}, "DUPLICATEENTITY"),
    ]
    body: Json = {"authentication_code": taken, "pass_code": "x", CLASSIFICATION: classified}
    body |= {PARTICIPANT: {"id": stranger}}
    for more, name in steps:
        body |= more
        assert (await client.create_token_refused(**body))[0] == name
