"""Compare an answer with an expected one that holds matchers where the value is the service's own.

A matcher is a whole string in angle brackets: `"<id>"`, `"<number:CM>"`, `"<digits:6>"`.
Everything else is literal and compared with its type, for `1`, `1.0` and `true` are different
answers to a client although Python calls them equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime

__all__ = ["AUTHOR", "differences", "is_matcher"]

AUTHOR = "Marios Lannister"
"""person_name of the session's user in golden/base.jsonl: the prefix of a contact's notes."""

MATCHER = re.compile(r"<(?P<name>[a-z][a-z ]*)(?::(?P<argument>[^\n]*))?>")
PADDED = {"CM": 6, "CI": 6, "ACT": 10, "SR": 8}
"""Prefix of a number -> its digits (contract common.md section 9), more once they are used up."""
JAVA_DATE = re.compile(r"(\w{3} \w{3} \d{2} \d{2}:\d{2}:\d{2}) (?:EET|EEST) (\d{4})")


def pattern(expression: str) -> Callable[[str, str], bool]:
    """A matcher without argument that is a regular expression."""
    compiled = re.compile(expression)
    return lambda text, _argument: compiled.fullmatch(text) is not None


def is_number(text: str, prefix: str) -> bool:
    """A number: plain decimal without a prefix, else the prefix and at least its digits."""
    digits = rf"[0-9]{{{PADDED[prefix]},}}" if prefix else r"[1-9][0-9]*"
    return re.fullmatch(re.escape(prefix) + digits, text) is not None


def is_secret(text: str, length: str) -> bool:
    """A code of exactly so many digits, the first of which may be zero."""
    return re.fullmatch(rf"[0-9]{{{int(length)}}}", text) is not None


def is_date(text: str, _argument: str) -> bool:
    """`YYYY-MM-DDTHH:MM:SS` of the calendar; strptime alone would accept missing zeros."""
    return _read(text, "%Y-%m-%dT%H:%M:%S") is not None and len(text) == 19


def is_java_date(text: str, _argument: str) -> bool:
    """`EEE MMM dd HH:mm:ss zzz yyyy` whose day of the week belongs to the date."""
    found = JAVA_DATE.fullmatch(text)
    if found is None:
        return False
    moment = _read(f"{found[1]} {found[2]}", "%a %b %d %H:%M:%S %Y")
    return moment is not None and moment.strftime("%a") == found[1][:3]


def is_notes(text: str, given: str) -> bool:
    """The given text behind its author and `d/M/yyyy HH:mm:ss`, day and month without zeros."""
    stamp = r" [1-9]\d?/[1-9]\d?/\d{4} \d{2}:\d{2}:\d{2} "
    return re.fullmatch(re.escape(AUTHOR) + stamp + re.escape(given), text) is not None


def is_photo(text: str, name: str) -> bool:
    """The file name of a profile photo: its id, the fixed middle, the uploaded name."""
    fixed = r"[0-9A-F]{32}_key_contacts-profilephoto_"
    return re.fullmatch(fixed + (re.escape(name) if name else ".+"), text) is not None


MATCHERS: dict[str, Callable[[str, str], bool]] = {
    "id": pattern(r"[0-9A-F]{32}"),
    "number": is_number,
    "digits": is_secret,
    "code": pattern(r"[1-9]\d*"),
    "date": is_date,
    "java date": is_java_date,
    "notes": is_notes,
    "photo": is_photo,
    "photo url": pattern(r"/crm/ImageDownloadServlet\?id=[0-9A-F]{32}"),
    "text": pattern(r"(?s).*\S.*"),
}
ARGUMENTS: dict[str, str] = {
    "number": "|".join(PADDED),
    "digits": "[1-9][0-9]*",
    "notes": ".*",
    "photo": ".*",
}
"""What may follow the colon, for the matchers that may have one."""


def is_matcher(value: object) -> bool:
    """Whether an expected value is a matcher; an unknown one is a mistake in the file."""
    found = MATCHER.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return False
    name, argument = found["name"], found["argument"]
    bare = argument is None and name in MATCHERS and name != "digits"
    if not bare and re.fullmatch(ARGUMENTS.get(name, "(?!)"), argument or "") is None:
        raise ValueError(f"there is no matcher {value}")
    return True


def differences(expected: object, actual: object, path: str = "$") -> list[str]:
    """Every difference, each with its JSON path; empty when the answer is the expected one."""
    return list(_walk(expected, actual, path))


def _walk(expected: object, actual: object, path: str) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        yield from _walk_object(expected, actual, path)
    elif isinstance(expected, list) and isinstance(actual, list):
        yield from _walk_array(expected, actual, path)
    elif not _agrees(expected, actual):
        yield f"{path}: expected {expected!r}, got {actual!r}"


def _walk_object(
    expected: dict[str, object], actual: dict[str, object], path: str
) -> Iterator[str]:
    for key, value in expected.items():
        if key in actual:
            yield from _walk(value, actual[key], f"{path}.{key}")
        else:
            yield f"{path}.{key}: missing, expected {value!r}"
    for key in actual.keys() - expected.keys():
        yield f"{path}.{key}: not expected, got {actual[key]!r}"


def _walk_array(expected: list[object], actual: list[object], path: str) -> Iterator[str]:
    if len(expected) != len(actual):
        yield f"{path}: expected {len(expected)} elements, got {len(actual)}"
    for place, (wanted, got) in enumerate(zip(expected, actual, strict=False)):
        yield from _walk(wanted, got, f"{path}[{place}]")


def _agrees(expected: object, actual: object) -> bool:
    if is_matcher(expected):
        found = MATCHER.fullmatch(str(expected))
        assert found is not None
        matches = MATCHERS[found["name"]]
        return isinstance(actual, str) and matches(actual, found["argument"] or "")
    return type(expected) is type(actual) and expected == actual


def _read(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)  # noqa: DTZ007 (a wall clock)
    except ValueError:
        return None
