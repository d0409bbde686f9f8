"""Two processes of the service on one database: contract common.md, section 13."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from infra.postgres.embedded.server import EmbeddedPostgres
from tests.fixtures import databases
from tests.fixtures.communications import (
    CommunicationsClient,
    call_concurrently,
    communications_client,
    error_names,
    event_topics,
    new_key,
    post_raw,
)
from tests.fixtures.organisation import untouched
from tests.fixtures.service import Api, refusal, run_in_process

Json = dict[str, Any]
MAIL = {"media": "EMAIL", "to": "a@b"}
Pair = tuple[CommunicationsClient, Api]


@pytest_asyncio.fixture(scope="module")
async def pair(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[Pair]:
    """One organisation as two services see it."""
    async with (
        databases.database(postgres, template) as url,
        run_in_process(url) as first,
        run_in_process(url) as second,
    ):
        own = await communications_client(first)
        own.api.token = await own.api.login()
        yield own, replace(own.api, service=second)


async def both(pair: Pair, path: str, body: Json, **headers: str) -> list[Json]:
    """The same call to both at once."""
    own, other = pair
    answers = await asyncio.gather(
        *(call_concurrently(api, [(path, body)], **headers) for api in (own.api, other))
    )
    return [answer for found in answers for answer in found]


async def test_a_read_sees_what_the_other_wrote(pair: Pair) -> None:
    own, other = pair
    draft = await own.create_draft()
    named = {"communication_identifier": {"id": draft["id"]}}
    for n in range(5):
        await own.api.post("communications/update", **named, notes=str(n))
        shown = await other.get("communications/show", communication_identifier=f"id={draft['id']}")
        assert shown["notes"] == str(n)


async def test_a_call_sees_what_was_registered_through_the_other(pair: Pair) -> None:
    own, other = pair
    for n in range(3):
        await own.register("communication_category", f"R{n}", name=f"R{n}")
        body = own.creation_body(category_identifier={"name": f"R{n}"})
        assert (await other.post("communications/create", **body))["category"]["id"] == f"R{n}"
        await own.register("communication_category", f"R{n}", name=f"R{n}", retired=True)
        refused = await other.refused("communications/create", **body)
        assert refused == ("ENTITYNOTFOUND", "category_identifier")


async def test_a_released_session_is_ended_everywhere(pair: Pair) -> None:
    own, other = pair
    token = await own.api.login()
    answer = await other.open("authentication/token/release", {"token": token})
    assert answer["status"]["code"] == "OK"
    refused = await own.api.open("communications/complete", {"token": token})
    assert refusal(refused)[0] == "INVALIDTOKEN"


async def test_completing_twice(pair: Pair) -> None:
    own, _ = pair
    for _ in range(5):
        draft = await own.create_draft(**MAIL)
        before = await event_topics(own.api)
        named = {"communication_identifier": {"id": draft["id"]}}
        answers = await both(pair, "communications/complete", named)
        assert error_names(answers) == ["INVALIDLIFECYCLESTATE", "OK"]
        new = (await event_topics(own.api))[len(before) :]
        assert new == ["communication.completed", "queue_entry.queued"]


async def test_updating_at_once_loses_nothing(pair: Pair) -> None:
    own, other = pair
    draft = await own.create_draft()
    named = {"communication_identifier": {"id": draft["id"]}}
    calls = [("communications/update", named | {f"udf_string_{n}": "x"}) for n in range(1, 9)]
    answers = await asyncio.gather(
        call_concurrently(own.api, calls[:4]), call_concurrently(other, calls[4:])
    )
    assert error_names([one for found in answers for one in found]) == ["OK"] * 8
    now = await own.show(draft)
    assert [now[f"udf_string_{n}"] for n in range(1, 9)] == ["x"] * 8


@pytest.mark.parametrize("method", ["process", "remove"])
async def test_the_queue(pair: Pair, method: str) -> None:
    own, _ = pair
    entry = await own.create_email()
    before = await event_topics(own.api)
    named = {"communication_queue_identifier": {"id": entry["id"]}}
    answers = await both(pair, f"communications/queue/{method}", named)
    once = error_names(answers) == ["INVALIDLIFECYCLESTATE", "OK"]
    assert once if method == "remove" else error_names(answers) == ["OK", "OK"]
    assert len(await event_topics(own.api)) == len(before) + (1 if once else 2)


async def test_a_key_is_known_everywhere(pair: Pair) -> None:
    own, other = pair
    before = await event_topics(own.api)
    key, body = {"Idempotency-Key": new_key()}, own.creation_body(**MAIL)
    calls = [("communications/create", body)] * 25
    found = await asyncio.gather(
        *(call_concurrently(api, calls, **key) for api in (own.api, other))
    )
    answers = [answer for part in found for answer in part]
    assert answers == [answers[0]] * 50
    assert answers[0]["status"]["code"] == "OK"
    new = (await event_topics(own.api))[len(before) :]
    assert new == ["communication.recorded", "queue_entry.queued"]
    async with untouched(own.api):
        status, _ = await post_raw(other, "communications/create", body | {"notes": "x"}, **key)
        assert status == 422


async def test_numbers_are_given_out_once(pair: Pair) -> None:
    own, other = pair
    calls = [("communications/create", own.creation_body(**MAIL))] * 20
    found = await asyncio.gather(*(call_concurrently(api, calls) for api in (own.api, other)))
    answers = [answer["data"] for part in found for answer in part]
    for member in ("id", "number", "code"):
        assert len({answer[member] for answer in answers}) == 40
    entries = await own.api.get("communications/queue/list", media="EMAIL", number_of_results=1000)
    assert len({entry["number"] for entry in entries}) == len(entries)


async def test_lists_are_in_the_order_of_acceptance_everywhere(pair: Pair) -> None:
    own, other = pair
    contact = await own.new_contact()
    said = []
    for n in range(6):
        api = own.api if n % 2 else other
        body = own.creation_body(contact_information_identifier={"id": contact})
        said.append((await api.post("communications/create", **body))["id"])
    for api in (own.api, other):
        listed = await api.get(
            "communications/list", contact_information_identifier=f"id={contact}"
        )
        assert [one["id"] for one in listed] == said
