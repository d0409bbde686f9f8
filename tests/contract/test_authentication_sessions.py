"""Method 4 and what every call checks of its token: contract authentication.md, sections 2 and 7."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import jwt
import pytest
import pytest_asyncio

from tests.fixtures.communications import (
    CommunicationsClient,
    call_concurrently,
    communications_client,
    event_topics,
    new_key,
    post_raw,
)
from tests.fixtures.organisation import GROUP, UNIT, untouched
from tests.fixtures.service import Api, Service, environment, refusal

Json = dict[str, Any]
RELEASE, LIST = "authentication/token/release", "communications/list"
SECRET = environment("")["CRMLEDGER_TOKEN_SECRET"]


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    return await communications_client(service)


def claims_of(token: str) -> Json:
    return dict(jwt.decode(token, SECRET, algorithms=["HS256"]))


def signed(claims: Json, secret: str = SECRET, digest: str = "sha256", **header: Any) -> str:
    """A token of any claims and header, signed as ``digest`` says whatever the header says."""
    head = {"alg": "HS256", "typ": "JWT"} | header
    text = b".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
    return b".".join((text, _encoded(hmac.digest(secret.encode(), text, digest)))).decode()


def _encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


async def outcome(api: Api, token: Any) -> str:
    """``OK`` or the NAME of a read with this token."""
    body = {} if token is ... else {"token": token}
    answer = await api.open("communications/complete", body)
    name = refusal(answer)[0]
    return "OK" if name == "MANDATORYPARAMETER" else name


async def test_a_token_may_be_made_by_anybody_who_has_the_secret(
    client: CommunicationsClient,
) -> None:
    claims = claims_of(await client.api.login())
    assert await outcome(client.api, signed(claims)) == "OK"
    assert await outcome(client.api, signed(claims, kid="1", typ="jwt")) == "OK"


async def test_time_claims_as_texts(client: CommunicationsClient) -> None:
    claims = claims_of(await client.api.login())
    texts = claims | {"iat": str(claims["iat"]), "exp": str(claims["exp"])}
    assert await outcome(client.api, signed(texts)) == "OK"
    assert await outcome(client.api, signed(texts | {"exp": str(int(time.time()) - 1)})) == (
        "TOKENEXPIRED"
    )


@pytest.mark.parametrize(
    "token",
    [
        ...,
        None,
        "",
        " ",
        5,
        True,
        [],
        {},
        "x",
        "a.b",
        "a.b.c",
        "..",
        "a.b.c.d",
        "é.ü.ö",
        "." * 5000,
    ],
)
async def test_what_is_no_token(client: CommunicationsClient, token: Any) -> None:
    assert await outcome(client.api, token) == "INVALIDTOKEN"


FORGED: dict[str, Json] = {
    "unknown session": {"jti": "0" * 32},
    "session in lower case": {"jti": "a" * 32},
    "session of another form": {"jti": "1"},
    "session that is no text": {"jti": 5},
    "another organisation": {"org": "NOWHERE"},
    "no expiry": {"exp": ...},
    "no issue": {"iat": ...},
    "no session": {"jti": ...},
    "no user": {"usr": ...},
    "no organisation": {"org": ...},
    "no unit": {"oun": ...},
    "expiry null": {"exp": None},
    "expiry no number": {"exp": "soon"},
    "expiry infinite": {"exp": float("inf")},
    "expiry not a number": {"exp": float("nan")},
    "issue no number": {"iat": "x"},
}


@pytest.mark.parametrize("case", FORGED)
async def test_claims(client: CommunicationsClient, case: str) -> None:
    claims = claims_of(await client.api.login()) | FORGED[case]
    token = signed({name: value for name, value in claims.items() if value is not ...})
    assert await outcome(client.api, token) == "INVALIDTOKEN"


async def test_signatures(client: CommunicationsClient) -> None:
    token = await client.api.login()
    claims = claims_of(token)
    head, payload, signature = token.split(".")
    other = claims | {"usr": "admin"}
    changed = base64.urlsafe_b64encode(json.dumps(other).encode()).rstrip(b"=").decode()
    none = signed(claims, alg="none").rpartition(".")[0]
    deep = base64.urlsafe_b64encode(b"[" * 2000).decode().rstrip("=")
    for forged in (
        signed(claims, "another-secret-of-at-least-32-bytes!"),
        f"{head}.{changed}.{signature}",
        f"{head}.{payload}.{signature[:-2]}",
        f"{head}.{payload}.",
        f"{head}.{payload}.{signature[::-1]}",
        f"{none}.",
        signed(claims, alg="none"),
        signed(claims, alg="HS512"),
        signed(claims, alg="hs256"),
        signed(claims, alg=None),
        signed(claims, crit=["x"]),
        signed(claims, digest="sha512", alg="HS512"),
        signed(claims, digest="sha384", alg="HS384"),
        signed(claims, ""),
        f"{deep}.{payload}.{signature}",
        f"{head}.{deep}.{signature}",
    ):
        assert await outcome(client.api, forged) == "INVALIDTOKEN"
    assert await outcome(client.api, token) == "OK"


async def test_expiry(client: CommunicationsClient) -> None:
    claims = claims_of(await client.api.login())
    now = int(time.time())
    assert await outcome(client.api, signed(claims | {"exp": now - 1})) == "TOKENEXPIRED"
    assert await outcome(client.api, signed(claims | {"exp": now + 60})) == "OK"
    assert await outcome(client.api, signed(claims | {"exp": 0})) == "TOKENEXPIRED"
    unknown = claims | {"exp": now - 1, "jti": "0" * 32}
    assert await outcome(client.api, signed(unknown)) == "INVALIDTOKEN"


async def test_release(client: CommunicationsClient) -> None:
    token, other = await client.api.login(), await client.api.login()
    answer = await client.api.open(RELEASE, {"token": token, "fields_set": "x", "unit": []})
    assert answer == {"status": {"code": "OK", "message": "", "description": ""}, "data": {}}
    assert await outcome(client.api, token) == "INVALIDTOKEN"
    assert await outcome(client.api, other) == "OK"
    assert (await event_topics(client.api))[-1] == "session.released"
    expired = claims_of(token) | {"exp": int(time.time()) - 1}
    assert await outcome(client.api, signed(expired)) == "INVALIDTOKEN"


@pytest.mark.parametrize("body", [{}, {"token": None}, {"token": ""}, {"token": "  "}])
async def test_release_without_a_token(client: CommunicationsClient, body: Json) -> None:
    refused = refusal(await client.api.open(RELEASE, body))
    assert refused == ("MANDATORYPARAMETER", "token")


async def test_release_refused(client: CommunicationsClient) -> None:
    claims = claims_of(await client.api.login())
    expired = signed(claims | {"exp": int(time.time()) - 1})
    released = await client.api.login()
    await client.api.open(RELEASE, {"token": released})
    async with untouched(client.api):
        for token, name in (
            ("x", "INVALIDTOKEN"),
            (5, "INVALIDTOKEN"),
            (signed(claims | {"jti": "0" * 32}), "INVALIDTOKEN"),
            (released, "INVALIDTOKEN"),
            (expired, "TOKENEXPIRED"),
        ):
            assert refusal(await client.api.open(RELEASE, {"token": token}))[0] == name


async def test_release_repeated(client: CommunicationsClient) -> None:
    token, key = await client.api.login(), {"Idempotency-Key": new_key()}
    mine = Api(client.api.service, client.api.organisation, token)
    before = await event_topics(client.api)
    answers = await call_concurrently(mine, [(RELEASE, {})] * 50, **key)
    assert answers == [answers[0]] * 50
    assert answers[0]["status"]["code"] == "OK"
    assert (await event_topics(client.api))[len(before) :] == ["session.released"]
    assert await outcome(client.api, token) == "INVALIDTOKEN"
    assert (
        refusal((await call_concurrently(mine, [(RELEASE, {"x": 1})], **key))[0])[0]
        == "INVALIDTOKEN"
    )


async def test_a_key_releases_one_session_only(client: CommunicationsClient) -> None:
    key = {"Idempotency-Key": new_key()}
    first, second = [Api(client.api.service, client.api.organisation) for _ in range(2)]
    assert (await post_raw(first, RELEASE, {}, **key))[0] == 200
    status, answer = await post_raw(second, RELEASE, {}, **key)
    assert (status, refusal(answer)[0]) == (422, "INVALIDREQUEST")
    assert await outcome(client.api, second.token) == "OK"


async def test_release_raced(client: CommunicationsClient) -> None:
    for _ in range(3):
        mine = Api(client.api.service, client.api.organisation, await client.api.login())
        answers = await call_concurrently(mine, [(RELEASE, {})] * 5)
        codes = sorted(answer["status"]["code"].rpartition(".")[2] for answer in answers)
        assert codes == ["INVALIDTOKENEXCEPTION"] * 4 + ["OK"]


async def test_who_and_what_a_session_needs(service: Service) -> None:
    own = await communications_client(service)
    unit: Json = {"name": "U", "group_id": GROUP}
    user: Json = {"username": "u", "default_unit_id": UNIT, "unit_ids": ["U1"]}
    await own.register("unit", "U1", **unit)
    await own.register("user", "U", **user, password="password-of-u")
    token = await own.api.login("u", "password-of-u", unit="U1")
    kept = await own.api.login("u", "password-of-u")
    expired = signed(claims_of(token) | {"exp": int(time.time()) - 1})
    name = own.api.organisation
    needs: list[tuple[str, str, Json]] = [
        ("unit", "U1", unit),
        ("user", "U", user),
        ("organisation", name, {"name": name}),
    ]
    for kind, id_, fields in needs:
        await own.register(kind, id_, **fields, retired=True)
        assert await outcome(own.api, token) == "INVALIDTOKEN"
        assert await outcome(own.api, kept) == ("OK" if kind == "unit" else "INVALIDTOKEN")
        if kind != "organisation":
            assert await outcome(own.api, expired) == "TOKENEXPIRED"
            await own.register(kind, id_, **fields)
        # A session ends for good with its user, but only waits for its unit.
        if kind == "unit":
            assert await outcome(own.api, token) == "OK"
        if kind == "user":
            assert await outcome(own.api, token) == "INVALIDTOKEN"
            token = await own.api.login("u", "password-of-u", unit="U1")
            kept = await own.api.login("u", "password-of-u")


async def test_a_user_that_is_renamed_or_loses_a_unit_keeps_its_sessions(
    client: CommunicationsClient,
) -> None:
    user: Json = {"default_unit_id": UNIT}
    await client.register("user", "U7", **user, username="before", password="password-of-u")
    token = await client.api.login("before", "password-of-u")
    await client.register("user", "U7", **user, username="after")
    assert await outcome(client.api, token) == "OK"
    assert claims_of(await client.api.login("after", "password-of-u"))["usr"] == "after"


async def test_a_renamed_organisation(service: Service) -> None:
    own = await communications_client(service)
    old, new = own.api.organisation, f"{own.api.organisation} & Sons"
    token = await own.api.login()
    await own.register("organisation", old, name=new)
    assert await outcome(own.api, token) == "INVALIDTOKEN"
    body = {"username": "demo", "password": "demo-password"}
    refused = await own.api.open("authentication/token", body | {"organisation": old})
    assert refusal(refused)[0] == "INVALIDCREDENTIALS"
    answer = await own.api.open("authentication/token", body | {"organisation": new})
    assert await outcome(own.api, answer["data"]["token"]) == "OK"
    # whoever takes the name gets neither the sessions nor the users
    heir = Api(service)
    await heir.register([{"kind": "organisation", "id": heir.organisation, "name": old}])
    assert await outcome(own.api, token) == "INVALIDTOKEN"
    refused = await own.api.open("authentication/token", body | {"organisation": old})
    assert refusal(refused)[0] == "INVALIDCREDENTIALS"


async def test_where_the_token_goes(client: CommunicationsClient) -> None:
    token = await client.api.login()
    send = client.api.service.send
    base, asked = "/crmapi/rest/v2/", ("category_identifier", "id=MC1")
    header = {"Authorization": token, "token": token}
    twice = [("token", "x"), asked, ("token", token)]
    _, answer, _ = await send("GET", base + LIST, query=twice)
    assert answer["status"]["code"] == "OK"
    for arguments in (
        {"query": [asked], "headers": header},
        {"query": [asked, ("token", token), ("token", "")]},
        {"query": [asked, ("Token", token)]},
    ):
        _, answer, _ = await send("GET", base + LIST, **arguments)
        assert refusal(answer)[0] == "INVALIDTOKEN"
    for arguments in (
        {"query": {"token": token}, "data": b"{}"},
        {"data": b"{}", "headers": header},
    ):
        _, answer, _ = await send("POST", base + "communications/complete", **arguments)
        assert refusal(answer)[0] == "INVALIDTOKEN"
