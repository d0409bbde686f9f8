"""A profiler's collapsed stacks as a tree of functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

__all__ = ["LEAST", "Node", "tree"]

LEAST = 1.5
"""Percent below which a function is not shown."""

RUNNER = "Runner.run (asyncio/runners.py)"
LOOP = "the event loop itself, with its calls of the system"


@dataclass(slots=True)
class Node:
    """A function in its place among those that have called it, with its samples."""

    samples: int = 0
    parts: dict[str, Node] = field(default_factory=dict)

    def add(self, frames: Iterable[str], samples: int) -> None:
        """Counts one stack, outermost first."""
        node = self
        node.samples += samples
        for frame in frames:
            node = node.parts.setdefault(frame, Node())
            node.samples += samples

    def lines(self, whole: int = 0, depth: int = 0) -> Iterator[str]:
        """The tree as text, the dearest first: its share in percent of the whole, and what is its own of that."""
        whole = whole or self.samples
        for name, part in sorted(self.parts.items(), key=lambda item: -item[1].samples):
            share = 100 * part.samples / whole
            if share < LEAST:
                return
            own = 100 * (part.samples - sum(p.samples for p in part.parts.values())) / whole
            yield f"{share:5.1f} ({own:4.1f}) {'  ' * depth}{name}"
            yield from part.lines(whole, depth + 1)


def tree(stacks: str) -> Node:
    """The event loop's functions out of py-spy's collapsed stacks."""
    found = Node()
    for line in stacks.splitlines():
        stack, _, samples = line.rpartition(" ")
        frames = [re.sub(r":\d+\)$", ")", frame) for frame in stack.split(";")]
        loop = next((n for n, frame in enumerate(frames) if frame == RUNNER), None)
        if loop is not None:
            found.add(frames[loop + 1 :] or [LOOP], int(samples))
    return found
