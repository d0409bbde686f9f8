"""HTTP: a hundred documents in one answer, from communications/list and from a system's queue."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import orjson

from infra.postgres.embedded.server import EmbeddedPostgres
from services.pipeline.method import BASE
from tests.bench.examples import SENT, Example, example, systems
from tests.bench.http_references import Stored, references
from tests.bench.load import CONNECTIONS, OK, OTHERS_OK, loading
from tests.bench.measure import Cell, Plan, Progress, measured
from tests.bench.results import Table
from tests.bench.wire import get
from tests.fixtures.databases import database
from tests.fixtures.service import run_as_process

__all__ = ["LATEST", "LIST", "filled", "pages", "requests"]

Query = dict[str, str]

OWNERS = 5
"""Contacts, and external systems, with a page each."""
PAGE = 100
LIST, LATEST = "communications/list", "communications/queue/get_latest"
NOTE = (
    "{connections} connections, pages of {page}: {size} bytes. Ours: session token, then {what} with what "
    "they show of other entities as it is now. Usual code: asyncpg.Pool, an index, json.loads and "
    "json_response of the same documents stored whole as jsonb; no session. Static: a body of the same size "
    "from aiohttp, so that the ratio is also that of bytes a second."
)


async def pages(postgres: EmbeddedPostgres, plan: Plan, progress: Progress) -> list[Table]:
    """The tables of list and of get_latest."""
    async with database(postgres) as ours, run_as_process(ours) as service:
        progress("HTTP pages: making the organisation")
        given = await example(service)
        listed, latest = await filled(given)
        tables = []
        for name, title, what, path, queries in (
            ("list", "HTTP list of 100 communications", "communications", LIST, listed),
            ("latest", "HTTP get_latest of 100 queue entries", "entries", LATEST, latest),
        ):
            found = [await given.api.get(path, **query) for query in queries]
            async with (
                database(postgres, "template0") as theirs,
                references(theirs, _stored(found)) as port,
            ):
                cells = _cells(given, path, queries, len(_bytes(found[0])), port)
                note = _note(what, found)
                tables.append(
                    await measured(plan, progress, name, title, "requests/s", cells, note)
                )
    return tables


async def filled(given: Example) -> tuple[list[Query], list[Query]]:
    """Makes the pages, of communications and of queue entries; what asks for each of them."""
    names = await systems(given.api, OWNERS)
    contacts = [body["contact_information_identifier"]["id"] for body in given.bodies[:OWNERS]]
    for contact, system in zip(contacts, names, strict=True):
        await _fill(given, contact, system)
    return _listed(contacts), _latest(names)


def requests(given: Example, path: str, queries: list[Query]) -> list[str]:
    """Requests for pages, with a session's token."""
    token = quote(given.api.token)
    return [get(f"{BASE}{path}?token={token}&{urlencode(query)}") for query in queries]


async def _fill(given: Example, contact: str, system: str) -> None:
    body = next(b for b in given.bodies if b["contact_information_identifier"]["id"] == contact)
    named = {"communication_queue_external_system_identifier": {"id": system}}
    await Example(given.api, [body]).created(PAGE, SENT | named)


def _listed(contacts: list[str]) -> list[Query]:
    size = {"number_of_results": str(PAGE)}
    return [{"contact_information_identifier": f"id={contact}"} | size for contact in contacts]


def _latest(names: list[str]) -> list[Query]:
    named = "communication_queue_external_system_identifier"
    return [{named: f"id={name}", "number": str(PAGE)} for name in names]


def _bytes(found: Any) -> bytes:
    return orjson.dumps(found)


def _stored(found: list[Any]) -> list[Stored]:
    rows = []
    for owner, page in enumerate(found):
        assert len(page) == PAGE, len(page)
        rows += [
            Stored(f"{owner}-{n}", str(owner), n, _bytes(one).decode())
            for n, one in enumerate(page)
        ]
    return rows


def _note(what: str, found: list[Any]) -> str:
    size = len(_bytes(found[0]))
    return NOTE.format(connections=CONNECTIONS, page=PAGE, size=size, what=what)


def _cells(given: Example, path: str, queries: list[Query], size: int, port: int) -> list[Cell]:
    ours = requests(given, path, queries)
    usual = [get(f"/page?owner={owner}") for owner in range(OWNERS)]
    static = [get(f"/static?size={size}")]
    return [
        Cell("ours", "ours", loading(given.port, ours, OK), ours=True),
        Cell("usual", "usual code", loading(port, usual, OTHERS_OK)),
        Cell("static", "static body", loading(port, static, "\0")),
    ]
