"""The canonical hash of an event, as ``ledger.event_hash`` computes it in the database.

It is computed here, too, so that a check of the ledger need not trust the database.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from infra.ledger.stored_event import StoredEvent

__all__ = ["event_hash"]

_FORM = b"crmledger.event.1"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def event_hash(organisation: str, event: StoredEvent) -> bytes:
    """Return SHA-256 over all columns of a stored event.

    One line per column, the time in microseconds since 1970 UTC, the metadata with its length in
    bytes before it, the payload last. Raises ``ValueError`` for an event that was never recorded.
    """
    if event.recorded_at is None:
        raise ValueError("an event without a time has no hash")
    columns = (
        organisation,
        event.position,
        event.stream,
        event.version,
        event.topic,
        event.schema,
        event.subject or "",
        (event.recorded_at - _EPOCH) // timedelta(microseconds=1),
        len(event.metadata),
    )
    lines = [_FORM, *(str(column).encode() for column in columns), event.metadata, event.payload]
    return hashlib.sha256(b"\n".join(lines)).digest()
