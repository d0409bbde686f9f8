"""The temporal tables are written once, whatever is killed, competes, is upgraded, or is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from domain.errors import ServiceUnavailable
from infra.postgres.embedded.server import EmbeddedPostgres
from infra.postgres.pool import ConnectionPool
from infra.projections import temporal as history
from infra.projections.projector import Projector, lags
from infra.projections.temporal import TemporalViews
from infra.rebuild.table_diff import compare
from infra.rebuild.table_sets import view_names
from infra.store.as_of import PostgresTemporalStore
from services.audit.as_of import LedgerPosition, methods
from services.context import ViewQuery
from tests.fixtures import databases
from tests.fixtures.auditors import Auditor, auditor
from tests.fixtures.organisation import query_rows
from tests.fixtures.read_models import connection, keys_of
from tests.fixtures.replayed_past import past_replay
from tests.fixtures.service import RING, run_in_process
from tests.infra.test_projector import program

NAMED = "as_of/contact_information/show"


@pytest_asyncio.fixture(scope="module")
async def original(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[tuple[str, Auditor]]:
    """The name of a database of which each test has a copy, and the client of the organisation in it."""
    async with databases.database(postgres, template) as url:
        async with run_in_process(url) as service:
            client = await auditor(service)
        async with connection(url) as owner:
            name = await owner.fetchval("SELECT current_database()")
        yield name, client


@pytest_asyncio.fixture
async def database(postgres: EmbeddedPostgres, original: tuple[str, Auditor]) -> AsyncIterator[str]:
    """A copy of that database."""
    async with databases.database(postgres, original[0]) as url:
        yield url


@pytest_asyncio.fixture
async def client(database: str, original: tuple[str, Auditor]) -> AsyncIterator[Auditor]:
    """The organisation in the copy."""
    desk, tokens = original[1].desk, original[1].tokens
    async with run_in_process(database) as service:
        yield Auditor(replace(desk, api=replace(desk.api, service=service)), tokens)


@asynccontextmanager
async def follower(url: str) -> AsyncIterator[TemporalViews]:
    """The temporal tables as one process writes them."""
    lanes = ConnectionPool(url, 1)
    try:
        yield TemporalViews(lanes, *keys_of(url))
    finally:
        await lanes.close()


async def head(client: Auditor) -> int:
    """The last position."""
    return int((await client.get("head"))["position"])


async def is_true(client: Auditor) -> bool:
    """True if the temporal tables end in the rows of the views, and no row was ever valid twice at a time."""
    overlap = """
        SELECT count(*) FROM temporal.contacts a JOIN temporal.contacts b USING (organisation, id)
         WHERE a.valid_from < b.valid_from AND a.valid_to > b.valid_from"""
    url = client.desk.api.service.database
    async with connection(url) as owner:
        await owner.execute(f"SET crmledger.as_of_position = {await head(client)}")
        differing = [await compare(owner, view, "past") for view in await view_names(owner)]
        return not any(differing) and not await owner.fetchval(overlap)


async def test_it_goes_on_where_it_was_killed(
    client: Auditor, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "BATCH", 3)
    organisation, end = client.desk.api.organisation, await head(client)
    async with follower(database) as one:
        read, left = one._lanes.read, 0

        async def killed_in_time(work: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                # The statement is on its way when its caller ends.
                bringing.cancel()
            return await read(work)

        monkeypatch.setattr(one._lanes, "read", killed_in_time)
        for n in count(1):
            left = n
            bringing = asyncio.create_task(one.catch_up_to(organisation, end))
            if (await asyncio.gather(bringing, return_exceptions=True))[0] is None:
                break
        assert n > 2
        await one.catch_up_to(organisation, end)
    assert await is_true(client)


async def test_rivals_write_everything_once(
    client: Auditor, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "BATCH", 5)
    organisation, end = client.desk.api.organisation, await head(client)
    async with follower(database) as one, follower(database) as two, follower(database) as three:
        await asyncio.gather(*(each.catch_up_to(organisation, end) for each in (one, two, three)))
    assert await is_true(client)


async def test_the_projector_brings_it_forward(client: Auditor, database: str) -> None:
    async with follower(database) as one:
        projector = Projector(database, RING, one, batch_size=7)
        await projector.once()
        assert await projector.readiness_problems() == []
        await projector.close()
    assert await is_true(client)
    await client.desk.create()
    async with program(database), asyncio.timeout(60), connection(database) as reader:
        while any(lag.positions for lag in await lags(reader, "history")):
            await asyncio.sleep(0.02)
    assert await is_true(client)


async def test_who_waits_too_long_is_told_to_come_again(
    client: Auditor, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "BATCH", 10)
    organisation, end = client.desk.api.organisation, await head(client)
    async with follower(database) as one:
        with pytest.raises(ServiceUnavailable, match="up to position 10") as refusal:
            await one.catch_up_to(organisation, end, 0)
        assert refusal.value.retry_after
        await one.catch_up_to(organisation, end)
    assert await is_true(client)


async def test_a_new_definition_is_folded_anew_and_an_older_program_stops(
    client: Auditor, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    organisation, end = client.desk.api.organisation, await head(client)
    async with follower(database) as one:
        await one.catch_up_to(organisation, end)
        async with connection(database) as owner:
            await owner.execute("UPDATE temporal.contacts SET document = '{}'")
        monkeypatch.setattr(history, "VERSION", history.VERSION + 1)
        await one.catch_up_to(organisation, end)
        assert await is_true(client)
        monkeypatch.setattr(history, "VERSION", history.VERSION - 1)
        with pytest.raises(ServiceUnavailable, match="newer"):
            await one.catch_up_to(organisation, end)


async def test_a_changed_table_is_followed(client: Auditor, database: str) -> None:
    contact = f"id={client.desk.recipient}"
    before = await client.get(
        NAMED, as_of=await head(client), contact_information_identifier=contact
    )
    async with connection(database) as owner:
        await owner.execute("ALTER TABLE views.contacts ADD COLUMN nickname text")
        await owner.execute("SELECT temporal.recreate_tables()")
        assert await owner.fetchval("SELECT count(*) FROM temporal.contacts") == 0
    after = await client.get(
        NAMED, as_of=await head(client), contact_information_identifier=contact
    )
    assert after == before
    assert await is_true(client)


async def test_who_is_forgotten_is_forgotten_in_the_past(
    client: Auditor, database: str, postgres: EmbeddedPostgres, template: str
) -> None:
    desk = client.desk
    contact = await desk.new_contact(first_name="Ermintrude", notes="likes tea")
    to = {"contact_information_identifier": {"id": contact}}
    letter = await desk.create(**to, content="Dear Ermintrude")
    then, named = await head(client), f"id={contact}"
    document = await client.get(NAMED, as_of=then, contact_information_identifier=named)
    assert document["first_name"] == "Ermintrude"
    body = b'{"reason":"asked for it"}'
    status, answer, _ = await client.ask(
        f"contacts/{contact}/forget", verb="POST", role="operator", data=body
    )
    assert status == 200, answer
    for table in ("contacts", "communications", "identifiers"):
        left = await query_rows(
            desk.api, f"SELECT t::text FROM temporal.{table} t WHERE organisation = $1"
        )
        assert not [row for row in left if "Ermintrude" in row[0] or contact in row[0]]
    document = await client.get(NAMED, as_of=then, contact_information_identifier=named)
    assert (document["id"], document["first_name"], document["notes"]) == (contact, None, None)
    async with (
        databases.database(postgres, template) as url,
        past_replay(database, url, desk.api.organisation) as replayed,
    ):
        await replayed.stand_at(then)
        for method in methods():
            for query in (
                {"contact_information_identifier": named},
                {"communication_identifier": f"id={letter['id']}"},
            ):
                status, answer, _ = await client.ask(f"as_of/{method.path}", as_of=then, **query)
                if status == 200:
                    expected = ("OK", answer["data"])
                    assert await replayed.answer(method, query) == expected
    await client.get(NAMED, as_of=await head(client), contact_information_identifier=named)
    assert await is_true(client)


async def test_what_was_read_before_somebody_was_forgotten_is_not_written(
    client: Auditor, database: str
) -> None:
    organisation = client.desk.api.organisation
    begin = "SELECT position, epoch FROM temporal.start_batch($1, $2, 1)"
    write = "SELECT temporal.write($1, $2, $3, 0, 1, '{}', '{}', '{}', '{}', '{}')"
    async with connection(database) as owner:
        at, generation = await owner.fetchrow(begin, organisation, history.VERSION)
        assert at == 0
        await owner.execute("SELECT temporal.invalidate($1, '{}')", organisation)
        values = (organisation, history.VERSION)
        assert not await owner.fetchval(write, *values, generation)
        assert await owner.fetchval(write, *values, generation + 1)


async def test_rows_that_are_dropped_while_one_reads_are_missed(
    client: Auditor, database: str
) -> None:
    organisation, end = client.desk.api.organisation, await head(client)
    lanes = ConnectionPool(database, 1)
    past = PostgresTemporalStore(
        lanes, lanes, TemporalViews(lanes, *keys_of(database)), *keys_of(database)
    )
    view = await past.read_models_at(organisation, LedgerPosition(end))
    query = ViewQuery("contacts", {"id": client.desk.recipient})
    assert (await view.select(organisation, query)).documents
    async with connection(database) as owner:
        stream = UUID(client.desk.recipient)
        await owner.execute("SELECT temporal.invalidate($1, $2)", organisation, [stream])
    with pytest.raises(ServiceUnavailable, match="anew"):
        await view.select(organisation, query)
    await past.read_models_at(organisation, LedgerPosition(end))
    assert (await view.select(organisation, query)).documents
    await lanes.close()
