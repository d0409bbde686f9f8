"""E-mails over SMTP: what arrives, and what each way of failing leads to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from infra.app import open_application
from infra.cli.send import send_in_background
from infra.delivery.dispatcher import MessageDispatcher
from infra.settings import Settings
from tests.fixtures.communications import CommunicationsClient, event_topics
from tests.fixtures.delivery import (
    PASSWORD,
    USERNAME,
    Mailbox,
    certificate,
    closed_port,
    dispatch,
    mailbox,
    make_due,
    queue_entries,
)
from tests.fixtures.organisation import query_rows
from tests.fixtures.service import environment

DELIVERIES = (
    "SELECT tries, last_error, sent FROM delivery.entries WHERE organisation = $1 ORDER BY entry"
)
SERVER = "SELECT failures, last_error, circuit_open_until > clock_timestamp() AS rests FROM delivery.transports WHERE organisation = $1"
SENDER = "crm@example.org"


async def say(client: CommunicationsClient, *addresses: str, **more: str) -> None:
    for address in addresses:
        await client.create(**{"media": "EMAIL", "to": address, "subject": "Héllo\nthere"} | more)


async def test_an_email_arrives_once(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    await client.register_settings(email_server=box.settings(), default_email_address=SENDER)
    await say(client, "ada@example.org", content="Grüße\n.\nbye")
    await dispatch(working, 3)
    assert await queue_entries(client) == [("COMPLETED", None, None)]
    (mail,) = box.received
    assert (mail.sender, mail.to, mail.content) == (SENDER, "ada@example.org", "Grüße\n.\nbye")
    assert (mail.message["Subject"], mail.message["From"]) == ("Héllo there", SENDER)
    assert mail.message.get_content_type() == "text/plain"
    assert await query_rows(client.api, DELIVERIES) == []
    (event,) = await query_rows(
        client.api,
        "SELECT metadata ->> 'source' AS source, metadata ->> 'user' AS who FROM ledger.events"
        " WHERE organisation = $1 AND topic = 'queue_entry.processed'",
    )
    assert tuple(event) == ("crmledger send", None)


async def test_connections_are_kept_and_replaced_when_they_are_gone(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    await client.register_settings(
        email_server=box.settings(connections=1, content_type="HTML"), default_email_address=SENDER
    )
    await say(client, "a@b", "a@b", "a@b")
    await dispatch(working, 3)
    assert (box.connections, len(box.received)) == (1, 3)
    assert {mail.message.get_content_type() for mail in box.received} == {"multipart/alternative"}

    hung_up = []

    async def idle_too_long(command: str, address: str) -> str | None:
        if not hung_up:
            hung_up.append(command)
            return ""
        return None

    box.answer = idle_too_long
    await say(client, "a@b")
    await dispatch(working)
    assert (box.connections, len(box.received), hung_up) == (2, 4, ["MAIL"])
    assert {state for state, _, _ in await queue_entries(client)} == {"COMPLETED"}


@pytest.mark.parametrize(
    ("command", "reply", "state", "code"),
    [
        ("RCPT", "550 5.1.1 No such user", "REJECTED", "SMTP 550"),
        ("DATA", "554 5.7.1 Looks like spam", "REJECTED", "SMTP 554"),
        ("MAIL", "553 5.1.8 Not from you", "REJECTED", "SMTP 553"),
        ("RCPT", "450 4.2.1 Busy", "PENDING", "SMTP 450"),
        ("DATA", "452 4.3.1 Disk full", "PENDING", "SMTP 452"),
        ("DATA", "", "PENDING", "SMTP DISCONNECTED"),
        ("DATA", "never", "PENDING", "SMTP TIMEOUT"),
    ],
)
async def test_a_server_that_does_not_take_a_message(
    client: CommunicationsClient,
    working: MessageDispatcher,
    box: Mailbox,
    command: str,
    reply: str,
    state: str,
    code: str,
) -> None:
    async def answer(said: str, address: str) -> str | None:
        if said != command:
            return None
        if reply == "never":
            await asyncio.Event().wait()
        return reply

    box.answer = answer
    more = {"timeout_seconds": 5} if reply == "never" else {}
    await client.register_settings(email_server=box.settings(**more), default_email_address=SENDER)
    await say(client, "ada@example.org")
    await dispatch(working, 2)
    (found,) = await queue_entries(client)
    kept = [tuple(row) for row in await query_rows(client.api, DELIVERIES)]
    if state == "REJECTED":
        assert found == (state, code, reply.partition(" ")[2])
        assert kept == []
    else:
        assert found == (state, None, None)
        assert kept == [(1, code, False)]
    assert (await query_rows(client.api, SERVER))[0]["failures"] == 0


async def test_a_message_that_never_goes_is_rejected_in_the_end(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    async def busy(command: str, address: str) -> str | None:
        return "451 4.7.1 Come back later" if command == "RCPT" else None

    box.answer = busy
    await client.register_settings(email_server=box.settings(tries=3), default_email_address=SENDER)
    await say(client, "ada@example.org")
    seen = []
    for _ in range(5):
        await dispatch(working)
        seen.append((await queue_entries(client))[0][:2])
        await make_due(client.api.service.database)
    assert seen == [("PENDING", None)] * 2 + [("REJECTED", "SMTP 451")] * 3
    assert (await queue_entries(client))[0][2] == "4.7.1 Come back later (tried 3 times)"
    assert await event_topics(client.api, "queue_entry.rejected") == ["queue_entry.rejected"]


async def test_a_server_that_cannot_be_used_costs_no_message_a_try(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    nowhere = box.settings(port=await closed_port(), tries=1)
    await client.register_settings(email_server=nowhere, default_email_address=SENDER)
    await say(client, "ada@example.org", "bea@example.org")
    for failures in (1, 2, 3):
        await dispatch(working, 2)
        (server,) = await query_rows(client.api, SERVER)
        assert tuple(server) == (failures, "SMTP UNREACHABLE", True)
        await make_due(client.api.service.database)
    assert {row["tries"] for row in await query_rows(client.api, DELIVERIES)} == {0}
    await client.register_settings(email_server=box.settings(), default_email_address=SENDER)
    await dispatch(working, 3)
    assert {state for state, _, _ in await queue_entries(client)} == {"COMPLETED"}
    assert tuple((await query_rows(client.api, SERVER))[0])[:2] == (0, None)


@pytest.mark.parametrize("implicit", [False, True])
async def test_encrypted_and_authenticated(
    client: CommunicationsClient,
    working: MessageDispatcher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    implicit: bool,
) -> None:
    context, trusted = certificate(tmp_path)
    async with mailbox(tls=context, implicit=implicit, auth=True) as box:
        mode = "IMPLICIT" if implicit else "STARTTLS"
        secure = box.settings(tls=mode, username=USERNAME)
        common = {"default_email_address": SENDER}
        await client.register_settings(
            email_server=secure, email_server_password=PASSWORD, **common
        )
        await say(client, "ada@example.org")
        await dispatch(working)
        assert (await query_rows(client.api, SERVER))[0]["last_error"] == "TLS"

        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        await client.register_settings(email_server=secure, email_server_password="wrong", **common)
        await dispatch(working)
        assert (await query_rows(client.api, SERVER))[0]["last_error"] == "SMTP 535"
        assert box.received == []

        await client.register_settings(
            email_server=secure, email_server_password=PASSWORD, **common
        )
        await dispatch(working)
        assert len(box.received) == 1
        assert await queue_entries(client) == [("COMPLETED", None, None)]


async def test_a_server_without_encryption_gets_nothing_in_clear(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    await client.register_settings(
        email_server=box.settings(tls="STARTTLS"), default_email_address=SENDER
    )
    await say(client, "ada@example.org")
    await dispatch(working)
    assert (await query_rows(client.api, SERVER))[0]["last_error"] == "SMTP UNSUITABLE"
    assert box.received == []


@pytest.mark.parametrize(
    "to",
    [
        *("Ada <ada@example.org", "ä@example.org", "a b@c", "test@[1.2.3.4", "a@b..c", "a@b>"),
        *(
            "=?utf-8?q?a?=@b.org",
            "a\r\nRCPT TO:<c>@b",
            "x\u2028x@b",
            "a@☃.net",
            f"a@{'b' * 64}",
        ),
        "c @d,(comment)e@f",
    ],
)
async def test_addresses_that_are_none_are_refused_for_good(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox, to: str
) -> None:
    await client.register_settings(email_server=box.settings(), default_email_address=SENDER)
    await say(client, to, "ada@example.org")
    await dispatch(working, 2)
    (state, code, _), good = await queue_entries(client)
    assert (state, code) == ("REJECTED", "INVALID_RECIPIENT")
    assert good == ("COMPLETED", None, None)
    assert [mail.to for mail in box.received] == ["ada@example.org"]


async def test_a_service_sends_by_itself_until_it_is_left(
    client: CommunicationsClient, box: Mailbox
) -> None:
    arrived = asyncio.Event()

    async def taken() -> None:
        arrived.set()

    box.on_mail = taken
    settings = Settings.from_environment(environment(client.api.service.database))
    async with (
        open_application(settings, client.api.service.database) as running,
        send_in_background(running),
    ):
        await client.register_settings(email_server=box.settings(), default_email_address=SENDER)
        await say(client, "ada@example.org")
        async with asyncio.timeout(60):
            await arrived.wait()
    assert await queue_entries(client) == [("COMPLETED", None, None)]


async def test_nobody_to_send_as(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    await client.register_settings(email_server=box.settings())
    await say(client, "ada@example.org")
    await dispatch(working)
    assert (await query_rows(client.api, SERVER))[0]["last_error"] == "NO_SENDER"
    # Whoever has mended the settings need not wait until the server has been left alone long enough.
    await client.register_settings(email_server=box.settings(), default_email_address=SENDER)
    await dispatch(working)
    assert [mail.sender for mail in box.received] == [SENDER]
