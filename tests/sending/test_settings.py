"""What an organisation may set for sending, and where its secrets are, and are not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.delivery.dispatcher import MessageDispatcher
from infra.http.operators.reference import REFERENCE
from infra.password_hasher import SecretHasher
from services.secret_encryption import stored_secret
from tests.fixtures.communications import CommunicationsClient
from tests.fixtures.delivery import Mailbox, dispatch, queue_entries
from tests.fixtures.organisation import query_rows, stored_rows
from tests.fixtures.service import OPERATOR_KEY, environment

Json = dict[str, Any]

PASSWORD = "mail-password-0123456789"
EMAIL: Json = {"host": "mail.example.org"}
SMS: Json = {"url": "https://sms.example.org/v1", "body": '{"to":"{{to}}","text":"{{text}}"}'}
AUTH = {"Authorization": f"Bearer {OPERATOR_KEY}"}


async def put(client: CommunicationsClient, **fields: Any) -> tuple[str, str, str]:
    """Registers the organisation: code, description and result."""
    name = client.api.organisation
    record = {"name": name} | fields
    _, answer, _ = await client.api.service.send(
        "PUT", f"{REFERENCE}organisation/{name}", data=json.dumps(record).encode(), headers=AUTH
    )
    status = answer["status"]
    return status["code"].rpartition(".")[2], status["description"], answer["data"].get("result")


@pytest.mark.parametrize(
    ("setting", "given", "code", "at"),
    [
        ("email_server", {}, "MANDATORYPARAMETEREXCEPTION", "email_server.host"),
        ("email_server", {"host": "a b"}, "INVALIDPARAMETERVALUEEXCEPTION", "email_server.host"),
        ("email_server", EMAIL | {"port": 0}, "INVALIDPARAMETERVALUEEXCEPTION", "email_server.port"),
        ("email_server", EMAIL | {"tls": "SSL3"}, "INVALIDPARAMETERVALUEEXCEPTION", "email_server.tls"),
        ("email_server", EMAIL | {"tls": "NONE", "username": "u"}, "INVALIDPARAMETERVALUEEXCEPTION", "email_server.username"),
        ("email_server", EMAIL | {"password": "p"}, "INVALIDPARAMETERVALUEEXCEPTION", "email_server.password"),
        ("email_server", EMAIL | {"tries": 0}, "INVALIDPARAMETERVALUEEXCEPTION", "email_server.tries"),
        ("email_server", EMAIL | {"from_name": "a\r\nBcc: b"}, "INVALIDPARAMETERVALUEEXCEPTION", "email_server.from_name"),
        ("email_server", EMAIL | {"reply_to": "Ada <a@b>"}, "INVALIDPARAMETERVALUEEXCEPTION", "email_server.reply_to"),
        ("email_server", EMAIL | {"reply_to": "ä@b"}, "INVALIDPARAMETERVALUEEXCEPTION", "email_server.reply_to"),
        ("email_server", EMAIL | {"list_unsubscribe": "http://a/u"}, "INVALIDPARAMETERVALUEEXCEPTION", "email_server.list_unsubscribe"),
        ("email_server", EMAIL | {"list_unsubscribe": "https://a/<u>"}, "INVALIDPARAMETERVALUEEXCEPTION", "email_server.list_unsubscribe"),
        ("email_server", EMAIL | {"list_unsubscribe": "https://ä/u"}, "INVALIDPARAMETERVALUEEXCEPTION", "email_server.list_unsubscribe"),
        ("email_server", EMAIL | {"list_unsubscribe": "https://a/ u"}, "INVALIDPARAMETERVALUEEXCEPTION", "email_server.list_unsubscribe"),
        ("email_server", EMAIL | {"list_unsubscribe": "https://a/{{to}}"}, "INVALIDPARAMETERVALUEEXCEPTION", "email_server.list_unsubscribe"),
        ("email_server", EMAIL | {"list_unsubscribe_category_ids": "A"}, "INVALIDPARAMETERTYPEEXCEPTION", "email_server.list_unsubscribe_category_ids"),
        ("email_server_password", "a\nb", "INVALIDPARAMETERVALUEEXCEPTION", "email_server_password"),
        ("sms_server", SMS | {"url": "ftp://a"}, "INVALIDPARAMETERVALUEEXCEPTION", "sms_server.url"),
        ("sms_server", SMS | {"url": "https://u:p@a/"}, "INVALIDPARAMETERVALUEEXCEPTION", "sms_server.url"),
        ("sms_server", SMS | {"url": "https://a/?key={{secret}}"}, "INVALIDPARAMETERVALUEEXCEPTION", "sms_server.url"),
        ("sms_server", SMS | {"url": "http://a:b/"}, "INVALIDPARAMETERVALUEEXCEPTION", "sms_server.url"),
        ("sms_server", {"url": SMS["url"]}, "MANDATORYPARAMETEREXCEPTION", "sms_server.body"),
        ("sms_server", SMS | {"body": '{"text":"{{text}}"}'}, "INVALIDPARAMETERVALUEEXCEPTION", "sms_server.body"),
        ("sms_server", SMS | {"body": "{{to}} {{text}} {{password}}"}, "INVALIDPARAMETERVALUEEXCEPTION", "sms_server.body"),
        ("sms_server", SMS | {"body": '{"to":"{{to}}" "{{text}}"}'}, "INVALIDPARAMETERVALUEEXCEPTION", "sms_server.body"),
        ("sms_server", SMS | {"headers": {"A b": "c"}}, "INVALIDPARAMETERVALUEEXCEPTION", "sms_server.headers.A b"),
        ("sms_server", SMS | {"headers": {"X-A": "a\r\nB: c"}}, "INVALIDPARAMETERVALUEEXCEPTION", "sms_server.headers.X-A"),
        ("sms_server", SMS | {"headers": {"Authorization": "Bearer abc"}}, "INVALIDPARAMETERVALUEEXCEPTION", "sms_server.headers.Authorization"),
        ("sms_server", SMS | {"headers": []}, "INVALIDPARAMETERTYPEEXCEPTION", "sms_server.headers"),
        ("sms_server", SMS | {"url": "http://a/", "headers": {"X-Key": "{{secret}}"}}, "INVALIDPARAMETERVALUEEXCEPTION", "sms_server.url"),
        *(
            ("sms_server", SMS | {"answer_pattern": pattern}, "INVALIDPARAMETERVALUEEXCEPTION", "sms_server.answer_pattern")
            for pattern in ("(", "(?=a)b", r"(a)\1", "a" * 1001, "a{1000000}")
        ),
        ("sms_server", SMS | {"expected_statuses": [404]}, "INVALIDPARAMETERVALUEEXCEPTION", "sms_server.expected_statuses[0]"),
    ],
)  # fmt: skip
async def test_settings_that_are_refused(
    undisturbed: CommunicationsClient, setting: str, given: Any, code: str, at: str
) -> None:
    before = await stored_rows(undisturbed.api)
    assert await put(undisturbed, **{setting: given}) == (code, at, None)
    assert await stored_rows(undisturbed.api) == before


async def test_settings_come_back_whole_without_their_secrets(client: CommunicationsClient) -> None:
    given = {"email_server": EMAIL | {"username": "u"}, "sms_server": SMS}
    secrets = {"email_server_password": PASSWORD, "sms_server_secret": PASSWORD[::-1]}
    assert (await put(client, **given, **secrets))[2] == "UPDATED"
    name = client.api.organisation
    _, answer, _ = await client.api.service.send(
        "GET", f"{REFERENCE}organisation/{name}", headers=AUTH
    )
    shown = answer["data"]
    assert shown["email_server"]["port"] == 587
    assert shown["email_server"]["tls"] == "STARTTLS"
    assert shown["sms_server"]["expected_statuses"] == [200, 201, 202, 204]
    assert not {"email_server_password", "sms_server_secret"} & shown.keys()
    assert (await put(client, **shown | {"name": name}))[2] == "UNCHANGED"
    # Secrets stay when they are not given, and are not written again when they are the same.
    assert (await put(client, **given, **secrets))[2] == "UNCHANGED"
    assert (await put(client, **given, email_server_password="another"))[2] == "UPDATED"


async def test_a_secret_stands_nowhere_in_clear(client: CommunicationsClient, capfd: Any) -> None:
    await put(client, email_server=EMAIL, email_server_password=PASSWORD)
    for clear in (PASSWORD, PASSWORD.encode().hex()):
        assert clear not in json.dumps(await stored_rows(client.api))
        assert clear not in "".join(capfd.readouterr())
    (kept,) = await query_rows(
        client.api,
        "SELECT verifier, key_id FROM ledger.secrets WHERE organisation = $1 AND name = 'email_server_password'",
    )
    (event,) = await query_rows(
        client.api,
        "SELECT payload FROM ledger.events WHERE organisation = $1 AND topic = 'record.replaced'",
    )
    assert json.loads(event["payload"])["secrets"] == {"email_server_password": kept["key_id"]}
    key = environment("")["CRMLEDGER_SERVICE_KEY"]
    place = (
        f"{client.api.organisation}/organisation/{client.api.organisation}/email_server_password"
    )
    ours, other = SecretHasher(key), SecretHasher(key[::-1])
    assert ours.decrypt(kept["verifier"], place) == PASSWORD
    for keeper, where in ((other, place), (ours, f"{place}2")):
        with pytest.raises(ValueError, match="cannot be opened"):
            keeper.decrypt(kept["verifier"], where)


async def test_with_another_service_key_nothing_is_sent(
    client: CommunicationsClient,
    working: MessageDispatcher,
    box: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await put(
        client,
        email_server=box.settings(),
        email_server_password=PASSWORD,
        default_email_address="crm@example.org",
    )
    await client.create_email()
    monkeypatch.setattr(
        working._transports, "_cipher", SecretHasher("another service key of the tests 01")
    )
    await dispatch(working)
    assert box.received == []
    assert await queue_entries(client) == [("PENDING", None, None)]
    name = client.api.organisation
    assert (
        await stored_secret(
            working._ledger, SecretHasher(""), name, f"organisation/{name}", "sms_server_secret"
        )
        is None
    )
