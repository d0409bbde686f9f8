"""Substitution tags in texts: ``#<entity>.<field>`` (contract communications.md, section 4)."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["TAG", "resolve"]

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
