"""Many writers at once, on one entity and on many, through one process and through two."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.acknowledged_log import ACKNOWLEDGED, REFUSED, Journal, begun
from tests.faults.invariants import following, sound
from tests.fixtures.service import Api, run_as_process, run_in_process

pytestmark = pytest.mark.slow

WRITERS = 64
REMOVE = "communications/queue/remove"


async def test_many_writers_on_one_contact(database: str) -> None:
    async with run_in_process(database) as service:
        journal = await begun(service)
        contact = journal.contacts[0]

        async def writer(n: int) -> None:
            for step in range(2):
                await journal.update(contact, f"{n}/{step}" if n % 2 else None)

        async with following(database, journal.organisation) as follower:
            await asyncio.gather(*(writer(n) for n in range(WRITERS)))
            await sound(journal, database, follower)
        assert journal.count(ACKNOWLEDGED) >= 4 + WRITERS * 2


async def test_many_writers_on_a_thousand_contacts(database: str) -> None:
    async with run_in_process(database) as service:
        journal = await begun(service)

        async def writer(n: int) -> None:
            for step in range(16):
                created = await journal.create(f"{n}/{step}" if n % 2 else None)
                if step % 4 == 0:
                    await journal.update(created.data["id"])

        async with following(database, journal.organisation) as follower:
            await asyncio.gather(*(writer(n) for n in range(WRITERS)))
            await sound(journal, database, follower)
        assert len(journal.contacts) >= 1000


async def test_one_queue_entry_is_removed_once(database: str) -> None:
    async with run_in_process(database) as one, run_in_process(database) as two:
        first = await begun(one)
        second = Journal(first.api, two, first.attempts)
        entry = first.queue[0]
        named = {"communication_queue_identifier": {"id": entry}}
        sends = ((first, second)[n % 2].send(REMOVE, named) for n in range(40))
        attempts = await asyncio.gather(*sends)
        assert [attempt.outcome for attempt in attempts].count(ACKNOWLEDGED) == 1
        assert [attempt.outcome for attempt in attempts].count(REFUSED) == 39
        await sound(first, database)


async def test_two_processes_on_one_database(database: str) -> None:
    async with run_as_process(database) as one, run_as_process(database) as two:
        journal = await begun(one)
        here, there = journal.api, Api(two, journal.organisation, journal.api.token)
        await _reads_what_the_other_wrote(here, there, journal.contacts[0])
        second = Journal(there, two, journal.attempts, journal.contacts)
        async with following(database, journal.organisation) as follower:
            clients = [asyncio.create_task(each.work()) for each in (journal, second) * 8]
            await journal.acknowledged(150)
            journal.stopped = second.stopped = True
            await asyncio.gather(*clients)
            await sound(journal, database, follower)


async def _reads_what_the_other_wrote(here: Api, there: Api, contact: str) -> None:
    named = {"contact_information_identifier": {"id": contact}}
    path = "contact_information/show"
    for n in range(5):
        await here.post("contact_information/update", **named, middle_name=f"M{n}")
        shown = await there.get(path, contact_information_identifier=f"id={contact}")
        assert shown["middle_name"] == f"M{n}"

        await there.register(
            [{"kind": "industry", "id": f"I{n}", "name": f"N{n}", "code": f"C{n}"}]
        )
        profile = {"industry_identifier": {"code": f"C{n}"}}
        company = {"type": "COMPANY", "company_name": f"Acme {n}", "company_profile": profile}
        await here.post("contact_information/create", **company)

    token = await here.login()
    elsewhere = Api(there.service, here.organisation, token)
    await elsewhere.get(path, contact_information_identifier=f"id={contact}")
    await Api(here.service, here.organisation, token).post("authentication/token/release")
    refused = await elsewhere.call(
        "GET", path, query={"contact_information_identifier": f"id={contact}"}
    )
    assert "INVALIDTOKEN" in refused["status"]["code"]
