"""The reading half of a call: select documents, and expand what they show.

The dispatcher answers from the views as they are, an auditor's call from the views as they were.
"""

from __future__ import annotations

from typing import cast

from msgspec import structs

from domain.errors import EntityNotFound
from services.context import QueryResult, ViewQuery
from services.pipeline.fields_set import select_keys
from services.pipeline.instrumentation import StageTimer, no_timer
from services.pipeline.method import Query
from services.pipeline.request import Call
from services.ports import ReadModels

__all__ = ["run_query"]


async def run_query(views: ReadModels, call: Call, stage: StageTimer = no_timer) -> bytes:
    """Return the answer of a method that reads, as JSON.

    Raises `EntityNotFound` if the one document does not exist. ``asked_at`` is a moment
    before ``told`` was first asked for, on the monotonic clock.
    """
    query = cast(Query, call.method).function(call)
    with stage("select"):
        result = await _select(views, call, query)
    with stage("answer"):
        expand, keys = call.expander(result.compacts).expand, call.parsed.response_keys
        documents = [select_keys(expand(document), keys) for document in result.documents]
    if call.method.is_list:
        return b"[" + b",".join(documents) + b"]"
    if not documents:
        raise EntityNotFound
    return documents[0]


async def _select(
    views: ReadModels, call: Call, query: ViewQuery | QueryResult | tuple[str, bytes]
) -> QueryResult:
    """Return the documents that a method wants."""
    if isinstance(query, QueryResult):
        return query
    if not isinstance(query, ViewQuery):
        ref, otherwise = query
        return QueryResult([await views.compact(call.organisation, ref) or otherwise])
    prefetched = call.context.documents
    result = prefetched.find(query) if prefetched else None
    if result is not None:
        return result
    customer, staleness = call.session.customer, call.request.staleness
    if staleness is not None:
        staleness.now = call.context.now
    # What is a customer's may be another one's by now: nothing old is shown across that wall.
    staleness = None if customer else staleness
    query = structs.replace(query, customer=customer, staleness=staleness)
    return await views.select(call.organisation, query)
