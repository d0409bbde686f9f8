"""Proofs as documents: about one event, or about all events of one entity, against a signed seal.

Binary members are base64. Checking a proof needs only the document and a public key.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias
from uuid import UUID

import msgspec

from infra.audit.event_record import EventRecord
from infra.audit.merkle import check_inclusion
from infra.audit.seals import Seal, SealError, SignedSeal
from infra.audit.stream_tree import Completeness, check_completeness
from infra.ledger.event_hash import event_hash

__all__ = ["CompletenessProof", "InclusionProof", "Proof", "ProofError", "read_proof"]


class ProofError(ValueError):
    """A proof is not valid."""


class InclusionProof(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="form",
    tag="crmledger.inclusion.1",
):
    """The proof that an event is in the sealed ledger; ``path`` holds the hashes up to the seal's root."""

    event: EventRecord
    path: list[bytes]
    seal: SignedSeal

    def check(self, keys: Collection[str]) -> str:
        """Check the proof and return what it proves, in words. Raises `ProofError`."""
        seal = _trusted_seal(self.seal, keys)
        index, leaf = self.event.position - seal.first, _hash(seal, self.event)
        if not check_inclusion(bytes.fromhex(seal.root), leaf, index, seal.count, self.path):
            raise ProofError(
                f"the event is not at position {self.event.position} of seal {seal.number}"
            )
        return f"position {self.event.position} of {seal.organisation} is in seal {seal.number}"


class CompletenessProof(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="form",
    tag="crmledger.completeness.1",
):
    """The proof that these are all events of an entity up to the seal's last position."""

    stream: UUID
    events: list[EventRecord]
    proof: Completeness
    seal: SignedSeal

    def check(self, keys: Collection[str]) -> str:
        """Check the proof and return what it proves, in words. Raises `ProofError`."""
        seal = _trusted_seal(self.seal, keys)
        hashes = [_hash(seal, event) for event in self.events]
        ours = all(event.stream == self.stream for event in self.events)
        root = bytes.fromhex(seal.streams)
        if not ours or not check_completeness(root, self.stream, hashes, self.proof):
            raise ProofError(f"these are not all events of {self.stream} up to seal {seal.number}")
        return (
            f"{self.stream} of {seal.organisation} has these {len(hashes)} events and no others "
            f"up to position {seal.last}, seal {seal.number}"
        )


Proof: TypeAlias = InclusionProof | CompletenessProof


def read_proof(text: bytes) -> Proof:
    """Return the proof of a document. Raises `ProofError` if the document is not a proof."""
    try:
        proof: Proof = msgspec.json.decode(text, type=InclusionProof | CompletenessProof)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ProofError(f"this is no proof: {error}") from None
    return proof


def _trusted_seal(signed: SignedSeal, keys: Collection[str]) -> Seal:
    try:
        seal = signed.seal()
    except SealError as error:
        raise ProofError(str(error)) from None
    if not signed.is_signed_by(keys):
        raise ProofError(f"seal {seal.number} is not signed by a trusted public key")
    return seal


def _hash(seal: Seal, record: EventRecord) -> bytes:
    try:
        return event_hash(seal.organisation, record.event())
    except ValueError as error:
        raise ProofError(f"an event cannot be read: {error}") from None
