"""``GET /audit/v1/events``: the events of a ledger in order, page by page or as a stream of lines."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from aiohttp import web

from domain.aggregate import EVENTS
from domain.errors import InvalidParameterValue
from domain.fields import Field, JsonObject, JsonSchema, Parameters, ReadContext
from domain.identifiers import Identifier, normalised
from domain.parsing import read_moment
from domain.scalar_fields import Enumeration, Integer, Text
from infra.http.api.envelope import ok
from infra.http.audit.history import read_query
from infra.http.audit.routes import AuditRoutes, Query
from infra.http.router import Exchange, Router, StreamedResponse, response
from infra.ledger.event_search import Filter, Page, Search
from services.audit.access import AuthorizedReader, access_ledger
from services.audit.history_service import HistoryService
from services.pipeline.identifiers import single_match
from services.reference_cache import ReferenceCache

__all__ = ["EVENT_PARAMETERS", "NDJSON", "AuditEvents"]

NDJSON = "application/x-ndjson"
DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
"""Events on a page: by default, and at most."""
CHUNK = 200
"""Events of a response of lines that are in memory at once."""
MAX_WAIT = 30
STREAM_SECONDS = 45.0
"""Seconds after which a response of lines ends, within the time that a call may take."""


@dataclass(frozen=True, kw_only=True)
class TimestampField(Field):
    """A date as a moment; without an offset, by the wall clock of the service's zone."""

    def read(self, value: Any, path: str, context: ReadContext) -> datetime:
        return read_moment(value, path, context.zone)

    def schema(self) -> JsonSchema:
        return {"type": "string", "examples": ["2026-11-23T00:00:00+02:00", "2026-11-23"]}


def request_id_text(text: str) -> str | None:
    """Return the text if it has the form of an id of a request or user; else None."""
    return text if re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", text) else None


def topic_prefix(text: str) -> str | None:
    """Return the text if it is a topic or begins one; else None."""
    return text if _matching_topics(text) else None


EVENT_PARAMETERS = Parameters(
    Integer(name="after", minimum=0),
    Integer(name="limit", minimum=1),
    Text(name="stream"),
    Text(name="topic", clean=topic_prefix),
    Text(name="actor", clean=request_id_text),
    Text(name="request", clean=request_id_text),
    Text(name="cause", clean=request_id_text),
    TimestampField(name="since"),
    TimestampField(name="until"),
    Integer(name="wait", minimum=0, maximum=MAX_WAIT),
    Enumeration(name="ledger", allowed=("EVENTS", "ACCESS")),
)
"""``stream``: a stream's id or an entity as in a history; ``actor``: a user's id or name."""


class AuditEvents:
    """The handler of the event feed."""

    def __init__(self, audit: AuditRoutes, history_service: HistoryService, search: Search) -> None:
        self._audit = audit
        self._history_service = history_service
        self._search = search

    def routes(self, router: Router) -> None:
        """Serve the event feed."""
        self._audit.add(router, "GET", "events", self._events)

    async def _events(
        self, reader: AuthorizedReader, query: Query, exchange: Exchange
    ) -> web.StreamResponse:
        params = read_query(EVENT_PARAMETERS, query, self._history_service)
        criteria = await self._create_filter(reader, params)
        await self._audit.access.record_reading(
            reader, "events", _describe_reading(params, criteria)
        )
        access = params.get("ledger") == "ACCESS"
        organisation = reader.organisation
        ledger = access_ledger(organisation) if access else organisation
        if NDJSON in exchange.request.headers.get("Accept", ""):
            return await StreamedResponse.begin(
                self._lines(ledger, params, criteria), mime_type=NDJSON
            )
        page = await self._first_page(ledger, params, criteria, MAX_LIMIT)
        events = b",".join(page.events)
        summary = orjson.dumps(_page_summary(ledger, page, page.first, len(page.events)))
        return response(ok(summary[:-1] + b',"events":[' + events + b"]}"))

    async def _first_page(
        self, ledger: str, params: JsonObject, criteria: Filter, max_limit: int
    ) -> Page:
        """Return the first page; wait for it as long as the caller allows."""
        after, limit = params.get("after", 0), min(params.get("limit", DEFAULT_LIMIT), max_limit)
        return await self._search.long_poll(ledger, after, limit, criteria, params.get("wait", 0))

    async def _lines(
        self, ledger: str, params: JsonObject, criteria: Filter
    ) -> AsyncGenerator[bytes, None]:
        """Yield one event a line, in pages up to the end that the ledger had at the first of them.

        The last line is a summary; a response without that line was cut off.
        """
        page = await self._first_page(ledger, params, criteria, CHUNK)
        first, last_position, count, limit = page.first, page.head, 0, params.get("limit")
        deadline = time.monotonic() + STREAM_SECONDS
        while True:
            yield b"".join(event + b"\n" for event in page.events)
            count += len(page.events)
            remaining = CHUNK if limit is None else min(CHUNK, limit - count)
            if page.last >= last_position or not remaining or time.monotonic() > deadline:
                yield orjson.dumps({"page": _page_summary(ledger, page, first, count)}) + b"\n"
                return
            page = await self._search.page(ledger, page.last, remaining, criteria)

    async def _create_filter(self, reader: AuthorizedReader, params: JsonObject) -> Filter:
        """Return the filter of the parameters. Raises `EntityNotFound` and other refusals of a look-up."""
        return Filter(
            stream=await self._find_stream(reader, params["stream"])
            if "stream" in params
            else None,
            topics=_matching_topics(params["topic"]) if "topic" in params else None,
            actor=_find_user(reader.context.directory, params["actor"])
            if "actor" in params
            else None,
            request=params.get("request"),
            cause=params.get("cause"),
            since=params.get("since"),
            until=params.get("until"),
        )

    async def _find_stream(self, reader: AuthorizedReader, text: str) -> UUID:
        if "/" in text:
            return (
                await self._history_service.find_entity(reader.organisation, text, "stream")
            ).stream
        try:
            return UUID(text.strip())
        except ValueError as error:
            raise InvalidParameterValue("stream") from error


def _matching_topics(prefix: str) -> tuple[str, ...]:
    return tuple(topic for topic in EVENTS if topic == prefix or topic.startswith(f"{prefix}."))


def _find_user(reference_cache: ReferenceCache, name: str) -> str:
    """Return the id of a user who is named by id or username. Raises `EntityNotFound`."""
    if reference_cache.entry("user", name):
        return name
    username = normalised("username", name, case_insensitive=True)
    return single_match(
        reference_cache.matches(Identifier("user", "username", username, "actor")), "actor"
    )


def _describe_reading(params: JsonObject, criteria: Filter) -> JsonObject:
    """Return what is recorded of the reading: ids, positions and times."""
    description = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in params.items()
    }
    ids = {"stream": criteria.stream and str(criteria.stream), "actor": criteria.actor}
    return description | {name: id_ for name, id_ in ids.items() if id_}


def _page_summary(ledger: str, page: Page, first: int, count: int) -> JsonObject:
    """Return the summary of the positions from ``first`` to the page's last; ``count`` of them match."""
    return {
        "ledger": ledger,
        "from": first,
        "to": page.last,
        "count": count,
        "left_out": page.last - first + 1 - count,
        "head": page.head,
        "seal": page.seal,
    }
