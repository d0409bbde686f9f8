"""What an audit finds."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["TamperError", "TamperKind"]

TamperKind: TypeAlias = Literal["changed", "missing", "inserted", "reordered", "cut", "rewritten"]


class TamperError(Exception):
    """A ledger is not what it was; ``position`` is the first bad one, ``kind`` what happened there.

    ``rewritten`` is a seal that is not what was signed or kept: events from this position on, or their
    seals, are others.
    """

    def __init__(self, position: int, kind: TamperKind, reason: str) -> None:
        super().__init__(f"position {position}: {kind}: {reason}")
        self.position = position
        self.kind = kind
