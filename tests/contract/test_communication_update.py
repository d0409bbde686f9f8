"""Method 8, communications/update: contract communications.md, section 8.4."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.communications import (
    CommunicationsClient,
    call_concurrently,
    communications_client,
    error_names,
    event_topics,
    new_key,
    post_raw,
)
from tests.fixtures.organisation import GROUP, OTHER_GROUP, unknown_id, untouched
from tests.fixtures.service import Service, refusal

UPDATE, COMPLETE = "communications/update", "communications/complete"
MAIL = {"media": "EMAIL", "to": "a@b"}
Json = dict[str, Any]


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    return await communications_client(service)


def on(communication: Json, **more: Any) -> tuple[str, Json]:
    return UPDATE, {"communication_identifier": {"id": communication["id"]}} | more


FULL = {
    "notes": "By the way",
    "to": "there",
    "category_identifier": {"id": "MC1"},
    "communication_queue_external_system_identifier": {"id": "ES1"},
    "privacy_level_identifier": {"number": "8"},
    "udf_string_1": "one",
    "udf_float_1": 1,
    "udf_date_1": "2014-05-05T15:49:59",
    "referring_to": {"subscription_identifier": {"id": "SU1"}},
}


async def test_happens(client: CommunicationsClient) -> None:
    draft = await client.create_draft()
    changed = await client.call("update", draft, subject="New", **FULL)
    expected = draft | {
        "subject": "New",
        "notes": "By the way",
        "to": "there",
        "udf_string_1": "one",
        "udf_float_1": 1,
        "udf_date_1": "2014-05-05T15:49:59",
    }
    same = set(expected) - {
        "category",
        "communication_queue_external_system",
        "privacy_level",
        "referring_to",
        "log_information",
    }
    assert {name: changed[name] for name in same} == {name: expected[name] for name in same}
    assert changed["category"]["code"] == "SAL"
    assert changed["communication_queue_external_system"]["id"] == "ES1"
    assert changed["privacy_level"]["number"] == "8"
    assert changed["referring_to"]["subscription"]["number"] == "S60302"
    assert await client.show(draft) == changed


async def test_the_draft_can_be_named_by_its_number(client: CommunicationsClient) -> None:
    draft = await client.create_draft()
    named = {"number": f" {draft['number']} "}
    changed = await client.api.post(UPDATE, communication_identifier=named, notes="x")
    assert (changed["id"], changed["notes"]) == (draft["id"], "x")


async def test_who_changed_it(client: CommunicationsClient) -> None:
    draft = await client.create_draft()
    token = await client.api.login(unit="83FEA79C4ADC57C16330F36173A02B8D")
    answer = await client.api.open(UPDATE, on(draft, notes="x", token=token)[1])
    log, first = answer["data"]["log_information"], draft["log_information"]
    assert log["updated_by_unit"]["name"] == "Call Centre"
    for name in ("created_date", "created_by_user", "created_by_unit"):
        assert log[name] == first[name]


async def test_absent_is_unchanged(client: CommunicationsClient) -> None:
    draft = await client.create_draft(**FULL)
    changed = await client.call("update", draft, subject="New")
    assert changed | {"subject": "Hello", "log_information": None} == draft | {
        "log_information": None
    }


async def test_null_is_null(client: CommunicationsClient) -> None:
    draft = await client.create_draft(**FULL)
    changed = await client.call("update", draft, **dict.fromkeys(FULL))
    plain = await client.create_draft()
    own = ("id", "number", "code", "log_information")
    assert changed | dict.fromkeys(own) == plain | dict.fromkeys(own)


async def test_empty_texts_are_null(client: CommunicationsClient) -> None:
    draft = await client.create_draft(**FULL)
    changed = await client.call("update", draft, notes="", to="", udf_string_1="")
    assert [changed[name] for name in ("notes", "to", "udf_string_1")] == [None] * 3


UNCHANGING: dict[str, Json] = {
    "nothing": {},
    "the same": {"subject": "Hello", "owned_by_group_identifier": {"id": GROUP}},
    "state null": {"life_cycle_state": None},
    "state draft": {"life_cycle_state": "DRAFT"},
    "no references": {"referring_to": {}},
    "no parameters": {"unrestricted_parameter_set": []},
    "parameters null": {"unrestricted_parameter_set": None},
    "unknown members": {"colour": "red", "viewed": 1},
    "the contact": {"contact_information_identifier": {"id": "whatever", "not": "an identifier"}},
}


@pytest.mark.parametrize("case", UNCHANGING)
async def test_what_changes_nothing_is_no_event(client: CommunicationsClient, case: str) -> None:
    draft = await client.create_draft()
    async with untouched(client.api):
        assert await client.call("update", draft, **UNCHANGING[case]) == draft


async def test_completing_by_an_update(client: CommunicationsClient) -> None:
    draft = await client.create_draft(**MAIL)
    changed = await client.call("update", draft, subject="New", life_cycle_state="COMPLETE")
    assert (changed["life_cycle_state"], changed["subject"]) == ("COMPLETED", "New")
    assert (await event_topics(client.api))[-3:] == [
        "communication.amended",
        "communication.completed",
        "queue_entry.queued",
    ]


REFUSED: list[tuple[Json, str, str]] = [
    *(
        ({name: value}, "MANDATORYPARAMETER", name)
        for name in ("direction", "media", "subject", "content")
        for value in (None, "", " ")
    ),
    ({"owned_by_group_identifier": None}, "MANDATORYPARAMETER", "owned_by_group_identifier"),
    ({"media": "EMAIL"}, "MANDATORYPARAMETER", "to"),
    ({"media": "EMAIL", "to": None}, "MANDATORYPARAMETER", "to"),
    ({"media": "EMAIL", "to": "ab"}, "INVALIDPARAMETERVALUE", "to"),
    ({"media": "FAX"}, "INVALIDPARAMETERVALUE", "media"),
    ({"direction": []}, "INVALIDPARAMETERTYPE", "direction"),
    ({"life_cycle_state": "VIEWED"}, "INVALIDPARAMETERVALUE", "life_cycle_state"),
    ({"notes": "x" * 65_536}, "INVALIDPARAMETERVALUE", "notes"),
    ({"category_identifier": {"id": "nothing"}}, "ENTITYNOTFOUND", "category_identifier"),
    (
        {"category_identifier": {"id": "1", "name": "x"}},
        "SEMIOPTIONALPARAMETER",
        "category_identifier",
    ),
    ({"privacy_level_identifier": {"code": "1"}}, "INVALIDIDENTIFIER", "privacy_level_identifier"),
    ({"template_identifier": {"name": "nothing"}}, "ENTITYNOTFOUND", "template_identifier"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: f"{c[1]}-{str(c[0])[:60]}")
async def test_refused(client: CommunicationsClient, case: tuple[Json, str, str]) -> None:
    given, name, description = case
    draft = await client.create_draft()
    async with untouched(client.api):
        assert await client.call_refused("update", draft, **given) == (name, description)


ON = "communication_identifier"


@pytest.mark.parametrize("method", ["update", "complete", "set_as_viewed"])
@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        (None, "MANDATORYPARAMETER"),
        ({}, "MANDATORYPARAMETER"),
        ({"id": "1", "number": "CM1"}, "SEMIOPTIONALPARAMETER"),
        ({"code": "1"}, "INVALIDIDENTIFIER"),
        ("CM000001", "INVALIDIDENTIFIER"),
        ({"number": "CM999999"}, "ENTITYNOTFOUND"),
        ({"number": "cm000001"}, "ENTITYNOTFOUND"),
        ({"number": "1"}, "ENTITYNOTFOUND"),
    ],
)
async def test_which_communication(
    client: CommunicationsClient, method: str, identifier: Any, name: str
) -> None:
    await client.create_email()  # so that the queue has a number 1
    given = {ON: identifier}
    assert await client.api.refused(f"communications/{method}", **given) == (name, ON)
    assert await client.api.refused(f"communications/{method}") == ("MANDATORYPARAMETER", ON)


async def test_an_email_keeps_its_address(client: CommunicationsClient) -> None:
    draft = await client.create_draft(**MAIL)
    for to in (None, "", " "):
        assert await client.call_refused("update", draft, to=to) == ("MANDATORYPARAMETER", "to")
    assert await client.call_refused("update", draft, to="b@") == ("INVALIDPARAMETERVALUE", "to")
    assert (await client.call("update", draft, media="SMS", to=None))["to"] is None


async def test_an_address_that_was_none_is_checked_when_the_media_becomes_email(
    client: CommunicationsClient,
) -> None:
    draft = await client.create_draft(to="nowhere")
    assert await client.call_refused("update", draft, media="EMAIL") == (
        "INVALIDPARAMETERVALUE",
        "to",
    )


@pytest.mark.parametrize("given", [{}, {"notes": "x"}, {"life_cycle_state": "DRAFT"}])
async def test_final_ones_do_not_change(client: CommunicationsClient, given: Json) -> None:
    said = await client.create()
    async with untouched(client.api):
        assert (await client.call_refused("update", said, **given))[0] == "INVALIDLIFECYCLESTATE"


async def test_repeated(client: CommunicationsClient) -> None:
    draft, key = await client.create_draft(**MAIL), {"Idempotency-Key": new_key()}
    call = on(draft, notes="x", life_cycle_state="COMPLETED")
    first = (await call_concurrently(client.api, [call], **key))[0]
    async with untouched(client.api):
        assert await call_concurrently(client.api, [call] * 3, **key) == [first] * 3
        status, answer = await post_raw(client.api, UPDATE, call[1] | {"notes": "y"}, **key)
        assert (status, refusal(answer)[0]) == (422, "INVALIDREQUEST")
        assert error_names(await call_concurrently(client.api, [call])) == ["INVALIDLIFECYCLESTATE"]


async def test_a_repeated_update_that_changed_nothing_answers_what_was_then(
    client: CommunicationsClient,
) -> None:
    draft, key = await client.create_draft(), {"Idempotency-Key": new_key()}
    first = (await call_concurrently(client.api, [on(draft)], **key))[0]
    await client.call("update", draft, notes="later")
    assert await call_concurrently(client.api, [on(draft)], **key) == [first]


async def test_fifty_equal_calls_at_once_are_one(client: CommunicationsClient) -> None:
    draft = await client.create_draft(**MAIL)
    before = await event_topics(client.api)
    call = on(draft, notes="x", life_cycle_state="COMPLETED")
    answers = await call_concurrently(client.api, [call] * 50, **{"Idempotency-Key": new_key()})
    assert answers == [answers[0]] * 50
    assert answers[0]["status"]["code"] == "OK"
    assert len(await event_topics(client.api)) == len(before) + 3


async def test_raced_with_itself(client: CommunicationsClient) -> None:
    draft = await client.create_draft()
    calls = [on(draft, **{f"udf_string_{n}": "x"}) for n in range(1, 9)]
    assert error_names(await call_concurrently(client.api, calls)) == ["OK"] * 8
    now = await client.show(draft)
    assert [now[f"udf_string_{n}"] for n in range(1, 9)] == ["x"] * 8


async def test_raced_with_complete(client: CommunicationsClient) -> None:
    drafts = await asyncio.gather(*(client.create_draft(**MAIL) for _ in range(8)))
    for draft in drafts:
        named = on(draft)[1]
        answers = await call_concurrently(client.api, [(COMPLETE, named), on(draft, subject="New")])
        now = await client.show(draft)
        assert now["life_cycle_state"] == "COMPLETED"
        changed = answers[1]["status"]["code"] == "OK"
        assert now["subject"] == ("New" if changed else "Hello")
        assert error_names(answers) == (
            ["OK", "OK"] if changed else ["INVALIDLIFECYCLESTATE", "OK"]
        )


async def test_raced_completion_by_update(client: CommunicationsClient) -> None:
    draft = await client.create_draft(**MAIL)
    before = await event_topics(client.api, "queue_entry")
    calls = [on(draft, life_cycle_state="COMPLETED")] * 2 + [(COMPLETE, on(draft)[1])] * 2
    assert error_names(await call_concurrently(client.api, calls)) == [
        "INVALIDLIFECYCLESTATE"
    ] * 3 + ["OK"]
    assert len(await event_topics(client.api, "queue_entry")) == len(before) + 1


async def test_of_another_organisation_there_is_nothing(
    client: CommunicationsClient, service: Service
) -> None:
    other = await communications_client(service)
    draft = await other.create_draft()
    assert await client.call_refused("update", draft, notes="x") == ("ENTITYNOTFOUND", ON)
    assert (await client.call_refused("update", {"id": unknown_id()}))[0] == "ENTITYNOTFOUND"
    changed = await other.call("update", draft, owned_by_group_identifier={"id": OTHER_GROUP})
    assert changed["owned_by_group"]["id"] == OTHER_GROUP
