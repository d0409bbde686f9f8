"""Methods 49 to 56: contract service_requests.md, sections 3, 6.3 to 6.10 and 8."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.communications_world import events, names, new_key, posted, together
from tests.service import Service, refusal
from tests.service_requests_world import ASK, FREE, STATUSES, Helpdesk, answer, helpdesk
from tests.world import no_id, untouched

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
async def here(service: Service) -> Helpdesk:
    return await helpdesk(service)


def step(here: Helpdesk, method: str, category: str = FREE, **more: Any) -> Json:
    """What a method needs besides the service request."""
    said: Json = {}
    if method in ACCEPTS:
        said = {"accepted_by_identifier": {"id": here.customer}}
    elif method != "cancel":
        said = {STATUS: {"id": STATUSES[LEADS_TO[method]]}}
    if method in GIVES:
        name = GIVES[method][0]
        said[name] = answer(name, category)
    whole = said | more
    return {key: value for key, value in whole.items() if value is not ...}


@pytest.mark.parametrize("method", LEADS_TO)
@pytest.mark.parametrize("state", STATES)
async def test_the_table_of_moves(here: Helpdesk, method: str, state: str) -> None:
    one = await here.at(state)
    if state in ALLOWED[method]:
        moved = await here.on(method, one, **step(here, method))
        assert moved["life_cycle_state"] == LEADS_TO[method]
        assert moved["status"]["id"] == STATUSES[LEADS_TO[method]]
        assert bool(moved["actual_completed_date"]) == (method == "complete")
    else:
        async with untouched(here.api):
            found = await here.not_on(method, one, **step(here, method))
        assert found == ("INVALIDLIFECYCLESTATE", "")


@pytest.mark.parametrize("method", ACCEPTS)
@pytest.mark.parametrize("state", STATES)
async def test_what_can_be_accepted_when(here: Helpdesk, method: str, state: str) -> None:
    name, needed = ACCEPTS[method]
    asking = {name: ASK} if state == needed else {}
    one = await here.at(state, asking)
    if state == needed:
        accepted = await here.on(method, one, **step(here, method))
        assert accepted["life_cycle_state"] == state
        assert accepted[name]["accepted_by"]["id"] == here.customer
        assert accepted[name]["accepted_date"]
    else:
        found = await here.not_on(method, one, **step(here, method))
        assert found == ("INVALIDLIFECYCLESTATE", "")


@pytest.mark.parametrize("method", METHODS)
async def test_refused_as_a_call(here: Helpdesk, method: str) -> None:
    one = await here.open()
    path, body = here.call(method, one, **step(here, method))
    needed = {name for name in body if not (method == "final_resolution_accept" and name != ON)}
    needed -= {STATUS} if method == "temporary_resolve" else set()
    for name in needed:
        less = {key: value for key, value in body.items() if key != name}
        assert await here.api.refused(path, **less) == ("MANDATORYPARAMETER", name)
    assert await here.api.refused(path, **body | {ON: {"id": no_id()}}) == ("ENTITYNOTFOUND", ON)


@pytest.mark.parametrize("method", [*GIVES, "complete", "cancel"])
async def test_a_status_of_another_state(here: Helpdesk, method: str) -> None:
    one = await here.at(ALLOWED[method][0])
    for state, status in STATUSES.items():
        if state != LEADS_TO[method]:
            wrong = step(here, method) | {STATUS: {"id": status}}
            async with untouched(here.api):
                assert await here.not_on(method, one, **wrong) == ("INVALIDSTATUS", STATUS)


@pytest.mark.parametrize("method", METHODS)
async def test_texts_that_come_along(here: Helpdesk, method: str) -> None:
    state = ACCEPTS[method][1] if method in ACCEPTS else ALLOWED[method][0]
    asking = {ACCEPTS[method][0]: ASK} if method in ACCEPTS else {}
    one = await here.at(state, asking, description="before", notes="n1")
    texts = {"description": "after", "notes": None}
    moved = await here.on(method, one, **step(here, method), **texts)
    expected = ("before", "n1") if method == "cancel" else ("after", None)
    assert (moved["description"], moved["notes"]) == expected


@pytest.mark.parametrize("method", GIVES)
async def test_a_category_that_the_type_does_not_allow(here: Helpdesk, method: str) -> None:
    name = GIVES[method][0]
    one = await here.at(ALLOWED[method][0], type_identifier={"id": "STRICT"})
    found = await here.not_on(method, one, **step(here, method, ASK))
    assert found == ("NOTALLOWEDFORTYPE", f"{name}.category_identifier")
    status = {"respond": "ESCALATED", "temporary_resolve": "LENT", "final_resolve": "SWAPPED"}
    other = {STATUS: {"id": status[method]}}
    found = await here.not_on(method, one, **step(here, method) | other)
    assert found == ("NOTALLOWEDFORTYPE", STATUS)


async def test_the_status_of_a_temporary_resolution(here: Helpdesk) -> None:
    said = {"temporary_resolution": answer("temporary_resolution")}
    one = await here.at("RESPONDED")
    assert (await here.on("temporary_resolve", one, **said))["status"]["id"] == "PATCHED"
    given = {STATUS: {"id": "LENT"}}
    assert (await here.on("temporary_resolve", one, **said, **given))["status"]["id"] == "LENT"
    bare = await here.at("RESPONDED", type_identifier={"id": "BARE"})
    assert await here.not_on("temporary_resolve", bare, **said) == ("MANDATORYPARAMETER", STATUS)


async def test_cancelling(here: Helpdesk) -> None:
    cancelled = await here.on("cancel", await here.open())
    assert cancelled["status"]["id"] == "WITHDRAWN"
    assert cancelled["cancellation_reason"]["id"] == "AGAIN"
    assert cancelled["actual_completed_date"] is None
    reason = {"cancellation_reason_identifier": {"id": "DOUBLE"}}
    given = await here.on("cancel", await here.open(), **reason)
    assert given["cancellation_reason"]["id"] == "DOUBLE"
    bare = await here.open(type_identifier={"id": "BARE"})
    status = {STATUS: {"id": "WITHDRAWN"}}
    assert await here.not_on("cancel", bare) == ("MANDATORYPARAMETER", STATUS)
    assert await here.not_on("cancel", bare, **status) == (
        "MANDATORYPARAMETER",
        "cancellation_reason_identifier",
    )
    assert (await here.on("cancel", bare, **status, **reason))["life_cycle_state"] == "CANCELLED"
    strict = await here.open(type_identifier={"id": "STRICT"})
    assert await here.not_on("cancel", strict, **status, **reason) == (
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
    here: Helpdesk, state: str, name: str, next_: str
) -> None:
    one = await here.at(state, {name: ASK})
    async with untouched(here.api):
        found = await here.not_on(next_, one, **step(here, next_))
    assert found == ("PENDINGACCEPTANCE", name)
    accept = next(method for method, (of, _) in ACCEPTS.items() if of == name)
    await here.on(accept, one, **step(here, accept))
    moved = await here.on(next_, one, **step(here, next_))
    assert moved["life_cycle_state"] == LEADS_TO[next_]


@pytest.mark.parametrize("method", ACCEPTS)
async def test_who_accepts(here: Helpdesk, method: str) -> None:
    name, state = ACCEPTS[method]
    by = "accepted_by_identifier"
    for contact in (here.customer, here.relative):
        one = await here.at(state, {name: ASK})
        accepted = await here.on(method, one, **{by: {"id": contact}})
        assert accepted[name]["accepted_by"]["id"] == contact
        found = await here.not_on(method, one, **{by: {"id": here.customer}})
        assert found == ("ALREADYACCEPTED", name)
    one = await here.at(state, {name: ASK})
    found = await here.not_on(method, one, **{by: {"id": here.stranger}})
    assert found == ("INVALIDACCEPTINGCONTACT", by)
    free = await here.at(state)
    found = await here.not_on(method, free, **{by: {"id": here.customer}})
    assert found == ("ACCEPTANCENOTREQUIRED", name)


async def test_the_caller_accepts_a_final_resolution_unless_it_is_said(here: Helpdesk) -> None:
    called = {"contact_information_identifier": {"id": here.relative}}
    one = await here.at("FINAL_RESOLVED", {"final_resolution": ASK}, **called)
    accepted = await here.on("final_resolution_accept", one)
    assert accepted["final_resolution"]["accepted_by"]["id"] == here.relative


@pytest.mark.parametrize("method", GIVES)
async def test_replacing(here: Helpdesk, method: str) -> None:
    name, state = GIVES[method]
    one = await here.at(state, {name: ASK})
    by = f"service_request.{name}_replaced"
    before = await events(here.api)
    other = answer(name, ASK, description="Rather this")
    replaced = await here.on(method, one, **step(here, method) | {name: other})
    assert replaced[name]["description"] == "Rather this"
    assert (await events(here.api))[len(before) :] == [by]
    at_once = other | {"accepted_by_identifier": {"id": here.customer}}
    await here.on(method, one, **step(here, method) | {name: at_once})
    async with untouched(here.api):
        found = await here.not_on(method, one, **step(here, method))
    assert found == ("ALREADYACCEPTED", name)


async def test_what_was_required_when_it_was_said_counts(here: Helpdesk) -> None:
    kind, id_ = "service_request_response_category", "CHANGES"
    await here.register(kind, id_, name=id_, code=id_, requires_customer_acceptance=True)
    one = await here.at("RESPONDED", response=answer("response", id_))
    await here.register(kind, id_, name=id_, code=id_, requires_customer_acceptance=False)
    shown = (await here.see(one))["response"]["category"]
    assert shown["requires_customer_acceptance"] is False
    assert one["number"] in await here.numbers("get_responded_pending_acceptance")
    found = await here.not_on("final_resolve", one, **step(here, "final_resolve"))
    assert found == ("PENDINGACCEPTANCE", "response")
    accepted = step(here, "response_accept")
    await here.on("response_accept", one, **accepted)
    assert (await here.on("final_resolve", one, **step(here, "final_resolve")))["final_resolution"]


@pytest.mark.parametrize("method", METHODS)
async def test_repeated(here: Helpdesk, method: str) -> None:
    state = ACCEPTS[method][1] if method in ACCEPTS else ALLOWED[method][0]
    asking = {ACCEPTS[method][0]: ASK} if method in ACCEPTS else {}
    one = await here.at(state, asking)
    call, key = here.call(method, one, **step(here, method)), {"Idempotency-Key": new_key()}
    before = await events(here.api)
    answers = await together(here.api, [call] * 10, **key)
    assert answers == [answers[0]] * 10
    assert answers[0]["status"]["code"] == "OK"
    assert len(await events(here.api)) == len(before) + 1
    async with untouched(here.api):
        status, said = await posted(here.api, call[0], call[1] | {"x": 1}, **key)
    assert (status, refusal(said)[0]) == (422, "INVALIDREQUEST")


@pytest.mark.parametrize("method", ["complete", "cancel", *ACCEPTS])
async def test_raced_by_itself(here: Helpdesk, method: str) -> None:
    """Of equal calls at once, one wins and each other gets the documented refusal."""
    state = ACCEPTS[method][1] if method in ACCEPTS else ALLOWED[method][0]
    asking = {ACCEPTS[method][0]: ASK} if method in ACCEPTS else {}
    lost = "ALREADYACCEPTED" if method in ACCEPTS else "INVALIDLIFECYCLESTATE"
    for _ in range(3):
        one = await here.at(state, asking)
        before = await events(here.api)
        answers = await together(here.api, [here.call(method, one, **step(here, method))] * 4)
        assert names(answers) == sorted(["OK", *[lost] * 3])
        assert len(await events(here.api)) == len(before) + 1


@pytest.mark.parametrize("method", GIVES)
async def test_an_acceptance_and_a_replacement(here: Helpdesk, method: str) -> None:
    """One of them comes first; what was accepted is not replaced, what was replaced is accepted."""
    name, state = GIVES[method]
    accept = next(m for m, (of, _) in ACCEPTS.items() if of == name)
    for _ in range(5):
        one = await here.at(state, {name: ASK})
        other = step(here, method) | {name: answer(name, FREE, description="other")}
        calls = [here.call(accept, one, **step(here, accept)), here.call(method, one, **other)]
        accepted, replaced = await together(here.api, calls)
        shown = (await here.see(one))[name]
        if accepted["status"]["code"] == "OK":
            assert refusal(replaced) == ("ALREADYACCEPTED", name)
            assert (shown["description"], shown["accepted_by"]["id"]) == (None, here.customer)
        else:
            assert refusal(accepted) == ("ACCEPTANCENOTREQUIRED", name)
            assert replaced["status"]["code"] == "OK"
            assert (shown["description"], shown["accepted_by"]) == ("other", None)


async def test_cancelling_and_responding(here: Helpdesk) -> None:
    for _ in range(5):
        one = await here.open()
        calls = [here.call(m, one, **step(here, m)) for m in ("cancel", "respond")]
        answers = await together(here.api, calls)
        assert names(answers) == ["INVALIDLIFECYCLESTATE", "OK"]
        won = "CANCELLED" if answers[0]["status"]["code"] == "OK" else "RESPONDED"
        assert (await here.see(one))["life_cycle_state"] == won


async def test_accepting_while_the_relation_ends(here: Helpdesk) -> None:
    """Whether somebody may accept is decided on the relations as they are when it is written."""
    for _ in range(3):
        relation = {"type": "FRIEND", "contact_information_identifier": {"id": here.customer}}
        friend = await here.contact(relation_set=[relation])
        named = {"relation_identifier": {"id": (await here.show(friend))["relation_set"][0]["id"]}}
        one = await here.at("RESPONDED", {"response": ASK})
        accept = here.call("response_accept", one, accepted_by_identifier={"id": friend})
        ended = (
            "contact_information/update",
            {
                "contact_information_identifier": {"id": friend},
                "relation_set": [named | {"action": "REMOVE"}],
            },
        )
        accepted, removed = await together(here.api, [accept, ended])
        assert removed["status"]["code"] == "OK"
        topics = [
            t for t in await events(here.api) if t.endswith(("entry_removed", "response_accepted"))
        ]
        if accepted["status"]["code"] == "OK":
            assert topics[-2:] == [
                "service_request.response_accepted",
                "contact_information.entry_removed",
            ]
        else:
            assert refusal(accepted)[0] == "INVALIDACCEPTINGCONTACT"
