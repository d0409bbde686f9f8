"""Methods 1 (with an access token) and 3, the customers' logins: contract authentication.md, 3, 5 and 6."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.communications_world import OTHER_UNIT, events
from tests.contract.test_authentication_sessions import claims_of
from tests.service import PASSWORD, Api, Service, refusal
from tests.tokens_world import (
    CONSUMER_KEY_LOGIN,
    LOGIN,
    ON,
    PASS_CODE,
    TokenDesk,
    basic,
    by_code,
    by_pass_code,
    token_desk,
    unique,
)
from tests.world import UNIT, untouched

Json = dict[str, Any]
ACCOUNT, PARTICIPANT = "accounts_receivable_identifier", "rewards_participant_identifier"
WAYS = (LOGIN, CONSUMER_KEY_LOGIN)


@pytest_asyncio.fixture(scope="module")
async def here(service: Service) -> TokenDesk:
    return await token_desk(service)


async def enter(here: TokenDesk, way: str, shown: Any, **more: Any) -> Json:
    """The envelope of a login in one of the two ways."""
    if way == CONSUMER_KEY_LOGIN:
        return await here.enter(shown, **more)
    return await here.api.open(LOGIN, {ON: shown, "organisation": here.api.organisation} | more)


async def session_of(here: TokenDesk, answer: Json) -> Api:
    assert answer["status"] == {"code": "OK", "message": "", "description": ""}
    assert list(answer["data"]) == ["token"]
    return Api(here.api.service, here.api.organisation, answer["data"]["token"])


async def sees(session: Api, contact: str) -> str:
    """``OK`` or the NAME with which the session is refused its own contact."""
    query = {"contact_information_identifier": f"id={contact}", "fields_set": "id"}
    answer = await session.call("GET", "contact_information/show", query=query)
    return "OK" if answer["status"]["code"] == "OK" else refusal(answer)[0]


@pytest.mark.parametrize("way", WAYS)
async def test_happens(here: TokenDesk, way: str) -> None:
    account = await here.owned()
    token = await here.keyed(**{ACCOUNT: {"id": account}})
    for shown in (
        by_code(token),
        {"authentication_code": f" {token['authentication_code']} ", "identifier": None},
        by_pass_code(token),
    ):
        session = await session_of(here, await enter(here, way, shown))
        claims = claims_of(session.token)
        assert set(claims) == {"jti", "usr", "org", "oun", "iat", "exp", "cii", "acr"}
        assert (claims["usr"], claims["org"], claims["oun"]) == (
            "demo",
            here.api.organisation,
            UNIT,
        )
        assert (claims["cii"], claims["acr"]) == (here.reader, account)
        assert claims["exp"] - claims["iat"] == 7200
        assert await sees(session, here.reader) == "OK"
        assert (await events(here.api))[-1] == "session.issued_to_consumer"


@pytest.mark.parametrize("way", WAYS)
async def test_the_account_of_the_participant_counts(here: TokenDesk, way: str) -> None:
    account = await here.owned()
    token = await here.issue(**{PARTICIPANT: {"id": await here.participant(account)}})
    session = await session_of(here, await enter(here, way, by_code(token)))
    assert claims_of(session.token)["acr"] == account


@pytest.mark.parametrize("way", WAYS)
async def test_the_unit_may_be_chosen(here: TokenDesk, way: str) -> None:
    token = await here.issue(**{ACCOUNT: {"id": await here.owned()}})
    session = await session_of(here, await enter(here, way, by_code(token), unit=OTHER_UNIT))
    assert claims_of(session.token)["oun"] == OTHER_UNIT
    refused = await enter(here, way, by_code(token), unit="nothing")
    assert refusal(refused)[0] == "INVALIDUNIT"


MALFORMED: list[tuple[Any, str]] = [
    ("x", "INVALIDIDENTIFIER"),
    ({}, "SEMIOPTIONALPARAMETER"),
    ({"authentication_code": "x", "identifier": "y", "pass_code": "z"}, "SEMIOPTIONALPARAMETER"),
    ({"pass_code": "x"}, "SEMIOPTIONALPARAMETER"),
    ({"identifier": "x"}, "MANDATORYPARAMETER"),
    ({"identifier": "x", "pass_code": None}, "MANDATORYPARAMETER"),
    ({"authentication_code": "x", "pass_code": "y"}, "INVALIDPARAMETERVALUE"),
    ({"id": "x"}, "INVALIDIDENTIFIER"),
    ({"number": "x"}, "INVALIDIDENTIFIER"),
    ({"one_time_password": "000000"}, "INVALIDIDENTIFIER"),
    ({"authentication_code": "x", "one_time_password": "000000"}, "INVALIDIDENTIFIER"),
]


@pytest.mark.parametrize("way", WAYS)
async def test_malformed(here: TokenDesk, way: str) -> None:
    async with untouched(here.api):
        for shown, name in MALFORMED:
            assert refusal(await enter(here, way, shown))[0] == name, shown


async def wrong_ones(here: TokenDesk) -> list[Json]:
    """Tokens that let nobody in, each with what is shown of it."""
    of = {ACCOUNT: {"id": await here.owned()}}
    keyed = await here.keyed(**of)
    retired, ownerless = await here.owned(), await here.account()
    settings = {"allow_no_identifier": True, "not_effective_when_unrelated": False}
    of_retired = {ACCOUNT: {"id": retired}}
    kept = await here.issue(
        classification_identifier=await here.definition(**settings), **of_retired
    )
    orphan = await here.issue(**{PARTICIPANT: {"id": await here.participant(None)}})
    tokens = [
        await here.disabled(**of),
        await here.pending(**of),
        await here.issue(),
        await here.issue(**{ACCOUNT: {"id": ownerless}}),
        kept,
        orphan,
    ]
    await here.account(retired, account_owner_id=here.reader, retired=True)
    return [
        {"authentication_code": unique()},
        {"identifier": unique(), "pass_code": PASS_CODE},
        by_pass_code(keyed, "wrong"),
        by_pass_code(keyed, f" {PASS_CODE}"),
        *(by_code(token) for token in tokens),
    ]


@pytest.mark.parametrize("way", WAYS)
async def test_whatever_is_wrong_the_answer_is_the_same(here: TokenDesk, way: str) -> None:
    wrong = await wrong_ones(here)
    async with untouched(here.api):
        answers = [await enter(here, way, shown) for shown in wrong]
    assert refusal(answers[0]) == ("INVALIDCREDENTIALS", "")
    assert answers == [answers[0]] * len(wrong)


async def test_a_terminated_account_still_lets_in(here: TokenDesk) -> None:
    account = await here.owned()
    token = await here.issue(**{ACCOUNT: {"id": account}})
    await here.owned(id_=account, life_cycle_state="TERMINATED")
    await session_of(here, await here.enter(by_code(token)))


async def test_the_forms_of_the_first_login(here: TokenDesk) -> None:
    token = by_code(await here.issue(**{ACCOUNT: {"id": await here.owned()}}))
    named = {"organisation": here.api.organisation}
    cases: list[tuple[Json, str, str]] = [
        ({ON: token, "username": "demo"}, "SEMIOPTIONALPARAMETER", ""),
        ({ON: token, "password": PASSWORD}, "SEMIOPTIONALPARAMETER", ""),
        ({ON: token, "username": "demo", "password": PASSWORD}, "SEMIOPTIONALPARAMETER", ""),
        ({ON: None}, "MANDATORYPARAMETER", "username"),
        ({ON: None, "username": "demo"}, "MANDATORYPARAMETER", "password"),
        ({ON: token, "organisation": None}, "MANDATORYPARAMETER", "organisation"),
        ({ON: token, "organisation": "nowhere"}, "INVALIDCREDENTIALS", ""),
        ({ON: {}, "username": "demo"}, "SEMIOPTIONALPARAMETER", ""),
    ]
    for given, name, description in cases:
        found = refusal(await here.api.open(LOGIN, named | given))
        assert found[0] == name, given
        assert not description or found[1] == description
    both = {ON: None, "username": "demo", "password": PASSWORD}
    await session_of(here, await here.api.open(LOGIN, named | both))


async def test_who_customers_are_logged_in_as_is_a_setting(service: Service) -> None:
    own = await token_desk(service)
    token = await own.issue(**{ACCOUNT: {"id": await own.owned()}})
    for username, name in ((None, "INVALIDCREDENTIALS"), ("nobody", "INVALIDCREDENTIALS")):
        await own.settings(consumer_username=username)
        assert refusal(await enter(own, LOGIN, by_code(token)))[0] == name
    await own.settings(consumer_username="SECOND")
    session = await session_of(own, await enter(own, LOGIN, by_code(token)))
    assert claims_of(session.token)["usr"] == "second"
    session = await session_of(own, await enter(own, CONSUMER_KEY_LOGIN, by_code(token)))
    assert claims_of(session.token)["usr"] == "demo"


async def test_the_application_s_key(here: TokenDesk) -> None:
    shown = {ON: by_code(await here.issue(**{ACCOUNT: {"id": await here.owned()}}))}
    systemic = uuid4().hex
    record = {"classification": "SYSTEMIC_KEY", "user_id": "1", "key": systemic}
    await here.register("web_api_key", uuid4().hex.upper(), **record)
    for headers in ({}, basic(systemic), basic(uuid4().hex), {"Authorization": "Basic !"}):
        refused = await here.api.open(CONSUMER_KEY_LOGIN, shown, headers)
        assert refusal(refused) == ("INVALIDWEBAPIKEY", "")


async def test_order_of_checks(here: TokenDesk) -> None:
    """Parameters, the key, the credentials, the unit."""
    token = await here.keyed(**{ACCOUNT: {"id": await here.owned()}})
    steps: list[tuple[Json, Json, str]] = [
        ({ON: None}, {}, "MANDATORYPARAMETER"),
        ({ON: {"identifier": "x"}}, {}, "MANDATORYPARAMETER"),
        ({ON: by_pass_code(token, "wrong"), "unit": []}, {}, "INVALIDPARAMETERTYPE"),
        ({ON: by_pass_code(token, "wrong"), "unit": "nothing"}, {}, "INVALIDWEBAPIKEY"),
        ({}, basic(here.key), "INVALIDCREDENTIALS"),
        ({ON: by_pass_code(token)}, {}, "INVALIDUNIT"),
        ({"unit": None}, {}, "OK"),
    ]
    body: Json = {}
    headers: Json = {}
    for given, header, name in steps:
        body, headers = body | given, headers | header
        answer = await here.api.open(CONSUMER_KEY_LOGIN, body, headers)
        assert (name if answer["status"]["code"] == "OK" else refusal(answer)[0]) == name


async def test_tokens_of_another_organisation(here: TokenDesk, service: Service) -> None:
    other = await token_desk(service)
    token = await other.keyed(**{ACCOUNT: {"id": await other.owned()}})
    for shown in (by_code(token), by_pass_code(token)):
        for way in WAYS:
            assert refusal(await enter(here, way, shown))[0] == "INVALIDCREDENTIALS"


async def test_the_session_ends_with_what_it_came_from(here: TokenDesk) -> None:
    account = await here.owned()
    participant = await here.participant(account)
    tokens = [await here.issue(**{ACCOUNT: {"id": account}}) for _ in range(2)]
    tokens.append(await here.issue(**{PARTICIPANT: {"id": participant}}))
    first, second, third = [await here.entered(by_code(token)) for token in tokens]

    async def seen() -> list[str]:
        return [await sees(session, here.reader) for session in (first, second, third)]

    assert await seen() == ["OK"] * 3
    await here.do("set_as_not_effective", tokens[0])
    assert await seen() == ["INVALIDTOKEN", "OK", "OK"]
    await here.participant("AR1", participant)
    assert await seen() == ["INVALIDTOKEN", "OK", "INVALIDTOKEN"]
    await here.owned(id_=account, life_cycle_state="TERMINATED")
    assert await seen() == ["INVALIDTOKEN", "OK", "INVALIDTOKEN"]
    await here.account(account, account_owner_id=here.contacts[1])
    assert await seen() == ["INVALIDTOKEN"] * 3
    assert await sees(second, here.contacts[1]) == "INVALIDTOKEN"


async def test_the_session_ends_with_its_account(here: TokenDesk) -> None:
    customer = await here.consumer()
    settings = {"allow_no_identifier": True, "not_effective_when_unrelated": False}
    named = {"classification_identifier": await here.definition(**settings)}
    other = await here.issue(**named, **{ACCOUNT: {"id": customer.account}})
    sessions = [customer.api, await here.entered(by_code(other))]
    await here.account(customer.account, account_owner_id=customer.contact, retired=True)
    for session in sessions:
        assert await sees(session, customer.contact) == "INVALIDTOKEN"


async def test_new_codes_do_not_end_a_session(here: TokenDesk) -> None:
    customer = await here.consumer()
    await here.do("update", customer.token, authentication_code=None)
    assert await sees(customer.api, customer.contact) == "OK"


async def test_a_customer_may_end_the_own_session(here: TokenDesk) -> None:
    customer = await here.consumer()
    answer = await customer.api.call("POST", "authentication/token/release", body={})
    assert (answer["status"]["code"], answer["data"]) == ("OK", {})
    assert await sees(customer.api, customer.contact) == "INVALIDTOKEN"
