"""The context of calls, read before they are decided, in one statement for all that wait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import orjson

from domain.identifiers import Identifier
from domain.reference.catalogue import KINDS
from infra.batcher import QUEUE_LIMIT, Batcher
from infra.encryption import KeyRing
from infra.postgres.pool import ReadPool
from infra.store.aggregate_loader import split_by_request
from infra.store.context_sql import WITH_AGGREGATES, context_statement
from infra.views.queries import LIVE_SCHEMA, customer_refs, follow_ups
from services.context import (
    CallContext,
    ConsumerScope,
    ContextQuery,
    LoadRequest,
    LoadResult,
    PrefetchedDocuments,
    SessionRow,
    StoredResponse,
)
from services.reference_cache import Match, ReferenceCache, ReferenceRecord

__all__ = ["ContextLoader"]

DIRECTORY = """
SELECT kind, id, document, retired, changed, version, session_epoch FROM {schema}.records
 WHERE organisation = $1 AND directory AND changed > $2 ORDER BY changed
"""

SHARES = 2
"""Questions of one organisation on their way: while some are asked, the callers of others work on their answers."""


class ContextLoader:
    """Answers questions; holds each organisation's directory and keeps it current."""

    def __init__(
        self,
        pool: ReadPool,
        ring: KeyRing,
        zone: ZoneInfo,
        *,
        queue_limit: int = QUEUE_LIMIT,
        schema: str = LIVE_SCHEMA,
    ) -> None:
        """:param queue_limit: how many questions may wait; as every call asks one, how many calls.
        :param schema: where the views are read.
        """
        self._pool = pool
        self._schema, self._records_statement = schema, DIRECTORY.format(schema=schema)
        self._ring = ring
        self._zone = zone
        self._caches: dict[str, ReferenceCache] = {}
        self._batcher: Batcher[ContextQuery, CallContext] = Batcher(
            self._load, concurrency=pool.size, queue_limit=queue_limit, concurrency_per_key=SHARES
        )

    def organisations(self) -> list[str]:
        """The organisations whose reference records this process holds."""
        return list(self._caches)

    async def load(self, organisation: str, query: ContextQuery) -> CallContext:
        """Return the context; its reference cache is as current as its session."""
        extra = WITH_AGGREGATES if query.load_targets is not None else query.view
        return await self._batcher.submit((organisation, extra), query)

    async def _load(self, key: Any, queries: list[ContextQuery]) -> list[CallContext]:
        organisation, extra = key
        sql, arguments = context_statement(self._schema, extra), _arguments(queries)

        async def work(connection: asyncpg.Connection) -> list[CallContext]:
            (row,) = await connection.fetch(sql, organisation, *arguments)
            directory = await self._reference_cache(connection, organisation, row["position"] or 0)
            return self._contexts(organisation, queries, row, directory)

        return await self._pool.read(work)

    async def _reference_cache(
        self, connection: asyncpg.Connection, organisation: str, position: int
    ) -> ReferenceCache:
        cache = self._caches.get(organisation) or ReferenceCache(organisation, self._zone)
        if cache.position >= position:
            return cache
        rows = await connection.fetch(self._records_statement, organisation, cache.position)
        # A call that has begun goes on with the set-up as it was told: it claims by those rules and
        # lets the append check that they are still the same.
        current = cache.copy()
        current.update(_reference_record(row) for row in rows)
        stored = self._caches.get(organisation)
        if stored is None or stored.position < current.position:
            self._caches[organisation] = current
        return current

    def _contexts(
        self,
        organisation: str,
        queries: list[ContextQuery],
        row: asyncpg.Record,
        cache: ReferenceCache,
    ) -> list[CallContext]:
        sessions = {session["query"]: _session(queries, session) for session in row["sessions"]}
        responses = {
            stored["query"]: StoredResponse(
                stored["request_hash"],
                self._ring.decrypt_response(stored["response"], stored["key"]),
            )
            for stored in row["responses"]
        }
        matches: dict[int, list[Match]] = {}
        for identifier, id_, retired in row["matches"]:
            matches.setdefault(identifier, []).append(Match(id_, retired))
        matched = list(_matches_by_query(queries, matches))
        documents = _documents(queries[0].view, row)
        prefetched = _prefetched(self._ring, organisation, queries, matched, row)
        now = row["now"].astimezone(UTC)
        return [
            CallContext(
                now, cache, sessions.get(n), responses.get(n), own_matches, documents, loaded
            )
            for n, (own_matches, loaded) in enumerate(
                zip(matched, prefetched, strict=True), start=1
            )
        ]


def _reference_record(row: asyncpg.Record) -> ReferenceRecord:
    return ReferenceRecord(
        kind=row["kind"],
        id=row["id"],
        fields=orjson.loads(row["document"]),
        retired=row["retired"],
        changed=row["changed"],
        version=row["version"],
        session_epoch=row["session_epoch"],
    )


def _matches_by_query(
    queries: list[ContextQuery], matches: Mapping[int, Sequence[Match]]
) -> Iterator[tuple[Sequence[Match], ...]]:
    """Yield what the identifiers of each query name; they are numbered over the whole batch."""
    first = 1
    for query in queries:
        own = range(first, first + len(query.identifiers))
        first += len(query.identifiers)
        yield tuple(matches.get(n, ()) for n in own)


def _documents(view: str | None, row: asyncpg.Record) -> PrefetchedDocuments | None:
    """Return the documents of a view that any query of a batch names."""
    if view is None:
        return None
    documents = dict(row["documents"])
    return PrefetchedDocuments(view, documents, follow_ups(view, documents) | dict(row["compacts"]))


def _prefetched(
    ring: KeyRing,
    organisation: str,
    queries: list[ContextQuery],
    matched: Sequence[Sequence[Sequence[Match]]],
    row: asyncpg.Record,
) -> Sequence[LoadResult | None]:
    """Return what was loaded for each query, of a batch in which all or none want that."""
    if queries[0].load_targets is None:
        return [None] * len(queries)
    requests = [
        _load_request(q, own_matches) for q, own_matches in zip(queries, matched, strict=True)
    ]
    results = split_by_request(ring, organisation, requests, row)
    # What cannot be read is loaded again when its turn comes, and fails then: other refusals come first.
    return [result if isinstance(result, LoadResult) else None for result in results]


def _load_request(query: ContextQuery, matched: Sequence[Sequence[Match]]) -> LoadRequest:
    """Return the request for what a query names and wants loaded."""
    by_identifier = dict(zip(query.identifiers, matched, strict=True))
    streams, subjects = query.load_targets or ((), ())
    return LoadRequest(
        tuple(UUID(match.id) for one in streams for match in by_identifier[one]),
        tuple(UUID(match.id) for one in subjects for match in by_identifier[one]),
        tuple(f"{one.entity}/{match.id}" for one, own in by_identifier.items() for match in own),
    )


def _arguments(queries: list[ContextQuery]) -> list[list[Any]]:
    """Return the arguments of the statement. Arrays cost by their elements, so those of few queries stay empty."""
    identifiers = [(query, one) for query in queries for one in query.identifiers]
    filters: list[Sequence[str | None]] = []
    if any(query.customer for query in queries):
        filters = [_row_filter(one, query.customer) for query, one in identifiers]
    keys = [query.key for query in queries]
    return [
        [query.session for query in queries],
        keys if any(keys) else [],
        [one.entity for _, one in identifiers],
        [one.field for _, one in identifiers],
        [one.value for _, one in identifiers],
        # `unnest` makes shorter arrays as long as the longest, with nulls.
        [account for account, _ in filters],
        [contact for _, contact in filters],
        *([] if queries[0].load_targets is None else _places_to_load(identifiers)),
    ]


def _places_to_load(identifiers: list[tuple[ContextQuery, Identifier]]) -> list[list[int]]:
    """Return the places among all identifiers of those that name aggregates, and contacts whose keys are wanted."""
    places: list[list[int]] = [[], []]
    for n, (query, one) in enumerate(identifiers, start=1):
        for some, kind in zip(places, query.load_targets or (), strict=True):
            if one in kind:
                some.append(n)
    return places


def _row_filter(identifier: Identifier, customer: ConsumerScope | None) -> Sequence[str | None]:
    """The entities to one of which a match must lead; none if it may be anybody's."""
    kind = KINDS.get(identifier.entity)
    if customer is None or (kind is not None and kind.shared):
        return None, None
    return customer_refs(customer) or (None, None)


def _session(queries: list[ContextQuery], row: asyncpg.Record) -> SessionRow:
    customer = ConsumerScope(row["contact"], row["account"]) if row["account"] else None
    id_ = queries[row["query"] - 1].session or ""
    return SessionRow(
        id_,
        row["user_id"],
        row["unit_id"],
        row["expires_at"],
        released=row["released"],
        ended=row["ended"],
        user_epoch=row["user_epoch"],
        customer=customer,
    )
