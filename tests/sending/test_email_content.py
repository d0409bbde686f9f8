"""E-mails as they arrive: what texts, settings and templates make of them, and of their recipients."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from infra.delivery import letter
from infra.delivery import mail as mail_module
from infra.delivery.dispatcher import MessageDispatcher
from infra.delivery.smtp import EmailServer
from services.communications.delivery import MessageDelivery
from tests.fixtures.communications import CommunicationsClient, event_topics
from tests.fixtures.delivery import (
    Mail,
    Mailbox,
    dispatch,
    mailbox,
    make_due,
    queue_entries,
)
from tests.fixtures.organisation import query_rows
from tests.fixtures.service import Service
from tests.fixtures.service_requests import ServiceRequestsClient, service_requests_client
from tests.sending.test_looking_after_it import checked

SENDER = "crm@example.org"
INJECTION = "=?utf-8?q?Ada=0D=0ABcc:_evil@x.org=0D=0A=0D=0Ainjected_body?="
LINK = "<a href='http://evil.example'>Ada</a>"
SERVER = "SELECT last_error FROM delivery.transports WHERE organisation = $1"
TRIES = "SELECT tries FROM delivery.entries WHERE organisation = $1"


@pytest_asyncio.fixture
async def request_client(own_service: Service) -> ServiceRequestsClient:
    return await service_requests_client(own_service)


async def configure(client: Any, box: Mailbox, **server: Any) -> None:
    await client.register_settings(
        email_server=box.settings(**server), default_email_address=SENDER
    )


async def send(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox, **more: Any
) -> Mail:
    """Send one message; it as it arrived."""
    await client.create(**{"media": "EMAIL", "to": "ada@example.org"} | more)
    await dispatch(working, 2)
    return box.received.pop()


async def write_to_somebody_called(client: CommunicationsClient, first_name: str) -> None:
    client.contacts[0] = await client.new_contact(
        first_name=first_name, last_name="Lovelace", type="PERSON"
    )


async def test_a_name_that_looks_like_headers(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    await configure(client, box, from_name=f"ACME, {INJECTION}", reply_to="help@faß.example")
    await write_to_somebody_called(client, INJECTION)
    mail = await send(client, working, box, subject="Dear #contact_information.first_name")
    assert mail.message.keys() == [
        *("Date", "From", "Reply-To", "To", "Subject", "Message-ID", "MIME-Version"),
        *("Content-Type", "Content-Transfer-Encoding"),
    ]
    assert mail.message["Subject"] == f"Dear {INJECTION}"
    assert mail.message["Reply-To"] == "help@xn--fa-hia.example"
    (sender,) = mail.message["From"].addresses
    assert sender.addr_spec == SENDER
    assert sender.display_name.replace(" ", "") == f"ACME,{INJECTION}"
    assert mail.content == "Call us"


async def test_html_shows_inserted_values_as_they_are(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    await configure(client, box, content_type="HTML")
    await write_to_somebody_called(client, LINK)
    content = "<p>Dear <b>#contact_information.first_name</b></p>"
    draft = await client.create_draft(
        media="EMAIL", to="ada@example.org", content=content + "<p>#subscription.number</p>"
    )
    # The answer holds the value as it is (communications.md, section 4).
    assert draft["content"] == f"<p>Dear <b>{LINK}</b></p><p>#subscription.number</p>"
    text = {"type": "STRING", "name": "x", "string_value": "<i>"}
    draft = await client.call(
        "update", draft, unrestricted_parameter_set=[{"action": "ADD", **text}], notes="Later"
    )
    await client.call("complete", draft)
    await dispatch(working)
    mail = box.received.pop()
    assert "<a href" not in mail.part("html")
    assert "&lt;a href=&#x27;http://evil.example&#x27;&gt;Ada&lt;/a&gt;</b></p><p>" in mail.part(
        "html"
    )
    assert mail.content == f"Dear {LINK}\n\n#subscription.number"
    # What a caller has written is the caller's HTML, even if it takes the place of what was inserted.
    draft = await client.create_draft(media="EMAIL", to="ada@example.org", content=content)
    written = f"<p><i>Dear</i> {LINK}, <b>good news</b> for you</p>"
    await client.call("update", draft, content=written)
    await client.call("complete", draft)
    await dispatch(working)
    assert box.received.pop().part("html") == written


async def test_a_value_that_was_inserted_before_the_message_became_an_html_email(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    await configure(client, box)
    await write_to_somebody_called(client, LINK)
    draft = await client.create_draft(content="Dear #contact_information.first_name")
    await configure(client, box, content_type="HTML")
    await client.call("update", draft, media="EMAIL", to="ada@example.org")
    await client.call("complete", draft)
    await dispatch(working)
    assert "<a href" not in box.received.pop().part("html")


async def test_plain_content_holds_values_as_they_are(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    await configure(client, box)
    await write_to_somebody_called(client, LINK)
    mail = await send(client, working, box, content="Dear #contact_information.first_name")
    assert (mail.message.get_content_type(), mail.content) == ("text/plain", f"Dear {LINK}")


async def test_letters_say_where_to_unsubscribe(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    await client.register("communication_category", "NEWS", name="News")
    uris = "https://a.example/u?c={{contact}} mailto:u@a.example?subject={{ key }}"
    await configure(client, box, list_unsubscribe=uris)
    mail = await send(client, working, box)
    key = mail.key.strip("<>").partition("@")[0]
    assert mail.message["List-Unsubscribe"].split(", ") == [
        f"<https://a.example/u?c={client.recipient}>",
        f"<mailto:u@a.example?subject={key}>",
    ]
    assert mail.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    # Mails about what somebody has bought are nothing to unsubscribe from.
    await configure(
        client, box, list_unsubscribe=uris, list_unsubscribe_category_ids=["NEWS"], tries=1
    )
    assert (await send(client, working, box)).message["List-Unsubscribe"] is None
    mail = await send(client, working, box, category_identifier={"id": "NEWS"})
    assert mail.message["List-Unsubscribe"] is not None


async def test_notices_say_that_no_person_wrote_them(
    request_client: ServiceRequestsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    await configure(
        request_client, box, content_type="HTML", list_unsubscribe="https://a.example/u"
    )
    await request_client.create(type_identifier={"id": "MAIL"}, caller_email="ada@example.org")
    await dispatch(working)
    (mail,) = box.received
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert mail.message["List-Unsubscribe"] is None
    assert (mail.message.get_content_type(), mail.to) == ("text/plain", "ada@example.org")
    assert mail.content.startswith("Your service request ")
    await request_client.register_settings()


async def test_letters_of_people_are_not_automatic(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    await configure(client, box)
    mail = await send(client, working, box)
    assert mail.message["Auto-Submitted"] is None


async def test_content_is_seven_bit_for_servers_that_take_nothing_else(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    await configure(client, box)
    text = f"Καλημέρα\n.\r\n..\rFrom me {'a' * 5000}\n"
    mail = await send(client, working, box, content=text, subject="Καλημέρα")
    assert mail.data.isascii()
    assert mail.content == text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


async def test_domains_are_those_of_idna_2008(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    await configure(client, box)
    mail = await send(client, working, box, to="u@faß.de;u@βόλος.com")
    assert mail.to == "u@xn--fa-hia.de, u@xn--nxasmm1c.com"
    assert mail.message["To"] == mail.to


async def test_addresses_that_need_smtputf8(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    async with mailbox(utf8=True) as modern:
        await configure(client, modern)
        mail = await send(client, working, modern, to="用户@例え.jp, ada@example.org")
        assert mail.to == "用户@xn--r8jz45g.jp, ada@example.org"
        assert "To: 用户@xn--r8jz45g.jp, ada@example.org\r\n".encode() in mail.data
    await configure(client, box)
    mail = await send(client, working, box, to="用户@例え.jp, ada@example.org")
    assert (mail.to, mail.data.isascii()) == ("ada@example.org", True)
    state, code, text = (await queue_entries(client))[1]
    assert (state, code) == ("COMPLETED", "INVALID_RECIPIENT")
    assert text is not None
    assert text.endswith("(no SMTPUTF8)")
    await client.create(media="EMAIL", to="用户@例え.jp")
    await dispatch(working)
    assert (await queue_entries(client))[2][:2] == ("REJECTED", "INVALID_RECIPIENT")


@pytest.mark.parametrize(
    ("to", "replies", "state", "code", "arrived"),
    [
        ("a@x.org, b@x.org", {}, "COMPLETED", None, "a@x.org, b@x.org"),
        ("a@x.org; b@x.org", {"b@x.org": "550 No"}, "COMPLETED", "SMTP 550", "a@x.org"),
        ("a@x.org, b@c d", {}, "COMPLETED", "INVALID_RECIPIENT", "a@x.org"),
        ("a@x.org, b@x.org", {"a@x.org": "550 No", "b@x.org": "551 No"}, "REJECTED", "SMTP 550", None),
        ("a@x.org, b@x.org", {"b@x.org": "450 Later"}, "PENDING", None, None),
        ("a@x.org, b@x.org", {"a@x.org": "550 No", "b@x.org": "450 Later"}, "PENDING", None, None),
    ],
)  # fmt: skip
async def test_several_recipients(
    client: CommunicationsClient,
    working: MessageDispatcher,
    box: Mailbox,
    to: str,
    replies: dict[str, str],
    state: str,
    code: str | None,
    arrived: str | None,
) -> None:
    async def answer(command: str, address: str) -> str | None:
        return replies.get(address) if command == "RCPT" else None

    box.answer = answer
    await configure(client, box)
    await client.create(media="EMAIL", to=to)
    await dispatch(working, 2)
    ((found, error, text),) = await queue_entries(client)
    assert (found, error) == (state, code)
    assert [mail.to for mail in box.received] == ([arrived] if arrived else [])
    refused = [address for address, reply in replies.items() if reply[0] == "5"]
    assert state == "PENDING" or all(address in (text or "") for address in refused)


async def test_at_the_last_try_the_others_get_it(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    async def answer(command: str, address: str) -> str | None:
        return "451 Greylisted" if (command, address) == ("RCPT", "b@x.org") else None

    box.answer = answer
    await configure(client, box, tries=3)
    await client.create(media="EMAIL", to="a@x.org, b@x.org")
    for arrived in (0, 0, 1, 1):
        await dispatch(working)
        assert len(box.received) == arrived
        await make_due(client.api.service.database)
    assert await queue_entries(client) == [
        ("COMPLETED", "SMTP 451", "b@x.org: SMTP 451 Greylisted")
    ]
    topics = await event_topics(client.api, "queue_entry.")
    assert topics == ["queue_entry.queued", "queue_entry.rejected", "queue_entry.processed"]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (letter, "_transfer_encoded"),
        (mail_module, "text_alternative"),
        (mail_module, "parse_address"),
    ],
)
async def test_what_cannot_be_composed_is_no_servers_fault(
    client: CommunicationsClient,
    working: MessageDispatcher,
    box: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
) -> None:
    whole = getattr(module, name)

    def failing(value: Any) -> Any:
        if "bad" in str(value):
            raise RuntimeError
        return whole(value)

    monkeypatch.setattr(module, name, failing)
    await configure(client, box, content_type="HTML")
    await client.create(media="EMAIL", to="bad@example.org", content="bad")
    await client.create(media="EMAIL", to="ada@example.org", content="good")
    await dispatch(working, 3)
    text = "The message cannot be composed (RuntimeError)"
    assert await queue_entries(client) == [
        ("REJECTED", "INVALID_CONTENT", text),
        ("COMPLETED", None, None),
    ]
    assert (await checked(client))[0] == "ok"


async def test_an_error_of_the_service_itself_ends_with_the_tries(
    client: CommunicationsClient,
    working: MessageDispatcher,
    box: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = EmailServer.send

    async def failing(self: EmailServer, message: Any) -> Any:
        if message.content == "bad":
            raise KeyError("x")
        return await whole(self, message)

    monkeypatch.setattr(EmailServer, "send", failing)
    await configure(client, box, tries=3)
    await client.create(media="EMAIL", to="ada@example.org", content="bad")
    await client.create(media="EMAIL", to="ada@example.org", content="good")
    for tries in (1, 2):
        await dispatch(working)
        assert [row["tries"] for row in await query_rows(client.api, TRIES)] == [tries]
        assert (await checked(client))[0] == "warning"
        await make_due(client.api.service.database)
    await dispatch(working, 2)
    assert await queue_entries(client) == [
        ("REJECTED", "INTERNAL", "KeyError in the service (tried 3 times)"),
        ("COMPLETED", None, None),
    ]
    assert (await checked(client))[0] == "ok"


async def test_what_was_sent_and_cannot_be_recorded_is_stuck_and_said_to_be(
    client: CommunicationsClient,
    working: MessageDispatcher,
    box: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    async def failing(self: MessageDelivery, *values: Any) -> Any:
        raise KeyError("x")

    monkeypatch.setattr(MessageDelivery, "_decide", failing)
    await configure(client, box, tries=2)
    await client.create(media="EMAIL", to="ada@example.org")
    for _ in range(4):
        await dispatch(working)
        await make_due(client.api.service.database)
    assert (len(box.received), await queue_entries(client)) == (1, [("PENDING", None, None)])
    # Nor can it be rejected when it cannot even be read.
    monkeypatch.undo()
    monkeypatch.setattr(MessageDelivery, "_message", failing)
    await dispatch(working)
    await make_due(client.api.service.database)
    monkeypatch.undo()
    verdict, text = await checked(client)
    assert (verdict, "one tried 5 times (INTERNAL)" in text) == ("warning", True)
    await dispatch(working)
    assert (len(box.received), await queue_entries(client)) == (1, [("COMPLETED", None, None)])


async def test_a_message_with_more_tries_than_there_are_is_stuck(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    async def busy(command: str, address: str) -> str | None:
        return "450 Busy" if command == "RCPT" else None

    box.answer = busy
    await configure(client, box)
    await client.create(media="EMAIL", to="ada@example.org")
    await dispatch(working)
    assert (await checked(client))[0] == "ok"
    await query_rows(
        client.api, "UPDATE delivery.entries SET tries = 10 WHERE organisation = $1 RETURNING 1"
    )
    verdict, text = await checked(client)
    assert (verdict, "one tried 10 times (SMTP 450)" in text) == ("warning", True)


@pytest.mark.parametrize(
    ("reply", "code"),
    [("530 Who are you?", "SMTP 530"), ("421 Going down", None)],
)
async def test_a_refusal_that_is_not_about_the_recipient(
    client: CommunicationsClient,
    working: MessageDispatcher,
    box: Mailbox,
    reply: str,
    code: str | None,
) -> None:
    replies = [reply]

    async def once(command: str, address: str) -> str | None:
        return replies.pop() if command == "RCPT" and replies else None

    box.answer = once
    await configure(client, box)
    await client.create(media="EMAIL", to="a@x.org, b@x.org")
    await dispatch(working)
    (server,) = await query_rows(client.api, SERVER)
    assert server["last_error"] == code
    await make_due(client.api.service.database)
    await dispatch(working)
    assert [mail.to for mail in box.received] == ["a@x.org, b@x.org"]
    assert await queue_entries(client) == [("COMPLETED", None, None)]


@pytest.mark.parametrize(
    "lines",
    [
        *("nonsense", "999999 no", "-50 no", "2", "250", "354 go on", "199 what", "\u0662\u0665\u0660 ok"),
        *("250-never\r\n" * 1000, "x" * 100_000, "550 \x1b[31m\x00\u2028 no", "250 ok\r\n250 ok"),
    ],
)  # fmt: skip
async def test_answers_are_data(
    client: CommunicationsClient, working: MessageDispatcher, lines: str
) -> None:
    """A server that greets well and then answers everything in its own way."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        heard = 0
        while await reader.readline():
            heard += 1
            writer.write(b"250 hi\r\n" if heard < 2 else f"{lines}\r\n".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    box = Mailbox(port=server.sockets[0].getsockname()[1])
    await configure(client, box, tries=1, timeout_seconds=2)
    await client.create(media="EMAIL", to="ada@example.org")
    for _ in range(2):
        await dispatch(working)
        await make_due(client.api.service.database)
    ((state, _, text),) = await queue_entries(client)
    assert state in ("PENDING", "REJECTED")
    assert (text or "").isprintable()
    server.close()
    async with mailbox() as good:
        await configure(client, good)
        await client.create(media="EMAIL", to="ada@example.org")
        await dispatch(working, 2)
        assert (await queue_entries(client))[1][0] == "COMPLETED"
