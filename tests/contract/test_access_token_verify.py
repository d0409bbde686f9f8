"""Methods 31 to 33, verify and the resets: contract access_tokens.md, sections 6.6 to 6.8."""

from __future__ import annotations

import re
from typing import Any

import pytest
import pytest_asyncio

from tests.communications_world import events, names, new_key, posted, together
from tests.service import Service, refusal
from tests.tokens_world import (
    ON,
    PASS_CODE,
    VERIFIED,
    TokenDesk,
    by_code,
    by_pass_code,
    token_desk,
    unique,
)
from tests.world import untouched

Json = dict[str, Any]
VERIFY = "access_tokens/verify"
PASS, CODE = "access_tokens/reset_pass_code", "access_tokens/reset_verification_code"
JAVA = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d EES?T \d{4}")


@pytest_asyncio.fixture(scope="module")
async def here(service: Service) -> TokenDesk:
    return await token_desk(service)


def wrong(code: str) -> str:
    """Another code of the same form."""
    return code[:-1] + str((int(code[-1]) + 1) % 10)


async def test_verifying_makes_effective(here: TokenDesk) -> None:
    token = await here.pending()
    code = token["verification_code"]
    verified = await here.do("verify", token, verification_code=code)
    same = ("life_cycle_state", "verified_date", "verified_by_user", "log_information")
    assert verified | dict.fromkeys(same) == token | dict.fromkeys(same)
    assert verified["life_cycle_state"] == "EFFECTIVE"
    assert JAVA.fullmatch(verified["verified_date"])
    assert verified["verified_by_user"]["username"] == "demo"
    assert await here.look(token) == verified | {"verification_code": None}
    assert (await events(here.api))[-1] == "access_token.verified"


async def test_a_code_is_used_up(here: TokenDesk) -> None:
    token = await here.pending()
    code = token["verification_code"]
    await here.do("verify", token, verification_code=code)
    for again in (code, wrong(code)):
        refused = await here.undone("verify", token, verification_code=again)
        assert refused[0] == "INVALIDLIFECYCLESTATE"


async def test_a_wrong_code_changes_nothing(here: TokenDesk) -> None:
    token, other = await here.pending(), await here.pending()
    code = token["verification_code"]
    given = [wrong(code), other["verification_code"], code[:-1], f"{code} ", "x"]
    for one in given:
        async with untouched(here.api):
            refused = await here.undone("verify", token, verification_code=one)
            assert refused == ("INVALIDVERIFICATIONCODE", "verification_code")
    await here.do("verify", token, verification_code=code)


async def test_verifying_with_a_new_pass_code(here: TokenDesk) -> None:
    token = await here.pending(identifier=unique(), pass_code=PASS_CODE)
    given = {"verification_code": token["verification_code"], "pass_code": "Other1"}
    verified = await here.api.post(VERIFY, **{ON: by_pass_code(token)}, **given)
    assert verified["life_cycle_state"] == "EFFECTIVE"
    await here.api.post("access_tokens/show", **{ON: by_pass_code(token, "Other1")})
    refused = await here.api.refused("access_tokens/show", **{ON: by_pass_code(token)})
    assert refused == ("ENTITYNOTFOUND", ON)


async def test_a_new_pass_code_needs_an_identifier_and_follows_the_settings(
    here: TokenDesk,
) -> None:
    settings = {"generate_verification_code": True, "allow_no_identifier": True}
    classified = await here.definition(**settings, pass_code_min_digits=3)
    bare = await here.issue(classification_identifier=classified)
    keyed = await here.keyed(classification_identifier=classified, pass_code="abc123")
    for token, pass_code in ((bare, "abc123"), (keyed, "abc12")):
        given = {"verification_code": token["verification_code"], "pass_code": pass_code}
        async with untouched(here.api):
            refused = await here.undone("verify", token, **given)
            assert refused == ("INVALIDPARAMETERVALUE", "pass_code")
        none = {"verification_code": token["verification_code"], "pass_code": None}
        await here.do("verify", token, **none)


async def test_the_code_is_checked_before_the_pass_code_without_identifier(here: TokenDesk) -> None:
    token = await here.pending()
    given = {"verification_code": wrong(token["verification_code"]), "pass_code": "x"}
    assert (await here.undone("verify", token, **given))[0] == "INVALIDVERIFICATIONCODE"


@pytest.mark.parametrize("given", [{}, {"verification_code": None}, {"verification_code": " "}])
async def test_the_code_is_mandatory(here: TokenDesk, given: Json) -> None:
    refused = await here.undone("verify", await here.pending(), **given)
    assert refused == ("MANDATORYPARAMETER", "verification_code")


async def test_the_length_of_the_code_is_a_setting(here: TokenDesk) -> None:
    for length in (1, 6, 12):
        settings = {"verification_code_length": length, "generate_verification_code": True}
        classified = await here.definition(allow_no_identifier=True, **settings)
        token = await here.issue(classification_identifier=classified)
        assert re.fullmatch(rf"\d{{{length}}}", token["verification_code"])
        reset = await here.do("reset_verification_code", token)
        assert re.fullmatch(rf"\d{{{length}}}", reset["verification_code"])


async def test_a_new_verification_code_takes_the_place_of_the_former(here: TokenDesk) -> None:
    token = await here.pending()
    reset = await here.do("reset_verification_code", token)
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
        refused = await here.undone("verify", token, verification_code=former)
        assert refused[0] == "INVALIDVERIFICATIONCODE"
    await here.do("verify", token, verification_code=code)


async def test_a_new_pass_code_takes_the_place_of_the_former(here: TokenDesk) -> None:
    token = await here.keyed(accounts_receivable_identifier={"id": await here.account()})
    password = await here.once(token)
    reset = await here.do("reset_pass_code", token)
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
    refused = await here.api.refused("access_tokens/show", **{ON: by_pass_code(token)})
    assert refused == ("ENTITYNOTFOUND", ON)
    by_new = by_pass_code(token, reset["random_pass_code"])
    shown = await here.api.post("access_tokens/show", **{ON: by_new})
    assert shown == token | {"log_information": reset["log_information"]}
    assert await here.refer({"one_time_password": password}) == "INVALIDONETIMEPASSWORD"


async def test_a_random_pass_code_meets_the_settings(here: TokenDesk) -> None:
    least = {"length": 12, "letters": 3, "digits": 4, "special": 2}
    settings = {f"pass_code_min_{sort}": n for sort, n in least.items()}
    classified = await here.definition(**settings)
    token = await here.keyed(classification_identifier=classified, pass_code="abc-1234-xyz")
    code = (await here.do("reset_pass_code", token))["random_pass_code"]
    assert len(code) == 12
    assert sum(map(str.isalpha, code)) >= 3
    assert sum(map(str.isdigit, code)) >= 4
    assert sum(not c.isalnum() for c in code) >= 2
    await here.do("update", token, pass_code=code)


@pytest.mark.parametrize(("path", "method"), [(PASS, "pass_code"), (CODE, "verification_code")])
async def test_how_a_reset_names_its_token(here: TokenDesk, path: str, method: str) -> None:
    keys: Json = {"identifier": unique(), "pass_code": PASS_CODE}
    kind = {"classification_identifier": VERIFIED} if method == "verification_code" else {}
    token = await here.issue(**keys, **kind)
    for name in ("authentication_code", "identifier"):
        await here.api.post(path, **{name: f" {token[name]} "})
    cases: list[tuple[Json, str]] = [
        ({}, "SEMIOPTIONALPARAMETER"),
        ({"identifier": None, "authentication_code": ""}, "SEMIOPTIONALPARAMETER"),
        ({"identifier": "x", "authentication_code": "y"}, "SEMIOPTIONALPARAMETER"),
        ({"identifier": "nobody"}, "ENTITYNOTFOUND"),
        ({"authentication_code": token["authentication_code"].lower()}, "ENTITYNOTFOUND"),
        ({ON: by_code(token)}, "SEMIOPTIONALPARAMETER"),
    ]
    for given, name in cases:
        async with untouched(here.api):
            assert (await here.api.refused(path, **given))[0] == name


async def test_without_an_identifier_there_is_no_pass_code_to_reset(here: TokenDesk) -> None:
    token = await here.issue()
    async with untouched(here.api):
        refused = await here.undone("reset_pass_code", token)
    assert refused[0] == "INVALIDPARAMETERVALUE"


async def call(here: TokenDesk, method: str) -> tuple[str, Json]:
    """A call of one of the three methods that is accepted."""
    if method == "verify":
        token = await here.pending()
        code = token["verification_code"]
        return VERIFY, {ON: by_code(token), "verification_code": code}
    token = await (here.keyed() if method == "reset_pass_code" else here.pending())
    return f"access_tokens/{method}", by_code(token)


METHODS = ("verify", "reset_pass_code", "reset_verification_code")


@pytest.mark.parametrize("method", METHODS)
async def test_repeated(here: TokenDesk, method: str) -> None:
    path, body = await call(here, method)
    key, before = {"Idempotency-Key": new_key()}, await events(here.api)
    answers = await together(here.api, [(path, body)] * 20, **key)
    assert answers == [answers[0]] * 20
    assert answers[0]["status"]["code"] == "OK"
    assert len(await events(here.api)) == len(before) + 1
    async with untouched(here.api):
        status, answer = await posted(here.api, path, body | {"x": 1}, **key)
        assert (status, refusal(answer)[0]) == (422, "INVALIDREQUEST")


@pytest.mark.parametrize("method", METHODS)
async def test_raced(here: TokenDesk, method: str) -> None:
    path, body = await call(here, method)
    answers = await together(here.api, [(path, body)] * 6)
    once = ["INVALIDLIFECYCLESTATE"] * 5 + ["OK"]
    assert names(answers) == (once if method == "verify" else ["OK"] * 6)


async def test_verifying_raced_with_a_reset(here: TokenDesk) -> None:
    """A code that was replaced meanwhile is no longer the current one."""
    for _ in range(5):
        path, body = await call(here, "verify")
        answers = await together(here.api, [(path, body), (CODE, body[ON])])
        assert names(answers) in (
            ["INVALIDVERIFICATIONCODE", "OK"],
            ["INVALIDLIFECYCLESTATE", "OK"],
        )
