"""The embedded PostgreSQL through everything that happens to a server on somebody's machine."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

from infra.postgres.embedded.placement import locate_cluster, wheel_binaries
from infra.postgres.embedded.process import PidFile, is_postmaster, kill_all
from infra.postgres.embedded.server import EmbeddedPostgres, EmbeddedPostgresError, system_postgres
from tests.fixtures import databases

REPOSITORY = Path(__file__).parents[2]
PROGRAM = """
import sys, time
from pathlib import Path
from infra.postgres.embedded.server import EmbeddedPostgres
data_dir, binaries, seconds = sys.argv[1:]
with EmbeddedPostgres.start(Path(data_dir), binaries=Path(binaries) if binaries else None) as server:
    print(server.pid, server.adopted, flush=True)
    time.sleep(int(seconds))
"""
BUSY = "SELECT count(*) FROM generate_series(1, 100000000000) AS endless"
IS_BUSY = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '%AS endless' AND state = 'active')"


class Server(NamedTuple):
    """A data folder and the binaries to start it with."""

    home: Path
    binaries: Path | None

    def start(self, **arguments: Any) -> EmbeddedPostgres:
        return EmbeddedPostgres.start(self.home, binaries=self.binaries, **arguments)

    def program(self) -> subprocess.Popen[str]:
        """Another program that uses the same folder for a minute."""
        command = [sys.executable, "-c", PROGRAM, str(self.home), str(self.binaries or ""), "60"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)

    @property
    def cluster(self) -> Path:
        return locate_cluster(self.home).cluster


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    """Making a cluster takes most of a test's time, so tests share one of each kind."""
    with databases.folder() as path:
        yield path


@pytest.fixture(params=["embedded", "system"])
def either(request: pytest.FixtureRequest, shared: Path) -> Iterator[Server]:
    binaries = None if request.param == "embedded" else system_postgres()
    if request.param == "system" and not binaries:
        pytest.skip("no PostgreSQL is installed on this system")
    yield from left_alone(Server(shared / request.param, binaries))


@pytest.fixture
def embedded(shared: Path) -> Iterator[Server]:
    yield from left_alone(Server(shared / "embedded", None))


@pytest.fixture
def fresh() -> Iterator[Path]:
    with databases.folder() as path:
        yield path


def left_alone(server: Server) -> Iterator[Server]:
    server.home.mkdir(exist_ok=True, mode=0o711)
    yield server
    # A test that failed must not hand its server to the next one.
    if left := PidFile.read(server.cluster):
        kill_all(server.cluster, left.pid)


async def value(server: EmbeddedPostgres, query: str) -> object:
    connection = await asyncpg.connect(server.url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def sockets(server: EmbeddedPostgres) -> Path:
    return Path(server.url.partition("?host=")[2].partition("&")[0])


async def test_serves_what_we_promise(either: Server) -> None:
    with either.start() as server:
        assert not server.adopted
        promised = {
            "fsync": "on",
            "listen_addresses": "",
            "server_encoding": "UTF8",
            "shared_preload_libraries": "pg_stat_statements",
            "synchronous_commit": "on",
            "TimeZone": "UTC",
        }
        assert {name: await value(server, f"SHOW {name}") for name in promised} == promised
        assert (
            await value(server, "SELECT datcollate FROM pg_database WHERE datname = 'postgres'")
            == "C.UTF-8"
        )
    assert not is_postmaster(server.pid, either.cluster)


async def test_only_its_user_can_open_the_socket(embedded: Server) -> None:
    with embedded.start() as server:
        assert sockets(server) == embedded.cluster
        assert stat.S_IMODE(embedded.cluster.stat().st_mode) == 0o700


async def test_libpq_takes_the_url(embedded: Server) -> None:
    with embedded.start() as server:
        command = [str(wheel_binaries() / "psql"), server.url, "-Atc", "SELECT 40 + 2"]
        assert subprocess.check_output(command, text=True) == "42\n"


async def test_data_outlive_a_stop(either: Server) -> None:
    with either.start() as server:
        await value(server, "CREATE TABLE stopped AS SELECT 7 AS number")
    with either.start(port=6000, options={"max_connections": "33"}) as server:
        assert await value(server, "SELECT number FROM stopped") == 7
        assert await value(server, "SHOW max_connections") == "33"
        assert server.url.endswith("&port=6000")


async def test_committed_data_outlive_a_crash(either: Server) -> None:
    server = either.start()
    await value(server, "CREATE TABLE crashed AS SELECT 7 AS number")
    server.kill()
    place = str(either.cluster)
    stale = PidFile(server.pid, place, 5432, place, "ready")
    assert PidFile.read(either.cluster) == stale, "without a stale file the rest proves nothing"
    with either.start() as again:
        assert (again.adopted, again.pid != server.pid) == (False, True)
        assert await value(again, "SELECT number FROM crashed") == 7


async def test_a_stale_pid_that_a_stranger_has_now(embedded: Server) -> None:
    server = embedded.start()
    server.kill()
    owner = embedded.cluster.stat()
    identity: dict[str, Any] = (
        {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
    )
    with subprocess.Popen(["sleep", "60"], cwd="/", **identity) as stranger:
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            file = embedded.cluster / name
            file.write_text(file.read_text().replace(str(server.pid), str(stranger.pid), 1))
        with embedded.start() as again:
            assert await value(again, "SELECT 1") == 1
        assert stranger.poll() is None
        stranger.kill()


async def test_a_backend_that_outlives_its_postmaster(embedded: Server) -> None:
    server = embedded.start()
    command = [str(wheel_binaries() / "psql"), server.url, "-c", BUSY]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as client:
        while not await value(server, IS_BUSY):
            await asyncio.sleep(0.01)
        os.kill(server.pid, signal.SIGKILL)
        with embedded.start() as again:
            assert (await value(again, "SELECT 1"), await value(again, IS_BUSY)) == (1, False)
        assert client.wait(60) != 0
    server.stop()


async def test_adopts_the_server_of_a_killed_program(either: Server) -> None:
    with either.program() as child:
        assert child.stdout
        pid = int(child.stdout.readline().split()[0])
        child.kill()
    with either.start() as server:
        assert (server.adopted, server.pid) == (True, pid)
        assert await value(server, "SELECT 1") == 1
    assert not is_postmaster(pid, either.cluster)


async def test_the_last_of_its_users_stops_it(embedded: Server) -> None:
    first = embedded.start()
    second = embedded.start()
    assert (second.adopted, second.url) == (True, first.url)
    first.stop()
    first.stop()
    assert await value(second, "SELECT 1") == 1
    second.stop()
    assert not is_postmaster(first.pid, embedded.cluster)


async def test_whoever_stops_last_stops_the_server_started_after_a_crash(embedded: Server) -> None:
    first = embedded.start()
    os.kill(first.pid, signal.SIGKILL)
    second = embedded.start()
    assert (second.adopted, second.pid != first.pid) == (False, True)
    second.stop()
    assert is_postmaster(second.pid, embedded.cluster)
    first.stop()
    assert not is_postmaster(second.pid, embedded.cluster)


async def test_two_programs_started_at_once(embedded: Server) -> None:
    children = [embedded.program() for _ in range(2)]
    try:
        with ThreadPoolExecutor() as pool:
            lines = list(pool.map(lambda child: child.stdout.readline().split(), children))
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert lines[0][0] == lines[1][0]
    assert sorted(adopted for _, adopted in lines) == ["False", "True"]
    with embedded.start() as server:
        assert str(server.pid) == lines[0][0]


async def test_a_copied_folder_is_another_server(embedded: Server, fresh: Path) -> None:
    with embedded.start() as server:
        subprocess.check_call(["cp", "-a", embedded.home, fresh / "copy"])
        with EmbeddedPostgres.start(fresh / "copy") as copy:
            assert (copy.adopted, copy.pid != server.pid) == (False, True)
        assert await value(server, "SELECT 1") == 1


@pytest.mark.parametrize("name", ["long" * 30, "a b,c'ü%"])
async def test_paths_that_no_socket_can_have(fresh: Path, name: str) -> None:
    with EmbeddedPostgres.start(fresh / name) as server:
        assert await value(server, "SELECT 1") == 1
        short = sockets(server)
        assert (stat.S_IMODE(short.stat().st_mode), len(str(short)) < 40) == (0o700, True)
    assert not short.exists()
    server = EmbeddedPostgres.start(fresh / name)
    server.kill()
    assert sockets(server).exists()
    with EmbeddedPostgres.start(fresh / name) as again:
        assert await value(again, "SELECT 1") == 1
    assert not sockets(server).exists()


async def test_a_refused_start_says_why_and_spoils_nothing(embedded: Server) -> None:
    with pytest.raises(EmbeddedPostgresError, match='invalid value for parameter "shared_buffers"'):
        embedded.start(options={"shared_buffers": "many"})
    with embedded.start() as server:
        assert await value(server, "SELECT 1") == 1


async def test_variables_of_other_clients_do_not_matter(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        for name in ("PGDATA", "PGPORT", "PGUSER", "PGHOST", "PGOPTIONS", "LC_ALL", "LANG"):
            patch.setenv(name, "nonsense")
        server = EmbeddedPostgres.start(fresh)
    with server:
        assert await value(server, "SHOW lc_messages") == "C.UTF-8"


def test_a_system_server_is_new_enough() -> None:
    binaries = system_postgres()
    if not binaries:
        pytest.skip("no PostgreSQL is installed on this system")
    version = subprocess.check_output([binaries / "postgres", "--version"], text=True)
    assert int(version.split()[2].partition(".")[0]) >= 15
