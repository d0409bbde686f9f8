"""Request bodies: JSON as the contract reads it (common.md, section 1.1).

The strict parser (orjson) decides what JSON is. In front of it stands what it has no settings for:
a limit of nesting and of parts, both counted without Python code per byte, so that the most hostile
body of 1 MiB costs some ten milliseconds. Behind it stand the leniencies, tried once and only when
the strict parse fails.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any, Final

import msgspec
import orjson

from domain.errors import InvalidRequest

__all__ = ["MAX_DEPTH", "MAX_PARTS", "parse_json_object"]

MAX_DEPTH: Final = 32
"""Deepest nesting of objects and arrays, the body's own object included (section 1.1)."""

MAX_PARTS: Final = 65_536
"""Most members, elements, objects and arrays in one body, counted by their commas and brackets. The
contract has no such limit and no real call comes near it; without it a body of 1 MiB becomes half a
million objects, or as many repairs, and the event loop stands still meanwhile."""

_MAX_QUOTES: Final = 4 * MAX_PARTS  # a member has two strings at most

# No byte of UTF-8 is 0xFF or 0xFE: they can stand for the escapes that hide quotes from a split.
_BACKSLASH: Final = b"\xff"
_QUOTE: Final = b"\xfe"

_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))
_STEPS: Final = bytes.maketrans(b"{[}]", b"\x01\x01\xff\xff")  # as signed bytes: one down, one up

_DIGITS_AS_ZERO: Final = bytes(
    ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256)
)
_LONG_NUMBER: Final = b"0" * 19  # the shortest integers that do not fit into 64 bits have 19 digits

# None of these can go back over what it has read: their cost is linear in the body. A string is one
# `"` in the text they see. They replace by constants because a computed replacement would be a
# Python call per match.
_MISPLACED_COMMA: Final = re.compile(rb"[\[{,:][ \t\r\n]*+,")
_TRAILING_COMMA: Final = re.compile(rb",(?=[ \t\r\n]*+[\]}])")
_LEADING_ZEROS: Final = re.compile(rb"0(?<![0-9.]0)0*(?=[0-9])")


def parse_json_object(raw: bytes) -> dict[str, Any]:
    """Reads a POST body (common.md, sections 1 and 1.1).

    :param raw: the body, already limited in size.
    :return: the object; ``{}`` for an empty body. Integers are exact whatever their size, of a
        repeated key the last one counts.
    :raises InvalidRequest: the body is no JSON object, also after the repair of trailing commas and
        leading zeros; nested deeper than ``MAX_DEPTH``, of more than ``MAX_PARTS`` parts, or with a
        number beyond the range of a double.
    """
    if not raw:
        return {}
    _check_structure(raw)
    value = _parse(raw)
    if not isinstance(value, dict):
        raise InvalidRequest("the body is not a JSON object")
    return value


def _parse(raw: bytes) -> Any:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raw = _repaired(raw)
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise _not_json(str(error)) from error
    if _LONG_NUMBER in raw.translate(_DIGITS_AS_ZERO):
        # orjson turns integers beyond 64 bits into floats without a word. It has just vouched for
        # the syntax and bounded every number to 309 digits, so a second, laxer parser that keeps
        # integers may have the last word.
        return msgspec.json.decode(raw)
    return value


def _check_structure(raw: bytes) -> None:
    """Refuses what is nested too deep or has too many parts, before a parser recurses into it."""
    openings = raw.count(b"{") + raw.count(b"[")
    if openings <= MAX_DEPTH and openings + raw.count(b",") <= MAX_PARTS:
        return
    outside = b"".join(_split_at_quotes(raw)[::2])
    steps = outside.translate(_STEPS, _NOT_BRACKETS)
    if steps.count(b"\x01") + outside.count(b",") > MAX_PARTS:
        raise InvalidRequest(f"the body has more than {MAX_PARTS} parts")
    if max(accumulate(memoryview(steps).cast("b")), default=0) > MAX_DEPTH:
        raise InvalidRequest(f"the body is nested deeper than {MAX_DEPTH}")


def _repaired(raw: bytes) -> bytes:
    """The body without trailing commas and leading zeros; it need not be JSON even so."""
    pieces = _split_at_quotes(raw)
    outside = b'"'.join(pieces[::2])
    # A comma that trails nothing stays an error: the repair must not make `[,]` an array.
    if _MISPLACED_COMMA.search(outside):
        raise _not_json("a comma without a value before it")
    # A blank keeps the positions of the parser's message true.
    outside = _TRAILING_COMMA.sub(b" ", outside)
    outside = _LEADING_ZEROS.sub(b"", outside)
    pieces[::2] = outside.split(b'"')
    return b'"'.join(pieces).replace(_QUOTE, b'\\"').replace(_BACKSLASH, b"\\\\")


def _split_at_quotes(raw: bytes) -> list[bytes]:
    """Cuts at the quotes round strings: even pieces lie outside strings, odd ones inside.

    Escaped backslashes and quotes inside the pieces are replaced by the two marker bytes. A
    backslash outside a string may shift the cuts after it; the parser stops at that backslash, so
    they do not matter.
    """
    if _BACKSLASH in raw or _QUOTE in raw:
        raise _not_json("it is not UTF-8")
    masked = raw.replace(b"\\\\", _BACKSLASH).replace(b'\\"', _QUOTE)
    if masked.count(b'"') > _MAX_QUOTES:
        raise InvalidRequest("the body has too many strings")
    return masked.split(b'"')


def _not_json(reason: str) -> InvalidRequest:
    return InvalidRequest(f"the body is not acceptable JSON: {reason}")
