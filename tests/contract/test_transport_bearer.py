"""The token as a bearer header: contract common.md, section 1."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from infra.http.api.body import SMALL_BODY
from infra.http.api.routes import IMAGES, JSON_LIMIT
from services.pipeline.method import BASE, METHODS, Method
from tests.fixtures.communications import CommunicationsClient, communications_client
from tests.fixtures.service import Service, _form, refusal

Json = dict[str, Any]
WITH_TOKEN = [method for method in METHODS.values() if method.needs_session]
RELEASE = "authentication/token/release"
SHOW = "contact_information/show"


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    own = await communications_client(service)
    own.api.token = await own.api.login()
    return own


async def send(
    client: CommunicationsClient, method: Method, header: str | None, token: Any = ...
) -> Json:
    """The answer to a call without parameters but the token."""
    given = {} if token is ... else {"token": token}
    headers = {} if header is None else {"Authorization": header}
    query = {name: str(value) for name, value in given.items()} if method.verb == "GET" else None
    data: Any = None
    if method.multipart:
        data = _form({"other": "1"} | {n: str(v) for n, v in given.items()}, None)
    elif method.verb == "POST":
        data = json.dumps(given).encode()
    sent = await client.api.service.send(
        method.verb, BASE + method.path, query=query, data=data, headers=headers
    )
    return dict(sent[1])


def name(answer: Json) -> str:
    return "OK" if answer["status"]["code"] == "OK" else refusal(answer)[0]


@pytest.mark.parametrize("method", WITH_TOKEN, ids=lambda method: method.path)
async def test_every_method_takes_it(client: CommunicationsClient, method: Method) -> None:
    token = await client.api.login()
    missing = "MANDATORYPARAMETER" if method.path == RELEASE else "INVALIDTOKEN"
    assert name(await send(client, method, None)) == missing
    for given in (..., "", " "):
        for scheme in ("Bearer", "bearer", "BEARER "):
            found = name(await send(client, method, f"{scheme} {token}", given))
            assert found not in ("INVALIDTOKEN", "TOKENEXPIRED")
            if method.path == RELEASE:
                assert found == "OK"
                token = await client.api.login()
    for header in ("Bearer", "Bearer x", f"Basic {token}", f"Bearer{token}", token, ""):
        assert name(await send(client, method, header)) in (missing, "INVALIDTOKEN")


@pytest.mark.parametrize("method", WITH_TOKEN, ids=lambda method: method.path)
async def test_the_parameter_counts_where_there_is_one(
    client: CommunicationsClient, method: Method
) -> None:
    token = await client.api.login()
    assert name(await send(client, method, f"Bearer {token}", "x")) == "INVALIDTOKEN"
    assert name(await send(client, method, "Bearer x", token)) != "INVALIDTOKEN"


async def test_a_session_ended_by_its_header_is_over(client: CommunicationsClient) -> None:
    header = f"Bearer {await client.api.login()}"
    assert (await send(client, METHODS[RELEASE], header))["data"] == {}
    assert name(await send(client, METHODS[RELEASE], header)) == "INVALIDTOKEN"
    assert name(await send(client, METHODS[SHOW], header)) == "INVALIDTOKEN"


@pytest.mark.parametrize("header", ["Bearer x", "Bearer a.b.c"])
async def test_a_large_body_is_read_only_for_a_good_header(
    client: CommunicationsClient, header: str
) -> None:
    """Of an ordinary body the token may count after all; a large one is refused while it is sent."""
    address = urlsplit(client.api.service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"POST {BASE}communications/create HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\n"
    writer.write(f"{head}Content-Length: {JSON_LIMIT}\r\n\r\n".encode() + b" " * (SMALL_BODY + 1))
    answer = await reader.readuntil(b"}}")
    writer.transport.abort()
    assert b"INVALIDTOKENEXCEPTION" in answer
    body = json.dumps({"token": client.api.token, "x": "x" * SMALL_BODY}).encode()
    for sent, name in ((header, "INVALIDTOKEN"), (f"Bearer {client.api.token}", None)):
        _, found, _ = await client.api.service.send(
            "POST", BASE + "communications/create", data=body, headers={"Authorization": sent}
        )
        assert refusal(found)[0] == (name or "MANDATORYPARAMETER")


async def test_images(client: CommunicationsClient) -> None:
    path = f"{IMAGES}?id={'0' * 32}"
    for header, status in ((f"Bearer {client.api.token}", 404), ("Bearer x", 401), ("", 401)):
        found, _, _ = await client.api.service.send(
            "GET", path, headers={"Authorization": header} if header else None
        )
        assert found == status
