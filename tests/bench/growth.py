"""Growth: what an append and a show take in a small ledger, and in one that is many times as large."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from infra.postgres.embedded.server import EmbeddedPostgres
from tests.bench.append import ours
from tests.bench.clones import cloned
from tests.bench.examples import Life, caught, shows
from tests.bench.load import CONNECTIONS, OK, loading
from tests.bench.measure import Cell, Plan, Progress, Run, measured
from tests.bench.results import SLOWER, Outcome, Table
from tests.fixtures.databases import database
from tests.fixtures.service import Api, run_as_process

__all__ = ["growth"]

WRITERS = 16
SHOWN = 5000
"""Communications that are shown in turn, drawn from all of them."""
NOTE = (
    "One organisation's ledger of {small:,} events and one of {large:,} to begin with, two for each "
    "communication, made of copies with ids, numbers and codes of their own. {what}"
)
APPEND = f"{WRITERS} writers append an event with its documents to the ledger."
SHOW = f"{CONNECTIONS} connections show communications over HTTP, drawn from the whole ledger."


@dataclass(frozen=True, slots=True)
class Grown:
    """A service on a ledger of some size."""

    url: str
    port: int
    life: Life
    requests: list[str]


async def growth(postgres: EmbeddedPostgres, plan: Plan, progress: Progress) -> list[Table]:
    """The tables of appends and of shows."""
    async with AsyncExitStack() as stack:
        sizes = {}
        for name, events in zip(("small", "large"), plan.growth, strict=True):
            progress(f"Growth: writing {events:,} events")
            sizes[name] = await stack.enter_async_context(_grown(postgres, events))
        appends = {
            name: ours(at.url, at.life.received, at.life.organisation, WRITERS, "documents")
            for name, at in sizes.items()
        }
        requests = {name: loading(at.port, at.requests, OK) for name, at in sizes.items()}
        return [
            await _measured(plan, progress, "append", appends, APPEND),
            await _measured(plan, progress, "show", requests, SHOW),
        ]


@asynccontextmanager
async def _grown(postgres: EmbeddedPostgres, events: int) -> AsyncIterator[Grown]:
    async with database(postgres) as url:
        life = await caught(url)
        ids = await cloned(url, life.organisation, life.stream, events // 2)
        # Sealing would read all of it meanwhile, and nobody has vouched for copies.
        async with run_as_process(url, CRMLEDGER_SEAL_SECONDS="0") as service:
            api = Api(service, life.organisation)
            api.token = await api.login()
            drawn = random.Random(1).choices(ids, k=SHOWN)
            port = urlsplit(service.url).port or 0
            yield Grown(url, port, life, shows(api, drawn))


async def _measured(
    plan: Plan, progress: Progress, name: str, runs: dict[str, Run], what: str
) -> Table:
    small, large = plan.growth
    cells = [
        Cell("small", f"at {small:,} events", _times(runs["small"])),
        Cell("large", f"at {large:,} events", _times(runs["large"]), ours=True),
    ]
    note = NOTE.format(small=small, large=large, what=what)
    title = f"Growth: {name} in a large ledger"
    return await measured(plan, progress, f"growth-{name}", title, "µs a call", cells, note, SLOWER)


def _times(run: Run) -> Run:
    """The time that a call takes of the whole, in place of a rate."""

    async def timed(seconds: float) -> Outcome:
        found = await run(seconds)
        return Outcome(1e6 / found.rate, found.p50, found.p99)

    return timed
