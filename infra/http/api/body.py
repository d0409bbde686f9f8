"""Reads request bodies as bytes, and parses ``multipart/form-data`` (contract common.md, section 1).

Bytes are counted only here: aiohttp's own limit can be bypassed in several ways, and its multipart
reader searches for the first boundary line by line, without a limit. So a body is first read as a
whole, bounded in size and time, and then split by searches whose cost does not depend on its content.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from domain.errors import InvalidRequest, RequestTooLarge, ServiceUnavailable
from infra.observability.limits import note_limit

__all__ = [
    "MAX_PARTS",
    "MAX_PART_HEADER",
    "SMALL_BODY",
    "BodyBudget",
    "RawUpload",
    "is_multipart",
    "parse_multipart",
    "read_body",
]

MAX_PARTS: Final = 64
"""The most parts of a multipart body: more than any method has parameters."""

MAX_PART_HEADER: Final = 4096
"""The most bytes of the header lines of one part."""

SMALL_BODY: Final = 64 * 1024
"""The bytes of a body that are always read: those of almost every call."""

BUDGET: Final = 64 * 1024 * 1024
"""The bytes that bodies under way in one process may have together beyond those."""

_MAX_HEADER_PARAMETERS: Final = 16  # the header parser's work grows with the square of their number

# RFC 2046, section 5.1.1.
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_PLAIN_ENCODINGS: Final = frozenset({"7bit", "8bit", "binary"})
# Those of RFC 5987; Python knows others, some of which fail or take long.
_CHARSETS: Final = frozenset({"utf-8", "iso-8859-1"})
_FILE_TYPES: Final = ("application/octet-stream", "image/")


@dataclass(frozen=True, slots=True)
class RawUpload:
    """An uploaded file. Its name is what the client says: it may be unsafe."""

    file_name: str
    content: bytes


class BodyBudget:
    """The memory of a process for bodies on their way, shared by all (common.md, section 1, "Limits").

    Of each body the first `SMALL_BODY` bytes are free, so that slow large ones hold up no ordinary call.
    """

    def __init__(self, size: int = BUDGET) -> None:
        self._left = size

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that reserves memory for a body of a number of bytes, until the end of the context.

        It raises `ServiceUnavailable` if that is not left.
        """
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            more = max(0, size - SMALL_BODY - taken)
            if more > self._left:
                note_limit("bodies")
                raise ServiceUnavailable("too many large bodies are on their way", retry_after=1)
            self._left -= more
            taken += more

        try:
            yield take
        finally:
            self._left += taken


def _admit_all(_: int) -> None:
    return None


async def read_body(
    request: web.BaseRequest,
    limit: int,
    seconds: float,
    admit: Callable[[int], None] = _admit_all,
) -> bytes:
    """Return a request's body, still encoded as it was sent (common.md, section 1, "Limits").

    :param limit: the most bytes allowed, whatever ``Content-Length`` says.
    :param seconds: the time allowed for the whole body.
    :param admit: is called with the bytes read so far; what it raises ends the reading.
    :raises RequestTooLarge: the body is, or claims to be, larger than the limit; the rest remains
        unread.
    :raises InvalidRequest: it did not arrive in time, its framing is broken, or the client
        disconnected before its end (then nobody sees the response).
    """
    if (request.content_length or 0) > limit:
        raise RequestTooLarge(f"the body is larger than {limit} bytes")
    body = bytearray()
    try:
        if request.content.is_eof() and "Expect" not in request.headers:  # it came with the head
            body += request.content.read_nowait()
            admit(len(body))
        else:
            async with asyncio.timeout(seconds):
                await _send_continue(request)
                while len(body) <= limit and (chunk := await request.content.readany()):
                    body += chunk
                    admit(len(body))
    except TimeoutError as error:
        raise InvalidRequest("the body did not arrive in time") from error
    except (ConnectionError, HttpProcessingError) as error:
        raise InvalidRequest("the body is incomplete") from error
    if len(body) > limit:
        raise RequestTooLarge(f"the body is larger than {limit} bytes")
    return bytes(body)


async def _send_continue(request: web.BaseRequest) -> None:
    """Let a client send its body if it waits for permission to do so (RFC 9110, section 10.1.1)."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # otherwise aiohttp believes that the response has begun


def is_multipart(content_type: str) -> bool:
    """Return True if a ``Content-Type`` header announces a form; else the body is JSON (section 1)."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


async def parse_multipart(
    content_type: str, raw: bytes
) -> tuple[dict[str, list[str]], dict[str, RawUpload]]:
    """Parse a form (common.md, section 1, "Multipart POST"; RFC 7578).

    A part is a file if it has a file name or declares a type of ``_FILE_TYPES``, else a field of
    UTF-8 text. Of several files of one name the last one counts.

    :param content_type: the request's header, with the boundary.
    :param raw: the body, already limited in size. Nothing in it is decoded or decompressed.
    :return: the values of each field by name, in their order; and the files by name.
    :raises InvalidRequest: the form is malformed or incomplete, has more than ``MAX_PARTS`` parts,
        a part without a name or with a transfer encoding, or a field that is not UTF-8.
    """
    fields: dict[str, list[str]] = {}
    files: dict[str, RawUpload] = {}
    for part in _split_parts(_boundary(content_type), raw):
        await asyncio.sleep(0)  # a part takes a millisecond: let other tasks run in between
        header, blank_line, content = part.partition(b"\r\n\r\n")
        # RFC 2046 lets an empty part end with its header.
        if not blank_line and not header.endswith(b"\r\n"):
            raise _malformed("a part without an end of its header")
        headers = _parse_headers(header)
        name, file_name = (
            _disposition_parameter(headers, parameter) for parameter in ("name", "filename")
        )
        if not name:
            raise _malformed("a part without a name")
        declared_type = headers.get_content_type() if "Content-Type" in headers else ""
        if file_name is not None or declared_type.startswith(_FILE_TYPES):
            files[name] = RawUpload(file_name or "", content)
        else:
            fields.setdefault(name, []).append(_decode(content))
    return fields, files


def _boundary(content_type: str) -> bytes:
    """Return the boundary; of several the last: curl adds its own to one that its caller has set."""
    header = Message()
    header["Content-Type"] = content_type
    parameters = header.get_params([])
    boundary = {name.lower(): value for name, value in parameters}.get("boundary")
    if not isinstance(boundary, str) or not _BOUNDARY.fullmatch(boundary):
        raise _malformed("no boundary")
    return boundary.encode()


def _split_parts(boundary: bytes, raw: bytes) -> list[bytes]:
    """Return the parts; text before the first and after the last boundary is ignored."""
    # The line break before a boundary belongs to it; the first boundary may have none.
    pieces = (b"\r\n" + raw).split(b"\r\n--" + boundary, MAX_PARTS + 2)[1:]
    if len(pieces) > MAX_PARTS + 1:
        raise _malformed(f"more than {MAX_PARTS} parts")
    parts: list[bytes] = []
    for piece in pieces:
        if piece.startswith(b"--"):
            return parts
        padding, line_break, part = piece.partition(b"\r\n")
        if not line_break or padding.strip(b" \t"):
            raise _malformed("a broken boundary")
        parts.append(part)
    raise _malformed("no closing boundary")


def _parse_headers(raw: bytes) -> Message:
    if len(raw) > MAX_PART_HEADER or raw.count(b";") > _MAX_HEADER_PARAMETERS:
        raise _malformed("the header of a part is too long")
    message = HeaderParser().parsestr(_decode(raw))
    if message.defects or message.get_payload():
        raise _malformed("the header of a part is broken")
    if (
        len(message.get_all("Content-Disposition", [])) != 1
        or message.get_content_disposition() != "form-data"
    ):
        raise _malformed("a part that is no form-data")
    encoding = str(message.get("Content-Transfer-Encoding", "binary")).strip().lower()
    if encoding not in _PLAIN_ENCODINGS or "Content-Encoding" in message:
        # RFC 7578, section 4.7, deprecates it, and decoders are the target of decompression bombs.
        raise _malformed("an encoded part")
    if message.get_content_maintype() == "multipart":
        raise _malformed("a form inside the form")
    return message


def _disposition_parameter(headers: Message, parameter: str) -> str | None:
    value = headers.get_param(parameter, header="Content-Disposition")
    if not isinstance(value, tuple):
        return value
    charset, _, text = value  # the extended notation, `name*=`: one character per byte
    if charset is None or charset.lower() not in _CHARSETS:
        raise _malformed("a name of unknown charset")
    try:
        return text.encode("latin-1").decode(charset)
    except UnicodeError as error:
        raise _malformed("a broken name") from error


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise _malformed("text that is not UTF-8") from error


def _malformed(reason: str) -> InvalidRequest:
    return InvalidRequest(f"the multipart body is malformed: {reason}")
