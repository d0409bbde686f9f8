"""``python -m tests.bench.profile``: where the time of a call goes, in the service and in PostgreSQL.

The service is watched from outside by py-spy, the server by pg_stat_statements; neither is there when
anything is measured.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import uvloop
from cyclopts import App

from infra.embedded import EmbeddedPostgres
from infra.telemetry import configure_logs
from tests.bench.examples import SENT, Example, example
from tests.bench.load import CONNECTIONS, OK, Load, loaded
from tests.bench.machine import machine
from tests.bench.pages import LATEST, LIST, filled, requests
from tests.databases import build_template, database, server
from tests.service import process

PAGE = Path(__file__).parents[2] / "docs" / "profiles.md"
CALLS = ("create", "show", "list", "get_latest")
SECONDS, RATE = 12, 400
"""How long a call is watched, and how often a second."""
LEAST = 1.5
"""Percent below which a function is not shown."""
STATEMENTS = """
SELECT query, calls, total_exec_time * 1000 AS microseconds, shared_blks_hit + shared_blks_read AS pages
  FROM pg_stat_statements
 WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
 ORDER BY total_exec_time DESC LIMIT 6
"""
HEAD = """# Profiles

Made by `.venv/bin/python -m tests.bench.profile --docs`; not written by hand. {connections} connections that are always
busy, on {processor}, {cores} processors, {at}. What limits each of our targets is in
[decision 25](decisions/0025-speed.md).

The first table of each call is the event loop's time by py-spy, in percent, with what a function does itself in brackets;
below {least}% nothing is shown. The second is PostgreSQL's own account of the same calls (pg_stat_statements): how many times a
statement was run for a call (less than once, as calls that wait share one), its time, and the pages of 8 kB that it looked at.
"""

app = App(name="python -m tests.bench.profile", help="Where the time of a call goes.")


@dataclass(slots=True)
class Node:
    """A function in its place among those that have called it, with its samples."""

    samples: int = 0
    parts: dict[str, Node] = field(default_factory=dict)

    def add(self, frames: Iterable[str], samples: int) -> None:
        """Counts one stack, outermost first."""
        node = self
        node.samples += samples
        for frame in frames:
            node = node.parts.setdefault(frame, Node())
            node.samples += samples

    def lines(self, whole: int, depth: int = 0) -> Iterator[str]:
        """The tree as text, the dearest first."""
        for name, part in sorted(self.parts.items(), key=lambda item: -item[1].samples):
            share = 100 * part.samples / whole
            if share < LEAST:
                return
            own = 100 * (part.samples - sum(p.samples for p in part.parts.values())) / whole
            yield f"{share:5.1f} ({own:4.1f}) {'  ' * depth}{name}"
            yield from part.lines(whole, depth + 1)


def tree(stacks: str) -> Node:
    """The event loop's functions out of py-spy's collapsed stacks."""
    found = Node()
    for line in stacks.splitlines():
        stack, _, samples = line.rpartition(" ")
        frames = [re.sub(r":\d+\)$", ")", frame) for frame in stack.split(";")]
        loop = next((n for n, frame in enumerate(frames) if frame.startswith("Runner.run ")), None)
        if loop is not None:
            found.add(frames[loop + 1 :], int(samples))
    return found


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
    async with database(postgres) as url, process(url, CRMLEDGER_SEAL_SECONDS="0") as service:
        given = await example(service)
        ids = [one["id"] for one in await given.created(500, SENT)]
        load = Load([given.port], await _raw(given, call, ids), OK, SECONDS)
        owner = await asyncpg.connect(url)
        try:
            await owner.execute("CREATE EXTENSION pg_stat_statements")
            await owner.execute("VACUUM ANALYZE")
            await owner.execute("SELECT pg_stat_statements_reset()")
            outcome, stacks = await asyncio.gather(loaded(load), _watched(service.pid, SECONDS))
            rows = await owner.fetch(STATEMENTS)
        finally:
            await owner.close()
    ran = outcome.rate * SECONDS
    root = tree(stacks)
    return "\n".join(
        [
            f"\n## {call}\n",
            "```text",
            *root.lines(root.samples),
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
