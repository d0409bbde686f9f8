"""Appending: our ledger beside three others, one event a command."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import asyncpg

from infra.encryption import KeyRing
from infra.ledger.mapper import to_payload
from infra.postgres.embedded.server import EmbeddedPostgres
from infra.postgres.pool import ConnectionPool
from infra.store.postgres_store import PostgresStore
from services.ports import Commit
from tests.bench.append_references import Sample, function_call, library, pgbench
from tests.bench.examples import Life, caught, events_only, fresh
from tests.bench.measure import Cell, Plan, Progress, Run, in_tasks, measured
from tests.bench.results import Outcome, Table
from tests.fixtures.databases import TEMPLATE, database

__all__ = ["append", "ledger_on", "ours"]

MOST = {"events": 40_000, "documents": 12_000}
"""Commands a second for which changes are made beforehand; more than can be written."""

ORGANISATION = "BENCH"
KEY = "INSERT INTO ledger.personal_keys (organisation, subject, wrapped) VALUES ($1, $2, '')"

NOTE = (
    "One event of {event} bytes a command, with documents also two rows of {documents} bytes together "
    "(what show and other entities show of it). Ours encrypts the personal part within the measured "
    "time; the references write {event} bytes that are ready, and no documents. All order their "
    "events without gaps but pgbench, which is the server's own speed at a commit per command."
)


def ledger_on(url: str) -> PostgresStore:
    """A ledger with as many connections as a process of the service has by default."""
    ring = KeyRing("service-key-of-the-benchmarks-0123456789")
    reads, writes, streams = (ConnectionPool(url, count) for count in (4, 3, 4))
    return PostgresStore(reads, writes, streams, ring, ZoneInfo("Asia/Nicosia"))


async def append(postgres: EmbeddedPostgres, plan: Plan, progress: Progress) -> list[Table]:
    """One table for each number of writers."""
    async with database(postgres) as url:
        life = await caught(url)
    sample, documents = _sample(life.received)
    note = NOTE.format(event=len(sample.state), documents=documents)
    return [
        await measured(
            plan,
            progress,
            f"append-{writers}",
            f"Append, {writers} writer{'s' if writers > 1 else ''}",
            "commands/s",
            _cells(postgres, life, sample, writers),
            note,
        )
        for writers in plan.writers
    ]


def _sample(change: Commit) -> tuple[Sample, int]:
    """The event as the references write it, and the size of its documents."""
    (written,) = change.written
    state = to_payload(written.events[0], written.key)
    return Sample(written.events[0].TOPIC, state), sum(len(r.document or b"") for r in change.rows)


def _cells(postgres: EmbeddedPostgres, life: Life, sample: Sample, writers: int) -> list[Cell]:
    received, bare = life.received, events_only(life.received)
    return [
        Cell("events", "ours, events", _in_a_new_one(postgres, bare, writers, "events"), ours=True),
        Cell(
            "documents",
            "ours, events and documents",
            _in_a_new_one(postgres, received, writers, "documents"),
            ours=True,
        ),
        Cell("library", "eventsourcing's recorder", library(postgres, sample, writers)),
        Cell("function", "a function call per command", function_call(postgres, sample, writers)),
        Cell("pgbench", "pgbench, INSERT per transaction", pgbench(postgres, sample, writers)),
    ]


def ours(url: str, change: Commit, organisation: str, writers: int, kind: str) -> Run:
    """Our ledger, appending the same change of ever new entities."""

    async def run(seconds: float) -> Outcome:
        most = int(MOST[kind] * seconds * 1.5 * min(1, writers / 8))
        changes = [fresh(change) for _ in range(most)]
        ledger = ledger_on(url)
        await _execute(url, "CHECKPOINT")

        async def act(_: int, one: Commit) -> None:
            verdict = await ledger.append(organisation, one)
            assert verdict.name == "WRITTEN", verdict

        try:
            return await in_tasks(changes, act, writers, seconds)
        finally:
            await ledger.close()

    return run


def _in_a_new_one(postgres: EmbeddedPostgres, change: Commit, writers: int, kind: str) -> Run:
    async def run(seconds: float) -> Outcome:
        async with database(postgres, TEMPLATE) as url:
            # An append makes sure that the contact has not been forgotten meanwhile.
            await _execute(url, KEY, ORGANISATION, change.written[0].subject)
            return await ours(url, change, ORGANISATION, writers, kind)(seconds)

    return run


async def _execute(url: str, statement: str, *arguments: object) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement, *arguments)
    await connection.close()
