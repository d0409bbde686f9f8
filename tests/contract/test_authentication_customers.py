"""Methods 1 (with an access token) and 3, the customers' logins: contract authentication.md, 3, 5 and 6."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.contract.test_authentication_sessions import claims_of
from tests.fixtures.access_tokens import (
    CONSUMER_KEY_LOGIN,
    LOGIN,
    ON,
    PASS_CODE,
    TokensClient,
    basic,
    by_code,
    by_pass_code,
    tokens_client,
    unique_code,
)
from tests.fixtures.communications import OTHER_UNIT, event_topics
from tests.fixtures.organisation import UNIT, untouched
from tests.fixtures.service import PASSWORD, Api, Service, refusal

Json = dict[str, Any]
ACCOUNT, PARTICIPANT = "accounts_receivable_identifier", "rewards_participant_identifier"
WAYS = (LOGIN, CONSUMER_KEY_LOGIN)


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    return await tokens_client(service)


async def enter(client: TokensClient, way: str, shown: Any, **more: Any) -> Json:
    """The envelope of a login in one of the two ways."""
    if way == CONSUMER_KEY_LOGIN:
        return await client.log_in(shown, **more)
    return await client.api.open(LOGIN, {ON: shown, "organisation": client.api.organisation} | more)


async def session_of(client: TokensClient, answer: Json) -> Api:
    assert answer["status"] == {"code": "OK", "message": "", "description": ""}
    assert list(answer["data"]) == ["token"]
    return Api(client.api.service, client.api.organisation, answer["data"]["token"])


async def sees(session: Api, contact: str) -> str:
    """``OK`` or the NAME with which the session is refused its own contact."""
    query = {"contact_information_identifier": f"id={contact}", "fields_set": "id"}
    answer = await session.call("GET", "contact_information/show", query=query)
    return "OK" if answer["status"]["code"] == "OK" else refusal(answer)[0]


@pytest.mark.parametrize("way", WAYS)
async def test_happens(client: TokensClient, way: str) -> None:
    account = await client.create_owned_token()
    token = await client.create_keyed_token(**{ACCOUNT: {"id": account}})
    for shown in (
        by_code(token),
        {"authentication_code": f" {token['authentication_code']} ", "identifier": None},
        by_pass_code(token),
    ):
        session = await session_of(client, await enter(client, way, shown))
        claims = claims_of(session.token)
        assert set(claims) == {"jti", "usr", "org", "oun", "iat", "exp", "cii", "acr"}
        assert (claims["usr"], claims["org"], claims["oun"]) == (
            "demo",
            client.api.organisation,
            UNIT,
        )
        assert (claims["cii"], claims["acr"]) == (client.recipient, account)
        assert claims["exp"] - claims["iat"] == 7200
        assert await sees(session, client.recipient) == "OK"
        assert (await event_topics(client.api))[-1] == "session.issued_to_consumer"


@pytest.mark.parametrize("way", WAYS)
async def test_the_account_of_the_participant_counts(client: TokensClient, way: str) -> None:
    account = await client.create_owned_token()
    token = await client.create_token(
        **{PARTICIPANT: {"id": await client.register_participant(account)}}
    )
    session = await session_of(client, await enter(client, way, by_code(token)))
    assert claims_of(session.token)["acr"] == account


@pytest.mark.parametrize("way", WAYS)
async def test_the_unit_may_be_chosen(client: TokensClient, way: str) -> None:
    token = await client.create_token(**{ACCOUNT: {"id": await client.create_owned_token()}})
    session = await session_of(client, await enter(client, way, by_code(token), unit=OTHER_UNIT))
    assert claims_of(session.token)["oun"] == OTHER_UNIT
    refused = await enter(client, way, by_code(token), unit="nothing")
    assert refusal(refused)[0] == "INVALIDUNIT"


MALFORMED: list[tuple[Any, str]] = [
    ("x", "INVALIDIDENTIFIER"),
    ({}, "MANDATORYPARAMETER"),
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
async def test_malformed(client: TokensClient, way: str) -> None:
    async with untouched(client.api):
        for shown, name in MALFORMED:
            assert refusal(await enter(client, way, shown))[0] == name, shown


async def wrong_ones(client: TokensClient) -> list[Json]:
    """Tokens that let nobody in, each with what is shown of it."""
    of = {ACCOUNT: {"id": await client.create_owned_token()}}
    keyed = await client.create_keyed_token(**of)
    retired, ownerless = await client.create_owned_token(), await client.register_account()
    settings = {"allow_no_identifier": True, "not_effective_when_unrelated": False}
    of_retired = {ACCOUNT: {"id": retired}}
    kept = await client.create_token(
        classification_identifier=await client.register_definition(**settings), **of_retired
    )
    orphan = await client.create_token(
        **{PARTICIPANT: {"id": await client.register_participant(None)}}
    )
    tokens = [
        await client.create_disabled_token(**of),
        await client.create_pending_token(**of),
        await client.create_token(),
        await client.create_token(**{ACCOUNT: {"id": ownerless}}),
        kept,
        orphan,
    ]
    await client.register_account(retired, account_owner_id=client.recipient, retired=True)
    return [
        {"authentication_code": unique_code()},
        {"identifier": unique_code(), "pass_code": PASS_CODE},
        by_pass_code(keyed, "wrong"),
        by_pass_code(keyed, f" {PASS_CODE}"),
        *(by_code(token) for token in tokens),
    ]


@pytest.mark.parametrize("way", WAYS)
async def test_whatever_is_wrong_the_answer_is_the_same(client: TokensClient, way: str) -> None:
    wrong = await wrong_ones(client)
    async with untouched(client.api):
        answers = [await enter(client, way, shown) for shown in wrong]
    assert refusal(answers[0]) == ("INVALIDCREDENTIALS", "")
    assert answers == [answers[0]] * len(wrong)


async def test_a_terminated_account_still_lets_in(client: TokensClient) -> None:
    account = await client.create_owned_token()
    token = await client.create_token(**{ACCOUNT: {"id": account}})
    await client.create_owned_token(id_=account, life_cycle_state="TERMINATED")
    await session_of(client, await client.log_in(by_code(token)))


async def test_the_forms_of_the_first_login(client: TokensClient) -> None:
    token = by_code(
        await client.create_token(**{ACCOUNT: {"id": await client.create_owned_token()}})
    )
    named = {"organisation": client.api.organisation}
    cases: list[tuple[Json, str, str]] = [
        ({ON: token, "username": "demo"}, "SEMIOPTIONALPARAMETER", ""),
        ({ON: token, "password": PASSWORD}, "SEMIOPTIONALPARAMETER", ""),
        ({ON: token, "username": "demo", "password": PASSWORD}, "SEMIOPTIONALPARAMETER", ""),
        ({ON: None}, "MANDATORYPARAMETER", "username"),
        ({ON: None, "username": "demo"}, "MANDATORYPARAMETER", "password"),
        ({ON: token, "organisation": None}, "MANDATORYPARAMETER", "organisation"),
        ({ON: token, "organisation": "nowhere"}, "INVALIDCREDENTIALS", ""),
        ({ON: {}, "username": "demo"}, "MANDATORYPARAMETER", "password"),
    ]
    for given, name, description in cases:
        found = refusal(await client.api.open(LOGIN, named | given))
        assert found[0] == name, given
        assert not description or found[1] == description
    both = {ON: None, "username": "demo", "password": PASSWORD}
    await session_of(client, await client.api.open(LOGIN, named | both))


async def test_who_customers_are_logged_in_as_is_a_setting(service: Service) -> None:
    own = await tokens_client(service)
    token = await own.create_token(**{ACCOUNT: {"id": await own.create_owned_token()}})
    for username, name in ((None, "INVALIDCREDENTIALS"), ("nobody", "INVALIDCREDENTIALS")):
        await own.register_settings(consumer_username=username)
        assert refusal(await enter(own, LOGIN, by_code(token)))[0] == name
    await own.register_settings(consumer_username="SECOND")
    session = await session_of(own, await enter(own, LOGIN, by_code(token)))
    assert claims_of(session.token)["usr"] == "second"
    session = await session_of(own, await enter(own, CONSUMER_KEY_LOGIN, by_code(token)))
    assert claims_of(session.token)["usr"] == "demo"


async def test_the_application_s_key(client: TokensClient) -> None:
    shown = {
        ON: by_code(
            await client.create_token(**{ACCOUNT: {"id": await client.create_owned_token()}})
        )
    }
    systemic = uuid4().hex
    record = {"classification": "SYSTEMIC_KEY", "user_id": "1", "key": systemic}
    await client.register("web_api_key", uuid4().hex.upper(), **record)
    for headers in ({}, basic(systemic), basic(uuid4().hex), {"Authorization": "Basic !"}):
        refused = await client.api.open(CONSUMER_KEY_LOGIN, shown, headers)
        assert refusal(refused) == ("INVALIDWEBAPIKEY", "")


async def test_order_of_checks(client: TokensClient) -> None:
    """Parameters, the key, the credentials, the unit."""
    token = await client.create_keyed_token(**{ACCOUNT: {"id": await client.create_owned_token()}})
    steps: list[tuple[Json, Json, str]] = [
        ({ON: None}, {}, "MANDATORYPARAMETER"),
        ({ON: {"identifier": "x"}}, {}, "MANDATORYPARAMETER"),
        ({ON: by_pass_code(token, "wrong"), "unit": []}, {}, "INVALIDPARAMETERTYPE"),
        ({ON: by_pass_code(token, "wrong"), "unit": "nothing"}, {}, "INVALIDWEBAPIKEY"),
        ({}, basic(client.key), "INVALIDCREDENTIALS"),
        ({ON: by_pass_code(token)}, {}, "INVALIDUNIT"),
        ({"unit": None}, {}, "OK"),
    ]
    body: Json = {}
    headers: Json = {}
    for given, header, name in steps:
        body, headers = body | given, headers | header
        answer = await client.api.open(CONSUMER_KEY_LOGIN, body, headers)
        assert (name if answer["status"]["code"] == "OK" else refusal(answer)[0]) == name


async def test_tokens_of_another_organisation(client: TokensClient, service: Service) -> None:
    other = await tokens_client(service)
    token = await other.create_keyed_token(**{ACCOUNT: {"id": await other.create_owned_token()}})
    for shown in (by_code(token), by_pass_code(token)):
        for way in WAYS:
            assert refusal(await enter(client, way, shown))[0] == "INVALIDCREDENTIALS"


async def test_the_session_ends_with_what_it_came_from(client: TokensClient) -> None:
    account = await client.create_owned_token()
    participant = await client.register_participant(account)
    tokens = [await client.create_token(**{ACCOUNT: {"id": account}}) for _ in range(2)]
    tokens.append(await client.create_token(**{PARTICIPANT: {"id": participant}}))
    first, second, third = [await client.logged_in_api(by_code(token)) for token in tokens]

    async def seen() -> list[str]:
        return [await sees(session, client.recipient) for session in (first, second, third)]

    assert await seen() == ["OK"] * 3
    await client.call_token("set_as_not_effective", tokens[0])
    assert await seen() == ["INVALIDTOKEN", "OK", "OK"]
    await client.register_participant("AR1", participant)
    assert await seen() == ["INVALIDTOKEN", "OK", "INVALIDTOKEN"]
    await client.create_owned_token(id_=account, life_cycle_state="TERMINATED")
    assert await seen() == ["INVALIDTOKEN", "OK", "INVALIDTOKEN"]
    await client.register_account(account, account_owner_id=client.contacts[1])
    assert await seen() == ["INVALIDTOKEN"] * 3
    assert await sees(second, client.contacts[1]) == "INVALIDTOKEN"


async def test_the_session_ends_with_its_account(client: TokensClient) -> None:
    customer = await client.consumer_session()
    settings = {"allow_no_identifier": True, "not_effective_when_unrelated": False}
    named = {"classification_identifier": await client.register_definition(**settings)}
    other = await client.create_token(**named, **{ACCOUNT: {"id": customer.account}})
    sessions = [customer.api, await client.logged_in_api(by_code(other))]
    await client.register_account(customer.account, account_owner_id=customer.contact, retired=True)
    for session in sessions:
        assert await sees(session, customer.contact) == "INVALIDTOKEN"


async def test_a_customer_may_end_the_own_session(client: TokensClient) -> None:
    customer = await client.consumer_session()
    answer = await customer.api.call("POST", "authentication/token/release", body={})
    assert (answer["status"]["code"], answer["data"]) == ("OK", {})
    assert await sees(customer.api, customer.contact) == "INVALIDTOKEN"
