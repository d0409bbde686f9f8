"""The ``fields_set`` parameter: which keys of the answer are wanted (contract common.md, section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from domain.errors import InvalidParameterType
from domain.parsing import is_blank

__all__ = ["merge_keys", "read_fields_set", "select_keys"]

# Values stay the bytes they are: faster than parsing them, and no number changes its spelling.
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_fields_set(
    value: Any, *, textual: bool, aliases: Mapping[str, str] | None = None
) -> frozenset[str] | None:
    """Return the keys that a caller wants, or None for all.

    A comma-separated text or a list of texts; of a repeated query parameter the last one.

    :param aliases: other names of keys.
    """
    if isinstance(value, list) and textual:
        value = value[-1]
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)  # no key is called so, but a number is a String (section 7)
    if is_blank(value):
        return None
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidParameterType("fields_set")
    keys = frozenset(name.strip() for name in names) - {""}
    return frozenset((aliases or {}).get(name, name) for name in keys) or None


def select_keys(document: bytes, names: frozenset[str] | None) -> bytes:
    """Return a JSON object with only its top-level keys in ``names``; None keeps all."""
    if names is None:
        return document
    members = _MEMBERS.decode(document)
    return msgspec.json.encode({name: raw for name, raw in members.items() if name in names})


def merge_keys(document: bytes, keys: Iterable[str], values: Mapping[str, Any]) -> bytes:
    """Return a JSON object with exactly ``keys``: those of ``values``, the rest from ``document``."""
    members = _MEMBERS.decode(document)
    return msgspec.json.encode({name: values.get(name, members.get(name)) for name in keys})
