"""The difference of two sets of passive fields, and its application."""

from __future__ import annotations

from domain.fields import JsonObject

__all__ = ["apply_diff", "diff"]


def diff(current: JsonObject, new: JsonObject) -> JsonObject:
    """The fields of ``new`` that differ from ``current``; of a nested object the keys that differ.

    A missing field equals None.
    """
    changes: JsonObject = {}
    for name, value in new.items():
        present = current.get(name)
        if isinstance(value, dict):
            different = {key: v for key, v in value.items() if (present or {}).get(key) != v}
            if different:
                changes[name] = different
        elif present != value:
            changes[name] = value
    return changes


def apply_diff(current: JsonObject, changes: JsonObject) -> JsonObject:
    """``current`` with ``changes`` applied; nested objects are merged key by key."""
    result = dict(current)
    for name, value in changes.items():
        present = result.get(name)
        are_objects = isinstance(value, dict) and isinstance(present, dict)
        result[name] = present | value if are_objects else value
    return result
