"""How old what is read may be, where a caller allows it to be old at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["Staleness"]


@dataclass(slots=True)
class Staleness:
    """``max_seconds`` seconds are allowed, counted back from ``now``, the moment of the call.

    ``seconds`` and ``position`` say how old the answer is at most, and up to which position it
    holds everything at least; None for an answer that is as new as the call.
    """

    max_seconds: float
    now: datetime | None = None
    seconds: float | None = None
    position: int | None = None
