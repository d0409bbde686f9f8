"""``/audit/v1/as_of/...``: what each method that reads would have answered at an earlier time.

Below the prefix stands the method's own path. Its parameters are its own, too, and ``as_of``: a
position of the ledger, or a date.
"""

from __future__ import annotations

from aiohttp import web

from infra.http.audit import Audit, AuditHandler, Query
from infra.http.edge import Edge, Exchange, response
from infra.http.envelope import ok
from services.as_of import AsOf, methods
from services.auditing import Admitted
from services.endpoint import Method

__all__ = ["AsOfMethods"]


class AsOfMethods:
    """Serves the methods of the API as of a position, to auditors."""

    def __init__(self, audit: Audit, as_of: AsOf) -> None:
        self._audit = audit
        self._as_of = as_of

    def routes(self, edge: Edge) -> None:
        """Serves every method that only reads."""
        for method in methods():
            self._audit.add(edge, "GET", f"as_of/{method.path}", self._handler(method))

    def _handler(self, method: Method) -> AuditHandler:
        async def handle(
            admitted: Admitted, query: Query, exchange: Exchange
        ) -> web.StreamResponse:
            moment, answer = await self._as_of.answer(method, admitted)
            headers = {"X-As-Of-Position": str(moment.position)}
            if moment.position:
                headers["X-As-Of-Recorded-At"] = moment.recorded_at.isoformat()
            return response(ok(answer), headers=headers)

        return handle
