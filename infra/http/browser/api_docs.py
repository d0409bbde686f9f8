"""The API viewer at ``/docs``: Swagger UI, vendored, without a request to any other server.

The origin of the files is in ``assets/docs/PROVENANCE.md``.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

__all__ = ["CONTENT_SECURITY_POLICY", "asset"]

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; "
    "script-src 'self'; "
    "style-src 'self' 'unsafe-inline'; "  # the viewer writes style attributes
    "img-src 'self' data: blob:; "  # its icons are data, an image in an answer is a blob
    "connect-src 'self'; "
    "base-uri 'none'; "
    "form-action 'none'; "
    "frame-ancestors 'none'"
)
"""The header to send with every asset: browsers refuse what it does not name."""

_TYPES: Final = {
    "index.html": "text/html; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui-bundle.js.LICENSE.txt": "text/plain; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui.LICENSE": "text/plain; charset=utf-8",
    "swagger-ui.NOTICE": "text/plain; charset=utf-8",
    "viewer.css": "text/css; charset=utf-8",
    "viewer.js": "text/javascript; charset=utf-8",
}


def asset(path: str) -> tuple[bytes, str] | None:
    """One file of the viewer.

    :param path: what follows ``/docs/``; ``""`` is the page itself. It is only looked up in a table
        of names and never becomes a path.
    :return: content and ``Content-Type``; None if there is no such file.
    """
    name = path or "index.html"
    mime_type = _TYPES.get(name)
    return None if mime_type is None else (_content(name), mime_type)


@cache
def _content(name: str) -> bytes:
    return (files("infra.http.browser") / "assets" / "docs" / name).read_bytes()
