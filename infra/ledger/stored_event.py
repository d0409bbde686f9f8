"""An event as it stands in the ledger, for whoever reads it without knowing what events mean."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

__all__ = ["StoredEvent"]


class StoredEvent(NamedTuple):
    """An event as the ledger holds it; ``payload`` and ``metadata`` are JSON."""

    stream: UUID
    version: int
    topic: str
    schema: int
    subject: UUID | None
    payload: bytes
    metadata: bytes
    position: int = 0
    recorded_at: datetime | None = None
