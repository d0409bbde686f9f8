"""What classifications and the organisation's definition settle: contract access_tokens.md, section 3."""

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
    by_pass_code,
    tokens_client,
    unique_code,
)
from tests.fixtures.operators import Operator
from tests.fixtures.organisation import untouched
from tests.fixtures.service import Service

Json = dict[str, Any]
ACCOUNT, CLASSIFICATION = "accounts_receivable_identifier", "classification_identifier"


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    return await tokens_client(service)


async def test_the_definition_counts_where_there_is_no_classification(service: Service) -> None:
    own = await tokens_client(service)
    assert await own.create_token_refused() == ("MANDATORYPARAMETER", "identifier")
    definition = {"allow_no_identifier": True, "generate_verification_code": True}
    await own.register_settings(
        access_token_definition=definition | {"verification_code_length": 6}
    )
    token = await own.api.post("access_tokens/create")
    assert token["classification"] is None
    assert re.fullmatch(r"\d{6}", token["verification_code"])
    assert (await own.create_token())["life_cycle_state"] == "EFFECTIVE", (
        "a classification is alone"
    )
    await own.register_settings(access_token_definition={"pass_code_min_digits": 2})
    refused = await own.create_token_refused(identifier="x", pass_code="1")
    assert refused == ("INVALIDPARAMETERVALUE", "pass_code")
    assert await own.create_token_refused() == ("MANDATORYPARAMETER", "identifier")


async def test_settings_are_those_of_now(client: TokensClient) -> None:
    id_ = unique_code("CL")
    await client.register("access_token_classification", id_, name=id_, allow_no_identifier=True)
    token = await client.create_token(**{CLASSIFICATION: {"id": id_}})
    await client.register("access_token_classification", id_, name=id_, identifier_format="EMAIL")
    refused = await client.call_token_refused("update", token, identifier="x", pass_code="y")
    assert refused == ("INVALIDPARAMETERVALUE", "identifier")
    await client.call_token("update", token, identifier=f"{id_}@b", pass_code="y")


async def test_a_retired_classification_is_not_for_new_tokens(client: TokensClient) -> None:
    id_ = unique_code("CL")
    fields = {"name": id_, "allow_no_identifier": True}
    await client.register("access_token_classification", id_, **fields)
    token = await client.create_token(**{CLASSIFICATION: {"id": id_}})
    await client.register("access_token_classification", id_, **fields, retired=True)
    refused = await client.create_token_refused(**{CLASSIFICATION: {"id": id_}})
    assert refused == ("ENTITYNOTFOUND", CLASSIFICATION)
    assert (await client.show_token(token))["classification"]["id"] == id_
    await client.call_token("update", token, identifier=unique_code(), pass_code="x")


@pytest.mark.parametrize(
    ("settings", "form"),
    [
        ({"identifier_creation": "UNIQUE_NUMBER"}, r"\d{10}"),
        ({"identifier_creation": "UNIQUE_ID"}, r"[0-9A-Z]{10}"),
        ({"identifier_creation": "UNIQUE_NUMBER", "identifier_min_length": 14}, r"\d{14}"),
    ],
)
async def test_identifiers_that_are_made_up(
    client: TokensClient, settings: Json, form: str
) -> None:
    classified = {CLASSIFICATION: await client.register_definition(**settings)}
    token = await client.api.post("access_tokens/create", **classified)
    assert re.fullmatch(form, token["identifier"])
    keyed = await client.api.post("access_tokens/create", **classified, pass_code=PASS_CODE)
    await client.api.post("access_tokens/show", **{ON: by_pass_code(keyed)})
    own = await client.create_token(
        **classified, identifier=unique_code("Long-enough"), pass_code=PASS_CODE
    )
    assert await client.create_token_refused(
        **classified, identifier=unique_code("Long-enough")
    ) == (
        "MANDATORYPARAMETER",
        "pass_code",
    )
    for made in (token, keyed, own):
        changed = await client.call_token("reset_pass_code", made)
        code = changed["random_pass_code"]
        await client.api.post("access_tokens/show", **{ON: by_pass_code(made, code)})


async def test_two_that_are_made_up_alike_are_made_up_again(
    client: TokensClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter(["0000000001", "0000000001", "0000000002"])
    monkeypatch.setattr("services.access_tokens.payload.random_text", lambda *_, **__: next(drawn))
    classified = {
        CLASSIFICATION: await client.register_definition(identifier_creation="UNIQUE_NUMBER")
    }
    made = [await client.api.post("access_tokens/create", **classified) for _ in range(2)]
    assert [token["identifier"] for token in made] == ["0000000001", "0000000002"]


async def test_authentication_codes_that_are_not_made_up(client: TokensClient) -> None:
    settings = {"authentication_code_creation": "NONE", "allow_no_identifier": True}
    classified = {CLASSIFICATION: await client.register_definition(**settings)}
    async with untouched(client.api):
        refused = await client.create_token_refused(**classified)
    assert refused == ("MANDATORYPARAMETER", "authentication_code")
    code = unique_code()
    token = await client.create_token(**classified, authentication_code=code)
    assert token["authentication_code"] == code


async def test_automatic_pass_codes(client: TokensClient) -> None:
    settings = {"pass_code_creation": "AUTOMATIC", "allow_no_identifier": True}
    classified = {CLASSIFICATION: await client.register_definition(**settings)}
    assert (await client.create_token_refused(**classified))[0] == "SEMIOPTIONALPARAMETER"
    bare = await client.create_token(**classified, **{ACCOUNT: {"id": "AR1"}})
    assert (await client.call_token_refused("reset_pass_code", bare))[0] == "INVALIDPARAMETERVALUE"
    participant = {"rewards_participant_identifier": {"id": "RP1"}}
    keyed = await client.create_token(**classified, **participant, identifier=unique_code())
    assert await client.call_token_refused(
        "show", keyed, **{ON: by_pass_code(keyed, "000000")}
    ) == (
        "ENTITYNOTFOUND",
        ON,
    )
    code = (await client.call_token("reset_pass_code", keyed))["random_pass_code"]
    await client.api.post("access_tokens/show", **{ON: by_pass_code(keyed, code)})


@pytest.mark.parametrize(
    ("format_", "good", "bad"),
    [
        ("EMAIL", "@b.c", "x"),
        ("NUMBER", "", "12 34"),
        ("PHONE", "", "+12x"),
        ("FREE_TEXT", " 'x'", "x" * 256),
    ],
)
async def test_formats_and_minimums_of_what_callers_choose(
    client: TokensClient, format_: str, good: str, bad: str
) -> None:
    settings = {"identifier_format": format_, "pass_code_min_special": 1}
    classified = {CLASSIFICATION: await client.register_definition(**settings)}
    digits = str(int(unique_code("")[-6:], 16))
    await client.create_token(**classified, identifier=f"{digits}{good}", pass_code="a!")
    for body, at in (
        ({"identifier": bad, "pass_code": "a!"}, "identifier"),
        ({"identifier": f"1{digits}{good}", "pass_code": "a1"}, "pass_code"),
    ):
        assert await client.create_token_refused(**classified, **body) == (
            "INVALIDPARAMETERVALUE",
            at,
        )


async def test_registered_settings_are_read_back_with_their_defaults(client: TokensClient) -> None:
    operator = Operator(client.api)
    id_ = unique_code("CL")
    await operator.put("access_token_classification", id_, name=id_)
    shown = await operator.get(f"access_token_classification/{id_}")
    expected = {
        "identifier_creation": "NONE",
        "identifier_format": "FREE_TEXT",
        **{f"identifier_min_{s}": n for s, n in MINIMUMS.items()},
        "pass_code_creation": "NONE",
        **{f"pass_code_min_{s}": n for s, n in MINIMUMS.items()},
        "authentication_code_creation": "AUTOMATIC",
        "allow_no_identifier": False,
        "generate_verification_code": False,
        "verification_code_length": 7,
        "otp_lifetime_minutes": 10,
        "max_per_accounts_receivable": None,
        "max_per_rewards_participant": None,
        "not_effective_when_unrelated": True,
    }
    assert {name: shown[name] for name in expected} == expected
    organisation = await operator.get(f"organisation/{client.api.organisation}")
    assert organisation["access_token_definition"] == expected
    assert organisation["guess_limits"].keys() == {
        "attempts_per_spray",
        "attempts_per_source",
        "attempts_per_token",
        "first_wait_seconds",
        "longest_wait_seconds",
    }


MINIMUMS = {"length": 1, "letters": 0, "digits": 0, "special": 0}


@pytest.mark.parametrize(
    "fields",
    [
        {"identifier_creation": "RANDOM"},
        {"identifier_format": "NAME"},
        {"pass_code_creation": "UNIQUE_ID"},
        {"verification_code_length": 0},
        {"otp_lifetime_minutes": 0},
        {"max_per_accounts_receivable": -1},
        {"pass_code_min_length": 256},
        {"colour": "red"},
    ],
)
async def test_settings_that_make_no_sense(client: TokensClient, fields: Json) -> None:
    operator = Operator(client.api)
    (name,) = fields
    kind, organisation = "access_token_classification", client.api.organisation
    refused = await operator.refused(kind, unique_code("CL"), name="x", **fields)
    assert refused == ("INVALIDPARAMETERVALUE", name)
    within = {"name": organisation, "access_token_definition": fields}
    refused = await operator.refused("organisation", organisation, **within)
    assert refused == ("INVALIDPARAMETERVALUE", f"access_token_definition.{name}")


@pytest.mark.parametrize("least", [0, 1001])
async def test_limits_that_make_no_sense(client: TokensClient, least: int) -> None:
    operator, name = Operator(client.api), client.api.organisation
    limits = {"guess_limits": {"attempts_per_source": least}}
    refused = await operator.refused("organisation", name, name=name, **limits)
    assert refused == ("INVALIDPARAMETERVALUE", "guess_limits.attempts_per_source")
    assert await client.create_token(**{CLASSIFICATION: BARE})
