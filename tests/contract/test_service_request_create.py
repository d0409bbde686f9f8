"""Method 47: contract service_requests.md, sections 5, 6.1, 6.13 and 8."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from tests.communications_world import events, names, new_key, posted, together
from tests.service import Service, refusal
from tests.service_requests_world import (
    ASK,
    FREE,
    FREE_USER,
    OF_STATE,
    OTHER_UNIT,
    OTHER_USER,
    STATUSES,
    Helpdesk,
    answer,
    helpdesk,
)
from tests.world import GROUP, OTHER_GROUP, UNIT, USER, no_id, untouched

Json = dict[str, Any]
MANDATORY = (
    "type_identifier",
    "accounts_receivable_identifier",
    "status_identifier",
    "category_identifier",
    "urgency_level",
    "impact_level",
)
TYPE, STATUS = "type_identifier", "status_identifier"


@pytest_asyncio.fixture(scope="module")
async def here(service: Service) -> Helpdesk:
    return await helpdesk(service)


def named(kind: str, id_: str) -> Json:
    return {f"{kind}_identifier": {"id": id_}}


async def refused(here: Helpdesk, **more: Any) -> tuple[str, str]:
    """A create that is refused and leaves nothing behind."""
    async with untouched(here.api):
        return await here.unopened(**more)


async def test_the_least_that_is_accepted(here: Helpdesk) -> None:
    made = await here.open(start_date=...)
    assert made["life_cycle_state"] == "PENDING"
    assert made["status"]["name"] == "New"
    assert made["contact_information"]["id"] == here.customer
    assert made["owned_by_group"]["id"] == GROUP
    assert made["start_date"] <= made["expected_completion_date"]
    assert made["assigned_to"]["user"] is None
    assert made["referring_to"] == {"subscription": None, "job": None}
    for name in ("response", "temporary_resolution", "final_resolution", "cancellation_reason"):
        assert made[name] is None
    for name in ("services_set", "physical_goods_set", "related_service_requests_set"):
        assert made[name] == []
    assert made["log_information"]["created_by_user"]["id"] == USER
    assert await here.see(made) == made
    assert await events(here.api, "service_request") == ["service_request.opened"]


@pytest.mark.parametrize("name", MANDATORY)
@pytest.mark.parametrize("given", [..., None, ""])
async def test_mandatory(here: Helpdesk, name: str, given: Any) -> None:
    assert await refused(here, **{name: given}) == ("MANDATORYPARAMETER", name)


@pytest.mark.parametrize("name", [n for n in MANDATORY if n.endswith("identifier")])
async def test_what_does_not_exist(here: Helpdesk, name: str) -> None:
    assert await refused(here, **{name: {"id": no_id()}}) == ("ENTITYNOTFOUND", name)


STEPS = {
    "PENDING": ["opened"],
    "RESPONDED": ["opened", "responded"],
    "TEMPORARY_RESOLVED": ["opened", "responded", "temporarily_resolved"],
    "FINAL_RESOLVED": ["opened", "responded", "finally_resolved"],
    "COMPLETED": ["opened", "responded", "finally_resolved", "completed"],
}


@pytest.mark.parametrize("state", STEPS)
async def test_straight_into_a_state(here: Helpdesk, state: str) -> None:
    before = await events(here.api, "service_request")
    made = await here.at(state)
    assert made["life_cycle_state"] == made["status"]["life_cycle_state"] == state
    assert made["status"]["id"] == STATUSES[state]
    assert bool(made["actual_completed_date"]) == (state == "COMPLETED")
    new = (await events(here.api, "service_request"))[len(before) :]
    assert new == [f"service_request.{event}" for event in STEPS[state]]
    for name in ("response", "temporary_resolution", "final_resolution"):
        assert bool(made[name]) == (name in OF_STATE.get(state, ()))


async def test_a_temporary_resolution_may_come_with_a_final_one(here: Helpdesk) -> None:
    for state in ("FINAL_RESOLVED", "COMPLETED"):
        made = await here.at(state, {"temporary_resolution": FREE})
        assert made["temporary_resolution"]["category"]["id"] == FREE


@pytest.mark.parametrize(
    ("state", "name"), [(state, name) for state, needed in OF_STATE.items() for name in needed]
)
@pytest.mark.parametrize("given", [..., None])
async def test_a_state_needs_its_answers(here: Helpdesk, state: str, name: str, given: Any) -> None:
    body = here.in_state(state) | {name: given}
    assert await refused(here, **body) == ("MANDATORYPARAMETER", name)


@pytest.mark.parametrize(
    ("state", "name"),
    [
        ("PENDING", "response"),
        ("PENDING", "temporary_resolution"),
        ("PENDING", "final_resolution"),
        ("RESPONDED", "temporary_resolution"),
        ("RESPONDED", "final_resolution"),
        ("TEMPORARY_RESOLVED", "final_resolution"),
    ],
)
async def test_answers_that_do_not_apply(here: Helpdesk, state: str, name: str) -> None:
    body = here.in_state(state) | {name: answer(name)}
    assert await refused(here, **body) == ("INVALIDPARAMETERVALUE", name)
    made = await here.open(**(here.in_state(state) | {name: None}))
    assert made["life_cycle_state"] == state


@pytest.mark.parametrize(
    ("state", "pending", "name"),
    [
        ("TEMPORARY_RESOLVED", {"response": ASK}, "response"),
        ("FINAL_RESOLVED", {"response": ASK}, "response"),
        ("FINAL_RESOLVED", {"temporary_resolution": ASK}, "temporary_resolution"),
        ("COMPLETED", {"temporary_resolution": ASK}, "temporary_resolution"),
        ("COMPLETED", {"final_resolution": ASK}, "final_resolution"),
    ],
)
async def test_each_step_passed_is_accepted(
    here: Helpdesk, state: str, pending: dict[str, str], name: str
) -> None:
    body = here.in_state(state, pending)
    assert await refused(here, **body) == ("PENDINGACCEPTANCE", name)
    body[name] |= named("accepted_by", here.customer)
    made = await here.open(**body)
    assert made["life_cycle_state"] == state
    assert made[name]["accepted_by"]["id"] == here.customer
    assert made[name]["accepted_date"]


async def test_who_may_accept(here: Helpdesk) -> None:
    for contact in (here.customer, here.relative):
        said = answer("response", ASK, **named("accepted_by", contact))
        made = await here.at("RESPONDED", response=said)
        assert made["response"]["accepted_by"]["id"] == contact
    for category in (ASK, FREE):
        said = answer("response", category, **named("accepted_by", here.stranger))
        found = await refused(here, **here.in_state("RESPONDED", response=said))
        assert found == ("INVALIDACCEPTINGCONTACT", "response.accepted_by_identifier")


async def test_acceptance_without_need_is_stored_without_effect(here: Helpdesk) -> None:
    said = answer("response", FREE, accepted_date="2026-03-02T11:00:00")
    made = await here.at("RESPONDED", response=said | named("accepted_by", here.relative))
    assert made["response"]["accepted_by"]["id"] == here.relative
    assert made["response"]["accepted_date"] == "2026-03-02T11:00:00"
    assert await here.not_on("response_accept", made, **named("accepted_by", here.customer)) == (
        "ACCEPTANCENOTREQUIRED",
        "response",
    )
    assert (await here.on("update", made, response=answer("response")))["response"][
        "accepted_by"
    ] is None


@pytest.mark.parametrize("name", ["response", "temporary_resolution", "final_resolution"])
async def test_what_an_answer_needs(here: Helpdesk, name: str) -> None:
    state = {"response": "RESPONDED", "temporary_resolution": "TEMPORARY_RESOLVED"}
    whole = here.in_state(state.get(name, "FINAL_RESOLVED"))
    said = whole[name]
    for key in said:
        less = {k: v for k, v in said.items() if k != key}
        found = await refused(here, **whole | {name: less})
        assert found == ("MANDATORYPARAMETER", f"{name}.{key}")
        if key.endswith("identifier"):
            found = await refused(here, **whole | {name: said | {key: {"id": no_id()}}})
            assert found == ("ENTITYNOTFOUND", f"{name}.{key}")
    found = await refused(here, **whole | {name: "told"})
    assert found == ("INVALIDPARAMETERTYPE", name)


async def test_a_cancelled_status(here: Helpdesk) -> None:
    cancelled = {STATUS: {"id": STATUSES["CANCELLED"]}}
    assert await refused(here, **cancelled) == ("INVALIDSTATUS", STATUS)


async def test_whose_account(here: Helpdesk) -> None:
    account = "accounts_receivable_identifier"
    assert await refused(here, **named("accounts_receivable", "AR3")) == (
        "INVALIDLIFECYCLESTATE",
        account,
    )
    assert (await here.open(**named("accounts_receivable", "AR2")))["accounts_receivable"][
        "life_cycle_state"
    ] == "SUSPENDED"
    none = named("accounts_receivable", "AR4")
    assert await refused(here, **none) == ("MANDATORYPARAMETER", "contact_information_identifier")
    for caller in (here.customer, here.stranger):
        found = await refused(here, **none, **named("contact_information", caller))
        assert found == ("INVALIDCALLER", "contact_information_identifier")


async def test_who_may_call(here: Helpdesk) -> None:
    made = await here.open(**named("contact_information", here.relative))
    assert made["contact_information"]["id"] == here.relative
    found = await refused(here, **named("contact_information", here.stranger))
    assert found == ("INVALIDCALLER", "contact_information_identifier")
    relation = {"type": "FRIEND", **named("contact_information", here.stranger)}
    owner = here.customer
    await here.update(owner, relation_set=[relation | {"action": "ADD"}])
    made = await here.open(**named("contact_information", here.stranger))
    assert made["contact_information"]["id"] == here.stranger
    removed = {"action": "REMOVE"}
    relation_id = (await here.show(owner))["relation_set"][0]["id"]
    await here.update(owner, relation_set=[removed | {"relation_identifier": {"id": relation_id}}])
    found = await refused(here, **named("contact_information", here.stranger))
    assert found[0] == "INVALIDCALLER"


@pytest.mark.parametrize(
    ("type_", "given", "missing"),
    [
        ("FAULT", {}, None),
        ("MAIL", {}, "caller_email"),
        ("MAIL", {"caller_email": "  ", "caller_phone": "1"}, "caller_email"),
        ("MAIL", {"caller_email": "a@b"}, None),
        ("SMS", {"caller_email": "a@b"}, "caller_phone"),
        ("SMS", {"caller_phone": "1"}, None),
        ("BOTH", {}, "caller_phone"),
        ("BOTH", {"caller_phone": "1"}, None),
    ],
)
async def test_what_a_type_wants_of_the_caller(
    here: Helpdesk, type_: str, given: Json, missing: str | None
) -> None:
    body = {TYPE: {"id": type_}} | given
    if missing:
        assert await refused(here, **body) == ("MANDATORYPARAMETER", missing)
    else:
        assert (await here.open(**body))["type"]["id"] == type_


@pytest.mark.parametrize(
    ("more", "at"),
    [
        ({STATUS: {"id": "WAITING"}}, STATUS),
        (named("category", "OTHER"), "category_identifier"),
    ],
)
async def test_what_a_type_allows(here: Helpdesk, more: Json, at: str) -> None:
    strict = {TYPE: {"id": "STRICT"}}
    assert await refused(here, **strict, **more) == ("NOTALLOWEDFORTYPE", at)
    assert (await here.open(**strict))["type"]["name"] == "Strict"


@pytest.mark.parametrize("name", ["response", "temporary_resolution", "final_resolution"])
async def test_categories_of_answers_that_a_type_allows(here: Helpdesk, name: str) -> None:
    state = "TEMPORARY_RESOLVED" if name == "temporary_resolution" else "FINAL_RESOLVED"
    strict = {TYPE: {"id": "STRICT"}}
    found = await refused(here, **here.in_state(state, {name: ASK}, **strict))
    assert found == ("NOTALLOWEDFORTYPE", f"{name}.category_identifier")
    assert (await here.at(state, **strict))["life_cycle_state"] == state


async def test_assignment(here: Helpdesk) -> None:
    unit, user = "unit_identifier", "user_identifier"
    assert await refused(here, assigned_to=...) == ("MANDATORYPARAMETER", "assigned_to")
    assert await refused(here, assigned_to={user: {"id": USER}}) == (
        "MANDATORYPARAMETER",
        "assigned_to.unit_identifier",
    )
    ruled = await here.open(**{TYPE: {"id": "BARE"}}, assigned_to=...)
    assert ruled["assigned_to"]["unit"]["id"] == UNIT
    assert ruled["assigned_to"]["user"]["id"] == USER
    for who, where in (
        (USER, UNIT),
        (USER, OTHER_UNIT),
        (OTHER_USER, OTHER_UNIT),
        (FREE_USER, OTHER_UNIT),
    ):
        made = await here.open(assigned_to={unit: {"id": where}, user: {"id": who}})
        assert made["assigned_to"]["user"]["id"] == who
    found = await refused(here, assigned_to={unit: {"id": UNIT}, user: {"id": OTHER_USER}})
    assert found == ("INVALIDASSIGNMENT", "assigned_to.user_identifier")


async def test_references(here: Helpdesk) -> None:
    def refers(**ids: str) -> Json:
        return {"referring_to": {f"{kind}_identifier": {"id": id_} for kind, id_ in ids.items()}}

    for kind, id_ in (("subscription", "SU1"), ("job", "JO1"), ("job", "JO3")):
        made = await here.open(**refers(**{kind: id_}))
        assert made["referring_to"][kind]["id"] == id_
    for kind, id_ in (("subscription", "SU2"), ("subscription", "SU3"), ("job", "JO2")):
        found = await refused(here, **refers(**{kind: id_}))
        assert found == ("INVALIDREFERENCE", f"referring_to.{kind}_identifier")
    both = await refused(here, **refers(subscription="SU1", job="JO1"))
    assert both[0] == "SEMIOPTIONALPARAMETER"
    assert await refused(here, **refers(lead="L")) == ("INVALIDIDENTIFIER", "referring_to")
    assert (await here.open(referring_to={}))["referring_to"]["job"] is None


async def test_what_is_unknown_is_ignored(here: Helpdesk) -> None:
    made = await here.open(
        nobody_knows=1,
        response=None,
        assigned_to={"unit_identifier": {"id": UNIT}, "x": 1},
        services_set=[named("product", "P1") | {"y": {}}],
        **named("owned_by_group", OTHER_GROUP),
    )
    assert made["owned_by_group"]["id"] == OTHER_GROUP
    assert await refused(here, **{TYPE: {"id": "FAULT", "x": 1}}) == ("INVALIDIDENTIFIER", TYPE)


async def test_the_order_of_checks(here: Helpdesk) -> None:
    """Parameters, identifiers, life cycle states, conditions, then the rules as section 8 lists them."""
    wrong: Json = {
        "urgency_level": "high",
        TYPE: {"id": "X"},
        **named("accounts_receivable", "AR3"),
        "response": answer("response", ASK, **named("accepted_by", here.stranger)),
        "assigned_to": {"unit_identifier": {"id": UNIT}, "user_identifier": {"id": OTHER_USER}},
        **named("contact_information", here.stranger),
        "referring_to": {"subscription_identifier": {"id": "SU2"}},
        "services_set": [named("product", "P3")],
    }
    found = [(await refused(here, **wrong))[0]]
    repaired: list[Json] = [
        {"urgency_level": "URGENCY1"},
        {TYPE: {"id": "STRICT"}},
        named("accounts_receivable", "AR1"),
        {STATUS: {"id": "ANSWERED"}},
        {TYPE: {"id": "FAULT"}},
        named("contact_information", here.relative),
        {"response": answer("response", ASK)},
        {"assigned_to": {"unit_identifier": {"id": UNIT}}},
        {"referring_to": None},
    ]
    for one in repaired:
        wrong |= one
        found.append((await refused(here, **wrong))[0])
    assert found == [
        "INVALIDPARAMETERVALUE",
        "ENTITYNOTFOUND",
        "INVALIDLIFECYCLESTATE",
        "INVALIDPARAMETERVALUE",
        "NOTALLOWEDFORTYPE",
        "INVALIDCALLER",
        "INVALIDACCEPTINGCONTACT",
        "INVALIDASSIGNMENT",
        "INVALIDREFERENCE",
        "INVALIDPRODUCT",
    ]


async def test_repeated(here: Helpdesk) -> None:
    call, key = ("service_requests/create", here.body()), {"Idempotency-Key": new_key()}
    before = await events(here.api)
    answers = await together(here.api, [call] * 20, **key)
    assert answers == [answers[0]] * 20
    assert (await events(here.api))[len(before) :] == ["service_request.opened"]
    status, said = await posted(here.api, call[0], call[1] | {"notes": "x"}, **key)
    assert (status, refusal(said)[0]) == (422, "INVALIDREQUEST")


async def test_raced_by_the_account(here: Helpdesk) -> None:
    """An account that is terminated meanwhile either has the service request or refuses it."""
    for n in range(3):
        account = f"RA{n}"
        owned = {"account_owner_id": here.customer, "number": account}
        await here.register("accounts_receivable", account, **owned)
        call = "service_requests/create", here.body(**named("accounts_receivable", account))
        ended = here.register(
            "accounts_receivable", account, life_cycle_state="TERMINATED", **owned
        )
        _, answers = await asyncio.gather(ended, together(here.api, [call] * 4))
        for one in names(answers):
            assert one in ("OK", "INVALIDLIFECYCLESTATE")
        assert names(await together(here.api, [call])) == ["INVALIDLIFECYCLESTATE"]
