"""Parsers of the contract's value types (common.md, sections 7 and 8).

Every parser takes a value as it came out of JSON or a query string, never null, and returns the
value as it is stored: text, int or float, bool, the one spelling of an enumeration, or a date as the
wall-clock text ``YYYY-MM-DDTHH:MM:SS`` of the service's time zone. A value that is not of the type
raises `InvalidParameterType`, one outside its range or list `InvalidParameterValue`; both name
``path``, the parameter's path in the caller's words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from unicodedata import normalize
from zoneinfo import ZoneInfo

from domain.errors import InvalidParameterType, InvalidParameterValue, Refusal

__all__ = [
    "comparable",
    "is_blank",
    "java_date",
    "local_time",
    "number",
    "read_boolean",
    "read_date",
    "read_enumeration",
    "read_integer",
    "read_moment",
    "read_number",
    "read_object",
    "read_text",
    "wall_clock",
]

ALIASES = {"F2F": "FACE_TO_FACE", "COMPLETE": "COMPLETED"}
"""Spellings on published pages: accepted on input, never sent (common.md, section 7)."""

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON parser reads exactly."""

_DATE = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})"
    r"(?:[T ](\d{2}):(\d{2}):(\d{2})(\.\d+)?\s*(Z|[+-]\d{2}:?\d{2})?)?",
    re.ASCII,
)
_INTEGER = re.compile(r"[+-]?\d{1,20}(?:\.0*)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
)


def is_blank(value: object) -> bool:
    """True for null and for a text of nothing but blanks, which means the same (section 4)."""
    return value is None or (isinstance(value, str) and not value.strip())


def comparable(text: str, *, ignore_case: bool = False) -> str:
    """A text as it is compared: those that are canonically equal become one (section 7; Unicode D145)."""
    if ignore_case:
        text = text.lower() if text.isascii() else normalize("NFD", text).casefold()
    return normalize("NFC", text)


def read_object(
    value: object, path: str, wrong: type[Refusal] = InvalidParameterType
) -> dict[str, Any]:
    """An object; ``[]`` is an empty one, as PHP encodes it (section 1.1). Raises ``wrong``."""
    if isinstance(value, dict):
        return value
    if value == []:
        return {}
    raise wrong(path)


def read_text(value: object, path: str, max_length: int = 255) -> str:
    """A String; a JSON number is read as its text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidParameterType(path)
    text = str(number(value, path)) if isinstance(value, float) else str(value)
    if len(text) > max_length or "\0" in text:
        raise InvalidParameterValue(path)
    return text


def read_integer(
    value: object, path: str, minimum: int = -MAX_INTEGER, maximum: int = MAX_INTEGER
) -> int:
    """An Integer within ``minimum``..``maximum``: a JSON number or numeric text without a fraction."""
    if isinstance(value, str):
        text = value.strip()
        if not _INTEGER.fullmatch(text):
            raise InvalidParameterType(path)
        integer = int(text.partition(".")[0])
    elif isinstance(value, bool) or not isinstance(value, int | float) or value % 1 != 0:
        raise InvalidParameterType(path)
    else:
        integer = int(value)
    if not minimum <= integer <= maximum:
        raise InvalidParameterValue(path)
    return integer


def read_number(value: object, path: str) -> int | float:
    """A Number or Float: a JSON number or numeric text; whole values are stored as integers."""
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text) or len(text) > 64:
            raise InvalidParameterType(path)
        return number(float(text), path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidParameterType(path)
    return number(value, path)


def number(value: float, path: str) -> int | float:
    """The shortest form of a number: whole values that are exact lose their fraction.

    Numbers that JSON cannot represent (infinities) or parsers may round (integers beyond 2**53)
    raise `InvalidParameterValue`.
    """
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise InvalidParameterValue(path)
        return value
    if not math.isfinite(value):
        raise InvalidParameterValue(path)
    return int(value) if value % 1 == 0 and abs(value) <= MAX_INTEGER else value


def read_boolean(value: object, path: str) -> bool:
    """A Boolean: true, false, 1, 0 and the same as texts."""
    if isinstance(value, bool):
        return value
    truth = _TRUTH.get(str(value).strip().lower()) if isinstance(value, str | int) else None
    if truth is None:
        raise InvalidParameterType(path)
    return truth


def read_enumeration(value: object, path: str, allowed: Collection[str]) -> str:
    """The spelling in ``allowed`` that a text means: trimmed, upper case, blanks and ``-`` as ``_``."""
    if not isinstance(value, str):
        raise InvalidParameterType(path)
    word = re.sub(r"[ _-]+", "_", value.strip().upper())
    word = word if word in allowed else ALIASES.get(word, word)
    if word not in allowed:
        raise InvalidParameterValue(path)
    return word


def read_date(value: object, path: str, zone: ZoneInfo, *, repeated: bool = False) -> str:
    """A Date as wall-clock text of ``zone``; one with ``Z`` or an offset is converted to it.

    :param repeated: the text tells the two times apart that the clock shows alike, as of `local_time`.
    """
    date = _date(value, path)
    try:
        if date.tzinfo is not None:
            return (local_time if repeated else wall_clock)(date, zone)
    except OverflowError as error:
        raise InvalidParameterValue(path) from error
    return date.replace(microsecond=0).isoformat()


def read_moment(value: object, path: str, zone: ZoneInfo) -> datetime:
    """A Date as a moment in UTC, including its fraction of a second.

    Without ``Z`` or an offset it is read by ``zone``'s wall clock; of a time that this clock shows
    twice, the first one is meant.
    """
    date = _date(value, path)
    try:
        return (date if date.tzinfo else date.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError as error:
        raise InvalidParameterValue(path) from error


def _date(value: object, path: str) -> datetime:
    """A Date as it is written: with a zone only if it has ``Z`` or an offset."""
    match = _DATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise InvalidParameterType(path)
    *parts, fraction, offset = match.groups(default="0")
    try:
        date = datetime(*map(int, parts))  # type: ignore[arg-type]  # noqa: DTZ001 (a wall clock)
        if offset != "0":
            date = datetime.fromisoformat(f"{date.isoformat()}{offset.replace('Z', '+00:00')}")
        return date.replace(microsecond=int(fraction[1:7].ljust(6, "0")))
    except ValueError as error:
        raise InvalidParameterValue(path) from error


@lru_cache(4096)
def wall_clock(moment: datetime, zone: ZoneInfo) -> str:
    """A moment as it is stored and sent: by ``zone``'s wall clock, in seconds, without a zone.

    Cached: a call needs its moment several times.
    """
    return moment.astimezone(zone).replace(tzinfo=None, microsecond=0).isoformat()


def local_time(moment: datetime, zone: ZoneInfo) -> str:
    """The same, with the offset from UTC where the clock shows this time for the second time."""
    local = moment.astimezone(zone)
    return local.isoformat(timespec="seconds") if local.fold else wall_clock(moment, zone)


@lru_cache(4096)
def java_date(text: str, zone: ZoneInfo) -> str:
    """A stored date in Java style: ``Mon May 05 15:49:59 EEST 2014`` (common.md, section 8).

    Of a time that the clock shows twice, the first one is meant unless the text has an offset.
    Cached: entities that are changed together have the same date.
    """
    date = datetime.fromisoformat(text)
    date = date.astimezone(zone) if date.tzinfo else date.replace(tzinfo=zone)
    return (
        f"{_DAYS[date.weekday()]} {_MONTHS[date.month - 1]} {date.day:02d} "
        f"{date:%H:%M:%S} {date.tzname()} {date.year:04d}"
    )
