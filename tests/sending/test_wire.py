"""What a server hears, read by readers that share no code with the sender, nor with one another."""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
from collections.abc import Sequence
from email import message_from_bytes
from email.header import decode_header, make_header
from email.policy import compat32
from pathlib import Path
from typing import Any

import pytest

from infra.delivery.mail import Presentation
from infra.delivery.smtp import EmailServer, SmtpConfig
from services.communications.delivery import Message, SendPolicy
from tests.fixtures.delivery import Mail, mailbox

MESSAGES = 1000
PIECES = (
    *("order", "a", " ", "  ", "é", "🎉", "Ελλάδα", "日本", "e\u0301", "50%", "_", "\r\n", "\n.\n", "\t"),
    *("=?", "?=", "=?utf-8?q?already?=", "=?utf-8?q?=0D=0ABcc:_e@x.org?=", '"', "<", ">", ",", "x" * 90),
)  # fmt: skip
READERS = Path(__file__).with_name("mail_readers.mjs")
POLICY = SendPolicy(1000, 10, 30, 8, 30, 3600)


def messages() -> list[Message]:
    draw = random.Random(2047)

    def text(most: int) -> str:
        return "".join(draw.choices(PIECES, k=draw.randrange(most)))

    return [
        Message(
            idempotency_key=f"k{n}",
            sender="crm@faß.example",
            to="; ".join(
                draw.sample(["a@βόλος.example", "b+c@x.org", "d.e@x.org"], draw.randrange(1, 4))
            ),
            subject=text(20),
            content=text(60),
            contact="<\r\nBcc: e@x.org>",
            category=draw.choice([None, "NEWS"]),
            is_automatic=draw.random() < 0.1,
        )
        for n in range(MESSAGES)
    ]


def one_line(text: str) -> str:
    return re.sub("\r\n|[\t\n]", " ", text)


def lines(text: str) -> str:
    """A text with one kind of line ends, without those at its end."""
    return text.replace("\r\n", "\n").rstrip("\n")


def read_by_python(mail: Mail) -> dict[str, Any]:
    """What Python's older reader finds; the newer one loses blanks of names."""
    message = message_from_bytes(mail.data, policy=compat32)

    def header(name: str) -> str:
        unfolded = re.sub(r"\r?\n", "", message[name])
        return str(make_header(decode_header(unfolded)))

    parts: dict[str, Any] = {part.get_content_type(): part for part in message.walk()}
    texts = {
        name: lines(parts[f"text/{name}"].get_payload(decode=True).decode())
        for name in ("plain", "html")
        if f"text/{name}" in parts
    }
    return {
        "subject": header("Subject"),
        "from": header("From").rpartition(" <")[0],
        "to": header("To").split(", "),
        "text": texts["plain"],
        "html": texts.get("html", ""),
        "headers": [name.lower() for name in message.keys()],  # noqa: SIM118 (repeated ones count)
    }


async def run(*command: str, cwd: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def read_by_others(mails: Sequence[Mail], folder: Path) -> list[list[dict[str, Any]]]:
    """What mailparser and postal-mime find in each mail."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("no node and npm for the readers that are not Python's")
    code, output = await run("npm", "install", "mailparser", "postal-mime", cwd=folder)
    if code:
        pytest.skip(f"the readers that are not Python's could not be installed: {output[-200:]}")
    shutil.copy(READERS, folder)
    names = [f"{n}.eml" for n in range(len(mails))]
    for name, mail in zip(names, mails, strict=True):
        (folder / name).write_bytes(mail.data)
    code, output = await run("node", READERS.name, *names, cwd=folder)
    assert code == 0, output[-2000:]
    return [json.loads(line) for line in output.rstrip("\n").split("\n")]


async def deliver(all_messages: Sequence[Message], name: str) -> list[Mail]:
    async with mailbox() as box:
        presentation = Presentation(
            html=True,
            sender_name=name,
            reply_to="r@x.org",
            unsubscribe="https://x.org/u?a={{contact}}&b={{key}} mailto:u@x.org",
            unsubscribe_categories=["NEWS"],
        )
        config = SmtpConfig("127.0.0.1", box.port, "NONE", None, None, presentation)
        server = EmailServer(config, POLICY)
        for message in all_messages:
            assert (await server.send(message)).name == "sent"
        await server.close()
        return box.received


@pytest.mark.slow
async def test_independent_readers_agree_with_what_was_meant(tmp_path: Path) -> None:
    name = 'ACME, "Größe"  =?utf-8?q?=0ABcc:?= Ἀρχιμήδης 🎉 and daughters of Syracuse'
    sent = messages()
    mails = await deliver(sent, name)
    others = await read_by_others(mails, tmp_path)
    for message, mail, found in zip(sent, mails, others, strict=True):
        assert mail.data.isascii()
        is_listed = message.category is not None and not message.is_automatic
        headers = ["date", "from", "reply-to", "to", "subject", "message-id"]
        headers += ["auto-submitted"] if message.is_automatic else []
        headers += ["list-unsubscribe", "list-unsubscribe-post"] if is_listed else []
        headers += ["mime-version", "content-type"]
        headers += ["content-transfer-encoding"] if message.is_automatic else []
        content = lines(message.content)
        for reader in (read_by_python(mail), *found):
            assert reader["headers"] == headers
            assert reader["subject"] == one_line(message.subject)
            # One of them shows domains as people write them.
            shown = [address.replace("βόλος", "xn--nxasmm1c") for address in reader["to"]]
            assert shown == mail.to.split(", ")
            assert reader["from"] == name
            assert lines(reader["html"]) == ("" if message.is_automatic else content)
            if message.is_automatic:
                assert lines(reader["text"]) == content
