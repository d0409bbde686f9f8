"""A service behind a proxy: whose address limits and events go by, and what browsers are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from infra.http.browser.history import COOKIE, PAGES, SIGN_IN, SIGN_OUT
from infra.http.router import STRICT_TRANSPORT
from tests.fixtures.access_tokens import LOGIN, ON, TokensClient, by_pass_code, tokens_client
from tests.fixtures.access_tokens import try_secrets as try_login
from tests.fixtures.organisation import UNIT, query_rows
from tests.fixtures.service import PASSWORD, Api, Service, run_in_process

HSTS = "Strict-Transport-Security"
ONE, OTHER = "2001:db8:0:1::1", "198.51.100.7"
LIMITS = {"attempts_per_source": 2, "attempts_per_token": 9}
CLIENT = """
SELECT metadata ->> 'client' AS client FROM ledger.events
 WHERE organisation = $1 AND topic LIKE 'session.issued%' ORDER BY position DESC LIMIT 1"""


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    made = await tokens_client(service)
    await made.register_settings(guess_limits=LIMITS)
    auditor = {"username": "auditor", "default_unit_id": UNIT, "roles": ["auditor"]}
    await made.register("user", "10", **auditor, password=PASSWORD)
    return made


@pytest_asyncio.fixture(scope="module")
async def proxied(service: Service) -> AsyncIterator[Service]:
    """Another process on the same database, which believes the proxy that the tests are."""
    trusted = {"CRMLEDGER_TRUSTED_PROXIES": "127.0.0.0/8, 10.0.0.0/8"}
    async with run_in_process(service.database, **trusted) as running:
        yield running


async def browse(
    service: Service, path: str, form: dict[str, str] | None = None, **headers: str
) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with service.http.request(
        "GET" if form is None else "POST",
        service.url + path,
        data=None if form is None else urlencode(form),
        headers=named,
        allow_redirects=False,
    ) as answer:
        await answer.read()
        return answer


def by(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": f"192.0.2.1, {address}, 10.0.0.7"}


@pytest.mark.parametrize(("address", "other"), [(ONE, "2001:db8:0:2::1"), (OTHER, ONE)])
async def test_sources_behind_a_proxy_are_counted_apart(
    client: TokensClient, proxied: Service, address: str, other: str
) -> None:
    api = Api(proxied, client.api.organisation)
    token = await client.create_keyed_token()
    body = {"organisation": api.organisation, ON: by_pass_code(token, "0")}
    neighbour = address.replace("::1", ":ffff::2")
    for source in (address, neighbour):
        assert (await try_login(api, LOGIN, body, by(source)))[1] == 0
    assert (await try_login(api, LOGIN, body, by(address)))[1] > 0
    assert (await try_login(api, LOGIN, body, by(neighbour)))[1] > 0
    assert (await try_login(api, LOGIN, body, by(other)))[1] == 0


async def test_nobody_else_chooses_an_address(client: TokensClient, service: Service) -> None:
    token = await client.create_keyed_token()
    body = {"organisation": client.api.organisation, ON: by_pass_code(token, "0")}
    waits = [(await try_login(client.api, LOGIN, body, by(f"192.0.2.{n}")))[1] for n in range(3)]
    assert waits[:2] == [0, 0]
    assert waits[2] > 0


async def test_events_name_the_caller(
    client: TokensClient, proxied: Service, service: Service
) -> None:
    body = {"username": "demo", "password": PASSWORD, "organisation": client.api.organisation}
    for process, address in ((proxied, ONE), (service, "127.0.0.1")):
        api = Api(process, client.api.organisation)
        assert (await api.open(LOGIN, body, by(ONE)))["status"]["code"] == "OK"
        assert (await query_rows(api, CLIENT))[0]["client"] == address


async def test_over_tls_the_cookie_is_this_hosts_alone(
    client: TokensClient, proxied: Service
) -> None:
    form = {"username": "auditor", "password": PASSWORD, "organisation": client.api.organisation}
    tls = {"X_Forwarded_Proto": "https"}
    answer = await browse(proxied, SIGN_IN, form, **tls)
    (cookie,) = answer.headers.getall("Set-Cookie")
    pair, *attributes = cookie.split("; ")
    assert pair.startswith(f"__Host-{COOKIE}=")
    assert set(attributes) == {"HttpOnly", "Path=/", "SameSite=Strict", "Secure"}
    assert (await browse(proxied, PAGES, Cookie=pair, **tls)).status == 200
    # Without its prefix it is one that anybody may have set, and without TLS nobody's.
    assert (await browse(proxied, PAGES, Cookie=pair.removeprefix("__Host-"), **tls)).status == 303
    assert (await browse(proxied, PAGES, Cookie=pair)).status == 303
    answer = await browse(proxied, SIGN_OUT, {}, Cookie=pair, **tls)
    assert answer.headers["Set-Cookie"].startswith(f'__Host-{COOKIE}=""')
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert "Secure" in answer.headers["Set-Cookie"]
    assert (await browse(proxied, PAGES, Cookie=pair, **tls)).status == 303


async def test_what_is_secure_is_said_by_the_proxy_alone(
    client: TokensClient, proxied: Service, service: Service
) -> None:
    form = {"username": "auditor", "password": PASSWORD, "organisation": client.api.organisation}
    answer = await browse(service, SIGN_IN, form, X_Forwarded_Proto="https")
    assert answer.headers["Set-Cookie"].startswith(f"{COOKIE}=")
    assert "Secure" not in answer.headers["Set-Cookie"]
    assert HSTS not in answer.headers
    for path in (SIGN_IN, "/docs", "/nowhere", "/crmapi/rest/v2/contact_information/list"):
        tls = await browse(proxied, path, Forwarded="for=198.51.100.7;proto=https")
        assert tls.headers[HSTS] == STRICT_TRANSPORT
        assert HSTS not in (await browse(proxied, path)).headers
