"""Diagnoses a position whose event is not the one that was sealed there.

An event's hash covers its position, so the hash of an event that was moved and hashed anew is another one.
But the event is recognised by its hash for the position where it was sealed.
"""

from __future__ import annotations

from collections.abc import Mapping

from infra.audit.errors import TamperError, TamperKind
from infra.ledger.event_hash import event_hash
from infra.ledger.stored_event import StoredEvent

__all__ = ["TamperDiagnosis"]


class TamperDiagnosis:
    """A position with a wrong event; takes the events that follow, then says what happened.

    :param sealed: the sealed hashes of the range by position; empty if they are unknown.
    :param event: the event that stands at the position.
    """

    def __init__(
        self, organisation: str, position: int, sealed: Mapping[int, bytes], event: StoredEvent
    ) -> None:
        self._organisation = organisation
        self._position = position
        self._sealed_hash = sealed.get(position)
        self._found_position = event.position
        self._moved_from = next(
            (q for q, hash_ in sealed.items() if q > position and self._hash(event, q) == hash_),
            None,
        )
        """The position where the event that stands here was sealed, if it is a later one of the range."""
        self._last_seen = position
        self._moved_to: int | None = None
        """The later position at which the event that was sealed here stands, if any."""

    def observe(self, event: StoredEvent) -> None:
        """Take the event that follows."""
        self._last_seen += 1
        if self._moved_to is None and (self._hash(event, self._position) == self._sealed_hash):
            self._moved_to = self._last_seen

    def diagnose(self) -> TamperError:
        """Return what happened, as far as the range shows."""
        moved = self._moved_from is not None or self._found_position > self._position
        if self._moved_to is not None and moved:
            return self._error("reordered", f"its event stands at {self._moved_to}")
        if self._moved_to is not None:
            return self._error("inserted", f"its event has moved to {self._moved_to}")
        if moved:
            return self._error(
                "missing", f"the event of {self._moved_from or self._found_position} stands here"
            )
        return self._error("changed", "the event is not the one that was sealed")

    def _hash(self, event: StoredEvent, position: int) -> bytes:
        return event_hash(self._organisation, event._replace(position=position))

    def _error(self, kind: TamperKind, reason: str) -> TamperError:
        return TamperError(self._position, kind, reason)
