"""The methods for operators about webhook subscriptions, below ``/operator/v1/webhooks``."""

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
from infra.http.operators.authorization import OperatorGate
from infra.http.operators.sessions import OPERATOR
from infra.http.router import Exchange, Router, response
from infra.webhooks.admin import WebhookAdmin
from services.clock import utc_now
from services.operators import Operator
from services.pipeline.paging import PAGING, limit_and_offset

__all__ = ["LIST_PARAMETERS", "REPLAY_PARAMETERS", "RESUME_PARAMETERS", "WEBHOOKS", "WebhookRoutes"]

WEBHOOKS = f"{OPERATOR}webhooks"
ORGANISATION = mandatory(Text(name="organisation"))
FROM: Field = Integer(name="from", minimum=1)
LIST_PARAMETERS = Parameters(ORGANISATION, *PAGING)
REPLAY_PARAMETERS = Parameters(ORGANISATION, mandatory(FROM))
RESUME_PARAMETERS = Parameters(ORGANISATION)

Action = Callable[[str, str, JsonObject], Awaitable[Any]]


class WebhookRoutes:
    """Handlers; each call carries the operator key as a bearer token."""

    def __init__(self, admin: WebhookAdmin, operator: Operator, gate: OperatorGate) -> None:
        self._admin = admin
        self._operator = operator
        self._gate = gate
        self._actions: dict[tuple[str, str], tuple[Parameters, Action]] = {
            ("GET", "deliveries"): (LIST_PARAMETERS, self._deliveries),
            ("POST", "replay"): (REPLAY_PARAMETERS, self._replay),
            ("POST", "resume"): (RESUME_PARAMETERS, self._resume),
        }

    def routes(self, router: Router) -> None:
        """Serve the list, ``{id}/deliveries``, ``{id}/replay`` and ``{id}/resume``."""
        router.add("GET", WEBHOOKS, self._list, "operator/webhooks")
        for verb in ("GET", "POST"):
            router.add(verb, f"{WEBHOOKS}/*", self._act, "operator/webhooks/id")

    async def _list(self, exchange: Exchange) -> web.StreamResponse:
        async def statuses(organisation: str, _: str, params: JsonObject) -> list[JsonObject]:
            return await self._admin.statuses(organisation, *limit_and_offset(params))

        return await self._respond(exchange, LIST_PARAMETERS, statuses)

    async def _act(self, exchange: Exchange) -> web.StreamResponse:
        webhook, _, name = exchange.path_rest.partition("/")
        action = self._actions.get((exchange.request.method, name))
        if action is None or not webhook:
            await self._gate.check(exchange)
            raise MethodNotFound
        return await self._respond(exchange, *action, unquote(webhook))

    async def _respond(
        self, exchange: Exchange, parameters: Parameters, action: Action, webhook: str = ""
    ) -> web.StreamResponse:
        await self._gate.check(exchange)
        zone = self._operator.zone
        read_context = ReadContext(zone, utc_now().astimezone(zone).date(), textual=True)
        try:
            params = parameters.read(parse_query(exchange.query), read_context)
            context = await self._operator.context(params["organisation"])
            result = await action(context.directory.organisation, webhook, params)
        except Refusal as error:
            exchange.status = 404 if isinstance(error, EntityNotFound) else 400
            raise
        return response(ok(orjson.dumps({} if result is None else result)))

    async def _deliveries(
        self, organisation: str, webhook: str, params: JsonObject
    ) -> list[JsonObject]:
        return await self._admin.deliveries(organisation, webhook, *limit_and_offset(params))

    async def _replay(self, organisation: str, webhook: str, params: JsonObject) -> None:
        await self._admin.replay(organisation, webhook, params["from"])

    async def _resume(self, organisation: str, webhook: str, params: JsonObject) -> None:
        await self._admin.resume(organisation, webhook)
