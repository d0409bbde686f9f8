"""The clock of this process; what is written is dated by the database's."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["utc_now"]


def utc_now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)
