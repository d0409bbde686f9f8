"""Events as lines of JSON: exactly the columns that their hash covers, except for the organisation."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from infra.ledger.stored_event import StoredEvent

__all__ = ["EventRecord"]


class EventRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event. Metadata and payload are texts, since the hash covers their exact text."""

    position: int
    stream: UUID
    version: int
    topic: str
    schema: int
    subject: UUID | None
    recorded_at: Annotated[datetime, msgspec.Meta(tz=True)]
    metadata: str
    payload: str

    @classmethod
    def of(cls, event: StoredEvent) -> EventRecord:
        """Return the record of an event. Raises ``ValueError`` for one that was never recorded."""
        if event.recorded_at is None:
            raise ValueError("an event without a time has no line")
        return cls(
            position=event.position,
            stream=event.stream,
            version=event.version,
            topic=event.topic,
            schema=event.schema,
            subject=event.subject,
            recorded_at=event.recorded_at,
            metadata=event.metadata.decode(),
            payload=event.payload.decode(),
        )

    def event(self) -> StoredEvent:
        """Return the event of the record. Raises ``ValueError`` for a text that cannot be UTF-8."""
        return StoredEvent(
            stream=self.stream,
            version=self.version,
            topic=self.topic,
            schema=self.schema,
            subject=self.subject,
            payload=self.payload.encode(),
            metadata=self.metadata.encode(),
            position=self.position,
            recorded_at=self.recorded_at,
        )
