"""The pages that need no session: the description of the API and its viewer."""

from __future__ import annotations

from aiohttp import web

from domain.errors import MethodNotFound
from infra.http.browser.api_docs import CONTENT_SECURITY_POLICY, asset
from infra.http.openapi.document import openapi_json
from infra.http.router import Exchange, Router, response

__all__ = ["add_static_routes"]


def add_static_routes(router: Router) -> None:
    """Serve ``/openapi.json`` and ``/docs``; ``/`` redirects to the latter."""
    router.add("GET", "/", _home)
    router.add("GET", "/openapi.json", _openapi)
    router.add("GET", "/docs", _docs)
    router.add("GET", "/docs/*", _docs, "/docs")


async def _home(exchange: Exchange) -> web.StreamResponse:
    return response(b"", status=302, mime_type="text/plain", headers={"Location": "/docs"})


async def _openapi(exchange: Exchange) -> web.StreamResponse:
    return response(openapi_json())


async def _docs(exchange: Exchange) -> web.StreamResponse:
    file = asset(exchange.path_rest)
    if file is None:
        raise MethodNotFound
    content, mime_type = file
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    return response(content, mime_type=mime_type, headers=headers)
