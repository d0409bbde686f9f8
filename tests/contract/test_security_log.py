"""The security log: who did what, from where, with which outcome, and never a secret."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from infra.encryption import key_id
from infra.observability.security_log import ACTIONS, LINES, SecurityLog
from tests.contract.test_authentication_sessions import claims_of
from tests.fixtures.access_tokens import (
    CONSUMER_KEY_LOGIN,
    LOGIN,
    ON,
    TokensClient,
    basic,
    by_code,
    tokens_client,
    unique_code,
)
from tests.fixtures.organisation import UNIT, query_rows
from tests.fixtures.service import OPERATOR_KEY, PASSWORD, Service

Json = dict[str, Any]
PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


@dataclass
class Lines:
    """What the security log says meanwhile."""

    logs: list[Any] = field(default_factory=list)

    @property
    def all(self) -> list[Json]:
        """Its lines, without what every line has."""
        lines = [dict(line) for line in self.logs if line["event"] == "security"]
        return [
            {k: v for k, v in line.items() if k not in ("event", "log_level")} for line in lines
        ]

    def one(self, action: str) -> Json:
        """The only line with an action."""
        (line,) = [line for line in self.all if line["action"] == action]
        return line


@contextmanager
def security_lines() -> Iterator[Lines]:
    with capture_logs() as logs:
        yield Lines(logs)


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> AsyncIterator[TokensClient]:
    made = await tokens_client(service)
    made.api.token = await made.api.login()
    yield made


@pytest.fixture(autouse=True)
def own_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that has written nothing yet: the other tests of this process come from the same address."""
    monkeypatch.setattr("infra.http.router.security_log", SecurityLog())


async def log_in(client: TokensClient, **more: Any) -> Json:
    body = {"username": "demo", "password": PASSWORD, "organisation": client.api.organisation}
    return await client.api.open(LOGIN, body | more)


async def test_logins(client: TokensClient) -> None:
    name = client.api.organisation
    with security_lines() as lines:
        token = (await log_in(client))["data"]["token"]
        await log_in(client, password="a wrong one")
        await log_in(client, username="S3cret-typed-as-name")
        await log_in(client, organisation="NOWHERE")
    common = {"action": "sign_in", "method": LOGIN, "address": "127.0.0.1"}
    refused = common | {"outcome": "COM.CRM.EXCEPTION.SECURITY.INVALIDCREDENTIALSEXCEPTION"}
    assert lines.all == [
        common
        | {"outcome": "OK", "organisation": name, "user": "1", "session": claims_of(token)["jti"]},
        refused | {"organisation": name, "user": "1"},
        refused | {"organisation": name},
        refused,
    ]


async def test_logins_of_customers_and_keys(client: TokensClient) -> None:
    account = await client.register_account(account_owner_id=await client.new_contact())
    token = await client.create_token(accounts_receivable_identifier={"id": account})
    with security_lines() as lines:
        await client.api.open(CONSUMER_KEY_LOGIN, {ON: by_code(token)}, basic(client.key))
        await client.api.open(CONSUMER_KEY_LOGIN, {ON: by_code(token)}, basic(uuid4().hex))
    right, wrong = lines.all
    assert (right["outcome"], right["account"], right["user"]) == ("OK", account, "1")
    assert wrong["outcome"].endswith("INVALIDWEBAPIKEYEXCEPTION")
    assert "user" not in wrong


async def test_pages(client: TokensClient) -> None:
    form = {"organisation": client.api.organisation, "username": "demo", "password": PASSWORD}
    url = f"{client.api.service.url}/history/sign-in"
    with security_lines() as lines:
        async with client.api.service.http.post(url, data=form, allow_redirects=False) as answer:
            assert answer.status == 403
    line = lines.one("sign_in")
    assert (line["user"], line["method"]) == ("1", "history/sign-in")
    assert lines.one("access_denied")["outcome"].endswith("ACCESSDENIEDEXCEPTION")


async def test_sessions_that_are_not_or_may_not(client: TokensClient) -> None:
    customer = await client.consumer_session()
    with security_lines() as lines:
        await client.api.open("communications/create", {"token": "a.b.c"})
        await customer.api.refused("communications/queue/process")
        await customer.api.post("authentication/token/release")
    assert lines.one("session_refused")["outcome"].endswith("INVALIDTOKENEXCEPTION")
    denied, left = lines.one("access_denied"), lines.one("sign_out")
    assert denied["account"] == left["account"] == customer.account
    assert denied["session"] == left["session"]


async def test_operators_acts_and_their_events_name_key_and_address(client: TokensClient) -> None:
    fingerprint = key_id(OPERATOR_KEY)
    name = unique_code("U")
    with security_lines() as lines:
        await client.register(
            "user", name, username=name, default_unit_id=UNIT, roles=["auditor"], password=PASSWORD
        )
        await client.api.service.send(
            "GET", "/operator/v1/sessions", headers={"Authorization": "Bearer wrong"}
        )
    act, refused = lines.one("operator_act"), lines.one("operator_refused")
    assert (act["operator"], act["outcome"], act["address"]) == (fingerprint, "OK", "127.0.0.1")
    assert (refused["path"], "operator" in refused) == ("/operator/v1/sessions", False)
    assert lines.one("secret_changed")["secrets"] == [f"user/{name} password"]
    sql = "SELECT metadata ->> 'source' AS source FROM ledger.events WHERE organisation = $1 ORDER BY position DESC LIMIT 1"
    source = (await query_rows(client.api, sql))[0]["source"]
    assert source.startswith(f"operator key {fingerprint} from 127.0.0.1, request ")
    assert OPERATOR_KEY not in str(lines.all)


async def test_limits_that_bite(client: TokensClient) -> None:
    await client.register_settings(guess_limits={"attempts_per_source": 1})
    username = unique_code("user")
    await client.register(
        "user", username, username=username, default_unit_id=UNIT, password=PASSWORD
    )
    with security_lines() as lines:
        await log_in(client, username=username, password="a wrong one")
        await log_in(client, username=username)
    await client.register_settings()
    limited = lines.one("limit_reached")
    assert (limited["user"], limited["method"]) == (username, LOGIN)


async def test_no_line_holds_what_was_shown(client: TokensClient) -> None:
    secrets = [f"S3cret-{n}-{uuid4().hex}" for n in range(6)]
    with security_lines() as lines:
        await log_in(client, password=secrets[0])
        await log_in(client, username=secrets[1], password=secrets[1])
        await log_in(client, organisation=secrets[2])
        shown = {ON: {"identifier": secrets[3], "pass_code": secrets[3]}}
        await client.api.open(CONSUMER_KEY_LOGIN, shown, basic(secrets[4]))
        headers = {"Authorization": f"Bearer {secrets[5]}"}
        await client.api.service.send("GET", "/operator/v1/sessions", headers=headers)
    assert len(lines.all) >= 5
    assert not any(secret in json.dumps(lines.logs, default=str) for secret in secrets)


def test_a_flood_is_cut_and_counted() -> None:
    now = [0.0]
    log = SecurityLog(clock=lambda: now[0])
    with security_lines() as lines:
        for _ in range(LINES + 40):
            log.record("sign_in", address="1.2.3.4")
        log.record("sign_in", address="5.6.7.8")
        now[0] = 61.0
        log.record("sign_in", address="1.2.3.4")
    assert [line["action"] for line in lines.all].count("sign_in") == LINES + 2
    assert lines.one("lines_suppressed") == {
        "action": "lines_suppressed",
        "address": "1.2.3.4",
        "suppressed": "sign_in",
        "lines": 40,
    }


def test_what_it_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.observability.security_log.ADDRESSES", 10)
    log = SecurityLog()
    with security_lines():
        for n in range(50):
            log.record("sign_in", address=f"1.2.3.{n}")
    assert len(log._written) == 10


def test_an_action_that_is_not_declared_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no action"):
        SecurityLog().record("signin")


def test_the_page_lists_every_action() -> None:
    page = PAGE.read_text("utf-8").partition("## Security log")[2]
    for action, meaning in ACTIONS.items():
        assert f"| `{action}` | {meaning} |" in page
