"""The methods for auditors, below ``/audit/v1/``; calls carry a session's token as a bearer token.

The user's record must have the role that a method requires. Every reading is recorded before it
happens. Refusals have an HTTP status of their own here: 400, 401, 403 or 404.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import orjson
from aiohttp import web

from domain.errors import (
    AccessDenied,
    EntityNotFound,
    InvalidToken,
    Refusal,
    TokenExpired,
)
from domain.reference.organisation import AUDITOR
from infra.http.api.authorization import bearer
from infra.http.api.envelope import ok
from infra.http.api.query_string import parse_query
from infra.http.router import Exchange, Router, response
from infra.store.postgres_store import PostgresStore
from services.audit.access import AuditAccess, AuthorizedReader
from services.pipeline.request import Request

__all__ = ["AUDIT", "AuditHandler", "AuditRoutes", "Query"]

AUDIT = "/audit/v1/"
HTTP_STATUS = {InvalidToken: 401, TokenExpired: 401, AccessDenied: 403, EntityNotFound: 404}

Query = Mapping[str, list[str]]
AuditHandler = Callable[[AuthorizedReader, Query, Exchange], Awaitable[web.StreamResponse]]


class AuditRoutes:
    """Serves audit methods to users who may call them."""

    def __init__(self, access: AuditAccess, ledger: PostgresStore) -> None:
        self.access = access
        self.ledger = ledger

    def routes(self, router: Router) -> None:
        """Serve ``head``; the other methods add themselves."""
        self.add(router, "GET", "head", self._head)

    def add(
        self, router: Router, verb: str, path: str, handler: AuditHandler, role: str = AUDITOR
    ) -> None:
        """Serve a method below `AUDIT` to users who have ``role``."""
        router.add(verb, AUDIT + path, self._with_authorization(handler, role), f"audit/{path}")

    def _with_authorization(
        self, handler: AuditHandler, role: str
    ) -> Callable[[Exchange], Awaitable[web.StreamResponse]]:
        async def handle(exchange: Exchange) -> web.StreamResponse:
            query = parse_query(exchange.query)
            request = Request(
                query,
                from_query_or_form=True,
                request_id=exchange.request_id,
                correlation_id=exchange.correlation_id,
                client=exchange.caller.address,
            )
            try:
                reader = await self.access.authorize(bearer(exchange.request), request, role)
                return await handler(reader, query, exchange)
            except Refusal as error:
                exchange.status = HTTP_STATUS.get(type(error), 400)
                raise

        return handle

    async def _head(
        self, reader: AuthorizedReader, query: Query, exchange: Exchange
    ) -> web.StreamResponse:
        """Return the last position of the organisation's ledger and when it was recorded."""
        await self.access.record_reading(reader, "head", {})
        position, recorded_at = await self.ledger.head(reader.organisation)
        head = {"organisation": reader.organisation, "position": position}
        return response(ok(orjson.dumps(head | {"recorded_at": recorded_at})))
