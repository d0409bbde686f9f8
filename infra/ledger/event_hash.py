"""The canonical hash of a fact, as ``ledger.event_hash`` computes it in the database.

Computed here a second time so that a check of the ledger does not have to trust the database.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from infra.ledger.stored_event import StoredEvent

__all__ = ["event_hash"]

_FORM = b"crmledger.event.1"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def event_hash(organisation: str, fact: StoredEvent) -> bytes:
    """SHA-256 over all columns of a stored fact.

    One line per column, the time in microseconds since 1970 UTC, the metadata with its length in
    bytes before it, the payload last. Raises ``ValueError`` for a fact that was never recorded.
    """
    if fact.recorded_at is None:
        raise ValueError("a fact without a time has no hash")
    columns = (
        organisation,
        fact.position,
        fact.stream,
        fact.version,
        fact.topic,
        fact.schema,
        fact.subject or "",
        (fact.recorded_at - _EPOCH) // timedelta(microseconds=1),
        len(fact.metadata),
    )
    lines = [_FORM, *(str(column).encode() for column in columns), fact.metadata, fact.payload]
    return hashlib.sha256(b"\n".join(lines)).digest()
