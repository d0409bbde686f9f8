"""SMS over a gateway's HTTP: what is asked, and what each answer leads to."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from infra.delivery.dispatcher import MessageDispatcher
from services.ids import message_key
from tests.fixtures.communications import CommunicationsClient
from tests.fixtures.delivery import (
    Gateway,
    certificate,
    closed_port,
    dispatch,
    gateway,
    make_due,
    queue_entries,
)
from tests.fixtures.organisation import query_rows

DELIVERIES = "SELECT tries, last_error FROM delivery.entries WHERE organisation = $1"
SERVER = "SELECT failures, last_error, circuit_open_until > clock_timestamp() AS rests FROM delivery.transports WHERE organisation = $1"
TEXT = 'Say "hi"\n& <bye> {{secret}}'
SECRET = "gateway-secret-of-the-tests"


async def say(client: CommunicationsClient, to: str | None = "+357 99 1") -> None:
    await client.create(media="SMS", to=to, content=TEXT)


async def test_a_message_as_json(
    client: CommunicationsClient, working: MessageDispatcher, sms: Gateway
) -> None:
    await client.register_settings(sms_server=sms.settings(), default_sms_sender="ACME")
    await say(client)
    await dispatch(working, 2)
    ((headers, body),) = sms.received
    assert json.loads(body) == {"to": "+357 99 1", "from": "ACME", "text": TEXT}
    ((entry,),) = await query_rows(
        client.api, "SELECT id FROM views.queue_entries WHERE organisation = $1"
    )
    assert headers["Idempotency-Key"] == message_key(client.api.organisation, entry)
    assert headers["Content-Type"] == "application/json"
    assert await queue_entries(client) == [("COMPLETED", None, None)]


@pytest.mark.parametrize(
    ("body_format", "body", "sent"),
    [
        (
            "FORM",
            "to={{to}}&text={{ text }}",
            "to=%2B357+99+1&text=Say+%22hi%22%0A%26+%3Cbye%3E+%7B%7Bsecret%7D%7D",
        ),
        (
            "XML",
            '<m to="{{to}}">{{text}}</m>',
            '<m to="+357 99 1">Say &quot;hi&quot;\n&amp; &lt;bye&gt; {{secret}}</m>',
        ),
        ("TEXT", "{{to}}: {{text}}", f"+357 99 1: {TEXT}"),
    ],
)
async def test_other_formats_escape_their_own_way(
    client: CommunicationsClient,
    working: MessageDispatcher,
    sms: Gateway,
    body_format: str,
    body: str,
    sent: str,
) -> None:
    settings = sms.settings(body_format=body_format, body=body, method="PUT")
    await client.register_settings(sms_server=settings | {"headers": {"X-To": "{{to}}/{{text}}"}})
    await say(client)
    await dispatch(working)
    ((headers, found),) = sms.received
    assert found == sent
    assert headers["X-To"] == '+357 99 1/Say "hi" & <bye> {{secret}}'
    if body_format == "FORM":
        assert parse_qs(found)["text"] == [TEXT]


@pytest.mark.parametrize(
    ("answer", "state", "code", "tries"),
    [
        ((200, "id=17 accepted", {}), "COMPLETED", None, None),
        ((201, "accepted, not", {}), "REJECTED", "ANSWER", None),
        ((202, "id=17 accepted", {}), "REJECTED", "HTTP 202", None),
        ((302, "", {"Location": "http://127.0.0.1:1/"}), "REJECTED", "HTTP 302", None),
        ((400, "no such number", {}), "REJECTED", "HTTP 400", None),
        ((500, "oops", {}), "PENDING", "HTTP 500", 1),
        ((0, "", {}), "PENDING", "HTTP DISCONNECTED", 1),
    ],
)
async def test_answers(
    client: CommunicationsClient,
    working: MessageDispatcher,
    sms: Gateway,
    answer: tuple[int, str, dict[str, str]],
    state: str,
    code: str | None,
    tries: int | None,
) -> None:
    judged = {
        "expected_statuses": [200, 201],
        "answer_text": "accepted",
        "answer_pattern": r"id=\d+",
    }
    await client.register_settings(sms_server=sms.settings(**judged))
    sms.answers = [answer]
    await say(client)
    await dispatch(working)
    ((found, error, _),) = await queue_entries(client)
    kept = await query_rows(client.api, DELIVERIES)
    assert (found, error) == (state, code if tries is None else None)
    assert [tuple(row) for row in kept] == ([] if tries is None else [(tries, code)])


async def test_a_slow_gateway_and_one_that_wants_to_be_left_alone(
    client: CommunicationsClient, working: MessageDispatcher, sms: Gateway
) -> None:
    await client.register_settings(sms_server=sms.settings(timeout_seconds=1))
    sms.slow = True
    await say(client)
    await dispatch(working)
    assert [tuple(row) for row in await query_rows(client.api, DELIVERIES)] == [(1, "HTTP TIMEOUT")]
    sms.slow = False
    await client.register_settings(sms_server=sms.settings())
    await make_due(client.api.service.database)
    sms.answers = [(429, "", {"Retry-After": "900"})]
    await dispatch(working)
    assert [tuple(row) for row in await query_rows(client.api, DELIVERIES)] == [(2, "HTTP 429")]
    assert (await query_rows(client.api, SERVER))[0]["rests"]
    await say(client)
    await dispatch(working)
    assert len(sms.received) == 2
    await make_due(client.api.service.database)
    await dispatch(working, 2)
    assert {state for state, _, _ in await queue_entries(client)} == {"COMPLETED"}
    keys = [headers["Idempotency-Key"] for headers, _ in sms.received]
    assert keys[0] == keys[1] == keys[2] != keys[3]


async def test_a_secret_goes_over_tls_and_nowhere_else(
    client: CommunicationsClient,
    working: MessageDispatcher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context, trusted = certificate(tmp_path)
    async with gateway(context) as secure:
        settings = secure.settings(headers={"Authorization": "Bearer {{secret}}"})
        await client.register_settings(sms_server=settings, sms_server_secret=SECRET)
        await say(client)
        await dispatch(working)
        assert (await query_rows(client.api, SERVER))[0]["last_error"] == "TLS"
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        # The same secret, which stays when it is not given, on a connection of its own.
        await client.register_settings(sms_server=settings | {"tries": 3})
        secure.answers = [(401, "who are you?", {}), (400, f"{SECRET} is odd", {})]
        await make_due(client.api.service.database)
        await dispatch(working)
        assert (await query_rows(client.api, SERVER))[0]["last_error"] == "HTTP 401"
        await make_due(client.api.service.database)
        await dispatch(working)
        assert {headers["Authorization"] for headers, _ in secure.received} == {f"Bearer {SECRET}"}
        assert await queue_entries(client) == [("REJECTED", "HTTP 400", "*** is odd")]


async def test_nobody_to_send_to(
    client: CommunicationsClient, working: MessageDispatcher, sms: Gateway
) -> None:
    await client.register_settings(sms_server=sms.settings())
    await say(client, None)
    await dispatch(working)
    assert (await queue_entries(client))[0][:2] == ("REJECTED", "NO_RECIPIENT")
    assert sms.received == []


async def test_a_gateway_that_is_not_there(
    client: CommunicationsClient, working: MessageDispatcher, sms: Gateway
) -> None:
    port = await closed_port()
    await client.register_settings(
        sms_server=sms.settings(url=f"http://127.0.0.1:{port}/", tries=1)
    )
    await say(client)
    await dispatch(working, 2)
    assert tuple((await query_rows(client.api, SERVER))[0]) == (1, "HTTP UNREACHABLE", True)
    assert await queue_entries(client) == [("PENDING", None, None)]
