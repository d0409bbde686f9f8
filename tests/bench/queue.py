"""HTTP: external systems drain the sending queue, ours and that of the library's Application."""

from __future__ import annotations

import json
from urllib.parse import quote

import aiohttp
import asyncpg

from domain.queue_entry import QueueEntry
from infra.postgres.embedded.server import EmbeddedPostgres
from services.pipeline.method import BASE
from tests.bench.drain import AT_ONCE, ID, PAGE, Drain
from tests.bench.examples import SENT, Example, example, systems
from tests.bench.http_references import references
from tests.bench.library import THREADS
from tests.bench.load import OK, OTHERS_OK, client
from tests.bench.measure import Cell, Plan, Progress, Run, measured
from tests.bench.results import Outcome, Table
from tests.bench.wire import get, post
from tests.fixtures.databases import database
from tests.fixtures.service import run_as_process

__all__ = ["queue"]

SYSTEMS = 8
NAMED = "communication_queue_external_system_identifier"
NOTE = (
    "{systems} external systems, each with {each} entries: get_latest of {page}, then process for each of "
    "them, {at_once} at once, until get_latest is empty. Ours: session token, entries with their "
    "communication, contact and system, an event and two rows of documents for each. The library: an "
    "aggregate is loaded, changed and saved by its Application on {threads} threads; what waits is known "
    "from memory. Faults: entries that were handed out twice or left."
)
PROCESSED = """
SELECT count(*) AS events, count(DISTINCT stream_id) AS entries FROM ledger.events
 WHERE organisation = $1 AND topic = $2
"""


async def queue(postgres: EmbeddedPostgres, plan: Plan, progress: Progress) -> list[Table]:
    """One table."""
    async with database(postgres) as ours, run_as_process(ours) as service:
        progress("Queue: making the organisation")
        given = await example(service)
        names = await systems(given.api, SYSTEMS)
        each = plan.entries // SYSTEMS
        async with database(postgres, "template0") as theirs, references(theirs) as port:
            cells = [
                Cell("ours", "ours", _ours(given, ours, names, each), ours=True),
                Cell("library", "eventsourcing's Application", _library(port, names, each)),
            ]
            title = "Queue drained by eight external systems"
            note = NOTE.format(
                systems=SYSTEMS, each=each, page=PAGE, at_once=AT_ONCE, threads=THREADS
            )
            return [await measured(plan, progress, "queue", title, "entries/s", cells, note)]


def _ours(given: Example, url: str, names: list[str], each: int) -> Run:
    path = f"{BASE}communications/queue/get_latest?token={quote(given.api.token)}&number={PAGE}"
    latest = [get(f"{path}&{NAMED}=id%3D{name}") for name in names]
    body = {"token": given.api.token, "communication_queue_identifier": {"id": ID}}
    sent = post(BASE + "communications/queue/process", json.dumps(body))
    drain = Drain(given.port, latest, [sent] * len(names), each, OK)

    async def run(_: float) -> Outcome:
        for name in names:
            await given.created(each, SENT | {NAMED: {"id": name}})
        before = await _processed(url, given)
        outcome = await client("tests.bench.drain", drain)
        events, entries = (
            now - then for now, then in zip(await _processed(url, given), before, strict=True)
        )
        # The client's own count says what it was told; the ledger says what has happened.
        assert outcome.faults or events == entries == each * len(names), (events, entries)
        return outcome

    return run


async def _processed(url: str, given: Example) -> tuple[int, int]:
    connection = await asyncpg.connect(url)
    try:
        row = await connection.fetchrow(
            PROCESSED, given.api.organisation, QueueEntry.Processed.TOPIC
        )
    finally:
        await connection.close()
    assert row is not None
    return row["events"], row["entries"]


def _library(port: int, names: list[str], each: int) -> Run:
    latest = [get(f"/latest?number={PAGE}&system={name}") for name in names]
    sent = [post("/process", json.dumps({"id": ID, "system": name})) for name in names]
    drain = Drain(port, latest, sent, each, OTHERS_OK)

    async def run(_: float) -> Outcome:
        async with aiohttp.ClientSession() as http:
            asked = {"systems": names, "count": each}
            async with http.post(f"http://127.0.0.1:{port}/fill", json=asked) as answer:
                assert answer.status == 200
        return await client("tests.bench.drain", drain)

    return run
