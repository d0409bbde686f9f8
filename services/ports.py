"""The ports of the use cases, each as narrow as its use.

`infra` implements these; nothing here knows HTTP, SQL or asyncpg. A service that needs several
declares a protocol that inherits from them, beside its class.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from domain.aggregate import DomainEvent
from domain.fields import JsonObject
from services.context import (
    CallContext,
    ConsumerScope,
    ContextQuery,
    LoadResult,
    QueryResult,
    ViewQuery,
)
from services.projections import ViewRow
from services.side_effects import SideEffect, StoreResponse

__all__ = [
    "AppendResult",
    "Commit",
    "ContextSource",
    "EntityRelations",
    "EventStore",
    "GuessCounter",
    "GuessLimits",
    "Hasher",
    "Organisations",
    "PhotoStore",
    "ReadModels",
    "Secret",
    "SecretStore",
    "Sequences",
    "StreamCommit",
]


@dataclass(frozen=True, slots=True)
class Secret:
    """The verifier of a secret and the id by which events name it.

    ``owner`` is ``kind/id``, ``expired`` is judged by the database's clock.
    """

    owner: str
    key_id: str
    verifier: str
    expired: bool = False


@dataclass(frozen=True, slots=True)
class GuessLimits:
    """The limits on unsuccessful tries of secrets.

    ``per_source`` tries of one secret from one source, ``per_secret`` of one from all sources that
    have never succeeded, and ``per_spray`` of all from one source are free; from then on each costs a
    wait, ``first_wait`` seconds at first and doubled from try to try up to ``longest_wait``.
    """

    per_source: int
    per_secret: int
    per_spray: int
    first_wait: int
    longest_wait: int


@dataclass(frozen=True, slots=True)
class StreamCommit:
    """The new events of one aggregate; ``key`` encrypts their personal part."""

    events: Sequence[DomainEvent]
    subject: UUID | None = None
    key: bytes | None = None


@dataclass(slots=True)
class Commit:
    """All that one command writes, atomically.

    ``side_effects`` are its claims, secrets, keys and photos, and what it expects to be unchanged.
    """

    command: str
    metadata: JsonObject
    written: list[StreamCommit]
    rows: list[ViewRow]
    side_effects: list[SideEffect] = field(default_factory=list)
    answer: bytes | None = None

    @property
    def key(self) -> str | None:
        """The idempotency key under which the answer is kept, if any."""
        return next((e.key for e in self.side_effects if isinstance(e, StoreResponse)), None)


@dataclass(frozen=True, slots=True)
class AppendResult:
    """The result of appending one commit: ``WRITTEN``, or why it was not.

    ``CONFLICT``: another event came first. ``CLAIMED``: a unique value is taken, and ``LIMITED``: a
    limit is reached; ``detail`` names the parameter. ``REPEATED``: the idempotency key is known.
    ``SETTLED``: the idempotency key was revoked.
    """

    name: str
    detail: str = ""


class ContextSource(Protocol):
    """Loads what a call must know before it is decided. Raises `ServiceUnavailable`."""

    async def load_context(self, organisation: str, query: ContextQuery) -> CallContext:
        """Return the answer to a query, as of one moment."""


class ReadModels(ContextSource, Protocol):
    """The views, as they are or as they were. Every method raises `ServiceUnavailable`."""

    async def select(self, organisation: str, query: ViewQuery) -> QueryResult:
        """Return the documents of a view that a query selects, all at once."""

    def stream(
        self, organisation: str, query: ViewQuery, page_size: int
    ) -> AsyncGenerator[QueryResult, None]:
        """Yield the documents of a view that a query selects, of one snapshot, page by page."""

    async def compact(self, organisation: str, ref: str) -> bytes | None:
        """Return one stored compact object (``kind/id``)."""


class Organisations(ContextSource, Protocol):
    """Finds organisations by what is unique over all of them. Raises `ServiceUnavailable`."""

    async def organisation(self, name: str, *, fresh: bool = False) -> str | None:
        """Return the id of the organisation of that name, as of when it was last looked up.

        :param fresh: look it up now.
        """

    async def claim_holder(self, *claims: str) -> tuple[str, str] | None:
        """Return who holds one of these claims over all organisations: organisation and ``kind/id``."""


class EventStore(ContextSource, Protocol):
    """The ledger: loads aggregates and appends their events. Raises `ServiceUnavailable`."""

    async def load(
        self,
        organisation: str,
        streams: Sequence[UUID],
        data_subjects: Sequence[UUID] = (),
        refs: Sequence[str] = (),
        customer: ConsumerScope | None = None,
        erased: Collection[UUID] = (),
    ) -> LoadResult:
        """Return aggregates with their contacts' keys, the keys of ``data_subjects``, and the
        compact objects of ``refs`` and of what the aggregates show.

        :param customer: compact objects of other customers are left out.
        :param erased: contacts whose events are read as if their keys were destroyed already.
        """

    async def append(self, organisation: str, commit: Commit) -> AppendResult:
        """Write one command; it is durable when this returns ``WRITTEN``."""

    def new_key(self) -> tuple[bytes, str]:
        """Return the key of a new contact: itself, and wrapped for storage as base64 text."""


class Sequences(Protocol):
    """The numbers of an organisation's entities."""

    async def allocate_numbers(
        self, organisation: str, names: Sequence[str]
    ) -> dict[str, list[int]]:
        """Return unused numbers, one for each time that a sequence is named.

        Raises `ServiceUnavailable`.
        """

    def release_numbers(self, organisation: str, numbers: Mapping[str, Sequence[int]]) -> None:
        """Take back numbers that no event has used."""


@dataclass(frozen=True, slots=True)
class GuessCounter:
    """A counter of tries, and how many are free: ``secret`` is ``owner/name``, empty for all, None where
    nothing is counted; ``source`` is empty for all."""

    secret: str | None
    source: str
    free: int


class SecretStore(Protocol):
    """Verifiers of secrets, and the tries of guessing them. Raises `ServiceUnavailable`."""

    async def secret(self, organisation: str, owner: str, name: str) -> Secret | None:
        """Return the secret of that name of an entity (``kind/id``)."""

    async def secret_by_verifier(
        self, organisation: str, name: str, verifiers: Sequence[str]
    ) -> Secret | None:
        """Return the secret of that name with one of these verifiers, whoever has it."""

    async def count_guess(
        self,
        organisation: str,
        counters: Sequence[GuessCounter],
        limits: GuessLimits,
        *,
        fits: bool | None,
    ) -> int:
        """Count a try: 0 if it may be made, else the seconds to wait first.

        It stays counted whatever the result of the call. The counters but the first do not hold for a
        source that has succeeded with the secret of the first.

        :param fits: whether the secret fits, if that is known already; a right one is not counted.
        """

    async def forgive_guesses(self, organisation: str, counters: Sequence[GuessCounter]) -> None:
        """Delete the tries of the first counter's source, which has now succeeded, and remember that it has."""


class EntityRelations(Protocol):
    """Finds the streams that a change of one entity reaches. Raises `ServiceUnavailable`."""

    async def streams_of_contact(self, organisation: str, contact: UUID) -> list[UUID]:
        """Return the other streams with events that the key of a contact encrypts."""

    async def tokens_of_accounts(self, organisation: str, accounts: Collection[str]) -> list[UUID]:
        """Return the access tokens of accounts and of their rewards participants."""

    async def related_tokens(self, organisation: str, kind: str, id_: str) -> list[UUID]:
        """Return the access tokens of an account or rewards participant, the oldest first."""


class PhotoStore(Protocol):
    """The profile photos of contacts. Raises `ServiceUnavailable`."""

    async def photo(
        self, organisation: str, photo_id: str, customer: ConsumerScope | None = None
    ) -> tuple[bytes, str] | None:
        """Return the bytes and mime type of a current photo, of ``customer`` only if given."""


class Hasher(Protocol):
    """Verifiers of secrets."""

    async def hash(self, secret: str) -> str:
        """Return a slow, salted hash of a password or pass code."""

    async def verify(self, verifier: str | None, secret: str) -> bool:
        """Return True if the secret fits; takes as long when there is no verifier."""

    def turn(
        self, source: str, account: str, is_gone: Callable[[], bool]
    ) -> AbstractAsyncContextManager[None]:
        """Wait for the turn of a slow comparison and hold it. Raises `TooManyRequests`."""

    def note_success(self, source: str) -> None:
        """Remember that a source has succeeded: its turns come sooner."""

    def mac(self, secret: str) -> str:
        """Return a keyed hash: of a key of many random bits, or of a short code that expires soon."""

    def macs(self, secret: str) -> list[str]:
        """Return the keyed hashes that a secret may be stored as: with each key, the current one first."""

    def equal_macs(self, mac: str) -> list[str]:
        """Return the keyed hashes that the secret of a stored one may be stored as by now."""
