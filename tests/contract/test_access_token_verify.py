"""Methods 31 to 33, verify and the resets: contract access_tokens.md, sections 6.6 to 6.8."""

from __future__ import annotations

import re
from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.access_tokens import (
    ON,
    PASS_CODE,
    VERIFIED,
    TokensClient,
    by_code,
    by_pass_code,
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
VERIFY = "access_tokens/verify"
PASS, CODE = "access_tokens/reset_pass_code", "access_tokens/reset_verification_code"
JAVA = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d EES?T \d{4}")


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    return await tokens_client(service)


def wrong(code: str) -> str:
    """Another code of the same form."""
    return code[:-1] + str((int(code[-1]) + 1) % 10)


async def test_verifying_makes_effective(client: TokensClient) -> None:
    token = await client.create_pending_token()
    code = token["verification_code"]
    verified = await client.call_token("verify", token, verification_code=code)
    same = ("life_cycle_state", "verified_date", "verified_by_user", "log_information")
    assert verified | dict.fromkeys(same) == token | dict.fromkeys(same)
    assert verified["life_cycle_state"] == "EFFECTIVE"
    assert JAVA.fullmatch(verified["verified_date"])
    assert verified["verified_by_user"]["username"] == "demo"
    assert await client.show_token(token) == verified | {"verification_code": None}
    assert (await event_topics(client.api))[-1] == "access_token.verified"


async def test_a_code_is_used_up(client: TokensClient) -> None:
    token = await client.create_pending_token()
    code = token["verification_code"]
    await client.call_token("verify", token, verification_code=code)
    for again in (code, wrong(code)):
        refused = await client.call_token_refused("verify", token, verification_code=again)
        assert refused[0] == "INVALIDLIFECYCLESTATE"


async def test_a_wrong_code_changes_nothing(client: TokensClient) -> None:
    token, other = await client.create_pending_token(), await client.create_pending_token()
    code = token["verification_code"]
    given = [wrong(code), other["verification_code"], code[:-1], f"{code} ", "x"]
    for one in given:
        async with untouched(client.api):
            refused = await client.call_token_refused("verify", token, verification_code=one)
            assert refused == ("INVALIDVERIFICATIONCODE", "verification_code")
    await client.call_token("verify", token, verification_code=code)


async def test_verifying_with_a_new_pass_code(client: TokensClient) -> None:
    token = await client.create_pending_token(identifier=unique_code(), pass_code=PASS_CODE)
    given = {"verification_code": token["verification_code"], "pass_code": "Other1"}
    verified = await client.api.post(VERIFY, **{ON: by_pass_code(token)}, **given)
    assert verified["life_cycle_state"] == "EFFECTIVE"
    await client.api.post("access_tokens/show", **{ON: by_pass_code(token, "Other1")})
    refused = await client.api.refused("access_tokens/show", **{ON: by_pass_code(token)})
    assert refused == ("ENTITYNOTFOUND", ON)


async def test_a_new_pass_code_needs_an_identifier_and_follows_the_settings(
    client: TokensClient,
) -> None:
    settings = {"generate_verification_code": True, "allow_no_identifier": True}
    classified = await client.register_definition(**settings, pass_code_min_digits=3)
    bare = await client.create_token(classification_identifier=classified)
    keyed = await client.create_keyed_token(
        classification_identifier=classified, pass_code="abc123"
    )
    for token, pass_code in ((bare, "abc123"), (keyed, "abc12")):
        given = {"verification_code": token["verification_code"], "pass_code": pass_code}
        async with untouched(client.api):
            refused = await client.call_token_refused("verify", token, **given)
            assert refused == ("INVALIDPARAMETERVALUE", "pass_code")
        none = {"verification_code": token["verification_code"], "pass_code": None}
        await client.call_token("verify", token, **none)


@pytest.mark.parametrize("pass_code", ["x", "12", "x" * 256, "abc"])
async def test_the_code_is_checked_before_the_form_of_the_pass_code(
    client: TokensClient, pass_code: str
) -> None:
    settings = {"generate_verification_code": True, "pass_code_min_digits": 3}
    classified = await client.register_definition(**settings)
    token = await client.create_keyed_token(
        classification_identifier=classified, pass_code="abc123"
    )
    code, form = token["verification_code"], {"pass_code": pass_code}
    async with untouched(client.api):
        given = {"verification_code": wrong(code)} | form
        refused = await client.call_token_refused("verify", token, **given)
        assert refused == ("INVALIDVERIFICATIONCODE", "verification_code")
    async with untouched(client.api):
        given = {"verification_code": code} | form
        refused = await client.call_token_refused("verify", token, **given)
        assert refused == ("INVALIDPARAMETERVALUE", "pass_code")
    # The code is not used up by that.
    given = {"verification_code": code, "pass_code": "xyz789"}
    verified = await client.call_token("verify", token, **given)
    assert verified["life_cycle_state"] == "EFFECTIVE"
    by_new = {ON: by_pass_code(token, "xyz789")}
    assert (await client.api.post("access_tokens/show", **by_new))["id"] == token["id"]


async def test_the_code_is_checked_before_the_pass_code_without_identifier(
    client: TokensClient,
) -> None:
    token = await client.create_pending_token()
    given = {"verification_code": wrong(token["verification_code"]), "pass_code": "x"}
    assert (await client.call_token_refused("verify", token, **given))[
        0
    ] == "INVALIDVERIFICATIONCODE"


async def test_where_pass_codes_are_generated_none_is_given(client: TokensClient) -> None:
    settings = {"generate_verification_code": True, "pass_code_creation": "AUTOMATIC"}
    classified = await client.register_definition(**settings)
    account = {"accounts_receivable_identifier": {"id": await client.register_account()}}
    token = await client.create_token(
        classification_identifier=classified, identifier=unique_code(), **account
    )
    code = token["verification_code"]
    for given, name in ((wrong(code), "INVALIDVERIFICATIONCODE"), (code, "INVALIDPARAMETERVALUE")):
        async with untouched(client.api):
            refused = await client.call_token_refused(
                "verify", token, verification_code=given, pass_code="abc123"
            )
        assert refused[0] == name
    await client.call_token("verify", token, verification_code=code)


@pytest.mark.parametrize("given", [{}, {"verification_code": None}, {"verification_code": " "}])
async def test_the_code_is_mandatory(client: TokensClient, given: Json) -> None:
    refused = await client.call_token_refused(
        "verify", await client.create_pending_token(), **given
    )
    assert refused == ("MANDATORYPARAMETER", "verification_code")


async def test_the_length_of_the_code_is_a_setting(client: TokensClient) -> None:
    for length in (1, 6, 12):
        settings = {"verification_code_length": length, "generate_verification_code": True}
        classified = await client.register_definition(allow_no_identifier=True, **settings)
        token = await client.create_token(classification_identifier=classified)
        assert re.fullmatch(rf"\d{{{length}}}", token["verification_code"])
        reset = await client.call_token("reset_verification_code", token)
        assert re.fullmatch(rf"\d{{{length}}}", reset["verification_code"])


async def test_a_new_verification_code_takes_the_place_of_the_former(client: TokensClient) -> None:
    token = await client.create_pending_token()
    reset = await client.call_token("reset_verification_code", token)
    assert reset.keys() == {
        "id",
        "number",
        "life_cycle_state",
        "authentication_code",
        "identifier",
        "verification_code",
        "log_information",
    }
    same = reset.keys() - {"verification_code", "log_information"}
    assert {name: reset[name] for name in same} == {name: token[name] for name in same}
    former, code = token["verification_code"], reset["verification_code"]
    if former != code:
        refused = await client.call_token_refused("verify", token, verification_code=former)
        assert refused[0] == "INVALIDVERIFICATIONCODE"
    await client.call_token("verify", token, verification_code=code)


async def test_a_new_pass_code_takes_the_place_of_the_former(client: TokensClient) -> None:
    token = await client.create_keyed_token(
        accounts_receivable_identifier={"id": await client.register_account()}
    )
    password = await client.one_time_password(token)
    reset = await client.call_token("reset_pass_code", token)
    assert reset.keys() == {
        "id",
        "number",
        "life_cycle_state",
        "authentication_code",
        "identifier",
        "random_pass_code",
        "log_information",
    }
    assert re.fullmatch(r"\d{6}", reset["random_pass_code"])
    refused = await client.api.refused("access_tokens/show", **{ON: by_pass_code(token)})
    assert refused == ("ENTITYNOTFOUND", ON)
    by_new = by_pass_code(token, reset["random_pass_code"])
    shown = await client.api.post("access_tokens/show", **{ON: by_new})
    assert shown == token | {"log_information": reset["log_information"]}
    assert await client.add_reference({"one_time_password": password}) == "INVALIDONETIMEPASSWORD"


async def test_a_random_pass_code_meets_the_settings(client: TokensClient) -> None:
    least = {"length": 12, "letters": 3, "digits": 4, "special": 2}
    settings = {f"pass_code_min_{sort}": n for sort, n in least.items()}
    classified = await client.register_definition(**settings)
    token = await client.create_keyed_token(
        classification_identifier=classified, pass_code="abc-1234-xyz"
    )
    code = (await client.call_token("reset_pass_code", token))["random_pass_code"]
    assert len(code) == 12
    assert sum(map(str.isalpha, code)) >= 3
    assert sum(map(str.isdigit, code)) >= 4
    assert sum(not c.isalnum() for c in code) >= 2
    await client.call_token("update", token, pass_code=code)


@pytest.mark.parametrize(("path", "method"), [(PASS, "pass_code"), (CODE, "verification_code")])
async def test_how_a_reset_names_its_token(client: TokensClient, path: str, method: str) -> None:
    keys: Json = {"identifier": unique_code(), "pass_code": PASS_CODE}
    kind = {"classification_identifier": VERIFIED} if method == "verification_code" else {}
    token = await client.create_token(**keys, **kind)
    for name in ("authentication_code", "identifier"):
        await client.api.post(path, **{name: f" {token[name]} "})
    cases: list[tuple[Json, str]] = [
        ({}, "SEMIOPTIONALPARAMETER"),
        ({"identifier": None, "authentication_code": ""}, "SEMIOPTIONALPARAMETER"),
        ({"identifier": "x", "authentication_code": "y"}, "SEMIOPTIONALPARAMETER"),
        ({"identifier": "nobody"}, "ENTITYNOTFOUND"),
        ({"authentication_code": token["authentication_code"].lower()}, "ENTITYNOTFOUND"),
        ({ON: by_code(token)}, "SEMIOPTIONALPARAMETER"),
    ]
    for given, name in cases:
        async with untouched(client.api):
            assert (await client.api.refused(path, **given))[0] == name


async def test_without_an_identifier_there_is_no_pass_code_to_reset(client: TokensClient) -> None:
    token = await client.create_token()
    async with untouched(client.api):
        refused = await client.call_token_refused("reset_pass_code", token)
    assert refused[0] == "INVALIDPARAMETERVALUE"


async def call(client: TokensClient, method: str) -> tuple[str, Json]:
    """A call of one of the three methods that is accepted."""
    if method == "verify":
        token = await client.create_pending_token()
        code = token["verification_code"]
        return VERIFY, {ON: by_code(token), "verification_code": code}
    token = await (
        client.create_keyed_token()
        if method == "reset_pass_code"
        else client.create_pending_token()
    )
    return f"access_tokens/{method}", by_code(token)


METHODS = ("verify", "reset_pass_code", "reset_verification_code")


@pytest.mark.parametrize("method", METHODS)
async def test_repeated(client: TokensClient, method: str) -> None:
    path, body = await call(client, method)
    key, before = {"Idempotency-Key": new_key()}, await event_topics(client.api)
    answers = await call_concurrently(client.api, [(path, body)] * 20, **key)
    assert answers == [answers[0]] * 20
    assert answers[0]["status"]["code"] == "OK"
    assert len(await event_topics(client.api)) == len(before) + 1
    async with untouched(client.api):
        status, answer = await post_raw(client.api, path, body | {"x": 1}, **key)
        assert (status, refusal(answer)[0]) == (422, "INVALIDREQUEST")


@pytest.mark.parametrize("method", METHODS)
async def test_raced(client: TokensClient, method: str) -> None:
    path, body = await call(client, method)
    answers = await call_concurrently(client.api, [(path, body)] * 6)
    once = ["INVALIDLIFECYCLESTATE"] * 5 + ["OK"]
    assert error_names(answers) == (once if method == "verify" else ["OK"] * 6)


async def test_verifying_raced_with_a_reset(client: TokensClient) -> None:
    """A code that was replaced meanwhile is no longer the current one."""
    for _ in range(5):
        path, body = await call(client, "verify")
        answers = await call_concurrently(client.api, [(path, body), (CODE, body[ON])])
        assert error_names(answers) in (
            ["INVALIDVERIFICATIONCODE", "OK"],
            ["INVALIDLIFECYCLESTATE", "OK"],
        )
