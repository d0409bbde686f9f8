"""HTTP: the real service in a process of its own, beside aiohttp with less behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

import orjson

from infra.embedded import EmbeddedPostgres
from infra.http.api import BASE
from tests.bench.examples import SENT, Example, example
from tests.bench.http_references import THREADS, references
from tests.bench.load import Load, loaded
from tests.bench.measure import Cell, Plan, Progress, Run, measured
from tests.bench.results import Outcome, Table
from tests.databases import database
from tests.service import Service, process

__all__ = ["http"]

CONNECTIONS = 64
CREATE_NOTE = (
    "{connections} connections. Ours: session token, validation, identifiers of contact, category and "
    "four referred entities, two facts (recorded, queued), four rows of documents, the whole answer of "
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
    async with database(postgres) as ours, process(ours) as service:
        progress("HTTP: making the organisation")
        given = await example(service)
        shown = await _documents(given, plan.documents)
        size = len(next(iter(shown.values())))
        async with database(postgres, "template0") as theirs, references(theirs, shown) as port:
            creating = _create_cells(service, given, port)
            note = CREATE_NOTE.format(connections=CONNECTIONS, threads=THREADS, size=size)
            title = "HTTP create of a communication"
            create = await measured(plan, progress, "create", title, "requests/s", creating, note)
            showing = _show_cells(service, given, list(shown), port)
            note = SHOW_NOTE.format(connections=CONNECTIONS, count=len(shown), size=size)
            title = "HTTP show of a communication"
            show = await measured(plan, progress, "show", title, "requests/s", showing, note)
    return [create, show]


async def _documents(given: Example, count: int) -> dict[str, bytes]:
    """Communications by id, as they were answered."""
    shown: dict[str, bytes] = {}
    for start in range(0, count, CONNECTIONS):
        numbers = range(start, min(start + CONNECTIONS, count))
        created = await asyncio.gather(*(given.create(n, SENT) for n in numbers))
        shown |= {one["id"]: orjson.dumps(one) for one in created}
    return shown


def _create_cells(service: Service, given: Example, port: int) -> list[Cell]:
    host, own = "127.0.0.1", urlsplit(service.url).port or 0
    bodies = [json.dumps({"token": given.api.token} | body | SENT) for body in given.bodies]
    ours = [_post(BASE + "communications/create", body) for body in bodies]
    library = [_post("/library", body) for body in bodies]
    echo = [_post("/echo", body) for body in bodies]
    ok = '{"status": {"code": "OK"'
    return [
        Cell("ours", "ours", _loading(host, own, ours, ok.replace(" ", "")), ours=True),
        Cell("library", "eventsourcing's Application", _loading(host, port, library, ok)),
        Cell("echo", "aiohttp echo", _loading(host, port, echo, '{"token"')),
    ]


def _show_cells(service: Service, given: Example, ids: Iterable[str], port: int) -> list[Cell]:
    host, own = "127.0.0.1", urlsplit(service.url).port or 0
    token = quote(given.api.token)
    path = f"{BASE}communications/show?token={token}&communication_identifier=id%3D"
    ours = [_get(path + id_) for id_ in ids]
    usual = [_get(f"/usual?id={id_}") for id_ in ids]
    ok = '{"status": {"code": "OK"'
    return [
        Cell("ours", "ours", _loading(host, own, ours, ok.replace(" ", "")), ours=True),
        Cell("usual", "usual code", _loading(host, port, usual, ok)),
        Cell("hello", "aiohttp hello", _loading(host, port, [_get("/hello")], "ok")),
    ]


def _get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"


def _post(path: str, body: str) -> str:
    length = len(body.encode())
    head = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}"
    return f"POST {path} HTTP/1.1\r\n{head}\r\n\r\n{body}"


def _loading(host: str, port: int, requests: list[str], expect: str) -> Run:
    async def run(seconds: float) -> Outcome:
        return await loaded(Load(host, port, requests, expect, seconds, CONNECTIONS))

    return run
