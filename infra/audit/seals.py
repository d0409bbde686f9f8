"""Seals: signed statements about closed ranges of a ledger, each with the hash of the previous one."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = [
    "NO_PREVIOUS",
    "Count",
    "Digest",
    "Seal",
    "SealError",
    "SignedSeal",
    "Signer",
    "parse_seals",
    "trusted_seals",
]

Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
"""32 bytes in hex."""
Count = Annotated[int, msgspec.Meta(ge=1)]
NO_PREVIOUS = "0" * 64
"""The hash of the previous seal in the first one."""


class SealError(ValueError):
    """A text that should be a seal is not one."""


class Seal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of a seal; its statement is this as JSON, members in this order, no spaces."""

    form: Literal["crmledger.seal.1"] = "crmledger.seal.1"
    organisation: str
    number: Count
    """Dense per organisation, from 1."""
    first: Count
    """The first sealed position: the one after the previous seal's last."""
    last: Count
    root: Digest
    """The root over the hashes of the events at these positions (`infra.audit.merkle`)."""
    streams: Digest
    """The root over the heads of all streams at ``last`` (`infra.audit.stream_tree`)."""
    former: Digest
    """SHA-256 of the previous seal's statement; zeros for the first."""
    sealed_at: Annotated[datetime, msgspec.Meta(tz=True)]
    """The time of sealing, by the database's clock."""
    key: Digest
    """The Ed25519 public key by which the signature is verified."""

    @property
    def count(self) -> int:
        """The number of sealed events."""
        return self.last - self.first + 1

    def statement(self) -> str:
        """Return the text that is signed."""
        return msgspec.json.encode(self).decode()


class SignedSeal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A seal as it is stored: the exact text of the statement, and the signature in hex.

    ``leaves`` are the concatenated hashes of the sealed events. They prove no more than the root; but if
    the events no longer yield the root, they locate the position.
    """

    statement: str
    signature: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{128}\Z")]
    leaves: bytes = b""

    def seal(self) -> Seal:
        """Return the content. Raises `SealError` if the text is not exactly a statement."""
        try:
            seal = msgspec.json.decode(self.statement, type=Seal)
        except (msgspec.MsgspecError, ValueError) as error:
            raise SealError(f"this is no seal: {error}") from None
        if seal.statement() != self.statement or seal.last < seal.first:
            raise SealError("this is not what a seal looks like")
        return seal

    def hash(self) -> str:
        """Return the hash by which the next seal refers to this one."""
        return sha256(self.statement.encode()).hexdigest()

    def is_signed_by(self, keys: Collection[str]) -> bool:
        """Return True if the key that it names is one of these and made the signature."""
        key = self.seal().key
        if key not in keys:
            return False
        try:
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
            public.verify(bytes.fromhex(self.signature), self.statement.encode())
        except (InvalidSignature, ValueError):
            return False
        return True

    def without_leaves(self) -> SignedSeal:
        """Return the seal in the form that is printed and kept outside the database."""
        return msgspec.structs.replace(self, leaves=b"")


class Signer:
    """Signs with a private key of 32 bytes; ``key`` is the public one in hex."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.key = self._private.public_key().public_bytes_raw().hex()

    def __reduce__(self) -> tuple[type[Signer], tuple[bytes]]:
        return type(self), (self._seed,)

    def sign(self, seal: Seal, leaves: bytes) -> SignedSeal:
        """Return the signed seal."""
        statement = seal.statement()
        return SignedSeal(statement, self._private.sign(statement.encode()).hex(), leaves)


def parse_seals(text: bytes) -> list[SignedSeal]:
    """Return the seals of a text with one on each line, as they are printed.

    Raises `SealError` if a line is not a seal, or if there is none.
    """
    try:
        seals = [msgspec.json.decode(line, type=SignedSeal) for line in text.splitlines() if line]
    except (msgspec.MsgspecError, ValueError) as error:
        raise SealError(f"this is no signed seal: {error}") from None
    for signed in seals:
        signed.seal()
    if not seals:
        raise SealError("there is no seal in it")
    return seals


def trusted_seals(seals: Iterable[SignedSeal], organisation: str) -> dict[int, SignedSeal]:
    """Return an organisation's seals by number. Raises `SealError` if two of one number differ."""
    by_number: dict[int, SignedSeal] = {}
    for signed in seals:
        seal = signed.seal()
        if seal.organisation == organisation:
            known = by_number.setdefault(seal.number, signed)
            if known.statement != signed.statement:
                raise SealError(f"two trusted checkpoints have the number {seal.number}")
    return by_number
