"""``GET /audit/v1/events``: the ledger itself, in order, page by page or as a stream of lines."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import structlog
from aiohttp import web

from domain.aggregate import EVENTS
from domain.errors import InvalidParameterType, InvalidParameterValue, ServiceError
from domain.fields import Field, JsonObject, JsonSchema, Parameters, ReadContext
from domain.identifiers import Identifier, normalised
from domain.scalar_fields import Enumeration, Integer, Text
from infra.http.api.envelope import ok
from infra.http.audit.history import read_query
from infra.http.audit.routes import AuditRoutes, Query
from infra.http.router import Exchange, Router, response
from infra.ledger.event_search import Filter, Page, Search
from infra.ledger.feed import GapError
from infra.postgres.pool import CONNECTION_ERRORS
from services.audit.access import AuthorizedReader, access_ledger
from services.audit.history_service import HistoryService
from services.pipeline.identifiers import single_match
from services.reference_cache import ReferenceCache

__all__ = ["EVENT_PARAMETERS", "NDJSON", "AuditEvents"]

NDJSON = "application/x-ndjson"
DEFAULT, LARGEST = 100, 1000
"""Events on a page."""
LINES = 200
"""Events of a stream that are in memory at once."""
LONGEST_WAIT = 30
STREAMING = 45.0
"""Seconds after which a stream ends, so that it ends within the time that a call may take."""

STREAM = {
    "Content-Type": NDJSON,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Server": "crmledger",
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class TimestampField(Field):
    """A moment as ISO 8601 text; without an offset, on the wall clock of the service's zone."""

    def read(self, value: Any, at: str, reading: ReadContext) -> datetime:
        try:
            moment = datetime.fromisoformat(value.strip())
        except (AttributeError, ValueError) as error:
            raise InvalidParameterType(at) from error
        return moment if moment.tzinfo else moment.replace(tzinfo=reading.zone)

    def schema(self) -> JsonSchema:
        return {"type": "string", "examples": ["2026-11-23T00:00:00+02:00", "2026-11-23"]}


def request_id_text(text: str) -> str | None:
    """An id as requests and users have them; else None."""
    return text if re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", text) else None


def topics(text: str) -> str | None:
    """A topic, or the first part of some; else None."""
    return text if _topics(text) else None


EVENT_PARAMETERS = Parameters(
    Integer(name="after", minimum=0),
    Integer(name="limit", minimum=1),
    Text(name="stream", max_length=4000),
    Text(name="topic", clean=topics),
    Text(name="actor", clean=request_id_text),
    Text(name="request", clean=request_id_text),
    Text(name="cause", clean=request_id_text),
    TimestampField(name="since"),
    TimestampField(name="until"),
    Integer(name="wait", minimum=0, maximum=LONGEST_WAIT),
    Enumeration(name="ledger", allowed=("EVENTS", "ACCESS")),
)
"""``stream``: a stream's id or an entity as in a history; ``actor``: a user's id or name."""


class AuditEvents:
    """The handler of the feed."""

    def __init__(self, audit: AuditRoutes, historian: HistoryService, search: Search) -> None:
        self._audit = audit
        self._historian = historian
        self._search = search

    def routes(self, edge: Router) -> None:
        """Serves the feed."""
        self._audit.add(edge, "GET", "events", self._events)

    async def _events(
        self, admitted: AuthorizedReader, query: Query, exchange: Exchange
    ) -> web.StreamResponse:
        asked = read_query(EVENT_PARAMETERS, query, self._historian)
        wanted = await self._filter(admitted, asked)
        await self._audit.auditing.record_reading(admitted, "events", _about(asked, wanted))
        access = asked.get("ledger") == "ACCESS"
        organisation = admitted.organisation
        ledger = access_ledger(organisation) if access else organisation
        if NDJSON in exchange.request.headers.get("Accept", ""):
            return await self._streamed(ledger, asked, wanted, exchange)
        page = await self._first(ledger, asked, wanted, LARGEST)
        events = b",".join(page.events)
        stated = orjson.dumps(_stated(ledger, page, page.first, len(page.events)))
        return response(ok(stated[:-1] + b',"events":[' + events + b"]}"))

    async def _first(self, ledger: str, asked: JsonObject, wanted: Filter, most: int) -> Page:
        """The first page that is asked for; it is waited for as long as the caller says."""
        after, limit = asked.get("after", 0), min(asked.get("limit", DEFAULT), most)
        return await self._search.long_poll(ledger, after, limit, wanted, asked.get("wait", 0))

    async def _streamed(
        self, ledger: str, asked: JsonObject, wanted: Filter, exchange: Exchange
    ) -> web.StreamResponse:
        """All that is there, an event on each line, a few pages in memory; what it was on the last.

        A stream without that last line was cut off. Refusals come before it begins.
        """
        page = await self._first(ledger, asked, wanted, LINES)
        stream = web.StreamResponse(headers=STREAM | {"X-Request-Id": exchange.request_id})
        await stream.prepare(exchange.request)
        try:
            last = await self._lines(stream, ledger, page, wanted, asked.get("limit"))
            await stream.write(orjson.dumps({"page": last}) + b"\n")
            await stream.write_eof()
        except (ServiceError, GapError, *CONNECTION_ERRORS) as error:
            log.warning("stream.cut", error=type(error).__name__)
            if exchange.request.transport:
                exchange.request.transport.close()
        return stream

    async def _lines(
        self, stream: web.StreamResponse, ledger: str, page: Page, wanted: Filter, limit: int | None
    ) -> JsonObject:
        """Writes page after page, up to what was the ledger's end at first; what they are about."""
        first, goal, count = page.first, page.head, 0
        until = time.monotonic() + STREAMING
        while True:
            await stream.write(b"".join(event + b"\n" for event in page.events))
            count += len(page.events)
            left = LINES if limit is None else min(LINES, limit - count)
            if page.last >= goal or not left or time.monotonic() > until:
                return _stated(ledger, page, first, count)
            page = await self._search.page(ledger, page.last, left, wanted)

    async def _filter(self, admitted: AuthorizedReader, asked: JsonObject) -> Filter:
        """What the parameters ask for. Raises `EntityNotFound` and what finding an entity raises."""
        return Filter(
            stream=await self._stream(admitted, asked["stream"]) if "stream" in asked else None,
            topics=_topics(asked["topic"]) if "topic" in asked else None,
            actor=_user(admitted.context.directory, asked["actor"]) if "actor" in asked else None,
            request=asked.get("request"),
            cause=asked.get("cause"),
            since=asked.get("since"),
            until=asked.get("until"),
        )

    async def _stream(self, admitted: AuthorizedReader, text: str) -> UUID:
        if "/" in text:
            return (await self._historian.find_entity(admitted.organisation, text, "stream")).stream
        try:
            return UUID(text.strip())
        except ValueError as error:
            raise InvalidParameterValue("stream") from error


def _topics(begin: str) -> tuple[str, ...]:
    return tuple(topic for topic in EVENTS if topic == begin or topic.startswith(f"{begin}."))


def _user(directory: ReferenceCache, named: str) -> str:
    """The id of a user who is named by it or by username. Raises `EntityNotFound`."""
    if directory.entry("user", named):
        return named
    username = normalised("username", named, case_insensitive=True)
    return single_match(
        directory.matches(Identifier("user", "username", username, "actor")), "actor"
    )


def _about(asked: JsonObject, wanted: Filter) -> JsonObject:
    """What the reading is about, as it is recorded: ids, positions and times."""
    about = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asked.items()
    }
    ids = {"stream": wanted.stream and str(wanted.stream), "actor": wanted.actor}
    return about | {name: id_ for name, id_ in ids.items() if id_}


def _stated(ledger: str, page: Page, first: int, count: int) -> JsonObject:
    """What is said of the positions from ``first`` to the page's last, of which ``count`` fit."""
    return {
        "ledger": ledger,
        "from": first,
        "to": page.last,
        "count": count,
        "left_out": page.last - first + 1 - count,
        "head": page.head,
        "seal": page.seal,
    }
