"""Changes of passive fields: what differs, and what comes of it."""

from __future__ import annotations

from domain.fields import JsonObject

__all__ = ["apply_diff", "diff"]


def diff(current: JsonObject, given: JsonObject) -> JsonObject:
    """The part of ``given`` that is not so yet; of a nested object the keys that differ.

    Unset and None are the same.
    """
    changes: JsonObject = {}
    for name, value in given.items():
        now = current.get(name)
        if isinstance(value, dict):
            different = {key: v for key, v in value.items() if (now or {}).get(key) != v}
            if different:
                changes[name] = different
        elif now != value:
            changes[name] = value
    return changes


def apply_diff(current: JsonObject, changes: JsonObject) -> JsonObject:
    """``current`` with ``changes`` made; nested objects are merged key by key."""
    result = dict(current)
    for name, value in changes.items():
        now = result.get(name)
        both = isinstance(value, dict) and isinstance(now, dict)
        result[name] = now | value if both else value
    return result
