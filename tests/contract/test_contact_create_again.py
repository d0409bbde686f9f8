"""Method 20, contact_information/create: repeated and at the same moment."""

from __future__ import annotations

import asyncio
import json

from tests.fixtures.organisation import (
    OrganisationClient,
    person,
    query_rows,
    unknown_id,
    untouched,
)
from tests.fixtures.service import refusal

PATH = "contact_information/create"


async def test_repeating_without_a_key_makes_another(shared: OrganisationClient) -> None:
    body = person()
    first, second = await shared.create_contact(body), await shared.create_contact(body)
    assert first["id"] != second["id"]


async def test_repeating_with_a_key_gives_the_first_answer(shared: OrganisationClient) -> None:
    key = {"Idempotency-Key": unknown_id()}
    body = person(demographics={"id_number": unknown_id()})
    first = await shared.api.call("POST", PATH, body=body, headers=key)
    async with untouched(shared.api):
        assert await shared.api.call("POST", PATH, body=body, headers=key) == first
    shared.api.token = await shared.api.login()
    async with untouched(shared.api):
        assert await shared.api.call("POST", PATH, body=body, headers=key) == first


async def test_repeating_a_key_with_another_body_is_refused(shared: OrganisationClient) -> None:
    headers = {"Idempotency-Key": unknown_id(), "Content-Type": "application/json"}
    await shared.create_contact()
    body = person() | {"token": shared.api.token}
    send, path = shared.api.service.send, f"/crmapi/rest/v2/{PATH}"
    assert (await send("POST", path, data=json.dumps(body), headers=headers))[0] == 200
    async with untouched(shared.api):
        changed = json.dumps(body | {"title": "Mr"})
        status, answer, _ = await send("POST", path, data=changed, headers=headers)
    assert (status, refusal(answer)[0]) == (422, "INVALIDREQUEST")


async def test_loses_the_race_for_a_unique_contact(shared: OrganisationClient) -> None:
    body = person(demographics={"id_number": unknown_id()})
    answers = await asyncio.gather(*(shared.api.call("POST", PATH, body=body) for _ in range(20)))
    won = [answer for answer in answers if answer["status"]["code"] == "OK"]
    lost = [refusal(answer) for answer in answers if answer not in won]
    assert len(won) == 1
    assert lost == [("DUPLICATEENTITY", "name, id_number")] * 19
    number = body["demographics"]["id_number"]
    found = await shared.api.get("contact_information/list", id_number=number)
    assert [contact["id"] for contact in found] == [won[0]["data"]["id"]]


async def test_loses_the_race_of_one_key(shared: OrganisationClient) -> None:
    key, body = {"Idempotency-Key": unknown_id()}, person(demographics={"id_number": unknown_id()})
    calls = (shared.api.call("POST", PATH, body=body, headers=key) for _ in range(10))
    answers = await asyncio.gather(*calls)
    first = next(answer for answer in answers if answer["status"]["code"] == "OK")
    for answer in answers:
        assert answer == first or refusal(answer)[0] == "CONCURRENTUPDATE"
    number = body["demographics"]["id_number"]
    assert len(await shared.api.get("contact_information/list", id_number=number)) == 1


async def test_parallel_creates_have_numbers_of_their_own(fresh: OrganisationClient) -> None:
    made = await asyncio.gather(*(fresh.new_contact() for _ in range(20)))
    numbers = {(await fresh.show_contact(contact))["number"] for contact in made}
    assert len(numbers) == 20
    positions = await query_rows(
        fresh.api, "SELECT position FROM ledger.events WHERE organisation = $1 ORDER BY 1"
    )
    assert [row["position"] for row in positions] == list(range(1, len(positions) + 1))
