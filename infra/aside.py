"""Processes for what would keep those waiting who are served: they compute when nobody else wants to."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread
from typing import TypeVarTuple, Unpack

__all__ = ["processes"]

NICE = 10
"""How much they leave to others."""

Given = TypeVarTuple("Given")


def processes(
    count: int, begin: Callable[[Unpack[Given]], object], *given: *Given
) -> ProcessPoolExecutor:
    """A pool of so many processes at low priority, that end with this one; they start when first used.

    :param begin: what each of them calls first, with what is ``given``.
    """
    return ProcessPoolExecutor(count, get_context("spawn"), _begun, (begin, *given))


def _begun(begin: Callable[[Unpack[Given]], object], *given: *Given) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    # A key that is pressed in a terminal reaches all its processes; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    begin(*given)


def _end_with_parent() -> None:
    """Nobody else ends us where the process is killed that we work for."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
