"""Responses as bytes: the envelope (contract common.md, section 2) and ``fields_set`` (section 5).

Data arrives serialised, so that nothing is parsed again only to be wrapped.
"""

from __future__ import annotations

from typing import Final

import msgspec
import orjson

from domain.errors import ServiceError

__all__ = ["cut", "failed", "ok"]

_OK: Final = b'{"status":{"code":"OK","message":"","description":""},"data":'

# Values stay the bytes they are: five times as fast as parsing them, and no number changes its
# spelling.
_Members = dict[str, msgspec.Raw]
_documents: Final = msgspec.json.Decoder(_Members | list[_Members])


def ok(data: bytes) -> bytes:
    """The envelope of a success.

    :param data: the serialised result: one object, an array, or ``{}`` (section 2, "data").
    """
    return b"".join((_OK, data, b"}"))


def failed(error: ServiceError) -> bytes:
    """The envelope of an error: its code, its text for people, its description; data is ``{}``.

    The members are those of section 2, the codes those of section 12.
    """
    # The description may quote bytes of the client that are no text; it must not fail over them.
    description = error.description.encode("utf-8", "replace").decode()
    status = {"code": error.code, "message": error.message, "description": description}
    return orjson.dumps({"status": status, "data": {}})


def cut(document: bytes, names: frozenset[str]) -> bytes:
    """Keeps the named top-level keys of an object, or of each element of an array.

    Kept values stay whole. Names that do not occur are ignored, so an object may become ``{}``
    (section 5). When no names are given, the caller needs no cut.

    :param document: our own serialised data.
    :raises msgspec.DecodeError: it is not an object or an array of objects; a fault of ours.
    """
    data = _documents.decode(document)
    if isinstance(data, dict):
        return msgspec.json.encode(_kept(data, names))
    return msgspec.json.encode([_kept(element, names) for element in data])


def _kept(members: _Members, names: frozenset[str]) -> _Members:
    return {name: value for name, value in members.items() if name in names}
