"""Methods 1 and 2, the logins: contract authentication.md, sections 2 to 4."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from uuid import uuid4

import jwt
import pytest
import pytest_asyncio

from tests.fixtures.communications import (
    OTHER_UNIT,
    CommunicationsClient,
    communications_client,
    event_topics,
    new_key,
)
from tests.fixtures.organisation import GROUP, UNIT, untouched
from tests.fixtures.service import PASSWORD, Service, environment, refusal

Json = dict[str, Any]
TOKEN, KEY = "authentication/token", "authentication/web_api_key/token"
SECRET = environment("")["CRMLEDGER_TOKEN_SECRET"]
FOREIGN_UNIT = "1B77044B1EC5D34B96A26BE2DDEFE5F6"


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    own = await communications_client(service)
    await own.register_settings(guess_limits={"attempts_per_source": 1000})
    await own.register("unit", FOREIGN_UNIT, name="Not his", group_id=GROUP)
    return own


def credentials(client: CommunicationsClient, **more: Any) -> Json:
    whole = {
        "username": "demo",
        "password": PASSWORD,
        "organisation": client.api.organisation,
    } | more
    return {name: value for name, value in whole.items() if value is not ...}


async def login(client: CommunicationsClient, **more: Any) -> Json:
    return await client.api.open(TOKEN, credentials(client, **more))


async def usable(client: CommunicationsClient, answer: Json) -> Json:
    """The claims of a token that an ordinary call accepts."""
    assert answer["status"] == {"code": "OK", "message": "", "description": ""}
    assert list(answer["data"]) == ["token"]
    token = answer["data"]["token"]
    listed = await client.api.open("contact_information/create", {"token": token})
    assert refusal(listed)[0] == "MANDATORYPARAMETER"
    return dict(jwt.decode(token, SECRET, algorithms=["HS256"]))


async def web_api_key(client: CommunicationsClient, **fields: Any) -> str:
    """A registered key; systemic unless said otherwise."""
    key = uuid4().hex.upper()
    record = {"classification": "SYSTEMIC_KEY", "user_id": "1", "key": key} | fields
    await client.register("web_api_key", uuid4().hex.upper(), **record)
    return key


def basic(text: str | bytes, scheme: str = "Basic") -> str:
    raw = text.encode() if isinstance(text, str) else text
    return f"{scheme} {base64.b64encode(raw).decode()}"


async def by_key(client: CommunicationsClient, header: str | None, **body: Any) -> Json:
    return await client.api.open(KEY, body, {} if header is None else {"Authorization": header})


async def test_happens(client: CommunicationsClient) -> None:
    answer = await login(client)
    claims = await usable(client, answer)
    token = answer["data"]["token"]
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert len(token) > 32
    assert set(claims) == {"jti", "usr", "org", "oun", "iat", "exp"}
    assert (claims["usr"], claims["org"], claims["oun"]) == ("demo", client.api.organisation, UNIT)
    assert len(claims["jti"]) == 32
    assert claims["jti"] == claims["jti"].upper()
    assert isinstance(claims["iat"], int)
    assert claims["exp"] - claims["iat"] == 7200
    assert (await event_topics(client.api))[-1] == "session.issued"


ACCEPTED: dict[str, Json] = {
    "username in capitals": {"username": "DEMO"},
    "username in blanks": {"username": " Demo "},
    "unit of his": {"unit": OTHER_UNIT},
    "unit in lower case": {"unit": OTHER_UNIT.lower()},
    "unit null": {"unit": None},
    "unit empty": {"unit": ""},
    "unknown members": {"jwt": 1, "token": "x", "fields_set": "nothing"},
}


@pytest.mark.parametrize("case", ACCEPTED)
async def test_accepted(client: CommunicationsClient, case: str) -> None:
    claims = await usable(client, await login(client, **ACCEPTED[case]))
    assert claims["oun"] == (OTHER_UNIT if case.startswith("unit of") or "lower" in case else UNIT)
    assert claims["usr"] == "demo"


REFUSED: list[tuple[Json, str, str]] = [
    *(
        ({name: value}, "MANDATORYPARAMETER", name)
        for name in ("username", "password", "organisation")
        for value in (..., None, "", " ")
    ),
    *(
        ({name: value}, "INVALIDPARAMETERTYPE", name)
        for name in ("username", "password", "organisation", "unit")
        for value in (True, [], {})
    ),
    ({"password": "x" * 4001}, "INVALIDPARAMETERVALUE", "password"),
    ({"username": "a\0b"}, "INVALIDPARAMETERVALUE", "username"),
    ({"username": "nobody"}, "INVALIDCREDENTIALS", ""),
    ({"password": "wrong"}, "INVALIDCREDENTIALS", ""),
    ({"password": PASSWORD.upper()}, "INVALIDCREDENTIALS", ""),
    ({"password": f" {PASSWORD}"}, "INVALIDCREDENTIALS", ""),
    ({"password": f"{PASSWORD} "}, "INVALIDCREDENTIALS", ""),
    ({"organisation": "NOWHERE"}, "INVALIDCREDENTIALS", ""),
    ({"password": "wrong", "unit": "nothing"}, "INVALIDCREDENTIALS", ""),
    ({"unit": "nothing"}, "INVALIDUNIT", ""),
    ({"unit": "Admin Unit"}, "INVALIDUNIT", ""),
    ({"unit": FOREIGN_UNIT}, "INVALIDUNIT", ""),
    ({"unit": 5}, "INVALIDUNIT", ""),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: f"{c[1]}-{c[0]}")
async def test_refused(client: CommunicationsClient, case: tuple[Json, str, str]) -> None:
    given, name, description = case
    async with untouched(client.api):
        answer = await login(client, **given)
    assert refusal(answer)[0] == name
    if name != "INVALIDUNIT":
        assert refusal(answer)[1] == description


async def test_the_organisation_is_compared_exactly(client: CommunicationsClient) -> None:
    answer = await login(client, organisation=client.api.organisation.lower())
    assert refusal(answer)[0] == "INVALIDCREDENTIALS"


async def test_wrong_credentials_do_not_say_what_is_wrong(client: CommunicationsClient) -> None:
    wrong: list[Json] = [{"username": "x"}, {"password": "x"}, {"organisation": "x"}]
    answers = [await login(client, **given) for given in wrong]
    assert answers == [answers[0]] * 3


async def test_a_user_without_a_password_does_not_get_in(client: CommunicationsClient) -> None:
    await client.register("user", "8", username="silent", default_unit_id=UNIT)
    assert refusal(await login(client, username="silent"))[0] == "INVALIDCREDENTIALS"


async def test_a_password_that_changes(client: CommunicationsClient) -> None:
    user: Json = {"username": "changing", "default_unit_id": UNIT}
    await client.register("user", "9", **user, password="first-password")
    await client.register("user", "9", **user, password="second-password")
    await client.register("user", "9", **user, person_name="No password given")
    first = await login(client, username="changing", password="first-password")
    assert refusal(first)[0] == "INVALIDCREDENTIALS"
    await usable(client, await login(client, username="changing", password="second-password"))


async def test_who_and_what_is_retired_does_not_get_in(service: Service) -> None:
    own = await communications_client(service)
    unit = {"name": "U", "group_id": GROUP}
    user = {"username": "u", "password": "password-of-u", "default_unit_id": "U1"}
    await own.register("unit", "U1", **unit)
    await own.register("user", "U", **user)
    given = {"username": "u", "password": "password-of-u"}
    await usable(own, await login(own, **given))
    await own.register("unit", "U1", **unit, retired=True)
    assert refusal(await login(own, **given))[0] == "INVALIDUNIT"
    await own.register("unit", "U1", **unit)
    await own.register("user", "U", **user, retired=True)
    assert refusal(await login(own, **given))[0] == "INVALIDCREDENTIALS"
    await own.register("user", "U", **user)
    await usable(own, await login(own, **given))
    await own.register_settings(retired=True)
    assert refusal(await login(own, **given))[0] == "INVALIDCREDENTIALS"


async def test_repeated_logins_are_sessions_of_their_own_whatever_the_key(
    client: CommunicationsClient,
) -> None:
    key = {"Idempotency-Key": new_key()}
    body = credentials(client)
    answers = [await client.api.open(TOKEN, body, key) for _ in range(2)]
    claims = [await usable(client, answer) for answer in answers]
    assert claims[0]["jti"] != claims[1]["jti"]


async def test_raced_logins_are_sessions_of_their_own(client: CommunicationsClient) -> None:
    before = await event_topics(client.api)
    answers = await asyncio.gather(*(login(client) for _ in range(10)))
    claims = [await usable(client, answer) for answer in answers]
    assert len({one["jti"] for one in claims}) == 10
    assert (await event_topics(client.api))[len(before) :] == ["session.issued"] * 10


async def test_a_web_api_key_stands_for_its_user(client: CommunicationsClient) -> None:
    key = await web_api_key(client)
    claims = await usable(client, await by_key(client, basic(f"{key}:")))
    assert (claims["usr"], claims["org"], claims["oun"]) == ("demo", client.api.organisation, UNIT)
    claims = await usable(client, await by_key(client, basic(f"{key}:"), unit=OTHER_UNIT))
    assert claims["oun"] == OTHER_UNIT


@pytest.mark.parametrize("body", [b"", b" {} ", b'{"unit":null}'])
async def test_the_body_of_a_key_login_may_be_empty(
    client: CommunicationsClient, body: bytes
) -> None:
    headers = {"Authorization": basic(f"{await web_api_key(client)}:")}
    path = f"/crmapi/rest/v2/{KEY}"
    _, answer, _ = await client.api.service.send("POST", path, data=body, headers=headers)
    await usable(client, answer)


async def test_forms_of_the_header(client: CommunicationsClient) -> None:
    key = await web_api_key(client)
    forms = [
        basic(key),
        basic(f"{key}:", "basic"),
        basic(f"{key}:", "BASIC"),
        basic(f"{key.lower()}:"),
        basic(f"{key}:").replace(" ", "   "),
    ]
    for header in forms:
        await usable(client, await by_key(client, header))


async def test_refused_keys(client: CommunicationsClient) -> None:
    key = await web_api_key(client)
    consumer = await web_api_key(client, classification="CONSUMER_APPLICATION_KEY")
    headers = [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic ключ",
        f"Basic {key}",
        f"Bearer {key}",
        basic(f"{key}:", "Digest"),
        basic(f"{key}:password"),
        basic(f"{key}: "),
        basic(f":{key}"),
        basic(":"),
        basic(b"\xff\xfe"),
        basic(f"{uuid4().hex}:"),
        basic(f"{key[:-1]}:"),
        basic("a\0b:"),
        basic(f"{consumer}:"),
    ]
    async with untouched(client.api):
        answers = [await by_key(client, header) for header in headers]
    assert [refusal(answer) for answer in answers] == [("INVALIDWEBAPIKEY", "")] * len(headers)


@pytest.mark.parametrize("unit", ["nothing", FOREIGN_UNIT])
async def test_units_of_a_key(client: CommunicationsClient, unit: str) -> None:
    header = basic(f"{await web_api_key(client)}:")
    assert refusal(await by_key(client, header, unit=unit))[0] == "INVALIDUNIT"
    assert refusal(await by_key(client, header, unit=[])) == ("INVALIDPARAMETERTYPE", "unit")


async def test_keys_that_end(service: Service) -> None:
    own = await communications_client(service)
    record: Json = {"classification": "SYSTEMIC_KEY", "user_id": "7"}
    user: Json = {"username": "robot", "default_unit_id": UNIT}
    await own.register("user", "7", **user)
    first, second = uuid4().hex, uuid4().hex
    await own.register("web_api_key", "K", **record, key=first)
    await usable(own, await by_key(own, basic(first)))
    await own.register("web_api_key", "K", **record, key=second)
    assert refusal(await by_key(own, basic(first)))[0] == "INVALIDWEBAPIKEY"
    await usable(own, await by_key(own, basic(second)))
    endings: list[tuple[str, str, Json]] = [
        ("web_api_key", "K", record),
        ("user", "7", user),
        ("organisation", own.api.organisation, {"name": own.api.organisation}),
    ]
    for kind, id_, fields in endings:
        await own.register(kind, id_, **fields, retired=True)
        assert refusal(await by_key(own, basic(second)))[0] == "INVALIDWEBAPIKEY"
        if kind != "organisation":
            await own.register(kind, id_, **fields)
            await usable(own, await by_key(own, basic(second)))
