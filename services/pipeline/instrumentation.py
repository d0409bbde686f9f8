"""The stages that a call goes through, for whoever measures them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

__all__ = ["STAGES", "StageTimer", "no_timer"]

STAGES = ("ask", "resolve", "credentials", "load", "select", "decide", "answer", "append")
"""In the order in which a call comes to them; ``credentials`` are looked at while it resolves, too."""

StageTimer: TypeAlias = Callable[[str], AbstractContextManager[Any]]
"""Given one of `STAGES`, what is entered when it begins and left when it ends, however it does."""


def no_timer(stage: str) -> AbstractContextManager[Any]:
    """Where nobody measures."""
    return nullcontext()
