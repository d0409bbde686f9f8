"""Processes for what would keep those waiting who are served: they compute when nobody else wants to."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import parent_process
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from threading import Thread

__all__ = ["low_priority_pool"]

NICENESS = 10
"""How much they leave to others."""


def low_priority_pool(count: int, initializer: Callable[[], object]) -> ProcessPoolExecutor:
    """A pool of so many processes at low priority, that end with this one; they start when first used.

    :param begin: what each of them calls first.
    """
    return ProcessPoolExecutor(count, _Context(), _initialize, (initializer,))


class _Process(SpawnProcess):
    """One at low priority from its first moment on: to import what it needs takes it longest."""

    def start(self) -> None:
        """Starts it."""
        super().start()
        if self.pid is not None:
            os.setpriority(os.PRIO_PROCESS, self.pid, NICENESS)


class _Context(SpawnContext):
    Process = _Process


def _initialize(initializer: Callable[[], object]) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    # A key that is pressed in a terminal reaches all its processes; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    initializer()


def _end_with_parent() -> None:
    """Nobody else ends us where the process is killed that we work for."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
