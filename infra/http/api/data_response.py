"""The response of a call that succeeded: the envelope around its ``data``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import orjson
from aiohttp import web

from domain.fields import JsonObject
from infra.http.api.envelope import END, OK, ok
from infra.http.router import StreamedResponse, response
from services.pipeline.query_runner import Answer

__all__ = ["data_response", "json_array"]


async def data_response(
    answer: Answer, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Return the response; one whose data comes in parts is sent as they come."""
    if isinstance(answer, bytes):
        return response(ok(answer), headers=headers)
    return await StreamedResponse.begin(_envelope(answer), headers=headers)


async def json_array(
    objects: AsyncGenerator[JsonObject, None], common: JsonObject | None = None
) -> AsyncGenerator[bytes, None]:
    """Yield an array of objects in parts, each object after the members that all have in common."""
    separator = b"["
    async with aclosing(objects):
        async for values in objects:
            yield separator + orjson.dumps((common or {}) | values)
            separator = b","
    yield b"[]" if separator == b"[" else b"]"


async def _envelope(parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(parts):
        yield OK + await anext(parts)
        async for part in parts:
            yield part
        yield END
