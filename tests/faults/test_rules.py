"""A rule of uniqueness comes into force between a contact's decision and its append."""

from __future__ import annotations

import asyncio

import asyncpg

from tests.faults.acknowledged_log import ACKNOWLEDGED, CREATE, REFUSED, Attempt, Journal, begun
from tests.faults.failpoints import patched
from tests.faults.invariants import sound
from tests.fixtures.organisation import OrganisationClient
from tests.fixtures.service import run_in_process

WAITING = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


async def overtaken(url: str) -> tuple[Journal, Attempt]:
    """A create that was decided under no rule and is written after the rule came into force."""
    connection = await asyncpg.connect(url)
    async with run_in_process(url) as one, run_in_process(url) as two:
        journal = await begun(one)
        there = OrganisationClient(Journal(journal.api, two).at_service())
        await there.register_settings(unique_person=[])
        body = journal.person()
        assert (await journal.send(CREATE, body)).outcome == ACKNOWLEDGED
        lock = "SELECT pg_advisory_{}(ledger.append_lock($1))"
        await connection.execute(lock.format("lock"), journal.organisation)
        rule = asyncio.create_task(there.register_settings(unique_person=["name"]))
        await _waiting(connection, 1)
        create = asyncio.create_task(journal.send(CREATE, body))
        await _waiting(connection, 2)
        await connection.execute(lock.format("unlock"), journal.organisation)
        await rule
        attempt = await create
    await connection.close()
    return journal, attempt


async def _waiting(connection: asyncpg.Connection, count: int) -> None:
    async with asyncio.timeout(60):
        while await connection.fetchval(WAITING) < count:
            await asyncio.sleep(0.01)


async def test_a_contact_is_compared_by_the_rule_of_the_moment_it_is_written(database: str) -> None:
    journal, attempt = await overtaken(database)
    assert attempt.outcome == REFUSED
    assert attempt.answer
    assert "DUPLICATEENTITY" in attempt.answer["status"]["code"]
    await sound(journal, database)


async def test_revert_without_expecting_the_rule_two_equal_contacts_are_written(
    database: str,
) -> None:
    connection = await asyncpg.connect(database)
    await patched(
        connection, "rejected_commands", "WHERE t.version <>", "WHERE false AND t.version <>"
    )
    await connection.close()
    _, attempt = await overtaken(database)
    assert attempt.outcome == ACKNOWLEDGED
