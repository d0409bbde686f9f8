"""Processes of low priority, for work that would otherwise delay calls."""

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
"""The niceness of the processes."""


def low_priority_pool(count: int, initializer: Callable[[], object]) -> ProcessPoolExecutor:
    """Return a pool of ``count`` processes of low priority, which end with this one and start when used.

    :param initializer: is called first in each process.
    """
    return ProcessPoolExecutor(count, _Context(), _initialize, (initializer,))


class _Process(SpawnProcess):
    """A process with low priority from its start on, since its imports take longest."""

    def start(self) -> None:
        """Start the process."""
        super().start()
        if self.pid is not None:
            os.setpriority(os.PRIO_PROCESS, self.pid, NICENESS)


class _Context(SpawnContext):
    Process = _Process


def _initialize(initializer: Callable[[], object]) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    # Ctrl-C in a terminal reaches all processes; this one is ended by its parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    initializer()


def _end_with_parent() -> None:
    """Exit with the parent: nothing else ends this process if the parent is killed."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
