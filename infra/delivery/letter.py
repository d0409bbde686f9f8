"""E-mails as bytes: from what a letter says to an RFC 5322 message, without input or output.

Texts are data. They are encoded here and never handed to a parser of headers: such a parser decodes what
looks like an encoded word, and what it finds may be a header (CVE-2024-6923). So a text that looks
like one is encoded itself and arrives as it was typed. Nothing depends on what the server offers: all is
7-bit (RFC 6152), but for addresses that only SMTPUTF8 can carry (RFC 6532).
"""

from __future__ import annotations

import re
from base64 import b64encode, encodebytes
from binascii import b2a_qp
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from hashlib import sha256
from string import ascii_letters, digits
from typing import AnyStr

__all__ = ["Letter", "LetterError", "compose"]

LINE = 76
"""Characters of a header's line (RFC 2047, section 2); one word may be as long as `MAX_LINE`."""
MAX_LINE = 998
ENCODED_TEXT = 52
"""Characters of text in an encoded word: with the frame, and a header's name before it, fewer than 76."""
UNQUOTED = frozenset(ascii_letters + digits + "!*+-/")
"""Characters that stand for themselves in an encoded word, wherever it is (RFC 2047, section 5 (3))."""

CONTROLS = re.compile("\r\n|[\0-\x1f\x7f-\x9f\u2028\u2029]")
"""What a header cannot hold, or a reader takes for the end of one: each becomes a blank, since
a template's value with a line break is no reason not to write to somebody."""
PLAIN = re.compile(r"(?!.*=\?)[!-~]{1,64}(?: [!-~]{1,64})*")
"""A text that is its own encoding and can be folded at each of its blanks."""
PLAIN_NAME = re.compile(
    r"(?!.*=\?)[\w!#$%&'*+/=?^`{|}~-]{1,64}(?: [\w!#$%&'*+/=?^`{|}~-]{1,64})*", re.A
)
"""A display name of atoms (RFC 5322, section 3.2.3)."""
PLAIN_BODY = re.compile(rb"(?:(?:[\t -~]{0,77}[!-~])?\r\n)*")
"""Content that no server has a reason to touch: short lines of ASCII without blanks at their ends."""


class LetterError(Exception):
    """A letter that cannot be composed; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """The content of an e-mail. Addresses are those that `parse_address` returns; all other texts are any.

    ``text`` is the content, or its alternative where there is ``html``. ``unsubscribe`` are the URIs of
    List-Unsubscribe (RFC 2369); with one of https a click is enough (RFC 8058). ``automatic`` letters
    are written by no person (RFC 3834).
    """

    message_id: str
    date: datetime
    sender: str
    sender_name: str | None = None
    reply_to: str | None = None
    recipients: Sequence[str]
    subject: str
    text: str
    html: str | None = None
    unsubscribe: Sequence[str] = ()
    automatic: bool = False


def compose(letter: Letter) -> bytes:
    """Return the message, with CRLF at the end of each line.

    :raises LetterError: for a word of a header that no line can hold.
    """
    addresses = _separated(letter.recipients)
    lines = [
        _folded("Date", [format_datetime(letter.date)]),
        _folded("From", _mailbox(letter.sender, letter.sender_name)),
        *([_folded("Reply-To", [letter.reply_to])] if letter.reply_to else ()),
        _folded("To", addresses),
        _folded("Subject", _encoded(letter.subject, PLAIN)),
        _folded("Message-ID", [f"<{letter.message_id}>"]),
        *(["Auto-Submitted: auto-generated"] if letter.automatic else ()),
        *_unsubscribe(letter.unsubscribe),
        "MIME-Version: 1.0",
    ]
    return "\r\n".join(lines).encode() + b"\r\n" + _content(letter)


def _separated(items: Sequence[str]) -> list[str]:
    return [*(f"{item}," for item in items[:-1]), *items[-1:]]


def _mailbox(address: str, name: str | None) -> list[str]:
    return [*_encoded(name, PLAIN_NAME), f"<{address}>"] if name else [address]


def _unsubscribe(uris: Sequence[str]) -> list[str]:
    if not uris:
        return []
    lines = [_folded("List-Unsubscribe", _separated([f"<{uri}>" for uri in uris]))]
    if any(uri.lower().startswith("https:") for uri in uris):
        lines.append("List-Unsubscribe-Post: List-Unsubscribe=One-Click")
    return lines


def _folded(name: str, words: Sequence[str]) -> str:
    """Return a header, folded between its words where a line gets longer than `LINE`."""
    line, lines = f"{name}:", []
    for n, word in enumerate(words):
        if n and len(line) + 1 + len(word) > LINE:
            lines.append(line)
            line = ""
        line += f" {word}"
        if len(line.encode()) > MAX_LINE:
            raise LetterError(f"{name} has a word that is longer than a line may be")
    return "\r\n".join([*lines, line])


def _encoded(text: str, plain: re.Pattern[str]) -> list[str]:
    """Return a text as words that fold: itself if it is ``plain``, else encoded words.

    It is encoded as a whole: readers drop the blanks between encoded words, and only those (RFC 2047,
    section 6.2).
    """
    line = CONTROLS.sub(" ", text)
    if not line or plain.fullmatch(line):
        return line.split(" ")
    quoted = [_quoted(character) for character in line]
    if 3 * sum(map(len, quoted)) <= 4 * len(line.encode()):
        return [f"=?utf-8?q?{word}?=" for word in _packed(quoted, ENCODED_TEXT)]
    units = [character.encode() for character in line]
    words = _packed(units, ENCODED_TEXT // 4 * 3)
    return [f"=?utf-8?b?{b64encode(word).decode()}?=" for word in words]


def _quoted(character: str) -> str:
    if character == " ":
        return "_"
    return character if character in UNQUOTED else "".join(f"={b:02X}" for b in character.encode())


def _packed(units: Sequence[AnyStr], most: int) -> list[AnyStr]:
    """Return the units, none of them divided, in pieces of at most ``most``."""
    pieces = [units[0]]
    for unit in units[1:]:
        if len(pieces[-1]) + len(unit) <= most:
            pieces[-1] += unit
        else:
            pieces.append(unit)
    return pieces


def _content(letter: Letter) -> bytes:
    """Return the last headers, an empty line, and the content."""
    plain = _part("plain", letter.text)
    if letter.html is None:
        return plain
    parts = (plain, _part("html", letter.html))
    # No part can hold a hash of itself.
    boundary = f"=_{sha256(b''.join(parts)).hexdigest()[:32]}"
    head = f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n\r\n'
    body = "".join(f"--{boundary}\r\n{part.decode()}\r\n" for part in parts)
    return f"{head}{body}--{boundary}--\r\n".encode()


def _part(subtype: str, text: str) -> bytes:
    """Return headers and content of a text; the end of each line is CRLF (RFC 2046, section 4.1.1)."""
    content = re.sub("\r\n|\r|\n", "\r\n", text).encode()
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    encoding, body = _transfer_encoded(content)
    head = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + body


def _transfer_encoded(content: bytes) -> tuple[str, bytes]:
    """Return the encoding and the content in it: as it is if possible, else the shorter one."""
    if PLAIN_BODY.fullmatch(content):
        return "7bit", content
    lines = b2a_qp(content, quotetabs=False, istext=True).replace(b"\r\n", b"\n")
    quoted = lines.replace(b"\n", b"\r\n")
    encoded = encodebytes(content).replace(b"\n", b"\r\n")
    is_readable = len(quoted) <= len(encoded)
    return ("quoted-printable", quoted) if is_readable else ("base64", encoded)
