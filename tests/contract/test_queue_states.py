"""Methods 15 to 17, process, reject and remove: contract communications.md, sections 9.2 and 9.3."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.communications import (
    ERROR,
    CommunicationsClient,
    call_concurrently,
    communications_client,
    error_names,
    event_topics,
    new_key,
    post_raw,
)
from tests.fixtures.organisation import unknown_id, untouched
from tests.fixtures.service import Service, refusal

Json = dict[str, Any]
QUEUE, ON = "communications/queue", "communication_queue_identifier"
STATES: dict[str, tuple[str, ...]] = {
    "PENDING": (),
    "REJECTED": ("reject",),
    "COMPLETED": ("process",),
    "COMPLETED_AND_REMOVED": ("remove",),
}
"""How an entry comes into each state."""
LEADS: dict[tuple[str, str], str] = {
    ("PENDING", "process"): "COMPLETED",
    ("PENDING", "reject"): "REJECTED",
    ("PENDING", "remove"): "COMPLETED_AND_REMOVED",
    ("REJECTED", "process"): "COMPLETED",
    ("REJECTED", "reject"): "REJECTED",
    ("COMPLETED", "process"): "COMPLETED",
    ("COMPLETED", "remove"): "COMPLETED_AND_REMOVED",
}
"""The table of section 9.2; what is not in it is refused."""
METHODS = ("process", "reject", "remove")


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    return await communications_client(service)


async def entry_in(client: CommunicationsClient, state: str) -> Json:
    entry = await client.create_email()
    for method in STATES[state]:
        entry = (await client.call_queue(method, entry))["data"]
    assert entry["life_cycle_state"] == state
    return entry


def on(method: str, entry: Json, **more: Any) -> tuple[str, Json]:
    body = {ON: {"id": entry["id"]}} | (ERROR if method == "reject" else {}) | more
    return f"{QUEUE}/{method}", body


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("state", STATES)
async def test_the_table(client: CommunicationsClient, state: str, method: str) -> None:
    entry = await entry_in(client, state)
    said = await client.show(entry["communication"])
    if leads_to := LEADS.get((state, method)):
        answer = await client.call_queue(method, entry)
        assert answer["data"]["life_cycle_state"] == leads_to
        now = answer["data"]
    else:
        async with untouched(client.api):
            assert error_names([await client.call_queue(method, entry)]) == [
                "INVALIDLIFECYCLESTATE"
            ]
        now = entry
    assert await client.show_queue_entry(entry["id"]) == now
    assert await client.show(entry["communication"]) == said


KEPT = {"error_code": "E1", "error_description": "Nobody there"}


async def test_errors_are_kept_by_what_follows(client: CommunicationsClient) -> None:
    entry = await entry_in(client, "REJECTED")
    assert {name: entry[name] for name in KEPT} == KEPT
    for method in ("process", "process", "remove"):
        now = (await client.call_queue(method, entry))["data"]
        assert {name: now[name] for name in KEPT} == KEPT


async def test_rejecting_again_says_another_error(client: CommunicationsClient) -> None:
    entry = await entry_in(client, "REJECTED")
    other = {"error_code": 5, "error_description": "Still nobody"}
    now = (await client.call_queue("reject", entry, **other))["data"]
    assert (now["error_code"], now["error_description"]) == ("5", "Still nobody")


async def test_processing_again_only_shows_who_did_it(client: CommunicationsClient) -> None:
    entry = await entry_in(client, "COMPLETED")
    token = await client.api.login(unit="83FEA79C4ADC57C16330F36173A02B8D")
    answer = await client.api.open(f"{QUEUE}/process", {ON: {"id": entry["id"]}, "token": token})
    now = answer["data"]
    assert now | {"log_information": 0} == entry | {"log_information": 0}
    log, before = now["log_information"], entry["log_information"]
    assert log["updated_by_unit"]["name"] == "Call Centre"
    assert {k: log[k] for k in log if k.startswith("created")} == {
        k: before[k] for k in before if k.startswith("created")
    }


async def test_the_entry(client: CommunicationsClient) -> None:
    entry = await client.create_email(communication_queue_external_system_identifier={"id": "ES1"})
    assert list(entry) == [
        "id",
        "number",
        "life_cycle_state",
        "error_code",
        "error_description",
        "communication",
        "communication_queue_external_system",
        "log_information",
    ]
    assert entry["number"].isdigit()
    assert entry["communication_queue_external_system"] == {
        "id": "ES1",
        "name": "Postman",
        "alternative_code": "PM",
    }
    assert len(entry["communication"]) == 7


@pytest.mark.parametrize("method", METHODS)
async def test_named_by_its_number(client: CommunicationsClient, method: str) -> None:
    entry = await client.create_email()
    for number in (f" {entry['number']} ", int(entry["number"])):
        call = on(method, entry, **{ON: {"number": number}})
        answer = (await call_concurrently(client.api, [call]))[0]
        assert error_names([answer]) in (["OK"], ["INVALIDLIFECYCLESTATE"])
    assert (await client.show_queue_entry(entry["id"]))["life_cycle_state"] == LEADS[
        "PENDING", method
    ]


NAMED: list[tuple[Any, str]] = [
    (None, "MANDATORYPARAMETER"),
    ("", "MANDATORYPARAMETER"),
    ({}, "MANDATORYPARAMETER"),
    ({"id": "1", "number": "1"}, "SEMIOPTIONALPARAMETER"),
    ({"code": "1"}, "INVALIDIDENTIFIER"),
    ("1", "INVALIDIDENTIFIER"),
    ({"number": {}}, "INVALIDPARAMETERTYPE"),
    ({"number": "999999"}, "ENTITYNOTFOUND"),
    ({"number": "CM000001"}, "ENTITYNOTFOUND"),
    ({"id": unknown_id()}, "ENTITYNOTFOUND"),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("named", "name"), NAMED)
async def test_naming_refused(
    client: CommunicationsClient, method: str, named: Any, name: str
) -> None:
    given = {ON: named} | (ERROR if method == "reject" else {})
    refused = await client.api.refused(f"{QUEUE}/{method}", **given)
    at = f"{ON}.number" if name == "INVALIDPARAMETERTYPE" else ON
    assert refused == (name, at)


@pytest.mark.parametrize("method", METHODS)
async def test_the_id_of_its_communication_is_not_its_own(
    client: CommunicationsClient, method: str
) -> None:
    entry = await client.create_email()
    refused = error_names([await client.call_queue(method, entry["communication"])])
    assert refused == ["ENTITYNOTFOUND"]


ERRORS: list[tuple[Json, str, str]] = [
    *(({name: value}, "MANDATORYPARAMETER", name) for name in ERROR for value in (None, "", "  ")),
    ({"error_code": "x" * 4001}, "INVALIDPARAMETERVALUE", "error_code"),
    ({"error_code": []}, "INVALIDPARAMETERTYPE", "error_code"),
    ({"error_description": "x" * 65_536}, "INVALIDPARAMETERVALUE", "error_description"),
    ({"error_description": True}, "INVALIDPARAMETERTYPE", "error_description"),
    ({"error_description": "a\0"}, "INVALIDPARAMETERVALUE", "error_description"),
]


@pytest.mark.parametrize("case", ERRORS, ids=lambda c: f"{c[1]}-{str(c[0])[:40]}")
async def test_errors_refused(client: CommunicationsClient, case: tuple[Json, str, str]) -> None:
    given, name, description = case
    entry = await entry_in(client, "COMPLETED_AND_REMOVED")
    async with untouched(client.api):
        assert refusal(await client.call_queue("reject", entry, **given)) == (name, description)


async def test_errors_are_mandatory(client: CommunicationsClient) -> None:
    entry = await client.create_email()
    named = {ON: {"id": entry["id"]}}
    refused = await client.api.refused(f"{QUEUE}/reject", **named)
    assert refused == ("MANDATORYPARAMETER", "error_code")
    refused = await client.api.refused(f"{QUEUE}/reject", **named, error_code="1")
    assert refused == ("MANDATORYPARAMETER", "error_description")


async def test_the_longest_error(client: CommunicationsClient) -> None:
    entry = await client.create_email()
    given = {"error_code": "x" * 4000, "error_description": "é" * 65_535}
    now = (await client.call_queue("reject", entry, **given))["data"]
    assert {name: now[name] for name in given} == given


@pytest.mark.parametrize("method", METHODS)
async def test_repeated(client: CommunicationsClient, method: str) -> None:
    entry, key = await client.create_email(), {"Idempotency-Key": new_key()}
    call, before = on(method, entry), await event_topics(client.api)
    answers = await call_concurrently(client.api, [call] * 50, **key)
    assert answers == [answers[0]] * 50
    assert answers[0]["data"]["life_cycle_state"] == LEADS["PENDING", method]
    assert len(await event_topics(client.api)) == len(before) + 1
    async with untouched(client.api):
        status, answer = await post_raw(client.api, call[0], call[1] | {"x": 1}, **key)
        assert (status, refusal(answer)[0]) == (422, "INVALIDREQUEST")


async def test_a_repeated_answer_is_what_was_then(client: CommunicationsClient) -> None:
    entry, key = await client.create_email(), {"Idempotency-Key": new_key()}
    first = (await call_concurrently(client.api, [on("process", entry)], **key))[0]
    await client.call_queue("remove", entry)
    assert await call_concurrently(client.api, [on("process", entry)], **key) == [first]


@pytest.mark.parametrize("method", METHODS)
async def test_repeated_without_a_key(client: CommunicationsClient, method: str) -> None:
    entry = await client.create_email()
    answers = await call_concurrently(client.api, [on(method, entry)])
    answers += await call_concurrently(client.api, [on(method, entry)])
    expected = ["INVALIDLIFECYCLESTATE", "OK"] if method == "remove" else ["OK", "OK"]
    assert error_names(answers) == expected


@pytest.mark.parametrize("pair", [*permutations(METHODS, 2), *((m, m) for m in METHODS)])
async def test_raced(client: CommunicationsClient, pair: tuple[str, str]) -> None:
    """Whatever the order, the two together are one of the ways that the table allows."""
    for _ in range(3):
        entry = await client.create_email()
        before = await event_topics(client.api)
        answers = await call_concurrently(client.api, [on(method, entry) for method in pair])
        accepted = [a["status"]["code"] == "OK" for a in answers]
        assert set(error_names(answers)) <= {"OK", "INVALIDLIFECYCLESTATE"}
        now = (await client.show_queue_entry(entry["id"]))["life_cycle_state"]
        allowed = {_walked(pair, order) for order in ((0, 1), (1, 0))}
        assert (tuple(accepted), now) in allowed
        assert len(await event_topics(client.api)) == len(before) + sum(accepted)


def _walked(pair: tuple[str, str], order: tuple[int, int]) -> tuple[tuple[bool, ...], str]:
    """Which of two calls is accepted in that order, and the state afterwards."""
    state, accepted = "PENDING", [False, False]
    for n in order:
        leads_to = LEADS.get((state, pair[n]))
        accepted[n] = leads_to is not None
        state = leads_to or state
    return tuple(accepted), state


async def test_removing_at_once_happens_once(client: CommunicationsClient) -> None:
    entry = await client.create_email()
    answers = await call_concurrently(client.api, [on("remove", entry)] * 10)
    assert error_names(answers) == ["INVALIDLIFECYCLESTATE"] * 9 + ["OK"]
