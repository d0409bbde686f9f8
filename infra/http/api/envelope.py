"""The envelope of responses, as bytes (contract common.md, section 2).

Data arrives serialised, so that nothing is parsed again only to be wrapped.
"""

from __future__ import annotations

from typing import Final

import orjson

from domain.errors import ServiceError

__all__ = ["END", "OK", "failed", "ok"]

OK: Final = b'{"status":{"code":"OK","message":"","description":""},"data":'
END: Final = b"}"
"""The envelope of a success before and after its data."""


def ok(data: bytes) -> bytes:
    """Return the envelope of a success.

    :param data: the serialised result: one object, an array, or ``{}`` (section 2, "data").
    """
    return b"".join((OK, data, END))


def failed(error: ServiceError) -> bytes:
    """Return the envelope of an error: its code, its message for people, its description; data is ``{}``.

    The members are those of section 2, the codes those of section 12.
    """
    # The description may quote bytes of the client that are not text.
    description = error.description.encode("utf-8", "replace").decode()
    status = {"code": error.code, "message": error.message, "description": description}
    return orjson.dumps({"status": status, "data": {}})
