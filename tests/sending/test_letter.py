"""Letters as bytes: read by readers that share nothing with what writes them, they say what was meant."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default as modern
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.delivery.letter import Letter, LetterError, compose
from tests.fixtures.strategies import TEXTS

PIECES = st.sampled_from(
    [
        *(" ", "  ", "\t", "\r\n", "\n ", "\0", "\x85", "é", "🎉", "e\u0301", "日本語", "\ufeff"),
        *(
            "=?",
            "?=",
            "=",
            "?",
            "_",
            "order",
            "a" * 80,
            "word " * 20,
            '"',
            "\\",
            "<",
            ">",
            ",",
            "@",
        ),
        *(
            "=?utf-8?q?",
            "=?utf-8?q?=0D=0ABcc:_evil@x.org=0D=0A?=",
            "=?utf-8?b?w6k=?=",
            "=?x?q?=E9?=",
        ),
    ]
)
SUBJECTS = TEXTS | st.lists(PIECES | st.characters(exclude_categories=["Cs"])).map("".join)
EVIL = (
    "=?utf-8?q?Hello=0D=0ABcc:_evil@x.org=0D=0A=0D=0Ainjected_body?=",
    "=?utf-8?b?DQpCY2M6IGV2aWxAeC5vcmc=?=",
    "Hello\r\nBcc: evil@x.org\r\n\r\ninjected",
    "Hello\rBcc: evil@x.org",
    "Hello\nBcc: evil@x.org",
    "=?utf-8?q?=E9?=é",
    "Hello\u2028Bcc: evil@x.org",
    "Hello\x85Bcc: evil@x.org",
    "Hello\r\n\tBcc: evil@x.org",
    "=?us-ascii?q?a?=\r\n =?us-ascii?q?=0ABcc:_evil@x.org?=",
    "a" * 70 + " =?utf-8?q?=0ABcc:?=",
    '"=?utf-8?q?=0ABcc:_evil@x.org?=" <evil@x.org>, other@x.org',
)
HEADERS = [
    *("Date", "From", "To", "Subject", "Message-ID", "MIME-Version"),
    *("Content-Type", "Content-Transfer-Encoding"),
]


def letter(**more: Any) -> Letter:
    values: dict[str, Any] = {
        "message_id": "1@example.org",
        "date": datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC),
        "sender": "crm@example.org",
        "recipients": ("ada@example.org",),
        "subject": "Hello",
        "text": "Bye",
    }
    return Letter(**values | more)


def read(data: bytes) -> EmailMessage:
    return message_from_bytes(data, policy=modern)  # type: ignore[return-value]


def on_one_line(text: str) -> str:
    """``text`` as a header may say it: a blank for whatever could end a line."""
    return re.sub(r"\r\n|[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text)


def header_line(data: bytes, name: str = "Subject") -> str:
    """A header as it was sent, unfolded (RFC 5322, section 2.2.3)."""
    (line,) = re.findall(rb"\r\n%s: ((?:.|\r\n )*)\r\n" % name.encode(), data)
    return bytes(line).decode("ascii").replace("\r\n", "")


def sender_name(data: bytes) -> str:
    """The name of the sender. Of Python's two readers the newer one loses blanks of it, or adds some."""
    line = header_line(data, "From")
    phrase = line.removesuffix("crm@example.org").removesuffix(" <crm@example.org>")
    return str(make_header(decode_header(phrase)))


def content(message: EmailMessage, subtype: str = "plain") -> str:
    part = message.get_body((subtype,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n").removesuffix("\n")


def check_subject(text: str) -> None:
    data = compose(letter(subject=text))
    assert read(data)["Subject"] == on_one_line(text)
    assert str(make_header(decode_header(header_line(data)))) == on_one_line(text)
    assert max(map(len, data.split(b"\r\n"))) <= 76
    words = [word for word in header_line(data).split(" ") if word.startswith("=?")]
    assert all(len(word) <= 75 for word in words)
    # Each word holds whole characters, so that each can be read alone.
    assert "".join(str(make_header(decode_header(word))) for word in words) in (
        "",
        on_one_line(text),
    )


@given(SUBJECTS)
def test_a_subject_arrives_as_it_was_typed(text: str) -> None:
    check_subject(text)


@pytest.mark.slow
def test_ten_thousand_subjects_arrive_as_they_were_typed() -> None:
    draw = random.Random(17)
    pieces = [
        "order",
        "🎉",
        "é",
        "Ελλάδα",
        "=?utf-8?q?already?=",
        "=?",
        "?=",
        "_",
        "\r\n",
        '"',
        "50%",
    ]
    for _ in range(10_000):
        parts = draw.choices(
            [*pieces, " ", "  ", "a", "日本", chr(draw.randrange(0xD800))], k=draw.randrange(30)
        )
        check_subject("".join(parts))


@pytest.mark.parametrize("text", EVIL)
def test_no_text_becomes_a_header(text: str) -> None:
    data = compose(letter(subject=text, sender_name=text, text=text))
    message = read(data)
    assert message.keys() == HEADERS
    assert [
        line.split(b":")[0].decode()
        for line in re.findall(rb"(?m)^[^ \r\n][^\r]*", data.split(b"\r\n\r\n")[0])
    ] == HEADERS
    assert [address.addr_spec for address in message["From"].addresses] == ["crm@example.org"]
    assert sender_name(data) == on_one_line(text)
    assert content(message) == re.sub("\r\n|\r", "\n", text)


@pytest.mark.parametrize(
    ("subject", "line"),
    [
        ("Hello", "Hello"),
        ("", ""),
        ("Order 17 (paid), see #3", "Order 17 (paid), see #3"),
        ("order 🎉", "=?utf-8?b?b3JkZXIg8J+OiQ==?="),
        ("Viele Grüße an alle Kunden", "=?utf-8?q?Viele_Gr=C3=BC=C3=9Fe_an_alle_Kunden?="),
        ("two  blanks", "=?utf-8?q?two__blanks?="),
        ("=?utf-8?q?already?=", "=?utf-8?b?PT91dGYtOD9xP2FscmVhZHk/PQ==?="),
    ],
)
def test_a_subject_is_encoded_only_if_it_must_be(subject: str, line: str) -> None:
    assert header_line(compose(letter(subject=subject))) == line


@given(SUBJECTS)
def test_a_name_that_is_sent_with_an_address(name: str) -> None:
    data = compose(letter(sender_name=name))
    (address,) = read(data)["From"].addresses
    assert address.addr_spec == "crm@example.org"
    assert sender_name(data) == on_one_line(name)


@given(
    st.lists(
        TEXTS | PIECES | st.sampled_from(["\r", "\n.\n", ".", "From me", "a" * 2000, " \n"])
    ).map("".join)
)
def test_a_body_arrives_as_it_was_typed(text: str) -> None:
    data = compose(letter(text=text, html=f"<p>{text}</p>"))
    assert data.isascii()
    assert max(map(len, data.split(b"\r\n"))) <= 78
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", data)
    lines = re.sub("\r\n|\r", "\n", text)
    for subtype, expected in (("plain", lines), ("html", f"<p>{lines}</p>")):
        assert content(read(data), subtype) == expected.removesuffix("\n")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Hello\n\nAda\n", "7bit"),
        ("", "7bit"),
        ("a\tb", "7bit"),
        ("blank at the end ", "quoted-printable"),
        ("a" * 79, "quoted-printable"),
        ("control \x0b", "quoted-printable"),
        ("Grüße an alle", "quoted-printable"),
        ("Καλημέρα", "base64"),
    ],
)
def test_a_body_is_encoded_in_the_shorter_way(text: str, encoding: str) -> None:
    assert read(compose(letter(text=text)))["Content-Transfer-Encoding"] == encoding


def test_headers_about_unsubscribing_and_automatic_letters() -> None:
    uris = ("https://a.example/u?c=1", "mailto:u@a.example")
    message = read(compose(letter(unsubscribe=uris, automatic=True, reply_to="r@a.example")))
    assert message["List-Unsubscribe"] == "<https://a.example/u?c=1>, <mailto:u@a.example>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert (message["Auto-Submitted"], message["Reply-To"]) == ("auto-generated", "r@a.example")
    message = read(compose(letter(unsubscribe=uris[1:])))
    assert message["List-Unsubscribe-Post"] is None
    assert message["Auto-Submitted"] is None


def test_many_recipients_are_folded() -> None:
    recipients = tuple(f"recipient-{n}@example.org" for n in range(50))
    data = compose(letter(recipients=recipients))
    assert max(map(len, data.split(b"\r\n"))) <= 76
    assert tuple(address.addr_spec for address in read(data)["To"].addresses) == recipients


def test_a_word_that_no_line_holds() -> None:
    with pytest.raises(LetterError, match="List-Unsubscribe"):
        compose(letter(unsubscribe=[f"https://a.example/{'a' * 1000}"]))
