"""What operators see of webhooks over HTTP, and do to them: below ``/operator/v1/webhooks``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from domain.errors import EntityNotFound, MethodNotFound, Refusal
from domain.fields import Field, JsonObject, Parameters, ReadContext, mandatory
from domain.scalar_fields import Integer, Text
from infra.http.api.envelope import ok
from infra.http.api.query_string import parse_query
from infra.http.operators.sessions import OPERATOR, check_operator
from infra.http.router import Exchange, Router, response
from infra.webhooks.admin import WebhookAdmin
from services.clock import utc_now
from services.operators import Operator
from services.pipeline.paging import PAGING, page

__all__ = ["LIST", "REPLAY", "RESUME", "WEBHOOKS", "WebhookRoutes"]

WEBHOOKS = f"{OPERATOR}webhooks"
ORGANISATION = mandatory(Text(name="organisation"))
FROM: Field = Integer(name="from", least=1)
LIST = Parameters(ORGANISATION, *PAGING)
REPLAY = Parameters(ORGANISATION, mandatory(FROM))
RESUME = Parameters(ORGANISATION)

Action = Callable[[str, str, JsonObject], Awaitable[Any]]


class WebhookRoutes:
    """Handlers; each call shows the operator key as a bearer."""

    def __init__(self, desk: WebhookAdmin, operator: Operator, key: str) -> None:
        self._desk = desk
        self._operator = operator
        self._key = key.encode()
        self._acts: dict[tuple[str, str], tuple[Parameters, Action]] = {
            ("GET", "deliveries"): (LIST, self._deliveries),
            ("POST", "replay"): (REPLAY, self._replay),
            ("POST", "resume"): (RESUME, self._resume),
        }

    def routes(self, edge: Router) -> None:
        """Serves the list, ``{id}/deliveries``, ``{id}/replay`` and ``{id}/resume``."""
        edge.add("GET", WEBHOOKS, self._list, "operator/webhooks")
        for verb in ("GET", "POST"):
            edge.add(verb, f"{WEBHOOKS}/*", self._act, "operator/webhooks/id")

    async def _list(self, exchange: Exchange) -> web.StreamResponse:
        async def listed(organisation: str, _: str, given: JsonObject) -> list[JsonObject]:
            wanted = page("webhooks", {}, given)
            return await self._desk.statuses(organisation, wanted.limit, wanted.offset)

        return await self._answered(exchange, LIST, listed)

    async def _act(self, exchange: Exchange) -> web.StreamResponse:
        webhook, _, act = exchange.path_rest.partition("/")
        found = self._acts.get((exchange.request.method, act))
        if found is None or not webhook:
            check_operator(exchange, self._key)
            raise MethodNotFound
        return await self._answered(exchange, *found, unquote(webhook))

    async def _answered(
        self, exchange: Exchange, parameters: Parameters, asking: Action, webhook: str = ""
    ) -> web.StreamResponse:
        check_operator(exchange, self._key)
        zone = self._operator.zone
        reading = ReadContext(zone, utc_now().astimezone(zone).date(), textual=True)
        try:
            given = parameters.read(parse_query(exchange.query), reading)
            told = await self._operator.context(given["organisation"])
            said = await asking(told.directory.organisation, webhook, given)
        except Refusal as error:
            exchange.status = 404 if isinstance(error, EntityNotFound) else 400
            raise
        return response(ok(orjson.dumps({} if said is None else said)))

    async def _deliveries(
        self, organisation: str, webhook: str, given: JsonObject
    ) -> list[JsonObject]:
        wanted = page("attempts", {}, given)
        return await self._desk.deliveries(organisation, webhook, wanted.limit, wanted.offset)

    async def _replay(self, organisation: str, webhook: str, given: JsonObject) -> None:
        await self._desk.replay(organisation, webhook, given["from"])

    async def _resume(self, organisation: str, webhook: str, given: JsonObject) -> None:
        await self._desk.resume(organisation, webhook)
