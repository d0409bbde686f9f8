"""The files that we keep beside an embedded cluster: locks and the server's log."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["MAX_LOG_BYTES", "lock_directory", "open_log", "open_private"]

MAX_LOG_BYTES = 8 << 20
"""A log of more bytes is renamed to ``server.log.1``, and a new one is begun."""


def open_private(path: Path) -> int:
    """Open a private file in the data folder; one made by root belongs to the folder's owner."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.fchown(handle, folder.st_uid, folder.st_gid)
    return handle


@contextmanager
def lock_directory(data_dir: Path) -> Iterator[None]:
    """Keep other programs from starting or stopping the server of this folder meanwhile."""
    handle = open_private(data_dir / "lock")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def open_log(data_dir: Path) -> int:
    """Open the server's log for appending."""
    path = data_dir / "server.log"
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return open_private(path)
