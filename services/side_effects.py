"""The side effects of a command beside events and views, one struct for each kind.

They are written, or what they expect is checked, in the transaction that appends the events.
``KIND`` is the name by which the append function knows them. `writes` are the keys of what is
changed, `reads` those of what must still be as the command found it: two commands of one batch may
not share a key that one of them writes. Entities are keyed by the number that is their id, all else
by its kind and name.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import ClassVar
from uuid import UUID

import msgspec

__all__ = [
    "CountNotices",
    "DropPhoto",
    "DropSecret",
    "EraseSubject",
    "ExpectKey",
    "ExpectTokens",
    "ExpectVersion",
    "LimitTokens",
    "RebuildClaims",
    "ReleaseClaim",
    "ReleaseGlobalClaim",
    "ResetGuesses",
    "SideEffect",
    "StoreKey",
    "StorePhoto",
    "StoreResponse",
    "StoreSecret",
    "TakeClaim",
    "TakeGlobalClaim",
]


class SideEffect(msgspec.Struct, frozen=True, omit_defaults=True):
    """One side effect of a command."""

    KIND: ClassVar[str] = ""

    def writes(self) -> Iterable[Hashable]:
        """Return the keys of what it changes."""
        return ()

    def reads(self) -> Iterable[Hashable]:
        """Return the keys of what must be unchanged."""
        return ()


class ReleaseClaim(SideEffect, frozen=True, kw_only=True):
    """Gives up a value that is unique in the organisation; ``entity`` is ``kind/id`` of a record."""

    KIND: ClassVar[str] = "release"

    stream: UUID
    entity: str | None = None
    claim: str

    def writes(self) -> Iterable[Hashable]:
        """Return the key of the claim."""
        return [("claim", self.claim)]


class ReleaseGlobalClaim(ReleaseClaim, frozen=True, kw_only=True):
    """Gives up a value that is unique over all organisations."""

    KIND: ClassVar[str] = "release_worldwide"


class TakeClaim(ReleaseClaim, frozen=True, kw_only=True):
    """Claims a value that must be unique; ``at`` is the parameter to name if another entity has it."""

    KIND: ClassVar[str] = "take"

    at: str


class TakeGlobalClaim(TakeClaim, frozen=True, kw_only=True):
    """Claims a value that must be unique over all organisations."""

    KIND: ClassVar[str] = "take_worldwide"


class RebuildClaims(SideEffect, frozen=True):
    """Claims all contacts of a type anew, by the fields of ``rule``."""

    KIND: ClassVar[str] = "reclaim"

    type: str
    rule: list[str]


class StoreResponse(SideEffect, frozen=True):
    """Keeps the answer to an idempotency key; ``caller`` is whose key it is."""

    key: str
    request_hash: str
    caller: str = ""

    def writes(self) -> Iterable[Hashable]:
        """Return the key of the caller's idempotency key."""
        return [("key", self.caller, self.key)]


class ExpectVersion(SideEffect, frozen=True):
    """Writes nothing unless a stream has this version."""

    KIND: ClassVar[str] = "expect"

    stream: UUID
    version: int

    def reads(self) -> Iterable[Hashable]:
        """Return the key of the stream."""
        return [self.stream.int]


class ExpectKey(SideEffect, frozen=True):
    """Writes nothing unless a contact's key is there: the contact was not erased meanwhile."""

    KIND: ClassVar[str] = "expect_keys"

    subject: UUID

    def reads(self) -> Iterable[Hashable]:
        """Return the key of the contact."""
        return [("subject", self.subject)]


class StoreKey(SideEffect, frozen=True):
    """Keeps the key of a new contact, wrapped, as base64 text."""

    KIND: ClassVar[str] = "personal_keys"

    subject: UUID
    wrapped: str


class EraseSubject(SideEffect, frozen=True):
    """Destroys a contact's key unless it encrypts other streams than the ``streams`` counted."""

    KIND: ClassVar[str] = "forget"

    subject: UUID
    streams: int

    def writes(self) -> Iterable[Hashable]:
        """Return the key of the contact."""
        return [("subject", self.subject)]


class ExpectTokens(SideEffect, frozen=True):
    """Writes nothing unless an account or rewards participant has ``count`` access tokens."""

    KIND: ClassVar[str] = "expect_tokens"

    column: str
    id: str
    count: int

    def writes(self) -> Iterable[Hashable]:
        """Return the key of the number of tokens."""
        # The number that it is compared with changes when another command issues a token.
        return [("tokens", self.column, self.id)]


class LimitTokens(SideEffect, frozen=True):
    """Writes nothing if an account or rewards participant has ``most`` access tokens already."""

    KIND: ClassVar[str] = "limit_tokens"

    column: str
    id: str
    most: int

    def writes(self) -> Iterable[Hashable]:
        """Return the key of the number of tokens."""
        return [("tokens", self.column, self.id)]


class CountNotices(SideEffect, frozen=True):
    """Writes nothing if with ``count`` more a customer has caused over ``most`` notices within an hour.

    ``contact`` is the customer, as an id.
    """

    KIND: ClassVar[str] = "count_notices"

    contact: str
    count: int
    most: int

    def writes(self) -> Iterable[Hashable]:
        """Return the key of the number of notices."""
        return [("notices", self.contact)]


class StoreSecret(SideEffect, frozen=True):
    """Replaces the verifier of a secret; ``expires_at`` is an ISO 8601 text."""

    KIND: ClassVar[str] = "secrets"

    key_id: str
    owner: str
    name: str
    verifier: str
    expires_at: str | None = None

    def writes(self) -> Iterable[Hashable]:
        """Return the key of the verifier."""
        return [("secret", self.verifier)]


class DropSecret(SideEffect, frozen=True):
    """Drops the verifier of a secret that no longer counts."""

    KIND: ClassVar[str] = "drop_secrets"

    owner: str
    name: str


class ResetGuesses(SideEffect, frozen=True):
    """Deletes the tries of guessing a secret (``owner/name``)."""

    KIND: ClassVar[str] = "forgive"

    secret: str


class DropPhoto(SideEffect, frozen=True):
    """Drops the profile photo of a contact (an id as callers see it)."""

    KIND: ClassVar[str] = "drop_photo_of"

    contact: str


class StorePhoto(SideEffect, frozen=True):
    """Keeps a profile photo; ``content`` is base64 text."""

    KIND: ClassVar[str] = "photos"

    id: str
    file_name: str
    mime_type: str
    contact: str
    content: str
