"""The error that an audit raises."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["TamperError", "TamperKind"]

TamperKind: TypeAlias = Literal["changed", "missing", "inserted", "reordered", "cut", "rewritten"]


class TamperError(Exception):
    """A ledger is not as it was sealed; ``position`` is the first bad one, ``kind`` what happened there.

    ``rewritten`` means a seal that is not the one that was signed or kept: events from this position on,
    or their seals, were replaced.
    """

    def __init__(self, position: int, kind: TamperKind, reason: str) -> None:
        super().__init__(f"position {position}: {kind}: {reason}")
        self.position = position
        self.kind = kind
