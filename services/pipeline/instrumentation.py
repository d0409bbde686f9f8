"""The stages of a call, to be measured."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

__all__ = ["STAGES", "StageTimer", "no_timer"]

STAGES = ("ask", "resolve", "credentials", "load", "select", "decide", "answer", "append")
"""In the order of a call; ``credentials`` are checked within ``resolve``, too."""

StageTimer: TypeAlias = Callable[[str], AbstractContextManager[Any]]
"""Takes one of `STAGES` and returns the context manager that encloses it."""


def no_timer(stage: str) -> AbstractContextManager[Any]:
    """Measure nothing."""
    return nullcontext()
