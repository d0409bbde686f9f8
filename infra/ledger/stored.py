"""A fact as it stands in the ledger, for whoever reads it without knowing what facts mean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

__all__ = ["StoredFact"]


@dataclass(frozen=True, slots=True)
class StoredFact:
    """A fact as the ledger holds it; ``payload`` and ``metadata`` are JSON."""

    stream: UUID
    version: int
    topic: str
    schema: int
    subject: UUID | None
    payload: bytes
    metadata: bytes
    position: int = 0
    recorded_at: datetime | None = None
