"""The projection of readings of history, which have no row in any view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from domain.history_access import Access
from services.projections import Projection, projection

__all__: list[str] = []


@projection(Access)
def access(access: Access, settings: Mapping[str, Any], zone: ZoneInfo) -> Projection:
    """A reading: no rows, and its members for the history."""
    return Projection(extra={"method": access.method, "about": access.about})
