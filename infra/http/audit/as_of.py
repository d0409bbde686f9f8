"""``GET /audit/v1/as_of/...``: the response of a method that reads, as of an earlier time.

The method's own path follows the prefix. Its parameters are its own and ``as_of``: a position of the
ledger, or a date.
"""

from __future__ import annotations

from aiohttp import web

from infra.http.api.data_response import data_response
from infra.http.audit.routes import AuditHandler, AuditRoutes, Query
from infra.http.router import Exchange, Router
from services.audit.access import AuthorizedReader
from services.audit.as_of import AsOf, methods
from services.pipeline.method import Method

__all__ = ["add_as_of_routes"]


def add_as_of_routes(audit: AuditRoutes, router: Router, as_of: AsOf) -> None:
    """Serve the as-of form of every method that only reads, to auditors.

    Headers of the response name the position and when it was recorded.
    """
    for method in methods():
        audit.add(router, "GET", f"as_of/{method.path}", _handler(method, as_of))


def _handler(method: Method, as_of: AsOf) -> AuditHandler:
    async def handle(
        reader: AuthorizedReader, query: Query, exchange: Exchange
    ) -> web.StreamResponse:
        moment, answer = await as_of.answer(method, reader)
        headers = {"X-As-Of-Position": str(moment.position)}
        if moment.position:
            headers["X-As-Of-Recorded-At"] = moment.recorded_at.isoformat()
        return await data_response(answer, headers)

    return handle
