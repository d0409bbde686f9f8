"""Methods 49 to 56: contract service_requests.md, sections 3, 6.3 to 6.10 and 8."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.communications import (
    call_concurrently,
    error_names,
    event_topics,
    new_key,
    post_raw,
)
from tests.fixtures.organisation import unknown_id, untouched
from tests.fixtures.service import Service, refusal
from tests.fixtures.service_requests import (
    ASK,
    FREE,
    STATUSES,
    ServiceRequestsClient,
    answer,
    service_requests_client,
)

Json = dict[str, Any]
STATUS, ON = "status_identifier", "service_request_identifier"
STATES = tuple(STATUSES)
GIVES = {
    "respond": ("response", "RESPONDED"),
    "temporary_resolve": ("temporary_resolution", "TEMPORARY_RESOLVED"),
    "final_resolve": ("final_resolution", "FINAL_RESOLVED"),
}
ACCEPTS = {
    "response_accept": ("response", "RESPONDED"),
    "temporary_resolution_accept": ("temporary_resolution", "TEMPORARY_RESOLVED"),
    "final_resolution_accept": ("final_resolution", "FINAL_RESOLVED"),
}
ALLOWED = {
    "respond": ("PENDING", "RESPONDED"),
    "temporary_resolve": ("RESPONDED", "TEMPORARY_RESOLVED"),
    "final_resolve": ("RESPONDED", "TEMPORARY_RESOLVED", "FINAL_RESOLVED"),
    "complete": ("FINAL_RESOLVED",),
    "cancel": ("PENDING",),
}
"""From which states each call is allowed (section 3)."""

LEADS_TO = {method: state for method, (_, state) in GIVES.items()} | {
    "complete": "COMPLETED",
    "cancel": "CANCELLED",
}
METHODS = (*LEADS_TO, *ACCEPTS)


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> ServiceRequestsClient:
    return await service_requests_client(service)


def step(client: ServiceRequestsClient, method: str, category: str = FREE, **more: Any) -> Json:
    """What a method needs besides the service request."""
    said: Json = {}
    if method in ACCEPTS:
        said = {"accepted_by_identifier": {"id": client.customer}}
    elif method != "cancel":
        said = {STATUS: {"id": STATUSES[LEADS_TO[method]]}}
    if method in GIVES:
        name = GIVES[method][0]
        said[name] = answer(name, category)
    whole = said | more
    return {key: value for key, value in whole.items() if value is not ...}


@pytest.mark.parametrize("method", LEADS_TO)
@pytest.mark.parametrize("state", STATES)
async def test_the_table_of_moves(client: ServiceRequestsClient, method: str, state: str) -> None:
    one = await client.create_in_state(state)
    if state in ALLOWED[method]:
        moved = await client.call(method, one, **step(client, method))
        assert moved["life_cycle_state"] == LEADS_TO[method]
        assert moved["status"]["id"] == STATUSES[LEADS_TO[method]]
        assert bool(moved["actual_completed_date"]) == (method == "complete")
    else:
        async with untouched(client.api):
            found = await client.call_refused(method, one, **step(client, method))
        assert found == ("INVALIDLIFECYCLESTATE", "")


@pytest.mark.parametrize("method", ACCEPTS)
@pytest.mark.parametrize("state", STATES)
async def test_what_can_be_accepted_when(
    client: ServiceRequestsClient, method: str, state: str
) -> None:
    name, needed = ACCEPTS[method]
    asking = {name: ASK} if state == needed else {}
    one = await client.create_in_state(state, asking)
    if state == needed:
        accepted = await client.call(method, one, **step(client, method))
        assert accepted["life_cycle_state"] == state
        assert accepted[name]["accepted_by"]["id"] == client.customer
        assert accepted[name]["accepted_date"]
    else:
        found = await client.call_refused(method, one, **step(client, method))
        assert found == ("INVALIDLIFECYCLESTATE", "")


@pytest.mark.parametrize("method", METHODS)
async def test_refused_as_a_call(client: ServiceRequestsClient, method: str) -> None:
    one = await client.create()
    path, body = client.call_parameters(method, one, **step(client, method))
    needed = {name for name in body if not (method == "final_resolution_accept" and name != ON)}
    needed -= {STATUS} if method == "temporary_resolve" else set()
    for name in needed:
        less = {key: value for key, value in body.items() if key != name}
        assert await client.api.refused(path, **less) == ("MANDATORYPARAMETER", name)
    assert await client.api.refused(path, **body | {ON: {"id": unknown_id()}}) == (
        "ENTITYNOTFOUND",
        ON,
    )


@pytest.mark.parametrize("method", [*GIVES, "complete", "cancel"])
async def test_a_status_of_another_state(client: ServiceRequestsClient, method: str) -> None:
    one = await client.create_in_state(ALLOWED[method][0])
    for state, status in STATUSES.items():
        if state != LEADS_TO[method]:
            wrong = step(client, method) | {STATUS: {"id": status}}
            async with untouched(client.api):
                assert await client.call_refused(method, one, **wrong) == ("INVALIDSTATUS", STATUS)


@pytest.mark.parametrize("method", METHODS)
async def test_texts_that_come_along(client: ServiceRequestsClient, method: str) -> None:
    state = ACCEPTS[method][1] if method in ACCEPTS else ALLOWED[method][0]
    asking = {ACCEPTS[method][0]: ASK} if method in ACCEPTS else {}
    one = await client.create_in_state(state, asking, description="before", notes="n1")
    texts = {"description": "after", "notes": None}
    moved = await client.call(method, one, **step(client, method), **texts)
    expected = ("before", "n1") if method == "cancel" else ("after", None)
    assert (moved["description"], moved["notes"]) == expected


@pytest.mark.parametrize("method", GIVES)
async def test_a_category_that_the_type_does_not_allow(
    client: ServiceRequestsClient, method: str
) -> None:
    name = GIVES[method][0]
    one = await client.create_in_state(ALLOWED[method][0], type_identifier={"id": "STRICT"})
    found = await client.call_refused(method, one, **step(client, method, ASK))
    assert found == ("NOTALLOWEDFORTYPE", f"{name}.category_identifier")
    status = {"respond": "ESCALATED", "temporary_resolve": "LENT", "final_resolve": "SWAPPED"}
    other = {STATUS: {"id": status[method]}}
    found = await client.call_refused(method, one, **step(client, method) | other)
    assert found == ("NOTALLOWEDFORTYPE", STATUS)


async def test_the_status_of_a_temporary_resolution(client: ServiceRequestsClient) -> None:
    said = {"temporary_resolution": answer("temporary_resolution")}
    one = await client.create_in_state("RESPONDED")
    assert (await client.call("temporary_resolve", one, **said))["status"]["id"] == "PATCHED"
    given = {STATUS: {"id": "LENT"}}
    assert (await client.call("temporary_resolve", one, **said, **given))["status"]["id"] == "LENT"
    bare = await client.create_in_state("RESPONDED", type_identifier={"id": "BARE"})
    assert await client.call_refused("temporary_resolve", bare, **said) == (
        "MANDATORYPARAMETER",
        STATUS,
    )


async def test_cancelling(client: ServiceRequestsClient) -> None:
    cancelled = await client.call("cancel", await client.create())
    assert cancelled["status"]["id"] == "WITHDRAWN"
    assert cancelled["cancellation_reason"]["id"] == "AGAIN"
    assert cancelled["actual_completed_date"] is None
    reason = {"cancellation_reason_identifier": {"id": "DOUBLE"}}
    given = await client.call("cancel", await client.create(), **reason)
    assert given["cancellation_reason"]["id"] == "DOUBLE"
    bare = await client.create(type_identifier={"id": "BARE"})
    status = {STATUS: {"id": "WITHDRAWN"}}
    assert await client.call_refused("cancel", bare) == ("MANDATORYPARAMETER", STATUS)
    assert await client.call_refused("cancel", bare, **status) == (
        "MANDATORYPARAMETER",
        "cancellation_reason_identifier",
    )
    assert (await client.call("cancel", bare, **status, **reason))[
        "life_cycle_state"
    ] == "CANCELLED"
    strict = await client.create(type_identifier={"id": "STRICT"})
    assert await client.call_refused("cancel", strict, **status, **reason) == (
        "NOTALLOWEDFORTYPE",
        "cancellation_reason_identifier",
    )


@pytest.mark.parametrize(
    ("state", "name", "next_"),
    [
        ("RESPONDED", "response", "temporary_resolve"),
        ("RESPONDED", "response", "final_resolve"),
        ("TEMPORARY_RESOLVED", "temporary_resolution", "final_resolve"),
        ("FINAL_RESOLVED", "final_resolution", "complete"),
    ],
)
async def test_no_step_before_an_acceptance(
    client: ServiceRequestsClient, state: str, name: str, next_: str
) -> None:
    one = await client.create_in_state(state, {name: ASK})
    async with untouched(client.api):
        found = await client.call_refused(next_, one, **step(client, next_))
    assert found == ("PENDINGACCEPTANCE", name)
    accept = next(method for method, (of, _) in ACCEPTS.items() if of == name)
    await client.call(accept, one, **step(client, accept))
    moved = await client.call(next_, one, **step(client, next_))
    assert moved["life_cycle_state"] == LEADS_TO[next_]


@pytest.mark.parametrize("method", ACCEPTS)
async def test_who_accepts(client: ServiceRequestsClient, method: str) -> None:
    name, state = ACCEPTS[method]
    by = "accepted_by_identifier"
    for contact in (client.customer, client.relative):
        one = await client.create_in_state(state, {name: ASK})
        accepted = await client.call(method, one, **{by: {"id": contact}})
        assert accepted[name]["accepted_by"]["id"] == contact
        found = await client.call_refused(method, one, **{by: {"id": client.customer}})
        assert found == ("ALREADYACCEPTED", name)
    one = await client.create_in_state(state, {name: ASK})
    found = await client.call_refused(method, one, **{by: {"id": client.stranger}})
    assert found == ("INVALIDACCEPTINGCONTACT", by)
    free = await client.create_in_state(state)
    found = await client.call_refused(method, free, **{by: {"id": client.customer}})
    assert found == ("ACCEPTANCENOTREQUIRED", name)


async def test_the_caller_accepts_a_final_resolution_unless_it_is_said(
    client: ServiceRequestsClient,
) -> None:
    called = {"contact_information_identifier": {"id": client.relative}}
    one = await client.create_in_state("FINAL_RESOLVED", {"final_resolution": ASK}, **called)
    accepted = await client.call("final_resolution_accept", one)
    assert accepted["final_resolution"]["accepted_by"]["id"] == client.relative


@pytest.mark.parametrize("method", GIVES)
async def test_replacing(client: ServiceRequestsClient, method: str) -> None:
    name, state = GIVES[method]
    one = await client.create_in_state(state, {name: ASK})
    by = f"service_request.{name}_replaced"
    before = await event_topics(client.api)
    other = answer(name, ASK, description="Rather this")
    replaced = await client.call(method, one, **step(client, method) | {name: other})
    assert replaced[name]["description"] == "Rather this"
    assert (await event_topics(client.api))[len(before) :] == [by]
    at_once = other | {"accepted_by_identifier": {"id": client.customer}}
    await client.call(method, one, **step(client, method) | {name: at_once})
    async with untouched(client.api):
        found = await client.call_refused(method, one, **step(client, method))
    assert found == ("ALREADYACCEPTED", name)


async def test_what_was_required_when_it_was_said_counts(client: ServiceRequestsClient) -> None:
    kind, id_ = "service_request_response_category", "CHANGES"
    await client.register(kind, id_, name=id_, code=id_, requires_customer_acceptance=True)
    one = await client.create_in_state("RESPONDED", response=answer("response", id_))
    await client.register(kind, id_, name=id_, code=id_, requires_customer_acceptance=False)
    shown = (await client.show(one))["response"]["category"]
    assert shown["requires_customer_acceptance"] is False
    assert one["number"] in await client.list_numbers("get_responded_pending_acceptance")
    found = await client.call_refused("final_resolve", one, **step(client, "final_resolve"))
    assert found == ("PENDINGACCEPTANCE", "response")
    accepted = step(client, "response_accept")
    await client.call("response_accept", one, **accepted)
    assert (await client.call("final_resolve", one, **step(client, "final_resolve")))[
        "final_resolution"
    ]


@pytest.mark.parametrize("method", METHODS)
async def test_repeated(client: ServiceRequestsClient, method: str) -> None:
    state = ACCEPTS[method][1] if method in ACCEPTS else ALLOWED[method][0]
    asking = {ACCEPTS[method][0]: ASK} if method in ACCEPTS else {}
    one = await client.create_in_state(state, asking)
    call, key = (
        client.call_parameters(method, one, **step(client, method)),
        {"Idempotency-Key": new_key()},
    )
    before = await event_topics(client.api)
    answers = await call_concurrently(client.api, [call] * 10, **key)
    assert answers == [answers[0]] * 10
    assert answers[0]["status"]["code"] == "OK"
    assert len(await event_topics(client.api)) == len(before) + 1
    async with untouched(client.api):
        status, said = await post_raw(client.api, call[0], call[1] | {"x": 1}, **key)
    assert (status, refusal(said)[0]) == (422, "INVALIDREQUEST")


@pytest.mark.parametrize("method", ["complete", "cancel", *ACCEPTS])
async def test_raced_by_itself(client: ServiceRequestsClient, method: str) -> None:
    """Of equal calls at once, one wins and each other gets the documented refusal."""
    state = ACCEPTS[method][1] if method in ACCEPTS else ALLOWED[method][0]
    asking = {ACCEPTS[method][0]: ASK} if method in ACCEPTS else {}
    lost = "ALREADYACCEPTED" if method in ACCEPTS else "INVALIDLIFECYCLESTATE"
    for _ in range(3):
        one = await client.create_in_state(state, asking)
        before = await event_topics(client.api)
        answers = await call_concurrently(
            client.api, [client.call_parameters(method, one, **step(client, method))] * 4
        )
        assert error_names(answers) == sorted(["OK", *[lost] * 3])
        assert len(await event_topics(client.api)) == len(before) + 1


@pytest.mark.parametrize("method", GIVES)
async def test_an_acceptance_and_a_replacement(client: ServiceRequestsClient, method: str) -> None:
    """One of them comes first; what was accepted is not replaced, what was replaced is accepted."""
    name, state = GIVES[method]
    accept = next(m for m, (of, _) in ACCEPTS.items() if of == name)
    for _ in range(5):
        one = await client.create_in_state(state, {name: ASK})
        other = step(client, method) | {name: answer(name, FREE, description="other")}
        calls = [
            client.call_parameters(accept, one, **step(client, accept)),
            client.call_parameters(method, one, **other),
        ]
        accepted, replaced = await call_concurrently(client.api, calls)
        shown = (await client.show(one))[name]
        if accepted["status"]["code"] == "OK":
            assert refusal(replaced) == ("ALREADYACCEPTED", name)
            assert (shown["description"], shown["accepted_by"]["id"]) == (None, client.customer)
        else:
            assert refusal(accepted) == ("ACCEPTANCENOTREQUIRED", name)
            assert replaced["status"]["code"] == "OK"
            assert (shown["description"], shown["accepted_by"]) == ("other", None)


async def test_cancelling_and_responding(client: ServiceRequestsClient) -> None:
    for _ in range(5):
        one = await client.create()
        calls = [client.call_parameters(m, one, **step(client, m)) for m in ("cancel", "respond")]
        answers = await call_concurrently(client.api, calls)
        assert error_names(answers) == ["INVALIDLIFECYCLESTATE", "OK"]
        won = "CANCELLED" if answers[0]["status"]["code"] == "OK" else "RESPONDED"
        assert (await client.show(one))["life_cycle_state"] == won


async def test_accepting_while_the_relation_ends(client: ServiceRequestsClient) -> None:
    """Whether somebody may accept is decided on the relations as they are when it is written."""
    for _ in range(3):
        relation = {"type": "FRIEND", "contact_information_identifier": {"id": client.customer}}
        friend = await client.new_contact(relation_set=[relation])
        named = {
            "relation_identifier": {
                "id": (await client.show_contact(friend))["relation_set"][0]["id"]
            }
        }
        one = await client.create_in_state("RESPONDED", {"response": ASK})
        accept = client.call_parameters(
            "response_accept", one, accepted_by_identifier={"id": friend}
        )
        ended = (
            "contact_information/update",
            {
                "contact_information_identifier": {"id": friend},
                "relation_set": [named | {"action": "REMOVE"}],
            },
        )
        accepted, removed = await call_concurrently(client.api, [accept, ended])
        assert removed["status"]["code"] == "OK"
        topics = [
            t
            for t in await event_topics(client.api)
            if t.endswith(("entry_removed", "response_accepted"))
        ]
        if accepted["status"]["code"] == "OK":
            assert topics[-2:] == [
                "service_request.response_accepted",
                "contact_information.entry_removed",
            ]
        else:
            assert refusal(accepted)[0] == "INVALIDACCEPTINGCONTACT"
