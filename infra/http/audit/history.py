"""``GET /audit/v1/history`` and ``blame``: the events of one entity, and which of them set each field."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from domain.errors import InvalidParameterValue
from domain.fields import JsonObject, Parameters, ReadContext, mandatory
from domain.scalar_fields import Integer, Text
from infra.http.api.envelope import ok
from infra.http.audit.routes import AuditRoutes, Query
from infra.http.router import Exchange, Router, response
from services.audit.access import AuthorizedReader
from services.audit.history_service import ENTITY, HistoryPage, HistoryService
from services.clock import utc_now

__all__ = ["BLAME_PARAMETERS", "HISTORY_PARAMETERS", "AuditHistory", "page_json", "read_query"]

HISTORY_PARAMETERS = Parameters(
    mandatory(Text(name=ENTITY)),
    Integer(name="from", minimum=1),
    Integer(name="to", minimum=1),
)
"""``from`` and ``to`` are versions of the entity."""
BLAME_PARAMETERS = Parameters(
    mandatory(Text(name=ENTITY)),
    Integer(name="version", minimum=1),
    Text(name="field"),
)
"""``version``: the entity as it was then; ``field``: only this one."""


def read_query(parameters: Parameters, query: Query, history_service: HistoryService) -> JsonObject:
    """Return the parameters of an audit method. Raises the refusal that names the invalid one."""
    zone = history_service.zone
    read_context = ReadContext(zone, utc_now().astimezone(zone).date(), textual=True)
    parsed = parameters.read(query, read_context)
    return {name: value for name, value in parsed.items() if value is not None}


def page_json(page: HistoryPage) -> JsonObject:
    """Return a page of a history in the form of its JSON."""
    return {
        ENTITY: page.entity,
        "position": page.position,
        "versions": page.versions,
        "from": page.first,
        "to": page.last,
        "entries": page.entries,
    }


class AuditHistory:
    """Handlers of the methods about one entity."""

    def __init__(self, audit: AuditRoutes, history_service: HistoryService) -> None:
        self._audit = audit
        self._history_service = history_service

    def routes(self, router: Router) -> None:
        """Serve both methods."""
        self._audit.add(router, "GET", "history", self._history)
        self._audit.add(router, "GET", "blame", self._blame)

    async def _history(
        self, reader: AuthorizedReader, query: Query, exchange: Exchange
    ) -> web.StreamResponse:
        params = read_query(HISTORY_PARAMETERS, query, self._history_service)
        first, last = params.get("from", 1), params.get("to")
        if last is not None and last < first:
            raise InvalidParameterValue("to")
        entity = await self._history_service.find_entity(reader.organisation, params[ENTITY])
        return _respond(page_json(await self._history_service.history(reader, entity, first, last)))

    async def _blame(
        self, reader: AuthorizedReader, query: Query, exchange: Exchange
    ) -> web.StreamResponse:
        params = read_query(BLAME_PARAMETERS, query, self._history_service)
        entity = await self._history_service.find_entity(reader.organisation, params[ENTITY])
        blame = await self._history_service.blame(reader, entity, params.get("version"))
        if "field" in params:
            blame["fields"] = [
                field for field in blame["fields"] if field["field"] == params["field"]
            ]
        return _respond(blame)


def _respond(data: Any) -> web.Response:
    return response(ok(orjson.dumps(data)))
