"""The message authentication codes of events: only who has the service key can write an event.

Its hash proves to anyone that an event was not changed since it was sealed; its MAC proves to the
service that it wrote the event itself. So it covers what the service decides, all but the position and
the time of recording, which the database gives; the seals cover those.
"""

from __future__ import annotations

from collections.abc import Iterable

from infra.encryption import KeyRing
from infra.ledger.stored_event import StoredEvent

__all__ = ["UnauthenticEventError", "event_mac", "is_authentic", "require_authentic"]

_FORM = b"crmledger.event-mac.1"


class UnauthenticEventError(ValueError):
    """No listed service key has written an event as it is stored: it is never acted on."""

    def __init__(self, event: StoredEvent) -> None:
        super().__init__(event)
        self.event = event

    def __str__(self) -> str:
        event = self.event
        return f"{event.topic} at {event.stream}/{event.version}: it was not written with the service key"


def event_mac(ring: KeyRing, organisation: str, event: StoredEvent) -> bytes:
    """Return the MAC of an event under the current service key, with the key's id: 40 bytes."""
    return ring.events.mac(_message(organisation, event))


def is_authentic(ring: KeyRing, organisation: str, event: StoredEvent) -> bool:
    """Return True if the MAC of a stored event is that of a listed service key."""
    return ring.events.is_mac(event.mac, _message(organisation, event))


def require_authentic(ring: KeyRing, organisation: str, events: Iterable[StoredEvent]) -> None:
    """Raise `UnauthenticEventError` for the first event that was not written with the service key."""
    for event in events:
        if not is_authentic(ring, organisation, event):
            raise UnauthenticEventError(event)


def _message(organisation: str, event: StoredEvent) -> bytes:
    """Return the canonical form: a line for each column, the metadata with its length, the payload last."""
    columns = (
        organisation,
        event.stream,
        event.version,
        event.topic,
        event.schema,
        event.subject or "",
        len(event.metadata),
    )
    lines = [_FORM, *(str(column).encode() for column in columns), event.metadata, event.payload]
    return b"\n".join(lines)
