"""Exponential backoff with jitter."""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["Backoff"]

MAX_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses after failures: ``first`` seconds, doubled with each failure up to ``longest``.

    Each pause is shortened by a random share, up to ``jitter``: what failed together should not come
    back together.
    """

    first: float
    longest: float
    jitter: float = 0.5

    def pause(self, failures: int, at_least: float = 0.0) -> float:
        """Return the seconds to wait after that many failures in a row.

        :param at_least: what the other side asks for; granted up to ``longest``.
        """
        doubled = self.first * 2.0 ** min(failures - 1, MAX_DOUBLINGS)
        share = random.uniform(1 - self.jitter, 1)  # noqa: S311 (no secret)
        return max(min(doubled, self.longest) * share, min(at_least, self.longest))
