"""``python -m tests.bench.profile``: where the time of a call goes, in the service and in PostgreSQL.

The service is watched from outside by py-spy, the server by pg_stat_statements; neither is there when
anything is measured.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import uvloop
from cyclopts import App

from infra.observability.logs import configure_logs
from infra.postgres.embedded.server import EmbeddedPostgres
from tests.bench.examples import SENT, Example, example
from tests.bench.load import CONNECTIONS, OK, Load, loaded
from tests.bench.machine import machine
from tests.bench.pages import LATEST, LIST, filled, requests
from tests.bench.stacks import LEAST, tree
from tests.fixtures.databases import build_template, database, server
from tests.fixtures.service import run_as_process

PAGE = Path(__file__).parents[2] / "docs" / "profiles.md"
CALLS = ("create", "show", "list", "get_latest")
SECONDS, RATE = 12, 400
"""How long a call is watched, and how often a second."""
STATEMENTS = """
SELECT query, calls, total_exec_time * 1000 AS microseconds, shared_blks_hit + shared_blks_read AS pages
  FROM pg_stat_statements
 WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query !~ 'pg_stat_statements|typeinfo'
 ORDER BY total_exec_time DESC LIMIT 6
"""
HEAD = """# Profiles

Made by `make profile ARGS=--docs`; not written by hand. {connections} connections that are always
busy, on {processor}, {cores} processors, {at}. What limits each of our targets is in
the [performance notes](performance-notes.md#limits).

The first table of each call is the event loop's time by py-spy, in percent, with what a function does itself in brackets;
below {least}% nothing is shown. The second is PostgreSQL's own account of the same calls (pg_stat_statements): how many times a
statement was run for a call (less than once, as calls that wait share one), its time, with that in which it waited for locks
and the disk, and the pages of 8 kB that it looked at.
"""

app = App(name="python -m tests.bench.profile", help="Where the time of a call goes.")


async def _watched(pid: int, seconds: int) -> str:
    with tempfile.NamedTemporaryFile() as file:
        spy = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "py-spy"),
            *("record", "--function", "-p", str(pid), "-d", str(seconds), "-r", str(RATE)),
            *("-f", "raw", "-o", file.name),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await spy.communicate()
        if spy.returncode:
            raise RuntimeError(said.decode().strip())
        return Path(file.name).read_text(encoding="utf-8")


async def _raw(given: Example, call: str, ids: list[str]) -> list[str]:
    if call == "create":
        return given.creates()
    if call == "show":
        return given.shows(ids)
    listed, latest = await filled(given)
    return requests(given, LIST, listed) if call == "list" else requests(given, LATEST, latest)


async def profiled(postgres: EmbeddedPostgres, call: str) -> str:
    """The profile of one call, as a section of the page."""
    async with (
        database(postgres) as url,
        run_as_process(url, CRMLEDGER_SEAL_SECONDS="0") as service,
    ):
        given = await example(service)
        ids = [one["id"] for one in await given.created(500, SENT)]
        load = Load([given.port], await _raw(given, call, ids), OK, SECONDS)
        owner = await asyncpg.connect(url)
        try:
            await owner.execute("CREATE EXTENSION pg_stat_statements")
            await owner.execute("VACUUM ANALYZE")
            await owner.execute("SELECT pg_stat_statements_reset()")
            before = await service.answered("communications/")
            _, stacks = await asyncio.gather(loaded(load), _watched(service.pid, SECONDS))
            ran = await service.answered("communications/") - before
            rows = await owner.fetch(STATEMENTS)
        finally:
            await owner.close()
    root = tree(stacks)
    return "\n".join(
        [
            f"\n## {call}\n",
            "```text",
            *root.lines(),
            "```\n",
            "| statement | times a call | µs a call | pages a call |",
            "|---|---|---|---|",
            *(
                f"| `{_short(row['query'])}` | {row['calls'] / ran:.2f} | {row['microseconds'] / ran:,.0f} "
                f"| {row['pages'] / ran:,.1f} |"
                for row in rows
            ),
        ]
    )


def _short(sql: str) -> str:
    return " ".join(sql.split())[:90].replace("|", "\\|")


async def _all(calls: tuple[str, ...]) -> list[str]:
    with server(durable=True, shared_preload_libraries="pg_stat_statements") as postgres:
        await build_template(postgres)
        return [await profiled(postgres, call) for call in calls]


@app.default
def main(*calls: str, docs: bool = False) -> None:
    """Watches calls (create, show, list, get_latest; all if none is named), and prints where their time goes.

    Parameters
    ----------
    docs
        Put it into docs/profiles.md.
    """
    configure_logs(level="WARNING")
    if unknown := set(calls) - set(CALLS):
        sys.exit(f"no such call: {', '.join(sorted(unknown))} (of {', '.join(CALLS)})")
    around = machine()
    head = HEAD.format(
        connections=CONNECTIONS,
        processor=around["processor"],
        cores=around["cores"],
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        least=LEAST,
    )
    page = head + "\n".join(uvloop.run(_all(calls or CALLS))) + "\n"
    print(page)
    if docs:
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    app()
