"""Substitution tags in texts: ``#<entity>.<field>`` (contract communications.md, section 4)."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["TAG", "resolve"]

TAG = re.compile(r"#([a-z_]+)\.([A-Za-z0-9_]+)")


def resolve(text: str, value_of: Callable[[str, str], str | None]) -> str:
    """``text`` with each tag replaced by the value of its entity and field.

    ``value_of`` returns the rendered value, ``""`` for a known field without one, or None for an
    unknown tag, which stays as it is. One pass; inserted values are not scanned.
    """

    def replacement(tag: re.Match[str]) -> str:
        value = value_of(tag[1], tag[2])
        return tag[0] if value is None else value

    return TAG.sub(replacement, text)
