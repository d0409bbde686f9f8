"""The methods for operators about sessions, and about the waits after wrong guesses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote

from aiohttp import web

from domain.errors import EntityNotFound, MandatoryParameter, MethodNotFound, Refusal
from domain.fields import JsonObject, Parameters, ReadContext, mandatory
from domain.scalar_fields import Text
from infra.http.api.data_response import data_response, json_array
from infra.http.api.envelope import ok
from infra.http.api.query_string import parse_query
from infra.http.operators.authorization import OperatorGate, act_source
from infra.http.router import Exchange, Router, response
from infra.store.postgres_store import PostgresStore
from services.clock import utc_now
from services.operators import Operator, find_user
from services.pipeline.paging import PAGING, limit_and_offset

__all__ = ["OPERATOR", "OperatorRoutes", "read_organisation"]

OPERATOR = "/operator/v1/"
ORGANISATION, USER = mandatory(Text(name="organisation")), Text(name="user")
LIST_PARAMETERS = Parameters(ORGANISATION, USER, *PAGING)
RELEASE_PARAMETERS = Parameters(ORGANISATION, mandatory(USER))
ACTIONS = {
    ("sessions", "release"): Operator.release_session,
    ("access_tokens", "forgive"): Operator.forgive_guesses,
    ("users", "forgive"): Operator.forgive_user,
}
"""The actions on one entity, by resource and name, such as ``POST sessions/{id}/release``."""


def read_organisation(exchange: Exchange) -> str | None:
    """Return the organisation that the query names; None if it names none."""
    return parse_query(exchange.query).get("organisation", [None])[-1]


class OperatorRoutes:
    """Handlers of ``/operator/v1``; each call carries the operator key as a bearer token."""

    def __init__(self, operator: Operator, ledger: PostgresStore, gate: OperatorGate) -> None:
        self._operator = operator
        self._ledger = ledger
        self._gate = gate

    def routes(self, router: Router) -> None:
        """Serve the list of sessions, and the actions on sessions and access tokens."""
        router.add("GET", f"{OPERATOR}sessions", self._sessions, "operator/sessions")
        router.add(
            "POST", f"{OPERATOR}sessions/release", self._release, "operator/sessions/release"
        )
        router.add("POST", f"{OPERATOR}*", self._act, "operator")

    async def _sessions(self, exchange: Exchange) -> web.StreamResponse:
        async with self._refusals(exchange):
            params = self._read(exchange, LIST_PARAMETERS)
            directory = (await self._operator.context(params["organisation"])).directory
            user = params.get("user")
            id_ = None if user is None else find_user(directory, user)
        sessions = self._ledger.sessions(directory, *limit_and_offset(params), user=id_)
        return await data_response(json_array(sessions))

    async def _release(self, exchange: Exchange) -> web.StreamResponse:
        """End all sessions of a user."""
        async with self._refusals(exchange):
            params = self._read(exchange, RELEASE_PARAMETERS)
            await self._operator.end_sessions(
                params["organisation"], params["user"], act_source(exchange)
            )
        return response(ok(b"{}"))

    def _read(self, exchange: Exchange, parameters: Parameters) -> JsonObject:
        zone = self._ledger.zone
        read_context = ReadContext(zone, utc_now().astimezone(zone).date(), textual=True)
        return parameters.read(parse_query(exchange.query), read_context)

    @asynccontextmanager
    async def _refusals(self, exchange: Exchange) -> AsyncIterator[None]:
        """Check the operator key, and give refusals of the enclosed code their HTTP status."""
        await self._gate.check(exchange)
        try:
            yield
        except Refusal as error:
            exchange.status = 404 if isinstance(error, EntityNotFound) else 400
            raise

    async def _act(self, exchange: Exchange) -> web.StreamResponse:
        async with self._refusals(exchange):
            resource, _, rest = exchange.path_rest.partition("/")
            id_, _, action_name = rest.partition("/")
            action, organisation = ACTIONS.get((resource, action_name)), read_organisation(exchange)
            if action is None or not id_:
                raise MethodNotFound
            if not organisation:
                raise MandatoryParameter("organisation")
            await action(self._operator, organisation, unquote(id_), act_source(exchange))
        return response(ok(b"{}"))
