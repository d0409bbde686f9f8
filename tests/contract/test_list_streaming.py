"""Long lists: all that match, streamed page by page from one snapshot (contract common.md, section 6)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from infra.views.queries import ViewReader
from services.context import QueryResult
from services.pipeline.method import BASE
from services.pipeline.query_runner import PAGE_SIZE
from tests.fixtures.organisation import OrganisationClient, organisation_client, person
from tests.fixtures.read_models import connection
from tests.fixtures.service import OPERATOR_KEY, Api, Service, refusal, run_in_process

LIST = "contact_information/list"
CONTACTS, SMALL_PAGE = 24, 4
PAGE = "services.pipeline.query_runner.PAGE_SIZE"
ID_NUMBER = "K1"


async def fill(client: OrganisationClient, count: int) -> list[str]:
    """Create contacts that one query finds; return their ids."""
    return [
        await client.new_contact(person(first_name=f"N{n}", demographics={"id_number": ID_NUMBER}))
        for n in range(count)
    ]


@pytest_asyncio.fixture
async def own_service(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """A service that streams one list at a time, in small pages."""
    monkeypatch.setattr(PAGE, SMALL_PAGE)
    monkeypatch.setattr("infra.app.STREAMS", 1)
    monkeypatch.setattr("infra.postgres.pool.ACQUIRE_TIMEOUT", 0.5)
    async with run_in_process(database) as service:
        yield service


@pytest_asyncio.fixture
async def client(own_service: Service) -> OrganisationClient:
    made = await organisation_client(Api(own_service))
    await fill(made, CONTACTS)
    return made


@dataclass
class Gate:
    """Stands before each page of streamed lists: counts them, and holds them up while it is closed."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None
    pages: int = 0
    most_rows: int = 0

    def count_rows(self) -> None:
        """Note how many rows of lists are in memory."""
        results = [o for o in gc.get_objects() if isinstance(o, QueryResult)]
        self.most_rows = max(self.most_rows, sum(len(r.documents) for r in results))


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A gate that lets one page pass."""
    made, load = Gate(), ViewReader._load_references

    async def load_references(reader: ViewReader, *page: Any) -> dict[str, bytes]:
        made.pages += 1
        made.count_rows()
        if made.pages > 1:
            await made.open.wait()
            if made.failure is not None:
                raise made.failure
        return await load(reader, *page)

    monkeypatch.setattr(ViewReader, "_load_references", load_references)
    return made


@asynccontextmanager
async def listing(
    client: OrganisationClient, **query: Any
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The response of a list, of which nothing was read yet but the headers."""
    api = client.api
    query = {"token": api.token, "id_number": ID_NUMBER} | query
    async with api.service.http.get(api.service.url + BASE + LIST, params=query) as answer:
        yield answer


async def listed(client: OrganisationClient, **query: Any) -> list[str]:
    return [
        contact["first_name"]
        for contact in await client.api.get(LIST, id_number=ID_NUMBER, **query)
    ]


NAMES = [f"N{n}" for n in range(CONTACTS)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, NAMES),
        ({"number_of_results": CONTACTS}, NAMES),
        ({"number_of_results": 2**53 - 1}, NAMES),
        ({"number_of_results": SMALL_PAGE}, NAMES[:SMALL_PAGE]),
        ({"number_of_results": SMALL_PAGE + 1}, NAMES[: SMALL_PAGE + 1]),
        ({"number_of_results": 2 * SMALL_PAGE, "offset": 3}, NAMES[3 : 2 * SMALL_PAGE + 3]),
        ({"offset": CONTACTS - SMALL_PAGE}, NAMES[-SMALL_PAGE:]),
        ({"offset": CONTACTS - SMALL_PAGE - 1}, NAMES[-SMALL_PAGE - 1 :]),
        ({"offset": CONTACTS}, []),
    ],
    ids=str,
)
async def test_all_that_match(
    client: OrganisationClient, query: dict[str, int], expected: list[str]
) -> None:
    assert await listed(client, **query) == expected
    async with listing(client, **query) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert answer.headers["X-Request-Id"]
        # What fits into one page is sent whole.
        assert ("Content-Length" in answer.headers) is (len(expected) <= SMALL_PAGE)


async def test_fields_of_a_long_list(client: OrganisationClient) -> None:
    found = await client.api.get(LIST, id_number=ID_NUMBER, fields_set="first_name")
    assert found == [{"first_name": name} for name in NAMES]


async def test_more_than_a_page_of_the_usual_size(shared: OrganisationClient) -> None:
    for start in range(0, PAGE_SIZE + 1, 50):
        made = min(50, PAGE_SIZE + 1 - start)
        bodies = [
            person(demographics={"id_number": "K2"}, first_name=f"{start + n}") for n in range(made)
        ]
        await asyncio.gather(*(shared.create_contact(body) for body in bodies))
    assert len(await shared.api.get(LIST, id_number="K2")) == PAGE_SIZE + 1


async def test_the_first_byte_comes_before_the_last_row_is_read(
    client: OrganisationClient, gate: Gate
) -> None:
    async with listing(client) as answer:
        beginning = await answer.content.readuntil(b'"N3"')
        assert gate.pages <= 2
        gate.open.set()
        rest = await answer.read()
    assert len(json.loads(beginning + rest)["data"]) == CONTACTS
    assert gate.pages == CONTACTS // SMALL_PAGE


async def test_all_pages_are_of_one_snapshot(client: OrganisationClient, gate: Gate) -> None:
    before = await client.api.get(LIST, id_number=ID_NUMBER, number_of_results=SMALL_PAGE)
    async with listing(client) as answer:
        beginning = await answer.content.readuntil(b'"N0"')
        last = await client.api.get(LIST, id_number=ID_NUMBER, offset=CONTACTS - 1)
        await client.update_contact(last[0]["id"], first_name="Changed")
        await client.update_contact(before[1]["id"], demographics={"id_number": "K9"})
        await fill(client, 1)
        gate.open.set()
        found = json.loads(beginning + await answer.read())["data"]
    assert [contact["first_name"] for contact in found] == NAMES
    assert before == found[:SMALL_PAGE]


async def test_memory_holds_pages_whatever_the_length(
    client: OrganisationClient, gate: Gate
) -> None:
    gate.open.set()
    assert len(await listed(client)) == CONTACTS
    assert gate.pages == CONTACTS // SMALL_PAGE
    assert 0 < gate.most_rows <= 2 * SMALL_PAGE + 1


@asynccontextmanager
async def connected(
    client: OrganisationClient, version: str = "1.1"
) -> AsyncIterator[asyncio.StreamReader]:
    """A connection of its own, on which the list was requested; with a small window, so that
    little is buffered on the way."""
    host, _, port = client.api.service.url.removeprefix("http://").partition(":")
    peer, loop = socket.socket(), asyncio.get_running_loop()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.setblocking(False)
    await loop.sock_connect(peer, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=peer, limit=4096)
    target = f"{BASE}{LIST}?token={client.api.token}&id_number={ID_NUMBER}"
    writer.write(f"GET {target} HTTP/{version}\r\nHost: x\r\n\r\n".encode())
    try:
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def finished(client: OrganisationClient, count: int) -> None:
    """Wait until so many lists have ended, well or not."""
    async with asyncio.timeout(60):
        while await client.api.service.answered(LIST) < count:
            await asyncio.sleep(0.01)


async def test_a_client_that_stops_reading_is_left(
    client: OrganisationClient, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than the buffers on the way take.
    wide = {f"udf_string_{n}": "x" * 250 for n in range(1, 17)} | {"notes": "x" * 4000}
    body, count = person(demographics={"id_number": ID_NUMBER}, **wide), 400
    calls = (client.create_contact(body | {"first_name": f"M{n}"}) for n in range(count))
    await asyncio.gather(*calls)
    monkeypatch.setattr("infra.http.router.CHUNK_TIMEOUT", 0.5)
    gate.open.set()
    before = await client.api.service.answered(LIST)
    async with connected(client):
        await finished(client, before + 1)
        assert 0 < gate.pages < count // SMALL_PAGE
        # The one connection for long lists is free again.
        assert len(await listed(client)) == CONTACTS + count


async def test_a_client_that_leaves_is_left(client: OrganisationClient, gate: Gate) -> None:
    before = await client.api.service.answered(LIST)
    async with listing(client) as answer:
        await answer.content.readuntil(b'"N0"')
        answer.close()
    gate.open.set()
    await finished(client, before + 1)
    assert await listed(client) == NAMES


async def counted(client: OrganisationClient, code: str) -> int:
    """How many lists this process has counted under the code of an error."""
    sample = rf'^crmledger_requests_total\{{code="\S*{code}\S*",method="{LIST}"\}} (\d+)'
    return sum(map(int, re.findall(sample, await client.api.service.metrics(), re.MULTILINE)))


FAILURES = {
    "INTERNALERROR": ValueError("broken"),
    "SERVICEUNAVAILABLE": asyncpg.ConnectionDoesNotExistError("gone"),
}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("code", FAILURES)
async def test_a_failure_in_the_middle_breaks_the_transfer(
    client: OrganisationClient, gate: Gate, code: str, version: str
) -> None:
    before = await counted(client, code)
    gate.failure = FAILURES[code]
    async with connected(client, version) as reader:
        beginning = await reader.readuntil(b'"N0"')
        assert beginning.startswith(f"HTTP/{version} 200 OK".encode())
        gate.open.set()
        rest = b""
        with contextlib.suppress(ConnectionResetError):
            rest = await reader.read()
    # The last chunk, which ends a whole transfer, is missing; what is there is no JSON.
    assert not rest.endswith(b"0\r\n\r\n")
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(beginning.partition(b"{")[2] and b"{" + beginning.partition(b"{")[2] + rest)
    assert await counted(client, code) == before + 1
    gate.failure = None
    assert await listed(client) == NAMES


async def test_an_http_client_sees_that_a_transfer_broke(
    client: OrganisationClient, gate: Gate
) -> None:
    gate.failure = ValueError("broken")
    gate.open.set()
    with pytest.raises(aiohttp.ClientError):
        await listed(client)


async def test_the_server_ends_the_connection_of_a_list(
    client: OrganisationClient, gate: Gate, database: str
) -> None:
    async with listing(client) as answer:
        await answer.content.readuntil(b'"N0"')
        async with connection(database) as owner:
            await owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND state = 'idle in transaction'"
            )
        gate.open.set()
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
    assert await listed(client) == NAMES


async def test_what_fails_before_the_first_page_is_refused(
    client: OrganisationClient, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "pages", 1)
    gate.failure = asyncpg.ConnectionDoesNotExistError("gone")
    gate.open.set()
    answer = await client.api.call("GET", LIST, query={"id_number": ID_NUMBER})
    assert refusal(answer)[0] == "SERVICEUNAVAILABLE"


async def test_long_lists_wait_for_each_other_and_hold_up_no_others(
    client: OrganisationClient, gate: Gate
) -> None:
    async with listing(client) as answer:
        beginning = await answer.content.readuntil(b'"N0"')
        async with listing(client) as other:
            assert (other.status, other.headers["Retry-After"]) == (503, "1")
        assert await listed(client, number_of_results=1) == ["N0"]
        gate.open.set()
        assert len(json.loads(beginning + await answer.read())["data"]) == CONTACTS
    assert await listed(client) == NAMES


async def test_registered_records_and_sessions(client: OrganisationClient) -> None:
    api = client.api
    for _ in range(3):
        await api.login()
    records = [{"kind": "industry", "id": f"I{n:03}", "name": f"Name {n}"} for n in range(300)]
    await api.register(records)
    for path in ("/reference/v1/industry", "/operator/v1/sessions"):
        _, answer, headers = await api.service.send(
            "GET",
            path,
            query={"organisation": api.organisation},
            headers={"Authorization": f"Bearer {OPERATOR_KEY}"},
        )
        assert answer["status"]["code"] == "OK"
        assert headers["Transfer-Encoding"] == "chunked"
        assert len(answer["data"]) == {"/reference/v1/industry": 301}.get(path, 4)
