"""The staleness that a caller allows a read, and that the answer has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["Staleness"]


@dataclass(slots=True)
class Staleness:
    """``max_seconds`` are allowed, counted back from ``now``, the moment of the call.

    ``seconds`` is the greatest possible age of the answer and ``position`` the last one that it
    certainly includes; None for an answer that is as new as the call.
    """

    max_seconds: float
    now: datetime | None = None
    seconds: float | None = None
    position: int | None = None
