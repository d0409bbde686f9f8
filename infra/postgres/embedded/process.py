"""The processes and sockets of a PostgreSQL cluster: live ones, and those of which only stale files remain."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import struct
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from infra.postgres.embedded.placement import Account, EmbeddedPostgresError, chown, run_as

__all__ = [
    "PidFile",
    "choose_socket_folder",
    "is_postmaster",
    "kill_all",
    "live_server",
    "remove_socket_folder",
    "remove_stale_files",
    "signal_postmaster",
]

ANSWER_TIMEOUT = 30.0
"""Seconds within which a server that calls itself ready must answer."""
MAX_SOCKET_PATH = 103
"""The most bytes of a socket's path: 103 on macOS, 107 on Linux."""


class PidFile(NamedTuple):
    """The content of `postmaster.pid`."""

    pid: int = 0
    data_dir: str = ""
    port: int = 0
    sockets: str = ""
    status: str = ""

    @classmethod
    def read(cls, cluster: Path) -> PidFile | None:
        """Read the cluster's file, even a half-written one; return None if there is no file."""
        try:
            lines = (cluster / "postmaster.pid").read_text(errors="surrogateescape").splitlines()
        except FileNotFoundError:
            return None
        pid, data_dir, _, port, sockets, _, _, status = (*lines, *[""] * 8)[:8]
        return cls(_number(pid), data_dir, _number(port), sockets, status.strip())


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def live_server(cluster: Path) -> PidFile | None:
    """Return the live server of the cluster, after it has started or stopped; None if there is only a stale file."""
    deadline = time.monotonic() + ANSWER_TIMEOUT
    while server := PidFile.read(cluster):
        alive = is_postmaster(server.pid, cluster)
        # A copied data folder names the original's server; a server in another container has no visible pid.
        is_ours = alive or server.data_dir == str(cluster)
        if (
            is_ours
            and server.status == "ready"
            and _accepts_connections(f"{server.sockets}/.s.PGSQL.{server.port}")
        ):
            return server
        if not alive:
            return None
        if server.status != "ready":
            deadline = time.monotonic() + ANSWER_TIMEOUT
        elif time.monotonic() > deadline:
            raise EmbeddedPostgresError(
                f"the server of {cluster} (pid {server.pid}) runs but does not answer"
            )
        time.sleep(0.02)
    return None


def _accepts_connections(address: str) -> bool:
    """Return True if a server serves the socket: it answers a request for SSL with one byte, before any login."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5.0)
            client.connect(address)
            client.sendall(struct.pack("!ii", 8, 80877103))
            return client.recv(1) in (b"N", b"S")
    except OSError:
        return False


def is_postmaster(pid: int, cluster: Path) -> bool:
    """Return True if the process is alive and a server of this cluster, not another one that got the same pid."""
    process = Path("/proc") / str(pid)
    if process.parent.joinpath("self").exists():
        try:
            # The working directory of PostgreSQL's processes is the data folder. A zombie has none.
            return process.joinpath("cwd").readlink() == cluster.resolve() and _is_postgres(process)
        except OSError:
            return False
    return f"-D {cluster} " in run_as(["ps", "-ww", "-o", "command=", "-p", str(pid)], None).stdout


def _is_postgres(process: Path) -> bool:
    # "postgres (deleted)" after an upgrade of the package.
    return process.joinpath("exe").readlink().name.split()[0] in ("postgres", "postmaster")


def kill_all(cluster: Path, postmaster: int) -> None:
    """Kill the postmaster if it lives, then the children it can no longer replace.

    Without /proc the children notice by themselves that their parent is gone.
    """
    signal_postmaster(signal.SIGKILL, postmaster, cluster)
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        pids = (int(entry.name) for entry in Path("/proc").glob("[0-9]*"))
        if not [
            pid
            for pid in pids
            if pid != postmaster and signal_postmaster(signal.SIGKILL, pid, cluster)
        ]:
            return
        time.sleep(0.01)


def signal_postmaster(number: signal.Signals, pid: int, cluster: Path) -> bool:
    """Signal a process if it is a server of this cluster; return True if it was."""
    if not is_postmaster(pid, cluster):
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, number)
    return True


def remove_stale_files(cluster: Path) -> None:
    """Remove the files and processes that a dead server left.

    PostgreSQL itself considers stale files live if their pid now belongs to another of our processes, and refuses to
    start while a backend outlives its postmaster. Recovery follows anyway, so the backend may be killed.
    """
    server = PidFile.read(cluster)
    if server:
        kill_all(cluster, server.pid)
        if server.data_dir == str(cluster):
            remove_socket_folder(server.sockets)
        for path in (cluster / "postmaster.pid", *cluster.glob(".s.PGSQL.*")):
            path.unlink(missing_ok=True)


def choose_socket_folder(cluster: Path, port: int, account: Account | None) -> str:
    """Return the cluster itself, or a new private folder if its path is too long or would need quoting."""
    path = f"{cluster}/.s.PGSQL.{port}"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH and re.fullmatch(r"[A-Za-z0-9_./-]+", path):
        return str(cluster)
    # Not TMPDIR, which may be long as well.
    folder = Path(tempfile.mkdtemp(prefix="crmledger-", dir="/tmp"))
    chown(folder, account)
    return str(folder)


def remove_socket_folder(folder: str) -> None:
    """Remove the folder if `choose_socket_folder` made it."""
    if re.fullmatch(r"/tmp/crmledger-\w+", folder):
        shutil.rmtree(folder, ignore_errors=True)
