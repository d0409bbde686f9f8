"""What operators do over HTTP besides registering records: sessions, and waits after wrong guesses."""

from __future__ import annotations

import hmac

import orjson
from aiohttp import web

from domain.errors import EntityNotFound, InvalidToken, MandatoryParameter, MethodNotFound, Refusal
from domain.fields import Parameters, ReadContext, mandatory
from domain.scalar_fields import Text
from infra.http.api.envelope import ok
from infra.http.api.query_string import parse_query
from infra.http.router import Exchange, Router, response
from infra.store.postgres_store import PostgresStore
from services.clock import utc_now
from services.operators import Operator
from services.pipeline.paging import PAGING, page

__all__ = ["OPERATOR", "OperatorRoutes", "check_operator", "organisation_named"]

OPERATOR = "/operator/v1/"
SESSIONS = Parameters(mandatory(Text(name="organisation")), *PAGING)
ACTS = {
    ("sessions", "release"): Operator.release_session,
    ("access_tokens", "forgive"): Operator.forgive_guesses,
}
"""What can be done to one of them: ``POST sessions/{id}/release``, and so on."""


def check_operator(exchange: Exchange, key: bytes) -> None:
    """Lets a call pass that shows the operator key as a bearer. Raises `InvalidToken` (401)."""
    scheme, _, shown = exchange.request.headers.get("Authorization", "").strip().partition(" ")
    given = shown.strip().encode("utf-8", "surrogateescape")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given, key):
        exchange.status = 401
        raise InvalidToken


def organisation_named(exchange: Exchange) -> str | None:
    """The organisation that the query names, if it names one."""
    return parse_query(exchange.query).get("organisation", [None])[-1]


class OperatorRoutes:
    """Handlers of ``/operator/v1``; each call shows the operator key as a bearer."""

    def __init__(self, operator: Operator, ledger: PostgresStore, key: str) -> None:
        self._operator = operator
        self._ledger = ledger
        self._key = key.encode()

    def routes(self, edge: Router) -> None:
        """Serves the list of sessions, and what can be done to sessions and access tokens."""
        edge.add("GET", f"{OPERATOR}sessions", self._sessions, "operator/sessions")
        edge.add("POST", f"{OPERATOR}*", self._do, "operator")

    async def _sessions(self, exchange: Exchange) -> web.StreamResponse:
        check_operator(exchange, self._key)
        zone = self._ledger.zone
        reading = ReadContext(zone, utc_now().astimezone(zone).date(), textual=True)
        try:
            given = SESSIONS.read(parse_query(exchange.query), reading)
            told = await self._operator.context(given["organisation"])
        except Refusal as error:
            exchange.status = 404 if isinstance(error, EntityNotFound) else 400
            raise
        wanted = page("sessions", {}, given)
        sessions = await self._ledger.sessions(told.directory, wanted.limit, wanted.offset)
        return response(ok(orjson.dumps(sessions)))

    async def _do(self, exchange: Exchange) -> web.StreamResponse:
        check_operator(exchange, self._key)
        what, _, rest = exchange.path_rest.partition("/")
        one, _, verb = rest.partition("/")
        act, organisation = ACTS.get((what, verb)), organisation_named(exchange)
        if act is None or not one:
            raise MethodNotFound
        try:
            if not organisation:
                raise MandatoryParameter("organisation")
            await act(self._operator, organisation, one, exchange.request_id)
        except Refusal as error:
            exchange.status = 404 if isinstance(error, EntityNotFound) else 400
            raise
        return response(ok(b"{}"))
