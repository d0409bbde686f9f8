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
SELECT kind, id, document, retired, changed, version FROM {schema}.records
 WHERE organisation = $1 AND directory AND changed > $2 ORDER BY changed
"""

SHARES = 2
"""Questions of one organisation on their way: while some are asked, the callers of others work on their answers."""


class ContextLoader:
    """Answers questions; holds each organisation's directory and keeps it current."""

    def __init__(
        self,
        lanes: ReadPool,
        ring: KeyRing,
        zone: ZoneInfo,
        *,
        waiting: int = QUEUE_LIMIT,
        schema: str = LIVE_SCHEMA,
    ) -> None:
        """:param waiting: how many questions may wait; as every call asks one, how many calls.
        :param schema: where the views are read.
        """
        self._lanes = lanes
        self._schema, self._listing = schema, DIRECTORY.format(schema=schema)
        self._ring = ring
        self._zone = zone
        self._directories: dict[str, ReferenceCache] = {}
        self._batcher: Batcher[ContextQuery, CallContext] = Batcher(
            self._ask, concurrency=lanes.size, queue_limit=waiting, concurrency_per_key=SHARES
        )

    def organisations(self) -> list[str]:
        """Those whose directory this process holds."""
        return list(self._directories)

    async def ask(self, organisation: str, question: ContextQuery) -> CallContext:
        """The answer; its directory is as current as its session."""
        extra = WITH_AGGREGATES if question.load_targets is not None else question.view
        return await self._batcher.submit((organisation, extra), question)

    async def _ask(self, key: Any, questions: list[ContextQuery]) -> list[CallContext]:
        organisation, extra = key
        sql, arguments = context_statement(self._schema, extra), _arguments(questions)

        async def work(connection: asyncpg.Connection) -> list[CallContext]:
            (row,) = await connection.fetch(sql, organisation, *arguments)
            directory = await self._directory(connection, organisation, row["position"] or 0)
            return self._contexts(questions, row, directory)

        return await self._lanes.read(work)

    async def _directory(
        self, connection: asyncpg.Connection, organisation: str, position: int
    ) -> ReferenceCache:
        directory = self._directories.get(organisation) or ReferenceCache(organisation, self._zone)
        if directory.position >= position:
            return directory
        rows = await connection.fetch(self._listing, organisation, directory.position)
        # A call that has begun goes on with the set-up as it was told: it claims by those rules and
        # lets the append check that they are still the same.
        current = directory.copy()
        current.update(_entry(row) for row in rows)
        kept = self._directories.get(organisation)
        if kept is None or kept.position < current.position:
            self._directories[organisation] = current
        return current

    def _contexts(
        self, questions: list[ContextQuery], row: asyncpg.Record, directory: ReferenceCache
    ) -> list[CallContext]:
        sessions = {session["query"]: _session(questions, session) for session in row["sessions"]}
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
        named = list(_named(questions, matches))
        documents = _documents(questions[0].view, row)
        prefetched = _prefetched(self._ring, questions, named, row)
        now = row["now"].astimezone(UTC)
        return [
            CallContext(now, directory, sessions.get(n), responses.get(n), found, documents, loaded)
            for n, (found, loaded) in enumerate(zip(named, prefetched, strict=True), start=1)
        ]


def _entry(row: asyncpg.Record) -> ReferenceRecord:
    return ReferenceRecord(
        kind=row["kind"],
        id=row["id"],
        fields=orjson.loads(row["document"]),
        retired=row["retired"],
        changed=row["changed"],
        version=row["version"],
    )


def _named(
    questions: list[ContextQuery], matches: Mapping[int, Sequence[Match]]
) -> Iterator[tuple[Sequence[Match], ...]]:
    """What each question's identifiers name; they are numbered through."""
    first = 1
    for question in questions:
        own = range(first, first + len(question.identifiers))
        first += len(question.identifiers)
        yield tuple(matches.get(n, ()) for n in own)


def _documents(view: str | None, row: asyncpg.Record) -> PrefetchedDocuments | None:
    """The documents of a view that any question of a batch names."""
    if view is None:
        return None
    documents = dict(row["documents"])
    return PrefetchedDocuments(view, documents, follow_ups(view, documents) | dict(row["compacts"]))


def _prefetched(
    ring: KeyRing,
    questions: list[ContextQuery],
    named: Sequence[Sequence[Sequence[Match]]],
    row: asyncpg.Record,
) -> Sequence[LoadResult | None]:
    """What was loaded for each question, of a batch in which all or none want that."""
    if questions[0].load_targets is None:
        return [None] * len(questions)
    wanted = [_wanted(q, found) for q, found in zip(questions, named, strict=True)]
    loaded = split_by_request(ring, wanted, row)
    # What cannot be read is loaded again when its turn comes, and fails then: other refusals come first.
    return [one if isinstance(one, LoadResult) else None for one in loaded]


def _wanted(question: ContextQuery, named: Sequence[Sequence[Match]]) -> LoadRequest:
    """What a question names and what of that it wants loaded."""
    found = dict(zip(question.identifiers, named, strict=True))
    streams, subjects = question.load_targets or ((), ())
    return LoadRequest(
        tuple(UUID(match.id) for one in streams for match in found[one]),
        tuple(UUID(match.id) for one in subjects for match in found[one]),
        tuple(f"{one.entity}/{match.id}" for one, own in found.items() for match in own),
    )


def _arguments(questions: list[ContextQuery]) -> list[list[Any]]:
    """What the statement is given. Encoding arrays takes its time by their elements: few have keys or customers."""
    asked = [(question, one) for question in questions for one in question.identifiers]
    walls: list[Sequence[str | None]] = []
    if any(question.customer for question in questions):
        walls = [_wall(one, question.customer) for question, one in asked]
    keys = [question.key for question in questions]
    return [
        [question.session for question in questions],
        keys if any(keys) else [],
        [one.entity for _, one in asked],
        [one.field for _, one in asked],
        [one.value for _, one in asked],
        # `unnest` makes shorter arrays as long as the longest, with nulls.
        [account for account, _ in walls],
        [contact for _, contact in walls],
        *([] if questions[0].load_targets is None else _places(asked)),
    ]


def _places(asked: list[tuple[ContextQuery, Identifier]]) -> list[list[int]]:
    """Where among all identifiers those stand that name aggregates to be loaded, and contacts whose keys are."""
    places: list[list[int]] = [[], []]
    for n, (question, one) in enumerate(asked, start=1):
        for some, kind in zip(places, question.load_targets or (), strict=True):
            if one in kind:
                some.append(n)
    return places


def _wall(identifier: Identifier, customer: ConsumerScope | None) -> Sequence[str | None]:
    """The entities to one of which a match must lead; none if it may be anybody's."""
    kind = KINDS.get(identifier.entity)
    if customer is None or (kind is not None and kind.shared):
        return None, None
    return customer_refs(customer) or (None, None)


def _session(questions: list[ContextQuery], row: asyncpg.Record) -> SessionRow:
    customer = ConsumerScope(row["contact"], row["account"]) if row["account"] else None
    id_ = questions[row["query"] - 1].session or ""
    return SessionRow(
        id_, row["user_id"], row["unit_id"], row["expires_at"], row["released"], customer
    )
