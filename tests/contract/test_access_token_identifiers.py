"""How access tokens are shown, and what they may identify: contract access_tokens.md, section 1."""

from __future__ import annotations

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
from tests.fixtures.organisation import untouched
from tests.fixtures.service import Service, refusal

Json = dict[str, Any]
ACCOUNT, PARTICIPANT = "accounts_receivable_identifier", "rewards_participant_identifier"
CREATE, SHOW = "communications/create", "access_tokens/show"
SHOWN = (SHOW, *(f"access_tokens/{m}" for m in ("update", "verify", "generate_otp")))
SHOWN += ("access_tokens/set_as_effective", "access_tokens/set_as_not_effective")


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    return await tokens_client(service)


MALFORMED: list[tuple[Any, str, str]] = [
    (None, "MANDATORYPARAMETER", ON),
    ("x", "INVALIDIDENTIFIER", ON),
    ({}, "MANDATORYPARAMETER", ON),
    ([], "MANDATORYPARAMETER", ON),
    ({"identifier": " ", "pass_code": ""}, "MANDATORYPARAMETER", ON),
    ({"authentication_code": None, "identifier": ""}, "MANDATORYPARAMETER", ON),
    ({"authentication_code": "x", "identifier": "y"}, "SEMIOPTIONALPARAMETER", ON),
    ({"authentication_code": "x", "identifier": "y", "pass_code": "z"}, "SEMIOPTIONALPARAMETER", ON),
    ({"pass_code": "x"}, "SEMIOPTIONALPARAMETER", ON),
    ({"authentication_code": "x", "pass_code": "y"}, "INVALIDPARAMETERVALUE", f"{ON}.pass_code"),
    ({"identifier": "x"}, "MANDATORYPARAMETER", f"{ON}.pass_code"),
    ({"identifier": "x", "pass_code": ""}, "MANDATORYPARAMETER", f"{ON}.pass_code"),
    ({"identifier": []}, "INVALIDPARAMETERTYPE", f"{ON}.identifier"),
    *(({name: "1"}, "INVALIDIDENTIFIER", ON) for name in ("id", "number", "one_time_password")),
    ({"authentication_code": "x", "one_time_password": "000000"}, "INVALIDIDENTIFIER", ON),
]  # fmt: skip


@pytest.mark.parametrize("path", SHOWN)
async def test_malformed(client: TokensClient, path: str) -> None:
    more = {"verification_code": "1"} if path.endswith("verify") else {}
    async with untouched(client.api):
        for shown, name, description in MALFORMED:
            refused = await client.api.refused(path, **{ON: shown}, **more)
            assert refused == (name, description), shown


@pytest.mark.parametrize("path", SHOWN)
async def test_whatever_is_wrong_the_answer_is_the_same(client: TokensClient, path: str) -> None:
    keyed, bare = await client.create_keyed_token(), await client.create_token()
    more = {"verification_code": "1"} if path.endswith("verify") else {}
    wrong: list[Json] = [
        {"authentication_code": unique_code()},
        {"authentication_code": keyed["authentication_code"].lower()},
        {"identifier": unique_code(), "pass_code": PASS_CODE},
        {"identifier": bare["authentication_code"], "pass_code": PASS_CODE},
        {"authentication_code": keyed["identifier"]},
        *(by_pass_code(keyed, c) for c in ("x", f"{PASS_CODE} ", PASS_CODE.lower(), 1)),
    ]
    async with untouched(client.api):
        answers = [await client.api.call("POST", path, body={ON: w} | more) for w in wrong]
    assert refusal(answers[0]) == ("ENTITYNOTFOUND", ON)
    assert answers == [answers[0]] * len(wrong)


async def test_names_without_blanks_around_and_pass_codes_with_them(client: TokensClient) -> None:
    token = await client.create_keyed_token(identifier=f" {unique_code()} ", pass_code=" a b ")
    for shown in (
        {"authentication_code": f"  {token['authentication_code']} "},
        {"identifier": token["identifier"].strip(), "pass_code": " a b "},
        {"identifier": token["identifier"], "pass_code": " a b ", "authentication_code": None},
    ):
        assert (await client.api.post(SHOW, **{ON: shown}))["id"] == token["id"]
    refused = await client.api.refused(SHOW, **{ON: by_pass_code(token, "a b")})
    assert refused == ("ENTITYNOTFOUND", ON)


async def test_numbers_are_texts(client: TokensClient) -> None:
    token = await client.create_keyed_token(identifier=100200300, pass_code=42)
    assert token["identifier"] == "100200300"
    shown = {"identifier": 100200300, "pass_code": 42}
    assert (await client.api.post(SHOW, **{ON: shown}))["id"] == token["id"]


async def account_token(client: TokensClient, **more: Any) -> Json:
    return await client.create_keyed_token(
        **{ACCOUNT: {"id": await client.register_account()}}, **more
    )


async def test_the_forms_that_lead_to_an_account(client: TokensClient) -> None:
    token = await account_token(client)
    forms: list[Any] = [
        lambda once: by_code(token),
        lambda once: by_pass_code(token),
        lambda once: {"one_time_password": once},
        lambda once: {"one_time_password": int(once)},
        lambda once: by_code(token) | {"one_time_password": once},
        lambda once: {"identifier": token["identifier"], "one_time_password": once},
    ]
    for form in forms:
        shown = form(await client.one_time_password(token))
        path, body = client.reference_to(shown)
        said = await client.api.post(path, **body)
        assert said["referring_to"]["accounts_receivable"] == token["accounts_receivable"]
        draft = await client.create_draft()
        links = {ACCOUNT: {ON: form(await client.one_time_password(token))}}
        changed = await client.call("update", draft, referring_to=links)
        assert changed["referring_to"] == said["referring_to"]


FORMS: list[tuple[Json, str]] = [
    ({ON: {"authentication_code": "x"}, "id": "AR1"}, "SEMIOPTIONALPARAMETER"),
    ({ON: {"authentication_code": "x"}, "colour": "red"}, "INVALIDIDENTIFIER"),
    ({ON: {"id": "x"}}, "INVALIDIDENTIFIER"),
    ({ON: {"number": "x"}}, "INVALIDIDENTIFIER"),
    ({ON: "x"}, "INVALIDIDENTIFIER"),
    ({ON: {"identifier": "x"}}, "MANDATORYPARAMETER"),
    ({ON: {"pass_code": "x"}}, "SEMIOPTIONALPARAMETER"),
    ({ON: {"authentication_code": "x", "identifier": "y"}}, "SEMIOPTIONALPARAMETER"),
    ({ON: {"authentication_code": "x", "pass_code": "y"}}, "INVALIDPARAMETERVALUE"),
    ({ON: {"authentication_code": "x"}}, "ENTITYNOTFOUND"),
    ({ON: {"identifier": "x", "pass_code": "y"}}, "ENTITYNOTFOUND"),
    ({ON: {"one_time_password": "x"}}, "INVALIDONETIMEPASSWORD"),
    ({ON: {"one_time_password": True}}, "INVALIDPARAMETERTYPE"),
]


@pytest.mark.parametrize("at", [ACCOUNT, PARTICIPANT])
@pytest.mark.parametrize("case", FORMS, ids=lambda c: f"{c[1]}-{c[0]}")
async def test_forms_refused(client: TokensClient, at: str, case: tuple[Json, str]) -> None:
    shown, name = case
    draft = await client.create_draft()
    async with untouched(client.api):
        assert (await client.create_refused(referring_to={at: shown}))[0] == name
        assert (await client.call_refused("update", draft, referring_to={at: shown}))[0] == name


@pytest.mark.parametrize("at", [ACCOUNT, PARTICIPANT])
@pytest.mark.parametrize(
    "shown",
    [{}, [], " ", {ON: None}, {ON: {}}, {ON: []}, {ON: {"pass_code": ""}, "id": " "}],
    ids=str,
)
async def test_without_a_value_it_is_absent(client: TokensClient, at: str, shown: Any) -> None:
    draft = await client.create_draft(referring_to={at: shown})
    assert not any(draft["referring_to"].values())


PLAIN: list[tuple[str, str, Json]] = [
    ("GET", "access_tokens/list", {}),
    ("POST", "access_tokens/create", {"classification_identifier": BARE}),
]
"""Places that take the plain fields of accounts and participants only."""


@pytest.mark.parametrize("at", [ACCOUNT, PARTICIPANT])
@pytest.mark.parametrize("place", PLAIN, ids=lambda p: p[1])
async def test_not_in_other_places(
    client: TokensClient, at: str, place: tuple[str, str, Json]
) -> None:
    verb, path, more = place
    token = await account_token(client)
    shown = {ON: by_code(token)}
    if verb == "GET":
        for text in (f"{ON}=x", '{"access_token_identifier":{"authentication_code":"x"}}'):
            answer = await client.api.call("GET", path, query={at: text})
            assert refusal(answer) == ("INVALIDIDENTIFIER", at)
    else:
        assert await client.api.refused(path, **{at: shown}, **more) == ("INVALIDIDENTIFIER", at)


async def test_a_token_leads_to_the_kind_that_it_is_related_to(client: TokensClient) -> None:
    account = await client.register_account()
    participant = await client.register_participant(account)
    of_account = await client.create_token(**{ACCOUNT: {"id": account}})
    of_participant = await client.create_token(**{PARTICIPANT: {"id": participant}})
    of_nobody = await client.create_token()
    found = [
        await client.add_reference(by_code(token), kind)
        for token in (of_account, of_participant, of_nobody)
        for kind in ("accounts_receivable", "rewards_participant")
    ]
    assert found == ["OK", "ENTITYNOTFOUND", "OK", "OK", "ENTITYNOTFOUND", "ENTITYNOTFOUND"]
    path, body = client.reference_to(by_code(of_participant))
    said = await client.api.post(path, **body)
    assert said["referring_to"]["accounts_receivable"]["id"] == account


@pytest.mark.parametrize("state", ["create_disabled_token", "create_pending_token"])
async def test_only_effective_tokens_identify(client: TokensClient, state: str) -> None:
    keys: Json = {"identifier": unique_code(), "pass_code": PASS_CODE}
    token = await getattr(client, state)(
        **{ACCOUNT: {"id": await client.register_account()}}, **keys
    )
    for shown in (by_code(token), by_pass_code(token)):
        async with untouched(client.api):
            assert await client.add_reference(shown) == "INVALIDLIFECYCLESTATE"
    assert await client.add_reference(by_pass_code(token, "wrong")) == "ENTITYNOTFOUND"


async def test_what_is_retired_is_not_identified(client: TokensClient) -> None:
    settings = {"allow_no_identifier": True, "not_effective_when_unrelated": False}
    classified = await client.register_definition(**settings)
    account = await client.register_account()
    named = {ACCOUNT: {"id": account}, "classification_identifier": classified}
    token = await client.create_token(**named)
    await client.register_account(account, retired=True)
    assert await client.add_reference(by_code(token)) == "ENTITYNOTFOUND"


async def test_the_plain_form_in_communications_proves_nothing(client: TokensClient) -> None:
    token = await client.create_keyed_token()
    cases: list[tuple[Json, str]] = [
        (by_pass_code(token), "INVALIDIDENTIFIER"),
        ({"one_time_password": "000000"}, "INVALIDIDENTIFIER"),
        (by_code(token) | {"identifier": "x"}, "SEMIOPTIONALPARAMETER"),
        ({"identifier": "nobody"}, "ENTITYNOTFOUND"),
    ]
    for shown, name in cases:
        assert (await client.create_refused(referring_to={ON: shown}))[0] == name
    for other in (await client.create_disabled_token(), await client.create_pending_token()):
        await client.create(referring_to={ON: by_code(other)})
