"""An event as the ledger stores it, for code that need not know its meaning."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

__all__ = ["StoredEvent"]


class StoredEvent(NamedTuple):
    """An event as the ledger stores it; ``payload`` and ``metadata`` are JSON."""

    stream: UUID
    version: int
    topic: str
    schema: int
    subject: UUID | None
    payload: bytes
    metadata: bytes
    mac: bytes = b""
    position: int = 0
    recorded_at: datetime | None = None
