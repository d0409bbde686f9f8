"""``GET /audit/v1/history`` and ``blame``: what happened to one entity, and who set what of it."""

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
from services.pipeline.dispatcher import utc_now

__all__ = ["BLAME", "HISTORY", "AuditHistory", "page", "read_query"]

HISTORY = Parameters(
    mandatory(Text(name=ENTITY, max_length=4000)),
    Integer(name="from", minimum=1),
    Integer(name="to", minimum=1),
)
"""``from`` and ``to`` are versions of the entity."""
BLAME = Parameters(
    mandatory(Text(name=ENTITY, max_length=4000)),
    Integer(name="version", minimum=1),
    Text(name="field"),
)
"""``version``: as it was then; ``field``: only that one."""


def read_query(parameters: Parameters, query: Query, historian: HistoryService) -> JsonObject:
    """The parameters of an audit method. Raises the refusal that names the one at fault."""
    zone = historian.zone
    reading = ReadContext(zone, utc_now().astimezone(zone).date(), textual=True)
    read = parameters.read(query, reading)
    return {name: value for name, value in read.items() if value is not None}


def page(history: HistoryPage) -> JsonObject:
    """A page of a history as JSON has it."""
    return {
        ENTITY: history.entity,
        "position": history.position,
        "versions": history.versions,
        "from": history.first,
        "to": history.last,
        "entries": history.entries,
    }


class AuditHistory:
    """Handlers of the methods about one entity."""

    def __init__(self, audit: AuditRoutes, historian: HistoryService) -> None:
        self._audit = audit
        self._historian = historian

    def routes(self, edge: Router) -> None:
        """Serves both methods."""
        self._audit.add(edge, "GET", "history", self._history)
        self._audit.add(edge, "GET", "blame", self._blame)

    async def _history(
        self, admitted: AuthorizedReader, query: Query, exchange: Exchange
    ) -> web.StreamResponse:
        asked = read_query(HISTORY, query, self._historian)
        first, last = asked.get("from", 1), asked.get("to")
        if last is not None and last < first:
            raise InvalidParameterValue("to")
        entity = await self._historian.find_entity(admitted.organisation, asked[ENTITY])
        return _answer(page(await self._historian.history(admitted, entity, first, last)))

    async def _blame(
        self, admitted: AuthorizedReader, query: Query, exchange: Exchange
    ) -> web.StreamResponse:
        asked = read_query(BLAME, query, self._historian)
        entity = await self._historian.find_entity(admitted.organisation, asked[ENTITY])
        found = await self._historian.blame(admitted, entity, asked.get("version"))
        if "field" in asked:
            found["fields"] = [one for one in found["fields"] if one["field"] == asked["field"]]
        return _answer(found)


def _answer(data: Any) -> web.Response:
    return response(ok(orjson.dumps(data)))
