"""Verifies that a ledger is as it was sealed: takes events and seals, finds the first bad position.

Neither database nor bundle is trusted: every hash is computed here. No input or output: ``audit verify``
and the stand-alone verifier differ only in where events and seals come from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from infra.audit.errors import TamperError
from infra.audit.merkle import root_of
from infra.audit.seals import NO_PREVIOUS, Seal, SealError, SignedSeal
from infra.audit.stream_tree import BUCKET, StreamHead, StreamTree
from infra.audit.tamper_diagnosis import TamperDiagnosis
from infra.ledger.event_hash import event_hash
from infra.ledger.stored_event import StoredEvent

__all__ = ["SealVerifier"]


class SealVerifier:
    """Takes seals in their order, after each the events of its range, and then those without a seal.

    :param organisation: the owner of the ledger.
    :param keys: the trusted public keys.
    :param outside: seals that were kept elsewhere, by number.
    :param since: the first seal to come, if verification does not begin with the ledger: then the earlier
        seals are assumed to be right, and the stream heads of seals are not verified.

    Every method raises `TamperError` for the first deviation; the verifier is of no use afterwards.
    """

    def __init__(
        self,
        organisation: str,
        keys: Collection[str],
        outside: Mapping[int, SignedSeal],
        since: Seal | None = None,
    ) -> None:
        self.organisation = organisation
        self.position = since.first - 1 if since else 0
        """The last verified position."""
        self.seals = since.number - 1 if since else 0
        """The number of the last verified seal."""
        self.sealed = self.position
        """The last verified position that is sealed."""
        self.from_genesis = since is None or since.number == 1
        self._keys = keys
        self._outside = outside
        self._previous_hash = since.former if since else NO_PREVIOUS
        self._sealed_at: datetime | None = None
        self._recorded_at: datetime | None = None
        self._streams = StreamTree()
        self._current: _Range | None = None
        self._reissued: TamperError | None = None
        trusted = outside.get(self.seals)
        if trusted is not None and trusted.hash() != self._previous_hash:
            raise TamperError(
                self.position, "rewritten", "the previous seal is not the trusted checkpoint"
            )

    @property
    def remaining(self) -> int:
        """The number of events of the current seal that are still to come."""
        return self._current.remaining if self._current else 0

    def seal(self, signed: SignedSeal) -> None:
        """Take the next seal. Its events come next, then `close`."""
        try:
            seal = signed.seal()
        except SealError as error:
            raise TamperError(
                self.position + 1, "rewritten", f"seal {self.seals + 1}: {error}"
            ) from None
        self._check_sequence(seal)
        self._check_authenticity(seal, signed)
        leaves = [signed.leaves[at : at + 32] for at in range(0, len(signed.leaves), 32)]
        fits = len(leaves) == seal.count and root_of(leaves).hex() == seal.root
        self._current = _Range(seal, leaves if fits else None)
        self._previous_hash = signed.hash()
        self._sealed_at = seal.sealed_at

    def event(self, event: StoredEvent, stored: bytes | None = None) -> None:
        """Take the next event, and its stored hash if there is one."""
        current, expected = self._current, self.position + 1
        if current is not None and current.count(event):
            return
        hash_ = event_hash(self.organisation, event)
        sealed = current.leaf(expected) if current else None
        if current is not None and (event.position != expected or sealed not in {None, hash_}):
            current.suspect = TamperDiagnosis(
                self.organisation, expected, current.hashes_by_position(), event
            )
            return
        if event.position != expected:
            raise TamperError(expected, "missing", f"{event.position} stands in its place")
        if stored not in {None, hash_}:
            raise TamperError(expected, "changed", "the stored hash does not fit")
        self._check_order(event)
        self._accept(event, hash_)

    def close(self) -> None:
        """Verify the current seal; all of its events have come."""
        assert self._current is not None
        current, self._current = self._current, None
        seal = current.seal
        if current.suspect is not None:
            raise current.suspect.diagnose()
        if self.position < seal.last:
            reason = f"nothing stands there; seal {seal.number} reaches to {seal.last}"
            raise TamperError(self.position + 1, "cut", reason)
        if current.leaves is None:
            same = root_of(current.hashes).hex() == seal.root
            raise TamperError(seal.first, "rewritten", current.mismatch_reason(same=same))
        if self.from_genesis and self._streams.rehash(current.buckets).hex() != seal.streams:
            reason = (
                f"seal {seal.number} says otherwise how far the entities had come at {seal.last}"
            )
            raise TamperError(seal.last, "rewritten", reason)
        self.seals, self.sealed = seal.number, seal.last

    def finish(self) -> None:
        """Verify the end of the ledger; all events and seals have come."""
        for number in sorted(self._outside):
            if number > self.seals:
                seal = self._outside[number].seal()
                position = (self.position if self.position < seal.last else self.sealed) + 1
                reason = f"seal {number}, a trusted checkpoint, reaches to {seal.last} and is not among the seals"
                raise TamperError(position, "cut", reason)
        if self._reissued is not None:
            raise self._reissued

    def _check_sequence(self, seal: Seal) -> None:
        first = self.position + 1
        if seal.organisation != self.organisation:
            raise TamperError(first, "rewritten", f"a seal of {seal.organisation!r} stands here")
        if seal.number != self.seals + 1:
            raise TamperError(
                first, "missing", f"seal {self.seals + 1} is missing: {seal.number} follows"
            )
        if seal.first != first or seal.former != self._previous_hash:
            raise TamperError(
                first, "rewritten", f"seal {seal.number} does not follow the former one"
            )
        if self._sealed_at and seal.sealed_at < self._sealed_at:
            raise TamperError(
                first, "rewritten", f"seal {seal.number} is older than the former one"
            )

    def _check_authenticity(self, seal: Seal, signed: SignedSeal) -> None:
        trusted = self._outside.get(seal.number)
        if trusted is not None and trusted.statement != signed.statement:
            reason = f"seal {seal.number}, up to {seal.last}, is not the trusted checkpoint"
            reissued, trusted_seal = TamperError(seal.first, "rewritten", reason), trusted.seal()
            if (trusted_seal.first, trusted_seal.last, trusted_seal.root) != (
                seal.first,
                seal.last,
                seal.root,
            ):
                raise reissued
            # Its events are the same: a later seal may locate a difference more precisely.
            self._reissued = self._reissued or reissued
        if not signed.is_signed_by(self._keys):
            problem = "signature does not fit" if seal.key in self._keys else "key is not known"
            raise TamperError(seal.first, "rewritten", f"seal {seal.number}: its {problem}")

    def _previous_head(self, event: StoredEvent) -> StreamHead:
        """Return the head of the event's stream before the event."""
        head = self._streams.head(event.stream)
        if head.version or self.from_genesis:
            return head
        return StreamHead(event.stream, event.version - 1)

    def _check_order(self, event: StoredEvent) -> None:
        before = self._previous_head(event).version
        if event.version != before + 1:
            reason = f"version {event.version} of {event.stream} follows version {before}"
            raise TamperError(event.position, "changed", reason)
        if self._recorded_at and event.recorded_at and event.recorded_at < self._recorded_at:
            raise TamperError(event.position, "changed", "it was recorded before the former one")

    def _accept(self, event: StoredEvent, hash_: bytes) -> None:
        self.position, self._recorded_at = event.position, event.recorded_at
        head = self._previous_head(event).append(hash_)
        self._streams.put(head)
        if self._current is not None:
            self._current.hashes.append(hash_)
            self._current.buckets.add(head.key[:BUCKET])


class _Range:
    """The range of the current seal: what was sealed there, and what stands there."""

    def __init__(self, seal: Seal, leaves: list[bytes] | None) -> None:
        self.seal = seal
        self.leaves = leaves
        """The sealed hashes of its events; None if those stored with the seal do not yield its root."""
        self.remaining = seal.count
        self.hashes: list[bytes] = []
        self.buckets: set[bytes] = set()
        self.suspect: TamperDiagnosis | None = None

    def count(self, event: StoredEvent) -> bool:
        """Count an event; return True if it only serves the diagnosis of an earlier one."""
        self.remaining -= 1
        if self.suspect is not None:
            self.suspect.observe(event)
        return self.suspect is not None

    def leaf(self, position: int) -> bytes | None:
        """Return the sealed hash of a position; None if it is unknown."""
        return self.leaves[position - self.seal.first] if self.leaves else None

    def hashes_by_position(self) -> Mapping[int, bytes]:
        """Return the sealed hashes by position."""
        return dict(enumerate(self.leaves or (), self.seal.first))

    def mismatch_reason(self, *, same: bool) -> str:
        """Return the reason of the error if the hashes stored with the seal do not yield its root."""
        reason = (
            f"seal {self.seal.number}, up to {self.seal.last}: the hashes kept with it were changed"
        )
        return f"{reason}, its events were not" if same else f"{reason}, and so were events"
