"""Verifying the views: right ones pass, and each way of being wrong is named."""

from __future__ import annotations

import asyncio

import pytest

from tests.fixtures.communications import CommunicationsClient
from tests.fixtures.read_models import connection, run_rebuild, run_verify


@pytest.fixture
def client(populated_client: CommunicationsClient) -> CommunicationsClient:
    return populated_client


async def test_views_that_commands_wrote_are_right(
    client: CommunicationsClient, database: str
) -> None:
    findings = await run_verify(database)
    assert findings.differences == []
    assert findings.events
    assert findings.rows


TAMPERINGS = {
    "contacts: column life_cycle_state": "UPDATE views.contacts SET life_cycle_state = 'GONE' WHERE id = $1",
    "contacts: column document": "UPDATE views.contacts SET document = '{}' WHERE id = $1",
    "contacts: column created": "UPDATE views.contacts SET created = created + 1 WHERE id = $1",
    "entities: column document": "UPDATE views.entities SET document = NULL WHERE ref = 'contact_information/' || $1",
    "identifiers: column retired": "UPDATE views.identifiers SET retired = true WHERE id = $1 AND field = 'number'",
    "contacts: missing row": "DELETE FROM views.contacts WHERE id = $1",
    "sessions: missing row": "DELETE FROM views.sessions WHERE id = (SELECT min(id) FROM views.sessions) AND $1 <> ''",
    "identifiers: additional row": "INSERT INTO views.identifiers SELECT organisation, kind, 'nickname', 'X', id, false"
    " FROM views.identifiers WHERE id = $1 AND field = 'number'",
    "records: column changed": "UPDATE views.records SET changed = 0 WHERE kind = 'organisation' AND $1 <> ''",
}


@pytest.mark.parametrize("what", TAMPERINGS)
async def test_a_wrong_row_is_named_and_mended(
    client: CommunicationsClient, database: str, what: str
) -> None:
    async with connection(database) as owner:
        await owner.execute(TAMPERINGS[what], client.recipient)
    first, *others = (await run_verify(database)).differences
    view, _, fault = what.partition(": ")
    assert str(first).startswith(f"views.{view} {client.api.organisation}/")
    assert f": {fault}" in str(first)
    assert not others
    await run_rebuild(database, accept_differences=True)
    assert (await run_verify(database)).differences == []


async def test_the_value_is_told(client: CommunicationsClient, database: str) -> None:
    async with connection(database) as owner:
        await owner.execute(
            "UPDATE views.contacts SET phones = '{77}' WHERE id = $1", client.recipient
        )
    (difference,) = (await run_verify(database)).differences
    assert difference.key == (client.api.organisation, client.recipient)
    assert (difference.column, difference.expected, difference.found) == ("phones", "{}", "{77}")


async def test_what_is_written_meanwhile_is_no_difference(
    client: CommunicationsClient, database: str
) -> None:
    done = asyncio.Event()

    async def write() -> int:
        count = 0
        while not done.is_set():
            await client.update_contact(await client.new_contact(), first_name="Other")
            count += 1
        return count

    working = asyncio.create_task(write())
    reports = [await run_verify(database) for _ in range(3)]
    done.set()
    assert await working
    assert [report.differences for report in reports] == [[], [], []]


async def test_it_writes_nothing(client: CommunicationsClient, database: str) -> None:
    schemas = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname !~ '^pg_'"
    async with connection(database) as owner:
        before = await owner.fetchval(schemas)
        await run_verify(database)
        assert await owner.fetchval(schemas) == before
