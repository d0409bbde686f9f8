"""HTTP: the real service in a process of its own, beside aiohttp with less behind it."""

from __future__ import annotations

import json

import orjson

from infra.postgres.embedded.server import EmbeddedPostgres
from tests.bench.examples import SENT, Example, example
from tests.bench.http_references import Stored, references
from tests.bench.library import THREADS
from tests.bench.load import CONNECTIONS, OK, OTHERS_OK, loading
from tests.bench.measure import Cell, Plan, Progress, measured
from tests.bench.results import Table
from tests.bench.wire import get, post
from tests.fixtures.databases import database
from tests.fixtures.service import run_as_process

__all__ = ["http"]

CREATE_NOTE = (
    "{connections} connections. Ours: session token, validation, identifiers of contact, category and "
    "four referred entities, two events (recorded, queued), four rows of documents, the whole answer of "
    "{size} bytes. The library: two aggregates of the same request saved by its Application on "
    "{threads} threads; no session, no check, no read model. Echo: aiohttp's own speed."
)
SHOW_NOTE = (
    "{connections} connections, {count} documents. Ours: session token, then a communication with its "
    "contact and four referred entities as they are now, {size} bytes. Usual code: asyncpg.Pool, "
    "json.loads and json_response of the same bytes stored as one jsonb document; no session. Hello: "
    "aiohttp's own speed."
)


async def http(postgres: EmbeddedPostgres, plan: Plan, progress: Progress) -> list[Table]:
    """The tables of create and of show."""
    async with database(postgres) as ours, run_as_process(ours) as service:
        progress("HTTP: making the organisation")
        given = await example(service)
        shown = await given.created(plan.documents, SENT)
        size = len(orjson.dumps(shown[0]))
        stored = [
            Stored(one["id"], "", n, orjson.dumps(one).decode()) for n, one in enumerate(shown)
        ]
        async with database(postgres, "template0") as theirs, references(theirs, stored) as port:
            creating = _create_cells(given, port)
            note = CREATE_NOTE.format(connections=CONNECTIONS, threads=THREADS, size=size)
            title = "HTTP create of a communication"
            create = await measured(plan, progress, "create", title, "requests/s", creating, note)
            showing = _show_cells(given, [one["id"] for one in shown], port)
            note = SHOW_NOTE.format(connections=CONNECTIONS, count=len(shown), size=size)
            title = "HTTP show of a communication"
            show = await measured(plan, progress, "show", title, "requests/s", showing, note)
    return [create, show]


def _create_cells(given: Example, port: int) -> list[Cell]:
    bodies = [json.dumps({"token": given.api.token} | body | SENT) for body in given.bodies]
    library = [post("/library", body) for body in bodies]
    echo = [post("/echo", body) for body in bodies]
    return [
        Cell("ours", "ours", loading(given.port, given.creates(), OK), ours=True),
        Cell("library", "eventsourcing's Application", loading(port, library, OTHERS_OK)),
        Cell("echo", "aiohttp echo", loading(port, echo, '{"token"')),
    ]


def _show_cells(given: Example, ids: list[str], port: int) -> list[Cell]:
    usual = [get(f"/usual?id={id_}") for id_ in ids]
    return [
        Cell("ours", "ours", loading(given.port, given.shows(ids), OK), ours=True),
        Cell("usual", "usual code", loading(port, usual, OTHERS_OK)),
        Cell("hello", "aiohttp hello", loading(port, [get("/hello")], "ok")),
    ]
