"""Request bodies: JSON as the contract reads it (common.md, section 1.1).

The strict parser (orjson) decides what JSON is. Before it come two checks for which it has no
settings: limits of nesting and of parts, both counted without Python code per byte, so that even the
most hostile body of 4 MiB takes only some fifty milliseconds. After it come the leniencies of the
contract, tried once and only if the strict parse fails.
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
"""The deepest nesting of objects and arrays, including the body's own object (section 1.1)."""

MAX_PARTS: Final = 65_536
"""The most members, elements, objects and arrays of a body, counted by their commas and brackets. The
contract has no such limit and no real call comes near it; without it a body of 4 MiB could become two
million objects, or as many repairs, and block the event loop meanwhile."""

_MAX_QUOTES: Final = 4 * MAX_PARTS  # a member has at most two strings

_MAX_ZEROS: Final = 2 * MAX_PARTS  # a number may begin with zeros, and so may its exponent

# No byte of UTF-8 is 0xFF or 0xFE: they can replace the escapes that would mislead a split at quotes.
_BACKSLASH: Final = b"\xff"
_QUOTE: Final = b"\xfe"

_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))
_STEPS: Final = bytes.maketrans(b"{[}]", b"\x01\x01\xff\xff")  # as signed bytes: one down, one up

_DIGITS_AS_ZERO: Final = bytes(
    ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256)
)
_LONG_NUMBER: Final = b"0" * 19  # the shortest integers that do not fit into 64 bits have 19 digits

# None of these backtracks: their cost is linear in the length of the body. A string is a single `"` in
# the text that they search. They replace by constants because a computed replacement would be a Python
# call per match.
_MISPLACED_COMMA: Final = re.compile(rb"[\[{,:][ \t\r\n]*+,")
_TRAILING_COMMA: Final = re.compile(rb",(?=[ \t\r\n]*+[\]}])")
_LEADING_ZEROS: Final = re.compile(rb"0(?<![0-9.]0)0*(?=[0-9])")

# Inside strings: blanks that strict JSON wants escaped, and a backslash that escapes none of them.
_RAW_BLANKS: Final = ((b"\t", b"\\t"), (b"\r", b"\\r"), (b"\n", b"\\n"))
_BROKEN_ESCAPE: Final = re.compile(rb"\\[\t\r\n]")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def parse_json_object(raw: bytes, *, allow_empty_array: bool = False) -> dict[str, Any]:
    """Parse a POST body (common.md, sections 1 and 1.1).

    :param raw: the body, already limited in size.
    :param allow_empty_array: read ``[]`` as ``{}``: PHP encodes no parameters so.
    :return: the object; ``{}`` for an empty body. Integers are exact whatever their size; of a repeated
        key the last value counts.
    :raises InvalidRequest: the body is not a JSON object, even after the repair of trailing commas,
        leading zeros, raw tabs and line breaks and a byte order mark; is nested deeper than
        ``MAX_DEPTH``; has more than ``MAX_PARTS`` parts, or a number beyond the range of a double.
    """
    if not raw:
        return {}
    _check_structure(raw)
    value = _parse(raw)
    if value == [] and allow_empty_array:
        return {}
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
        # orjson silently turns integers beyond 64 bits into floats. It has just checked the syntax and
        # bounded every number to 309 digits, so a laxer parser that keeps integers exact may decide.
        return msgspec.json.decode(raw)
    return value


def _check_structure(raw: bytes) -> None:
    """Refuse a body that is nested too deep or has too many parts, before a parser recurses into it."""
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
    """Return the body with all leniencies repaired; it may still not be JSON, and JSON keeps its meaning."""
    pieces = _split_at_quotes(raw.removeprefix(_BYTE_ORDER_MARK))
    inside = b'"'.join(pieces[1::2])
    if _BROKEN_ESCAPE.search(inside):
        raise _not_json("a backslash before a raw blank")
    for blank, escaped in _RAW_BLANKS:
        inside = inside.replace(blank, escaped)
    pieces[1::2] = inside.split(b'"') if pieces[1:] else ()
    outside = b'"'.join(pieces[::2])
    # A comma without a value before it stays an error: the repair must not make `[,]` an array.
    if _MISPLACED_COMMA.search(outside):
        raise _not_json("a comma without a value before it")
    # A blank keeps the positions in the parser's message right.
    outside = _TRAILING_COMMA.sub(b" ", outside)
    outside = _LEADING_ZEROS.sub(b"", outside, count=_MAX_ZEROS)
    pieces[::2] = outside.split(b'"')
    return b'"'.join(pieces).replace(_QUOTE, b'\\"').replace(_BACKSLASH, b"\\\\")


def _split_at_quotes(raw: bytes) -> list[bytes]:
    """Split the body at the quotes of strings: even pieces lie outside strings, odd ones inside.

    Escaped backslashes and quotes inside the pieces are replaced by the two marker bytes. A backslash
    outside a string may misplace the splits after it; they do not matter, since the parser stops at
    that backslash.
    """
    if _BACKSLASH in raw or _QUOTE in raw:
        raise _not_json("it is not UTF-8")
    masked = raw.replace(b"\\\\", _BACKSLASH).replace(b'\\"', _QUOTE)
    if masked.count(b'"') > _MAX_QUOTES:
        raise InvalidRequest("the body has too many strings")
    return masked.split(b'"')


def _not_json(reason: str) -> InvalidRequest:
    return InvalidRequest(f"the body is not acceptable JSON: {reason}")
