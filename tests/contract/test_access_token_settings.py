"""What classifications and the organisation's definition settle: contract access_tokens.md, section 3."""

from __future__ import annotations

import re
from typing import Any

import pytest
import pytest_asyncio

from tests.operators import Operator
from tests.service import Service
from tests.tokens_world import BARE, ON, PASS_CODE, TokenDesk, by_pass_code, token_desk, unique
from tests.world import untouched

Json = dict[str, Any]
ACCOUNT, CLASSIFICATION = "accounts_receivable_identifier", "classification_identifier"


@pytest_asyncio.fixture(scope="module")
async def here(service: Service) -> TokenDesk:
    return await token_desk(service)


async def test_the_definition_counts_where_there_is_no_classification(service: Service) -> None:
    own = await token_desk(service)
    assert await own.unissued() == ("MANDATORYPARAMETER", "identifier")
    definition = {"allow_no_identifier": True, "generate_verification_code": True}
    await own.settings(access_token_definition=definition | {"verification_code_length": 6})
    token = await own.api.post("access_tokens/create")
    assert token["classification"] is None
    assert re.fullmatch(r"\d{6}", token["verification_code"])
    assert (await own.issue())["life_cycle_state"] == "EFFECTIVE", "a classification is alone"
    await own.settings(access_token_definition={"pass_code_min_digits": 2})
    refused = await own.unissued(identifier="x", pass_code="1")
    assert refused == ("INVALIDPARAMETERVALUE", "pass_code")
    assert await own.unissued() == ("MANDATORYPARAMETER", "identifier")


async def test_settings_are_those_of_now(here: TokenDesk) -> None:
    id_ = unique("CL")
    await here.register("access_token_classification", id_, name=id_, allow_no_identifier=True)
    token = await here.issue(**{CLASSIFICATION: {"id": id_}})
    await here.register("access_token_classification", id_, name=id_, identifier_format="EMAIL")
    refused = await here.undone("update", token, identifier="x", pass_code="y")
    assert refused == ("INVALIDPARAMETERVALUE", "identifier")
    await here.do("update", token, identifier=f"{id_}@b", pass_code="y")


async def test_a_retired_classification_is_not_for_new_tokens(here: TokenDesk) -> None:
    id_ = unique("CL")
    fields = {"name": id_, "allow_no_identifier": True}
    await here.register("access_token_classification", id_, **fields)
    token = await here.issue(**{CLASSIFICATION: {"id": id_}})
    await here.register("access_token_classification", id_, **fields, retired=True)
    refused = await here.unissued(**{CLASSIFICATION: {"id": id_}})
    assert refused == ("ENTITYNOTFOUND", CLASSIFICATION)
    assert (await here.look(token))["classification"]["id"] == id_
    await here.do("update", token, identifier=unique(), pass_code="x")


@pytest.mark.parametrize(
    ("settings", "form"),
    [
        ({"identifier_creation": "UNIQUE_NUMBER"}, r"\d{10}"),
        ({"identifier_creation": "UNIQUE_ID"}, r"[0-9A-Z]{10}"),
        ({"identifier_creation": "UNIQUE_NUMBER", "identifier_min_length": 14}, r"\d{14}"),
    ],
)
async def test_identifiers_that_are_made_up(here: TokenDesk, settings: Json, form: str) -> None:
    classified = {CLASSIFICATION: await here.definition(**settings)}
    token = await here.api.post("access_tokens/create", **classified)
    assert re.fullmatch(form, token["identifier"])
    keyed = await here.api.post("access_tokens/create", **classified, pass_code=PASS_CODE)
    await here.api.post("access_tokens/show", **{ON: by_pass_code(keyed)})
    own = await here.issue(**classified, identifier=unique("Long-enough"), pass_code=PASS_CODE)
    assert await here.unissued(**classified, identifier=unique("Long-enough")) == (
        "MANDATORYPARAMETER",
        "pass_code",
    )
    for made in (token, keyed, own):
        changed = await here.do("reset_pass_code", made)
        code = changed["random_pass_code"]
        await here.api.post("access_tokens/show", **{ON: by_pass_code(made, code)})


async def test_two_that_are_made_up_alike_are_made_up_again(
    here: TokenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter(["0000000001", "0000000001", "0000000002"])
    monkeypatch.setattr("services.access_tokens.payload.mixed", lambda *_, **__: next(drawn))
    classified = {CLASSIFICATION: await here.definition(identifier_creation="UNIQUE_NUMBER")}
    made = [await here.api.post("access_tokens/create", **classified) for _ in range(2)]
    assert [token["identifier"] for token in made] == ["0000000001", "0000000002"]


async def test_authentication_codes_that_are_not_made_up(here: TokenDesk) -> None:
    settings = {"authentication_code_creation": "NONE", "allow_no_identifier": True}
    classified = {CLASSIFICATION: await here.definition(**settings)}
    async with untouched(here.api):
        refused = await here.unissued(**classified)
    assert refused == ("MANDATORYPARAMETER", "authentication_code")
    code = unique()
    token = await here.issue(**classified, authentication_code=code)
    assert token["authentication_code"] == code


async def test_automatic_pass_codes(here: TokenDesk) -> None:
    settings = {"pass_code_creation": "AUTOMATIC", "allow_no_identifier": True}
    classified = {CLASSIFICATION: await here.definition(**settings)}
    assert (await here.unissued(**classified))[0] == "SEMIOPTIONALPARAMETER"
    bare = await here.issue(**classified, **{ACCOUNT: {"id": "AR1"}})
    assert (await here.undone("reset_pass_code", bare))[0] == "INVALIDPARAMETERVALUE"
    participant = {"rewards_participant_identifier": {"id": "RP1"}}
    keyed = await here.issue(**classified, **participant, identifier=unique())
    assert await here.undone("show", keyed, **{ON: by_pass_code(keyed, "000000")}) == (
        "ENTITYNOTFOUND",
        ON,
    )
    code = (await here.do("reset_pass_code", keyed))["random_pass_code"]
    await here.api.post("access_tokens/show", **{ON: by_pass_code(keyed, code)})


@pytest.mark.parametrize(
    ("format_", "good", "bad"),
    [
        ("EMAIL", "@b.c", "x"),
        ("NUMBER", "", "12 34"),
        ("PHONE", "", "+12x"),
        ("FREE_TEXT", " 'x'", " "),
    ],
)
async def test_formats_and_minimums_of_what_callers_choose(
    here: TokenDesk, format_: str, good: str, bad: str
) -> None:
    settings = {"identifier_format": format_, "pass_code_min_special": 1}
    classified = {CLASSIFICATION: await here.definition(**settings)}
    digits = str(int(unique("")[-6:], 16))
    await here.issue(**classified, identifier=f"{digits}{good}", pass_code="a!")
    for body, at in (
        ({"identifier": bad, "pass_code": "a!"}, "identifier"),
        ({"identifier": f"1{digits}{good}", "pass_code": "a1"}, "pass_code"),
    ):
        assert await here.unissued(**classified, **body) == ("INVALIDPARAMETERVALUE", at)


async def test_registered_settings_are_read_back_with_their_defaults(here: TokenDesk) -> None:
    operator = Operator(here.api)
    id_ = unique("CL")
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
    organisation = await operator.get(f"organisation/{here.api.organisation}")
    assert organisation["access_token_definition"] == expected
    assert organisation["guess_limits"].keys() == {
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
async def test_settings_that_make_no_sense(here: TokenDesk, fields: Json) -> None:
    operator = Operator(here.api)
    (name,) = fields
    kind, organisation = "access_token_classification", here.api.organisation
    refused = await operator.refused(kind, unique("CL"), name="x", **fields)
    assert refused == ("INVALIDPARAMETERVALUE", name)
    within = {"name": organisation, "access_token_definition": fields}
    refused = await operator.refused("organisation", organisation, **within)
    assert refused == ("INVALIDPARAMETERVALUE", f"access_token_definition.{name}")


@pytest.mark.parametrize("least", [0, 1001])
async def test_limits_that_make_no_sense(here: TokenDesk, least: int) -> None:
    operator, name = Operator(here.api), here.api.organisation
    limits = {"guess_limits": {"attempts_per_source": least}}
    refused = await operator.refused("organisation", name, name=name, **limits)
    assert refused == ("INVALIDPARAMETERVALUE", "guess_limits.attempts_per_source")
    assert await here.issue(**{CLASSIFICATION: BARE})
