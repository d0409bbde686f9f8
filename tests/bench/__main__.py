"""``python -m tests.bench``: measures everything on a PostgreSQL of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import asyncpg
import msgspec
import uvloop
from cyclopts import App, Parameter
from rich.console import Console

from infra.observability.logs import configure_logs
from infra.postgres.embedded.server import EmbeddedPostgres
from tests.bench.append import append
from tests.bench.footprint import memory, start
from tests.bench.growth import growth as grown
from tests.bench.http import http
from tests.bench.latency import latency
from tests.bench.lists import lists
from tests.bench.machine import machine, settings, versions
from tests.bench.measure import Plan, Progress, ended
from tests.bench.pages import pages
from tests.bench.plot import plot
from tests.bench.processes import processes
from tests.bench.queue import queue
from tests.bench.rebuild import rebuild
from tests.bench.report import markdown, show
from tests.bench.results import Report, Table, merged
from tests.fixtures.databases import build_template, server

DOCS = Path(__file__).parents[2] / "docs"
SECTIONS: dict[str, Callable[[EmbeddedPostgres, Plan, Progress], Awaitable[list[Table]]]] = {
    "append": append,
    "http": http,
    "pages": pages,
    "queue": queue,
    "latency": latency,
    "processes": processes,
    "memory": memory,
    "start": start,
    "lists": lists,
    "growth": grown,
    "rebuild": rebuild,
}

app = App(name="python -m tests.bench", help="The benchmarks, each beside its reference.")
console = Console()


async def measure(plan: Plan, sections: list[str], progress: Progress) -> Report:
    """Runs sections on a new server; one that fails does not take the others' results with it."""
    around = machine()
    with server(durable=True) as postgres:
        await build_template(postgres)
        connection = await asyncpg.connect(postgres.url)
        used, set_to = await versions(connection), await settings(connection)
        await connection.close()
        tables, took, failed = [], {}, {}
        for name in sections:
            began = time.monotonic()
            try:
                async with ended():
                    tables += await SECTIONS[name](postgres, plan, progress)
            except Exception as error:
                console.print_exception()
                failed[name] = f"{type(error).__name__}: {error}"
            took[name] = round(time.monotonic() - began, 1)
    taken_at = datetime.now(UTC).isoformat(timespec="seconds")
    size = (plan.quick, plan.passes, plan.seconds)
    return Report(taken_at, *size, around, used, set_to, tables, took, failed)


def written(runs: list[Report]) -> bytes:
    """Runs as JSON that people can compare line by line."""
    return msgspec.json.format(msgspec.json.encode(runs), indent=1) + b"\n"


def publish(runs: list[Report]) -> None:
    """Puts runs into the page; what they have not measured stays there as it was."""
    path = DOCS / "benchmarks.json"
    published = msgspec.json.decode(path.read_bytes(), type=list[Report])
    for run in runs:
        published = merged(published, run)
    path.write_bytes(written(published))
    (DOCS / "benchmarks.md").write_text(markdown(published), encoding="utf-8")
    (DOCS / "benchmarks.svg").write_text(plot(published), encoding="utf-8")


@app.default
def main(
    *,
    quick: bool = False,
    only: Annotated[list[str] | None, Parameter(negative="")] = None,
    json: Path | None = None,
    read: Path | None = None,
    docs: bool = False,
    growth: int | None = None,
) -> None:
    """Measures, and prints tables of rates and ratios.

    Parameters
    ----------
    quick
        Fewer and shorter passes: under three minutes.
    only
        A section to run without the others (append, http, pages, queue, latency, processes, memory, start,
        lists, growth, rebuild); may be repeated.
    json
        Where to write the results.
    read
        Results of an earlier run to show in place of a new one.
    docs
        Also put the results into docs/benchmarks.md, in place of what the page had of the same tables, and into the
        plot and the file of all results beside it (benchmarks.svg and .json).
    growth
        Events of the large ledger that is compared with a small one, if not those of the plan: 10000000 take
        half an hour and 50 GB of disk.
    """
    if read:
        runs = msgspec.json.decode(read.read_bytes(), type=list[Report])
    else:
        configure_logs(level="WARNING")
        if unknown := set(only or ()) - SECTIONS.keys():
            sys.exit(f"no such section: {', '.join(sorted(unknown))} (of {', '.join(SECTIONS)})")
        plan = Plan.small() if quick else Plan()
        if growth:
            plan = replace(plan, growth=(plan.growth[0], growth))
        with console.status("starting PostgreSQL") as status:
            runs = [uvloop.run(measure(plan, only or list(SECTIONS), status.update))]
    show(runs, console)
    if json:
        json.write_bytes(written(runs))
    if docs:
        publish(runs)
    if any(run.failed for run in runs):
        sys.exit(1)


if __name__ == "__main__":
    app()
