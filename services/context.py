"""What calls ask of the ledger and its views, and what they are told."""

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
    """Whose data a consumer session sees: the ids of an accounts receivable and of its owner."""

    contact: str
    account: str


class SessionRow(msgspec.Struct, frozen=True):
    """A session as it is stored; ``expires_at`` in seconds since 1970 UTC.

    ``customer`` is set for consumer sessions. One whose access token or account no longer leads
    to that customer counts as released.
    """

    id: str
    user: str
    unit: str
    expires_at: int
    released: bool
    customer: ConsumerScope | None = None


class StoredResponse(msgspec.Struct, frozen=True):
    """The first answer to an idempotency key: a hash of its request and ``data`` as sent."""

    request_hash: str
    data: bytes


class ViewQuery(msgspec.Struct, frozen=True):
    """Which documents of a view, in the order of columns, of creation unless it is said.

    ``where`` holds columns and the values they must have: a text or truth value for equality, a
    tuple for any of several, a list for an array column that contains its one element, for a column
    of dates a mapping of ``<``, ``<=`` or ``>=`` to the dates that bound it. Where there is a
    ``customer``, nothing of other customers' is found. ``staleness`` is allowed, and told.
    """

    view: str
    where: Mapping[str, Any]
    order: tuple[str, ...] = ("created",)
    descending: bool = False
    limit: int = 100
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
    """What a command wants loaded: aggregates by stream, contacts' keys, and compact objects by ``kind/id``.

    ``erased`` are contacts whose events are read as if their keys were destroyed already.
    """

    streams: tuple[UUID, ...] = ()
    data_subjects: tuple[UUID, ...] = ()
    refs: tuple[str, ...] = ()
    erased: frozenset[UUID] = frozenset()

    def is_superset_of(self, other: LoadRequest) -> bool:
        """True if all that another one wants is wanted here."""
        return (
            self.erased == other.erased
            and set(self.streams).issuperset(other.streams)
            and set(self.data_subjects).issuperset(other.data_subjects)
            and set(self.refs).issuperset(other.refs)
        )


@dataclass(slots=True)
class LoadResult:
    """The answer to ``request``: aggregates by stream, keys by contact, compact objects by ``kind/id``."""

    aggregates: dict[UUID, Aggregate] = field(default_factory=dict)
    keys: dict[UUID, bytes] = field(default_factory=dict)
    compacts: dict[str, bytes] = field(default_factory=dict)
    request: LoadRequest = field(default_factory=LoadRequest)

    def add(self, other: LoadResult) -> None:
        """Take in what was loaded later."""
        self.aggregates |= other.aggregates
        self.keys |= other.keys
        self.compacts |= other.compacts


class ContextQuery(msgspec.Struct, frozen=True):
    """What a call must know before it can be decided: all of it is asked at once.

    Identifiers mean nothing that is not ``customer``'s, where there is one. What a call will show or
    load if nothing refuses it comes along, but for no customer: of ``view`` the documents that the
    identifiers name; of ``load_targets`` the aggregates and the contacts' keys that these identifiers name, and
    what all of them name.
    """

    session: str | None = None
    key: str | None = None
    identifiers: tuple[Identifier, ...] = ()
    customer: ConsumerScope | None = None
    view: str | None = None
    load_targets: tuple[Sequence[Identifier], Sequence[Identifier]] | None = None


class CallContext(msgspec.Struct, frozen=True):
    """The answer to a `ContextQuery`; ``matches`` in the order of its identifiers, ``now`` in UTC.

    ``directory`` is the organisation's set-up as it is now; ``documents`` may hold more than was asked for.
    """

    now: datetime
    directory: ReferenceCache
    session: SessionRow | None = None
    answer: StoredResponse | None = None
    matches: tuple[Sequence[Match], ...] = ()
    documents: PrefetchedDocuments | None = None
    prefetched: LoadResult | None = None
