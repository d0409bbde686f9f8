"""Method 30, access_tokens/update: contract access_tokens.md, section 6.5."""

from __future__ import annotations

import re
from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.access_tokens import (
    BARE,
    ON,
    PASS_CODE,
    TokensClient,
    by_code,
    by_pass_code,
    tokens_client,
    unique_code,
)
from tests.fixtures.communications import (
    OTHER_UNIT,
    call_concurrently,
    error_names,
    event_topics,
    new_key,
    post_raw,
)
from tests.fixtures.organisation import untouched
from tests.fixtures.service import Service, refusal

Json = dict[str, Any]
UPDATE = "access_tokens/update"
CHANGED, AMENDED = "access_token.credentials_changed", "access_token.amended"


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    return await tokens_client(service)


async def works(client: TokensClient, token: Json, pass_code: str = PASS_CODE) -> bool:
    """Whether a token is shown for its identifier and that pass code."""
    path, body = "access_tokens/show", {ON: by_pass_code(token, pass_code)}
    answer = await client.api.call("POST", path, body=body)
    return bool(answer["status"]["code"] == "OK")


async def test_everything_at_once(client: TokensClient) -> None:
    token = await client.create_keyed_token()
    before = await event_topics(client.api)
    codes = {"authentication_code": unique_code(), "identifier": unique_code()}
    changed = await client.call_token("update", token, **codes, pass_code="New1", udf_string_1="x")
    same = dict.fromkeys(("log_information",))
    assert changed | same == token | codes | {"udf_string_1": "x"} | same
    assert await client.show_token(changed) == changed
    assert await client.call_token_refused("show", token) == ("ENTITYNOTFOUND", ON)
    assert [await works(client, t, c) for t, c in ((changed, "New1"), (changed, PASS_CODE))] == [
        True,
        False,
    ]
    assert not await works(client, token)
    assert (await event_topics(client.api))[len(before) :] == [CHANGED, AMENDED]


async def test_by_identifier_and_pass_code(client: TokensClient) -> None:
    token = await client.create_keyed_token()
    await client.api.post(UPDATE, **{ON: by_pass_code(token)}, udf_string_1="x")
    assert (await client.show_token(token))["udf_string_1"] == "x"


async def test_who_changed_it(client: TokensClient) -> None:
    token = await client.create_token()
    session = await client.api.login(unit=OTHER_UNIT)
    body = {ON: by_code(token), "udf_string_1": "x", "token": session}
    answer = await client.api.open(UPDATE, body)
    log, first = answer["data"]["log_information"], token["log_information"]
    assert log["updated_by_unit"]["name"] == "Call Centre"
    for name in ("created_date", "created_by_user", "created_by_unit"):
        assert log[name] == first[name]


async def test_null_gives_a_new_authentication_code(client: TokensClient) -> None:
    token = await client.create_token()
    changed = await client.call_token("update", token, authentication_code=None)
    assert re.fullmatch(r"[0-9A-F]{32}", changed["authentication_code"])
    assert changed["authentication_code"] != token["authentication_code"]


async def test_null_takes_the_identifier_and_with_it_the_pass_code(client: TokensClient) -> None:
    token = await client.create_keyed_token()
    changed = await client.call_token("update", token, identifier=None)
    assert changed["identifier"] is None
    assert not await works(client, token)
    again = await client.call_token_refused("update", token, identifier=token["identifier"])
    assert again == ("MANDATORYPARAMETER", "pass_code")
    await client.call_token("update", token, identifier=token["identifier"], pass_code="Other1")
    assert [await works(client, token, code) for code in (PASS_CODE, "Other1")] == [False, True]


async def test_null_for_both(client: TokensClient) -> None:
    token = await client.create_keyed_token()
    changed = await client.call_token("update", token, identifier=None, pass_code=None)
    assert changed["identifier"] is None


async def test_null_unsets_fields_of_the_users(client: TokensClient) -> None:
    details = {"udf_string_1": "x", "udf_float_1": 1, "udf_date_1": "2016-05-20T10:06:08"}
    token = await client.create_token(**details)
    changed = await client.call_token("update", token, **dict.fromkeys(details))
    assert [changed[name] for name in details] == [None] * 3


REFUSED: list[tuple[Json, str, str]] = [
    ({"identifier": "other"}, "MANDATORYPARAMETER", "pass_code"),
    ({"identifier": "other", "pass_code": None}, "MANDATORYPARAMETER", "pass_code"),
    ({"pass_code": None}, "MANDATORYPARAMETER", "pass_code"),
    ({"pass_code": ""}, "MANDATORYPARAMETER", "pass_code"),
    ({"identifier": None, "pass_code": "x"}, "INVALIDPARAMETERVALUE", "pass_code"),
    ({"identifier": []}, "INVALIDPARAMETERTYPE", "identifier"),
    ({"pass_code": "x" * 256}, "INVALIDPARAMETERVALUE", "pass_code"),
    ({"udf_date_1": "x"}, "INVALIDPARAMETERTYPE", "udf_date_1"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: f"{c[1]}-{str(c[0])[:60]}")
async def test_refused(client: TokensClient, case: tuple[Json, str, str]) -> None:
    given, name, description = case
    token = await client.create_keyed_token()
    async with untouched(client.api):
        assert await client.call_token_refused("update", token, **given) == (name, description)


async def test_settings_that_want_an_identifier_keep_it(client: TokensClient) -> None:
    account = {"id": await client.register_account()}
    identified = {"accounts_receivable_identifier": account, "identifier": unique_code()}
    classified = await client.register_definition()
    token = await client.create_keyed_token(classification_identifier=classified, **identified)
    refused = await client.call_token_refused("update", token, identifier=None)
    assert refused == ("MANDATORYPARAMETER", "identifier")


async def test_settings_of_codes_apply(client: TokensClient) -> None:
    classified = await client.register_definition(
        identifier_format="NUMBER", pass_code_min_digits=2
    )
    token = await client.create_keyed_token(
        classification_identifier=classified,
        identifier="123456",
        pass_code="1a2",
    )
    for given, at in (
        ({"identifier": "x", "pass_code": "12"}, "identifier"),
        ({"pass_code": "1a"}, "pass_code"),
    ):
        refused = await client.call_token_refused("update", token, **given)
        assert refused == ("INVALIDPARAMETERVALUE", at)


async def test_no_pass_code_without_an_identifier(client: TokensClient) -> None:
    token = await client.create_token()
    refused = await client.call_token_refused("update", token, pass_code="x")
    assert refused == ("INVALIDPARAMETERVALUE", "pass_code")


@pytest.mark.parametrize("name", ["authentication_code", "identifier"])
async def test_codes_of_others(client: TokensClient, name: str) -> None:
    token, other = await client.create_keyed_token(), await client.create_keyed_token()
    given = {name: f" {other[name]}", "pass_code": PASS_CODE}
    async with untouched(client.api):
        assert await client.call_token_refused("update", token, **given) == (
            "DUPLICATEENTITY",
            name,
        )


async def test_codes_that_become_free_may_be_used(client: TokensClient) -> None:
    token = await client.create_keyed_token()
    codes = {name: token[name] for name in ("authentication_code", "identifier")}
    changed = await client.call_token("update", token, authentication_code=None, identifier=None)
    other = await client.create_keyed_token(**codes)
    assert other["id"] != changed["id"]
    assert await works(client, other)


UNCHANGING: dict[str, Json] = {
    "nothing": {},
    "null fields": {"udf_string_2": None, "udf_string_3": ""},
    "unknown members": {"colour": "red", "accounts_receivable_identifier": {"no": "identifier"}},
    "the same pass code": {"pass_code": PASS_CODE},
    "the same field": {"udf_string_1": "x"},
}


@pytest.mark.parametrize("case", UNCHANGING)
async def test_what_changes_nothing_stores_nothing(client: TokensClient, case: str) -> None:
    token = await client.create_keyed_token(udf_string_1="x")
    same = {name: token[name] for name in ("authentication_code", "identifier")}
    async with untouched(client.api):
        for given in (UNCHANGING[case], UNCHANGING[case] | same):
            assert await client.call_token("update", token, **given) == token


@pytest.mark.parametrize(
    ("change", "void"),
    [
        ({"authentication_code": None}, True),
        ({"identifier": None}, True),
        ({"pass_code": "Other1"}, True),
        ({"udf_string_1": "x"}, False),
        ({"pass_code": PASS_CODE}, False),
    ],
)
async def test_new_codes_void_a_one_time_password(
    client: TokensClient, change: Json, void: bool
) -> None:
    account = await client.register_account()
    token = await client.create_keyed_token(accounts_receivable_identifier={"id": account})
    password = await client.one_time_password(token)
    await client.call_token("update", token, **change)
    found = await client.add_reference({"one_time_password": password})
    assert found == ("INVALIDONETIMEPASSWORD" if void else "OK")


@pytest.mark.parametrize("state", ["EFFECTIVE", "NOT_EFFECTIVE", "PENDING_VERIFICATION"])
async def test_in_any_state_which_it_keeps(client: TokensClient, state: str) -> None:
    make = {
        "NOT_EFFECTIVE": client.create_disabled_token,
        "PENDING_VERIFICATION": client.create_pending_token,
    }
    token = await make.get(state, client.create_token)()
    changed = await client.call_token("update", token, authentication_code=None, udf_string_1="x")
    assert changed["life_cycle_state"] == state
    assert changed["verification_code"] is None
    if state == "PENDING_VERIFICATION":
        code = token["verification_code"]
        assert (await client.call_token("verify", changed, verification_code=code))["verified_date"]


async def test_repeated(client: TokensClient) -> None:
    token, key = await client.create_keyed_token(), {"Idempotency-Key": new_key()}
    body = {ON: by_pass_code(token), "pass_code": "Other1", "udf_string_1": "x"}
    first = (await call_concurrently(client.api, [(UPDATE, body)], **key))[0]
    async with untouched(client.api):
        assert await call_concurrently(client.api, [(UPDATE, body)] * 3, **key) == [first] * 3
        status, answer = await post_raw(client.api, UPDATE, body | {"udf_string_1": "y"}, **key)
        assert (status, refusal(answer)[0]) == (422, "INVALIDREQUEST")
        assert error_names(await call_concurrently(client.api, [(UPDATE, body)])) == [
            "ENTITYNOTFOUND"
        ]


async def test_raced_with_itself(client: TokensClient) -> None:
    token = await client.create_token()
    calls = [(UPDATE, {ON: by_code(token), f"udf_string_{n}": "x"}) for n in range(1, 9)]
    assert error_names(await call_concurrently(client.api, calls)) == ["OK"] * 8
    now = await client.show_token(token)
    assert [now[f"udf_string_{n}"] for n in range(1, 9)] == ["x"] * 8


async def test_raced_for_one_code(client: TokensClient) -> None:
    tokens = [await client.create_token() for _ in range(6)]
    calls = [(UPDATE, {ON: by_code(t), "authentication_code": "wanted"}) for t in tokens]
    assert error_names(await call_concurrently(client.api, calls)) == ["DUPLICATEENTITY"] * 5 + [
        "OK"
    ]


async def test_raced_with_a_change_of_the_code_that_names_it(client: TokensClient) -> None:
    """Whoever comes second shows a code that is no longer the token's."""
    token = await client.create_token()
    calls = [(UPDATE, {ON: by_code(token), "authentication_code": unique_code()}) for _ in range(6)]
    assert error_names(await call_concurrently(client.api, calls)) == ["ENTITYNOTFOUND"] * 5 + [
        "OK"
    ]


async def test_the_classification_counts_not_the_definition(client: TokensClient) -> None:
    token = await client.create_keyed_token(classification_identifier=BARE)
    assert (await client.call_token("update", token, identifier=None))["identifier"] is None
