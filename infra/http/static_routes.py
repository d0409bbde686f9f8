"""What people look at: the description of the API and its viewer."""

from __future__ import annotations

from aiohttp import web

from domain.errors import MethodNotFound
from infra.http.browser.api_docs import CONTENT_SECURITY_POLICY, asset
from infra.http.openapi.document import openapi_json
from infra.http.router import Exchange, Router, response

__all__ = ["pages"]


def pages(edge: Router) -> None:
    """Serves ``/openapi.json`` and ``/docs``; ``/`` leads to the latter."""
    edge.add("GET", "/", _home)
    edge.add("GET", "/openapi.json", _openapi)
    edge.add("GET", "/docs", _docs)
    edge.add("GET", "/docs/*", _docs, "/docs")


async def _home(exchange: Exchange) -> web.StreamResponse:
    return response(b"", status=302, mime_type="text/plain", headers={"Location": "/docs"})


async def _openapi(exchange: Exchange) -> web.StreamResponse:
    return response(openapi_json())


async def _docs(exchange: Exchange) -> web.StreamResponse:
    found = asset(exchange.path_rest)
    if found is None:
        raise MethodNotFound
    content, mime_type = found
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    return response(content, mime_type=mime_type, headers=headers)
