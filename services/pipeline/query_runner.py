"""The reading half of a call: select documents, and expand what they show.

The dispatcher answers from the views as they are, an auditor's call from the views as they were.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, TypeAlias, cast

from msgspec import structs

from domain.errors import EntityNotFound
from services.context import QueryResult, ViewQuery
from services.pipeline.fields_set import select_keys
from services.pipeline.instrumentation import StageTimer, no_timer
from services.pipeline.method import Query
from services.pipeline.request import Call
from services.ports import ReadModels

__all__ = ["PAGE_SIZE", "Answer", "collect", "run_query"]

PAGE_SIZE: Final = 250
"""The most documents of a list that are held in memory."""

Answer: TypeAlias = bytes | AsyncGenerator[bytes, None]
"""``data`` as JSON: whole, or in parts that are made while they are sent."""


async def collect(answer: Answer) -> bytes:
    """Return an answer whole, for callers that hold it in memory anyway."""
    return bytes(answer) if isinstance(answer, bytes) else b"".join([part async for part in answer])


async def run_query(views: ReadModels, call: Call, stage: StageTimer = no_timer) -> Answer:
    """Return the answer of a method that reads: a list of more than `PAGE_SIZE` documents in parts.

    Raises `EntityNotFound` if the one document does not exist.
    """
    query = cast(Query, call.method).function(call)
    with stage("select"):
        if isinstance(query, ViewQuery):
            query = _restrict(call, query)
        result = await _select(views, call, query)
    if isinstance(query, ViewQuery) and len(result.documents) > PAGE_SIZE:
        return _stream(views, call, query)
    with stage("answer"):
        documents = _render(call, result)
    if call.method.is_list:
        return b"[" + documents + b"]"
    if not documents:
        raise EntityNotFound
    return documents


def _restrict(call: Call, query: ViewQuery) -> ViewQuery:
    """Return the query for this caller: its customer, and the staleness that it allows."""
    customer, staleness = call.session.customer, call.request.staleness
    if staleness is not None:
        staleness.now = call.context.now
    # What is a customer's may be another one's by now: nothing old is shown across that wall.
    staleness = None if customer else staleness
    return structs.replace(query, customer=customer, staleness=staleness)


async def _select(
    views: ReadModels, call: Call, query: ViewQuery | QueryResult | tuple[str, bytes]
) -> QueryResult:
    """Return the documents that a method wants, and of a long list one more than fit a page."""
    if isinstance(query, QueryResult):
        return query
    if not isinstance(query, ViewQuery):
        ref, otherwise = query
        return QueryResult([await views.compact(call.organisation, ref) or otherwise])
    prefetched = call.context.documents
    result = prefetched.find(query) if prefetched else None
    if result is not None:
        return result
    if query.limit is None or query.limit > PAGE_SIZE:
        query = structs.replace(query, limit=PAGE_SIZE + 1)
    return await views.select(call.organisation, query)


async def _stream(views: ReadModels, call: Call, query: ViewQuery) -> AsyncGenerator[bytes, None]:
    """Yield a long list in parts, each with the documents of one page.

    It is read anew, since all pages must be of one snapshot.
    """
    separator = b"["
    async with aclosing(views.stream(call.organisation, query, PAGE_SIZE)) as pages:
        async for page in pages:
            yield separator + _render(call, page)
            separator = b","
    yield b"[]" if separator == b"[" else b"]"


def _render(call: Call, result: QueryResult) -> bytes:
    """Return documents as this caller sees them, separated by commas."""
    expand, keys = call.expander(result.compacts).expand, call.parsed.response_keys
    return b",".join(select_keys(expand(document), keys) for document in result.documents)
