"""Substitution tags in texts: ``#<entity>.<field>`` (contract communications.md, section 4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from html import escape

__all__ = ["TAG", "inserted_values", "resolve"]

TAG = re.compile(r"#([a-z_]+)\.([A-Za-z0-9_]+)")


def resolve(text: str, value_of: Callable[[str, str], str | None], max_length: int) -> str | None:
    """``text`` with each tag replaced by the value of its entity and field; None if it gets too long.

    ``value_of`` returns the rendered value, ``""`` for a known field without one, or None for an
    unknown tag, which stays as it is. One pass; inserted values are not scanned. The length is known
    before the text is made: many tags of a long value would need any amount of memory.
    """

    def replacement(tag: re.Match[str]) -> str:
        value = value_of(tag[1], tag[2])
        return tag[0] if value is None else value

    growth = sum(len(replacement(tag)) - len(tag[0]) for tag in TAG.finditer(text))
    return TAG.sub(replacement, text) if len(text) + growth <= max_length else None


def inserted_values(
    text: str, value_of: Callable[[str, str], str | None], earlier: Iterable[Sequence[int]]
) -> list[list[int]]:
    """Where `resolve` puts values that mean something in HTML: first and last offset of each.

    :param earlier: the places of those that ``text`` holds already.
    """
    marks = bytearray(len(text))
    for start, end in earlier:
        marks[start:end] = b"\1" * (end - start)
    pieces: list[bytes] = []
    at = 0
    for tag in TAG.finditer(text):
        value = value_of(tag[1], tag[2])
        if value is not None:
            pieces += [bytes(marks[at : tag.start()]), bytes([value != escape(value)]) * len(value)]
            at = tag.end()
    return [list(place.span()) for place in re.finditer(b"\1+", b"".join([*pieces, marks[at:]]))]
