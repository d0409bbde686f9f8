"""Method 30, access_tokens/update: contract access_tokens.md, section 6.5."""

from __future__ import annotations

import re
from typing import Any

import pytest
import pytest_asyncio

from tests.communications_world import OTHER_UNIT, events, names, new_key, posted, together
from tests.service import Service, refusal
from tests.tokens_world import (
    BARE,
    ON,
    PASS_CODE,
    TokenDesk,
    by_code,
    by_pass_code,
    token_desk,
    unique,
)
from tests.world import untouched

Json = dict[str, Any]
UPDATE = "access_tokens/update"
CHANGED, AMENDED = "access_token.credentials_changed", "access_token.amended"


@pytest_asyncio.fixture(scope="module")
async def here(service: Service) -> TokenDesk:
    return await token_desk(service)


async def works(here: TokenDesk, token: Json, pass_code: str = PASS_CODE) -> bool:
    """Whether a token is shown for its identifier and that pass code."""
    path, body = "access_tokens/show", {ON: by_pass_code(token, pass_code)}
    answer = await here.api.call("POST", path, body=body)
    return bool(answer["status"]["code"] == "OK")


async def test_everything_at_once(here: TokenDesk) -> None:
    token = await here.keyed()
    before = await events(here.api)
    codes = {"authentication_code": unique(), "identifier": unique()}
    changed = await here.do("update", token, **codes, pass_code="New1", udf_string_1="x")
    same = dict.fromkeys(("log_information",))
    assert changed | same == token | codes | {"udf_string_1": "x"} | same
    assert await here.look(changed) == changed
    assert await here.undone("show", token) == ("ENTITYNOTFOUND", ON)
    assert [await works(here, t, c) for t, c in ((changed, "New1"), (changed, PASS_CODE))] == [
        True,
        False,
    ]
    assert not await works(here, token)
    assert (await events(here.api))[len(before) :] == [CHANGED, AMENDED]


async def test_by_identifier_and_pass_code(here: TokenDesk) -> None:
    token = await here.keyed()
    await here.api.post(UPDATE, **{ON: by_pass_code(token)}, udf_string_1="x")
    assert (await here.look(token))["udf_string_1"] == "x"


async def test_who_changed_it(here: TokenDesk) -> None:
    token = await here.issue()
    session = await here.api.login(unit=OTHER_UNIT)
    body = {ON: by_code(token), "udf_string_1": "x", "token": session}
    answer = await here.api.open(UPDATE, body)
    log, first = answer["data"]["log_information"], token["log_information"]
    assert log["updated_by_unit"]["name"] == "Call Centre"
    for name in ("created_date", "created_by_user", "created_by_unit"):
        assert log[name] == first[name]


async def test_null_gives_a_new_authentication_code(here: TokenDesk) -> None:
    token = await here.issue()
    changed = await here.do("update", token, authentication_code=None)
    assert re.fullmatch(r"[0-9A-F]{32}", changed["authentication_code"])
    assert changed["authentication_code"] != token["authentication_code"]


async def test_null_takes_the_identifier_and_with_it_the_pass_code(here: TokenDesk) -> None:
    token = await here.keyed()
    changed = await here.do("update", token, identifier=None)
    assert changed["identifier"] is None
    assert not await works(here, token)
    again = await here.undone("update", token, identifier=token["identifier"])
    assert again == ("MANDATORYPARAMETER", "pass_code")
    await here.do("update", token, identifier=token["identifier"], pass_code="Other1")
    assert [await works(here, token, code) for code in (PASS_CODE, "Other1")] == [False, True]


async def test_null_for_both(here: TokenDesk) -> None:
    token = await here.keyed()
    changed = await here.do("update", token, identifier=None, pass_code=None)
    assert changed["identifier"] is None


async def test_null_unsets_fields_of_the_users(here: TokenDesk) -> None:
    details = {"udf_string_1": "x", "udf_float_1": 1, "udf_date_1": "2016-05-20T10:06:08"}
    token = await here.issue(**details)
    changed = await here.do("update", token, **dict.fromkeys(details))
    assert [changed[name] for name in details] == [None] * 3


REFUSED: list[tuple[Json, str, str]] = [
    ({"identifier": "other"}, "MANDATORYPARAMETER", "pass_code"),
    ({"identifier": "other", "pass_code": None}, "MANDATORYPARAMETER", "pass_code"),
    ({"pass_code": None}, "MANDATORYPARAMETER", "pass_code"),
    ({"pass_code": ""}, "MANDATORYPARAMETER", "pass_code"),
    ({"identifier": None, "pass_code": "x"}, "INVALIDPARAMETERVALUE", "pass_code"),
    ({"authentication_code": " "}, "INVALIDPARAMETERVALUE", "authentication_code"),
    ({"identifier": []}, "INVALIDPARAMETERTYPE", "identifier"),
    ({"pass_code": "x" * 256}, "INVALIDPARAMETERVALUE", "pass_code"),
    ({"udf_date_1": "x"}, "INVALIDPARAMETERTYPE", "udf_date_1"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: f"{c[1]}-{str(c[0])[:60]}")
async def test_refused(here: TokenDesk, case: tuple[Json, str, str]) -> None:
    given, name, description = case
    token = await here.keyed()
    async with untouched(here.api):
        assert await here.undone("update", token, **given) == (name, description)


async def test_settings_that_want_an_identifier_keep_it(here: TokenDesk) -> None:
    account = {"id": await here.account()}
    identified = {"accounts_receivable_identifier": account, "identifier": unique()}
    classified = await here.definition()
    token = await here.keyed(classification_identifier=classified, **identified)
    refused = await here.undone("update", token, identifier=None)
    assert refused == ("MANDATORYPARAMETER", "identifier")


async def test_settings_of_codes_apply(here: TokenDesk) -> None:
    classified = await here.definition(identifier_format="NUMBER", pass_code_min_digits=2)
    token = await here.keyed(
        classification_identifier=classified,
        identifier="123456",
        pass_code="1a2",
    )
    for given, at in (
        ({"identifier": "x", "pass_code": "12"}, "identifier"),
        ({"pass_code": "1a"}, "pass_code"),
    ):
        refused = await here.undone("update", token, **given)
        assert refused == ("INVALIDPARAMETERVALUE", at)


async def test_no_pass_code_without_an_identifier(here: TokenDesk) -> None:
    token = await here.issue()
    refused = await here.undone("update", token, pass_code="x")
    assert refused == ("INVALIDPARAMETERVALUE", "pass_code")


@pytest.mark.parametrize("name", ["authentication_code", "identifier"])
async def test_codes_of_others(here: TokenDesk, name: str) -> None:
    token, other = await here.keyed(), await here.keyed()
    given = {name: f" {other[name]}", "pass_code": PASS_CODE}
    async with untouched(here.api):
        assert await here.undone("update", token, **given) == ("DUPLICATEENTITY", name)


async def test_codes_that_become_free_may_be_used(here: TokenDesk) -> None:
    token = await here.keyed()
    codes = {name: token[name] for name in ("authentication_code", "identifier")}
    changed = await here.do("update", token, authentication_code=None, identifier=None)
    other = await here.keyed(**codes)
    assert other["id"] != changed["id"]
    assert await works(here, other)


UNCHANGING: dict[str, Json] = {
    "nothing": {},
    "null fields": {"udf_string_2": None, "udf_string_3": ""},
    "unknown members": {"colour": "red", "accounts_receivable_identifier": {"no": "identifier"}},
    "the same pass code": {"pass_code": PASS_CODE},
    "the same field": {"udf_string_1": "x"},
}


@pytest.mark.parametrize("case", UNCHANGING)
async def test_what_changes_nothing_stores_nothing(here: TokenDesk, case: str) -> None:
    token = await here.keyed(udf_string_1="x")
    same = {name: token[name] for name in ("authentication_code", "identifier")}
    async with untouched(here.api):
        for given in (UNCHANGING[case], UNCHANGING[case] | same):
            assert await here.do("update", token, **given) == token


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
    here: TokenDesk, change: Json, void: bool
) -> None:
    account = await here.account()
    token = await here.keyed(accounts_receivable_identifier={"id": account})
    password = await here.once(token)
    await here.do("update", token, **change)
    found = await here.refer({"one_time_password": password})
    assert found == ("INVALIDONETIMEPASSWORD" if void else "OK")


@pytest.mark.parametrize("state", ["EFFECTIVE", "NOT_EFFECTIVE", "PENDING_VERIFICATION"])
async def test_in_any_state_which_it_keeps(here: TokenDesk, state: str) -> None:
    make = {"NOT_EFFECTIVE": here.disabled, "PENDING_VERIFICATION": here.pending}
    token = await make.get(state, here.issue)()
    changed = await here.do("update", token, authentication_code=None, udf_string_1="x")
    assert changed["life_cycle_state"] == state
    assert changed["verification_code"] is None
    if state == "PENDING_VERIFICATION":
        code = token["verification_code"]
        assert (await here.do("verify", changed, verification_code=code))["verified_date"]


async def test_repeated(here: TokenDesk) -> None:
    token, key = await here.keyed(), {"Idempotency-Key": new_key()}
    body = {ON: by_pass_code(token), "pass_code": "Other1", "udf_string_1": "x"}
    first = (await together(here.api, [(UPDATE, body)], **key))[0]
    async with untouched(here.api):
        assert await together(here.api, [(UPDATE, body)] * 3, **key) == [first] * 3
        status, answer = await posted(here.api, UPDATE, body | {"udf_string_1": "y"}, **key)
        assert (status, refusal(answer)[0]) == (422, "INVALIDREQUEST")
        assert names(await together(here.api, [(UPDATE, body)])) == ["ENTITYNOTFOUND"]


async def test_raced_with_itself(here: TokenDesk) -> None:
    token = await here.issue()
    calls = [(UPDATE, {ON: by_code(token), f"udf_string_{n}": "x"}) for n in range(1, 9)]
    assert names(await together(here.api, calls)) == ["OK"] * 8
    now = await here.look(token)
    assert [now[f"udf_string_{n}"] for n in range(1, 9)] == ["x"] * 8


async def test_raced_for_one_code(here: TokenDesk) -> None:
    tokens = [await here.issue() for _ in range(6)]
    calls = [(UPDATE, {ON: by_code(t), "authentication_code": "wanted"}) for t in tokens]
    assert names(await together(here.api, calls)) == ["DUPLICATEENTITY"] * 5 + ["OK"]


async def test_raced_with_a_change_of_the_code_that_names_it(here: TokenDesk) -> None:
    """Whoever comes second shows a code that is no longer the token's."""
    token = await here.issue()
    calls = [(UPDATE, {ON: by_code(token), "authentication_code": unique()}) for _ in range(6)]
    assert names(await together(here.api, calls)) == ["ENTITYNOTFOUND"] * 5 + ["OK"]


async def test_the_classification_counts_not_the_definition(here: TokenDesk) -> None:
    token = await here.keyed(classification_identifier=BARE)
    assert (await here.do("update", token, identifier=None))["identifier"] is None
