"""The requests to the ports of `services.ports`, and their results.

`ContextQuery` is answered by `CallContext`, `LoadRequest` by `LoadResult`, `ViewQuery` by `QueryResult`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from domain.aggregate import Aggregate
from domain.identifiers import Identifier
from services.reference_cache import Match, ReferenceCache
from services.staleness import Staleness

__all__ = [
    "CallContext",
    "ConsumerScope",
    "ContextQuery",
    "LoadRequest",
    "LoadResult",
    "PrefetchedDocuments",
    "QueryResult",
    "SessionRow",
    "StoredResponse",
    "ViewQuery",
]


class ConsumerScope(msgspec.Struct, frozen=True):
    """The customer whose data a consumer session sees: the ids of an accounts receivable and its owner."""

    contact: str
    account: str


class SessionRow(msgspec.Struct, frozen=True):
    """A session as it is stored; ``expires_at`` in seconds since 1970 UTC.

    ``customer`` is set for consumer sessions. ``ended``: the session epoch of the access token, participant
    or account that they began with has passed; ``user_epoch`` is that of the user at the login.
    """

    id: str
    user: str
    unit: str
    expires_at: int
    released: bool
    ended: bool = False
    user_epoch: int = 0
    customer: ConsumerScope | None = None


class StoredResponse(msgspec.Struct, frozen=True):
    """The first response to an idempotency key: a hash of its request and ``data`` as sent."""

    request_hash: str
    data: bytes


class ViewQuery(msgspec.Struct, frozen=True):
    """A query of documents of a view, in the order of columns, by default that of creation.

    ``where`` holds columns and the values they must have: a text or truth value for equality, a
    tuple for any of several, a list for an array column that contains its one element, for a column
    of dates a mapping of ``<``, ``<=`` or ``>=`` to the dates that bound it. With a ``customer``,
    nothing of other customers is found. ``staleness`` is how old the result may be, and is.
    ``limit`` is None for all that match.
    """

    view: str
    where: Mapping[str, Any]
    order: tuple[str, ...] = ("created",)
    descending: bool = False
    limit: int | None = None
    offset: int = 0
    customer: ConsumerScope | None = None
    staleness: Staleness | None = None


@dataclass(slots=True)
class QueryResult:
    """Documents as they are stored, and the compact objects that they show."""

    documents: list[bytes] = field(default_factory=list)
    compacts: dict[str, bytes] = field(default_factory=dict)


class PrefetchedDocuments(msgspec.Struct, frozen=True):
    """Documents of a view by their ids, and the compact objects that they show."""

    view: str
    by_id: Mapping[str, bytes]
    compacts: dict[str, bytes]

    def find(self, query: ViewQuery) -> QueryResult | None:
        """Return the one document that a query selects by its id, if it is here."""
        document = self.by_id.get(query.where["id"]) if query.view == self.view else None
        return QueryResult([document], self.compacts) if document else None


class LoadRequest(msgspec.Struct, frozen=True):
    """A request for aggregates by stream, contacts' keys, and compact objects by ``kind/id``.

    ``erased`` are contacts whose events are read as if their keys were destroyed already.
    """

    streams: tuple[UUID, ...] = ()
    data_subjects: tuple[UUID, ...] = ()
    refs: tuple[str, ...] = ()
    erased: frozenset[UUID] = frozenset()

    def is_superset_of(self, other: LoadRequest) -> bool:
        """Return True if all that another one requests is requested here."""
        return (
            self.erased == other.erased
            and set(self.streams).issuperset(other.streams)
            and set(self.data_subjects).issuperset(other.data_subjects)
            and set(self.refs).issuperset(other.refs)
        )


@dataclass(slots=True)
class LoadResult:
    """The result of ``request``: aggregates by stream, keys by contact, compact objects by ``kind/id``."""

    aggregates: dict[UUID, Aggregate] = field(default_factory=dict)
    keys: dict[UUID, bytes] = field(default_factory=dict)
    compacts: dict[str, bytes] = field(default_factory=dict)
    request: LoadRequest = field(default_factory=LoadRequest)

    def add(self, other: LoadResult) -> None:
        """Add the result of a later request."""
        self.aggregates |= other.aggregates
        self.keys |= other.keys
        self.compacts |= other.compacts


class ContextQuery(msgspec.Struct, frozen=True):
    """A query of all that a call must know before it can be decided.

    With a ``customer``, identifiers match only what belongs to that customer. What the call will
    show or load, if nothing refuses it, is prefetched, but not for customers: of ``view`` the
    documents that the identifiers name; of ``load_targets`` the aggregates, and the contacts whose
    keys are wanted, that these identifiers name, and the compact objects of all that are named.
    """

    session: str | None = None
    key: str | None = None
    identifiers: tuple[Identifier, ...] = ()
    customer: ConsumerScope | None = None
    view: str | None = None
    load_targets: tuple[Sequence[Identifier], Sequence[Identifier]] | None = None


class CallContext(msgspec.Struct, frozen=True):
    """The result of a `ContextQuery`; ``matches`` in the order of its identifiers, ``now`` in UTC.

    ``directory`` is the organisation's set-up at that moment, ``response`` the stored one of the
    idempotency key; ``documents`` may hold more than the query names.
    """

    now: datetime
    directory: ReferenceCache
    session: SessionRow | None = None
    response: StoredResponse | None = None
    matches: tuple[Sequence[Match], ...] = ()
    documents: PrefetchedDocuments | None = None
    prefetched: LoadResult | None = None
