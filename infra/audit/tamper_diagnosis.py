"""What became of a position whose event is not the one that was sealed there.

An event's hash covers its position, so an event that was moved and hashed anew is no longer known by its
hash. But it is known again when it is hashed for the position where it was sealed.
"""

from __future__ import annotations

from collections.abc import Mapping

from infra.audit.errors import Kind, TamperError
from infra.ledger.event_hash import event_hash
from infra.ledger.stored_event import StoredEvent

__all__ = ["TamperDiagnosis"]


class TamperDiagnosis:
    """A position with a wrong event; takes the events that follow, then says what has happened.

    :param sealed: the sealed hashes of the range by position; empty if they are not known.
    :param event: what stands there.
    """

    def __init__(
        self, organisation: str, position: int, sealed: Mapping[int, bytes], event: StoredEvent
    ) -> None:
        self._organisation = organisation
        self._position = position
        self._wanted = sealed.get(position)
        self._stands = event.position
        self._from = next(
            (q for q, hash_ in sealed.items() if q > position and self._hash(event, q) == hash_),
            None,
        )
        """Where the event that stands here was sealed, if it was later in the range."""
        self._seen = position
        self._at: int | None = None
        """Where the event that was sealed here stands, if it follows."""

    def then(self, event: StoredEvent) -> None:
        """Takes the event that follows."""
        self._seen += 1
        if self._at is None and (self._hash(event, self._position) == self._wanted):
            self._at = self._seen

    def diagnose(self) -> TamperError:
        """What has happened, as far as the range shows."""
        moved = self._from is not None or self._stands > self._position
        if self._at is not None and moved:
            return self._says("reordered", f"its event stands at {self._at}")
        if self._at is not None:
            return self._says("inserted", f"its event has moved to {self._at}")
        if moved:
            return self._says("missing", f"the event of {self._from or self._stands} stands here")
        return self._says("changed", "the event is not the one that was sealed")

    def _hash(self, event: StoredEvent, position: int) -> bytes:
        return event_hash(self._organisation, event._replace(position=position))

    def _says(self, kind: Kind, why: str) -> TamperError:
        return TamperError(self._position, kind, why)
