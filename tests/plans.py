"""Plans of PostgreSQL as ``EXPLAIN (FORMAT JSON)`` tells them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["nodes"]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node of a plan and all those below it."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)
