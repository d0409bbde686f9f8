"""What the use cases need of the world: the ledger with its views, and secrets.

`infra` implements these; nothing here knows HTTP, SQL or asyncpg.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from domain.aggregate import Aggregate, Fact
from domain.fields import Values
from domain.identifiers import Identifier
from services.directory import Directory, Match
from services.staleness import Staleness
from services.views import Row

__all__ = [
    "Ahead",
    "Answer",
    "Change",
    "Customer",
    "Documents",
    "Found",
    "GuessLimits",
    "Hasher",
    "Ledger",
    "Loaded",
    "Question",
    "Secret",
    "Select",
    "Session",
    "Told",
    "Verdict",
    "Views",
    "Wanted",
    "Written",
]


class Customer(msgspec.Struct, frozen=True):
    """Whose data a consumer session sees: the ids of an accounts receivable and of its owner."""

    contact: str
    account: str


class Session(msgspec.Struct, frozen=True):
    """A session as it is stored; ``expires_at`` in seconds since 1970 UTC.

    ``customer`` is set for consumer sessions. One whose access token or account no longer leads
    to that customer counts as released.
    """

    id: str
    user: str
    unit: str
    expires_at: int
    released: bool
    customer: Customer | None = None


class Answer(msgspec.Struct, frozen=True):
    """The first answer to an idempotency key: a hash of its request and ``data`` as sent."""

    request_hash: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Secret:
    """The verifier of a secret and the id by which facts name it.

    ``owner`` is ``kind/id``, ``expired`` is judged by the database's clock.
    """

    owner: str
    key_id: str
    verifier: str
    expired: bool = False


@dataclass(frozen=True, slots=True)
class GuessLimits:
    """How often a secret may be tried without success, and how long to wait after that.

    ``per_source`` tries from one source and ``per_secret`` from all sources are free; from then on
    each costs a wait, ``first_wait`` seconds at first and doubled from try to try up to
    ``longest_wait``.
    """

    per_source: int
    per_secret: int
    first_wait: int
    longest_wait: int


class Select(msgspec.Struct, frozen=True):
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
    customer: Customer | None = None
    staleness: Staleness | None = None


@dataclass(slots=True)
class Found:
    """Documents as they are stored, and the compact objects that they show."""

    documents: list[bytes] = field(default_factory=list)
    compacts: dict[str, bytes] = field(default_factory=dict)


class Wanted(msgspec.Struct, frozen=True):
    """What a command wants loaded: aggregates by stream, contacts' keys, and compact objects by ``kind/id``.

    ``forgotten`` are contacts whose facts are read as if their keys were destroyed already.
    """

    streams: tuple[UUID, ...] = ()
    subjects: tuple[UUID, ...] = ()
    refs: tuple[str, ...] = ()
    forgotten: frozenset[UUID] = frozenset()

    def covers(self, other: Wanted) -> bool:
        """Whether all that another one wants is wanted here."""
        return (
            self.forgotten == other.forgotten
            and set(self.streams).issuperset(other.streams)
            and set(self.subjects).issuperset(other.subjects)
            and set(self.refs).issuperset(other.refs)
        )


@dataclass(slots=True)
class Loaded:
    """Aggregates by stream, contacts' keys by contact, and compact objects by ``kind/id``."""

    aggregates: dict[UUID, Aggregate] = field(default_factory=dict)
    keys: dict[UUID, bytes] = field(default_factory=dict)
    compacts: dict[str, bytes] = field(default_factory=dict)


class Documents(msgspec.Struct, frozen=True):
    """Documents of a view by their ids, and the compact objects that they show."""

    view: str
    by_id: Mapping[str, bytes]
    compacts: dict[str, bytes]


class Ahead(msgspec.Struct, frozen=True):
    """What was loaded before it was known that nothing refuses the call."""

    wanted: Wanted
    loaded: Loaded


class Question(msgspec.Struct, frozen=True):
    """What a call must know before it can be decided: all of it is asked at once.

    Identifiers mean nothing that is not ``customer``'s, where there is one. What a call will show or
    load if nothing refuses it comes along, but for no customer: of ``view`` the documents that the
    identifiers name; of ``loads`` the aggregates and the contacts' keys that these identifiers name, and
    what all of them name.
    """

    session: str | None = None
    key: str | None = None
    identifiers: tuple[Identifier, ...] = ()
    customer: Customer | None = None
    view: str | None = None
    loads: tuple[Sequence[Identifier], Sequence[Identifier]] | None = None


class Told(msgspec.Struct, frozen=True):
    """The answer to a `Question`; ``matches`` in the order of its identifiers, ``now`` in UTC.

    ``directory`` is the organisation's set-up as it is now; ``documents`` may hold more than was asked for.
    """

    now: datetime
    directory: Directory
    session: Session | None = None
    answer: Answer | None = None
    matches: tuple[Sequence[Match], ...] = ()
    documents: Documents | None = None
    ahead: Ahead | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """The new facts of one aggregate; ``key`` encrypts their personal part."""

    facts: Sequence[Fact]
    subject: UUID | None = None
    key: bytes | None = None


@dataclass(slots=True)
class Change:
    """All that one command writes, wholly or not at all.

    ``effects`` are the claims, secrets, keys and photos in the form of the append function.
    """

    command: str
    metadata: Values
    written: list[Written]
    rows: list[Row]
    effects: Values = field(default_factory=dict)
    answer: bytes | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a change: ``WRITTEN``, or why it was not: ``CONFLICT`` (another fact came
    first), ``CLAIMED`` and ``LIMITED`` (what is to be unique is taken, what is limited is used up;
    ``detail`` names the parameter), ``REPEATED`` (the idempotency key is known), ``SETTLED`` (its
    caller was told that nothing will be written with it).
    """

    name: str
    detail: str = ""


class Views(Protocol):
    """The views, as they are or as they were. Raises `ServiceUnavailable` when it cannot answer."""

    async def ask(self, organisation: str, question: Question) -> Told:
        """Answers what a call must know."""

    async def select(self, organisation: str, select: Select) -> Found:
        """Reads documents of a view."""

    async def compact(self, organisation: str, ref: str) -> bytes | None:
        """One stored compact object."""


class Ledger(Views, Protocol):
    """The ledger and its views. Every method raises `ServiceUnavailable` when it cannot answer."""

    async def organisation(self, name: str, *, fresh: bool = False) -> str | None:
        """The id of the organisation that has that name, or had it when it was last looked up.

        :param fresh: look it up now.
        """

    async def holder(self, claim: str) -> tuple[str, str] | None:
        """Who holds a claim over all organisations: organisation and ``kind/id``."""

    async def load(
        self,
        organisation: str,
        streams: Sequence[UUID],
        subjects: Sequence[UUID] = (),
        refs: Sequence[str] = (),
        customer: Customer | None = None,
        forgotten: Collection[UUID] = (),
    ) -> Loaded:
        """Loads aggregates with their contacts' keys, further contacts' keys, and compacts: those
        named by ``refs``, and those that the aggregates show.

        :param customer: compacts of other customers' are left out.
        :param forgotten: whose facts are read as if their keys were destroyed already.
        """

    async def belongings(self, organisation: str, contact: UUID) -> list[UUID]:
        """What else than a contact itself has facts that its key encrypts."""

    async def tokens_of(self, organisation: str, accounts: Collection[str]) -> list[UUID]:
        """The access tokens of accounts and of their rewards participants."""

    async def numbers(self, organisation: str, names: Sequence[str]) -> dict[str, list[int]]:
        """Unused numbers: for each time that a sequence is named, one of it."""

    def return_numbers(self, organisation: str, numbers: Mapping[str, Sequence[int]]) -> None:
        """Takes back numbers that no fact has used."""

    async def append(self, organisation: str, change: Change) -> Verdict:
        """Writes one command; it is durable when this returns ``WRITTEN``."""

    async def secret(self, organisation: str, owner: str, name: str) -> Secret | None:
        """The secret of that name of an entity (``kind/id``)."""

    async def secret_by_verifier(
        self, organisation: str, name: str, verifier: str
    ) -> Secret | None:
        """The secret of that name with that verifier, whoever has it."""

    async def related_tokens(self, organisation: str, kind: str, id_: str) -> list[UUID]:
        """The access tokens of an account or rewards participant, in the order of creation."""

    async def count_guess(
        self, organisation: str, secret: str, source: str, limits: GuessLimits
    ) -> int:
        """Counts a try before it is made: 0 if it may be, else the seconds to wait first.

        What is counted stays so whatever becomes of the call.

        :param secret: what is tried; ``source`` who tries.
        """

    async def forgive_guesses(self, organisation: str, secret: str, source: str) -> None:
        """Forgets the tries of a source that has now succeeded, and remembers that it has."""

    async def photo(
        self, organisation: str, photo_id: str, customer: Customer | None = None
    ) -> tuple[bytes, str] | None:
        """The bytes and mime type of a current profile photo, of a customer's where there is one."""

    def new_key(self) -> tuple[bytes, str]:
        """A new contact's key: itself, and wrapped for storage as base64 text."""


class Hasher(Protocol):
    """Verifiers of secrets."""

    async def hash(self, secret: str) -> str:
        """A slow, salted hash of a password or pass code."""

    async def verify(self, verifier: str | None, secret: str) -> bool:
        """Whether the secret fits; takes as long when there is no verifier."""

    def mac(self, secret: str) -> str:
        """A keyed hash: of a key of many random bits, or of a short code that lives shortly."""
