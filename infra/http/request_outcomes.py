"""``/requests/v1/{Idempotency-Key}``: the outcome of a call, for its caller.

Calls carry the token of a session as a bearer token. Refusals have an HTTP status of their own here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import orjson
from aiohttp import web

from domain.errors import (
    InvalidParameterValue,
    InvalidToken,
    MethodNotFound,
    Refusal,
    TokenExpired,
)
from domain.fields import JsonObject
from infra.http.api.authorization import bearer
from infra.http.api.envelope import ok
from infra.http.api.routes import idempotency_key
from infra.http.router import Exchange, Router, response
from services.request_outcomes import RequestOutcomes

__all__ = ["REQUESTS", "add_outcome_routes"]

REQUESTS = "/requests/v1/"
HTTP_STATUS: dict[type[Refusal], int] = {InvalidToken: 401, TokenExpired: 401}
KEY = "key"


def add_outcome_routes(router: Router, outcomes: RequestOutcomes) -> None:
    """Serve ``GET {key}`` and ``POST {key}/revoke``."""

    async def ask(exchange: Exchange) -> web.StreamResponse:
        return await _respond(exchange, outcomes.ask, exchange.path_rest)

    async def revoke(exchange: Exchange) -> web.StreamResponse:
        key, _, act = exchange.path_rest.partition("/")
        if act != "revoke":
            raise MethodNotFound
        return await _respond(exchange, outcomes.revoke, key)

    router.add("GET", f"{REQUESTS}*", ask, "requests")
    router.add("POST", f"{REQUESTS}*", revoke, "requests/revoke")


async def _respond(
    exchange: Exchange, look_up: Callable[[object, str], Awaitable[JsonObject]], key: str
) -> web.StreamResponse:
    if not key or "/" in key:
        raise MethodNotFound
    try:
        return response(ok(orjson.dumps(await look_up(bearer(exchange.request), _decode_key(key)))))
    except Refusal as error:
        exchange.status = HTTP_STATUS.get(type(error), 400)
        raise


def _decode_key(encoded: str) -> str:
    """Return the key as a header holds it. Raises `InvalidParameterValue` for a blank one."""
    key = unquote(encoded, errors="surrogateescape")
    if not key.strip():
        raise InvalidParameterValue(KEY)
    return idempotency_key(key)
