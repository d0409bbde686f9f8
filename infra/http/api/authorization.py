"""The ``Authorization`` header of a call: a session's token, or a web API key (common.md, section 1)."""

from __future__ import annotations

import base64

from aiohttp import web

__all__ = ["basic_user", "bearer"]


def bearer(request: web.BaseRequest) -> str | None:
    """Return the bearer token; None if there is none."""
    scheme, credentials = _parts(request)
    return credentials or None if scheme == "bearer" else None


def basic_user(request: web.BaseRequest) -> str | None:
    """Return the user name of a Basic header without a password, which is the web API key; else None."""
    scheme, credentials = _parts(request)
    if scheme != "basic":
        return None
    try:
        text = base64.b64decode(credentials, validate=True).decode()
    except ValueError:  # not base64, not UTF-8, or not even ASCII
        return None
    key, _, password = text.partition(":")
    return None if password else key or None


def _parts(request: web.BaseRequest) -> tuple[str, str]:
    """Return the scheme in lower case, and what follows it."""
    scheme, _, credentials = request.headers.get("Authorization", "").strip().partition(" ")
    return scheme.lower(), credentials.strip()
