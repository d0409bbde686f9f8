"""Method 47: contract service_requests.md, sections 5, 6.1, 6.13 and 8."""

from __future__ import annotations

import asyncio
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
from tests.fixtures.organisation import GROUP, OTHER_GROUP, UNIT, USER, unknown_id, untouched
from tests.fixtures.service import Service, refusal
from tests.fixtures.service_requests import (
    ASK,
    FREE,
    FREE_USER,
    OF_STATE,
    OTHER_UNIT,
    OTHER_USER,
    STATUSES,
    ServiceRequestsClient,
    answer,
    service_requests_client,
)

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
async def client(service: Service) -> ServiceRequestsClient:
    return await service_requests_client(service)


def named(kind: str, id_: str) -> Json:
    return {f"{kind}_identifier": {"id": id_}}


async def refused(client: ServiceRequestsClient, **more: Any) -> tuple[str, str]:
    """A create that is refused and leaves nothing behind."""
    async with untouched(client.api):
        return await client.create_refused(**more)


async def test_the_least_that_is_accepted(service: Service) -> None:
    client = await service_requests_client(service)
    made = await client.create(start_date=...)
    assert made["life_cycle_state"] == "PENDING"
    assert made["status"]["name"] == "New"
    assert made["contact_information"]["id"] == client.customer
    assert made["owned_by_group"]["id"] == GROUP
    assert made["start_date"] <= made["expected_completion_date"]
    assert made["assigned_to"]["user"] is None
    assert made["referring_to"] == {"subscription": None, "job": None}
    for name in ("response", "temporary_resolution", "final_resolution", "cancellation_reason"):
        assert made[name] is None
    for name in ("services_set", "physical_goods_set", "related_service_requests_set"):
        assert made[name] == []
    assert made["log_information"]["created_by_user"]["id"] == USER
    assert await client.show(made) == made
    assert await event_topics(client.api, "service_request") == ["service_request.opened"]


@pytest.mark.parametrize("name", MANDATORY)
@pytest.mark.parametrize("given", [..., None, ""])
async def test_mandatory(client: ServiceRequestsClient, name: str, given: Any) -> None:
    assert await refused(client, **{name: given}) == ("MANDATORYPARAMETER", name)


@pytest.mark.parametrize("name", [n for n in MANDATORY if n.endswith("identifier")])
async def test_what_does_not_exist(client: ServiceRequestsClient, name: str) -> None:
    assert await refused(client, **{name: {"id": unknown_id()}}) == ("ENTITYNOTFOUND", name)


STEPS = {
    "PENDING": ["opened"],
    "RESPONDED": ["opened", "responded"],
    "TEMPORARY_RESOLVED": ["opened", "responded", "temporarily_resolved"],
    "FINAL_RESOLVED": ["opened", "responded", "finally_resolved"],
    "COMPLETED": ["opened", "responded", "finally_resolved", "completed"],
}


@pytest.mark.parametrize("state", STEPS)
async def test_straight_into_a_state(client: ServiceRequestsClient, state: str) -> None:
    before = await event_topics(client.api, "service_request")
    made = await client.create_in_state(state)
    assert made["life_cycle_state"] == made["status"]["life_cycle_state"] == state
    assert made["status"]["id"] == STATUSES[state]
    assert bool(made["actual_completed_date"]) == (state == "COMPLETED")
    new = (await event_topics(client.api, "service_request"))[len(before) :]
    assert new == [f"service_request.{event}" for event in STEPS[state]]
    for name in ("response", "temporary_resolution", "final_resolution"):
        assert bool(made[name]) == (name in OF_STATE.get(state, ()))


async def test_a_temporary_resolution_may_come_with_a_final_one(
    client: ServiceRequestsClient,
) -> None:
    for state in ("FINAL_RESOLVED", "COMPLETED"):
        made = await client.create_in_state(state, {"temporary_resolution": FREE})
        assert made["temporary_resolution"]["category"]["id"] == FREE


@pytest.mark.parametrize(
    ("state", "name"), [(state, name) for state, needed in OF_STATE.items() for name in needed]
)
@pytest.mark.parametrize("given", [..., None])
async def test_a_state_needs_its_answers(
    client: ServiceRequestsClient, state: str, name: str, given: Any
) -> None:
    body = client.body_in_state(state) | {name: given}
    assert await refused(client, **body) == ("MANDATORYPARAMETER", name)


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
async def test_answers_that_do_not_apply(
    client: ServiceRequestsClient, state: str, name: str
) -> None:
    body = client.body_in_state(state) | {name: answer(name)}
    assert await refused(client, **body) == ("INVALIDPARAMETERVALUE", name)
    made = await client.create(**(client.body_in_state(state) | {name: None}))
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
    client: ServiceRequestsClient, state: str, pending: dict[str, str], name: str
) -> None:
    body = client.body_in_state(state, pending)
    assert await refused(client, **body) == ("PENDINGACCEPTANCE", name)
    body[name] |= named("accepted_by", client.customer)
    made = await client.create(**body)
    assert made["life_cycle_state"] == state
    assert made[name]["accepted_by"]["id"] == client.customer
    assert made[name]["accepted_date"]


async def test_who_may_accept(client: ServiceRequestsClient) -> None:
    for contact in (client.customer, client.relative):
        said = answer("response", ASK, **named("accepted_by", contact))
        made = await client.create_in_state("RESPONDED", response=said)
        assert made["response"]["accepted_by"]["id"] == contact
    for category in (ASK, FREE):
        said = answer("response", category, **named("accepted_by", client.stranger))
        found = await refused(client, **client.body_in_state("RESPONDED", response=said))
        assert found == ("INVALIDACCEPTINGCONTACT", "response.accepted_by_identifier")


async def test_acceptance_without_need_is_stored_without_effect(
    client: ServiceRequestsClient,
) -> None:
    said = answer("response", FREE, accepted_date="2026-03-02T11:00:00")
    made = await client.create_in_state(
        "RESPONDED", response=said | named("accepted_by", client.relative)
    )
    assert made["response"]["accepted_by"]["id"] == client.relative
    assert made["response"]["accepted_date"] == "2026-03-02T11:00:00"
    assert await client.call_refused(
        "response_accept", made, **named("accepted_by", client.customer)
    ) == (
        "ACCEPTANCENOTREQUIRED",
        "response",
    )
    assert (await client.call("update", made, response=answer("response")))["response"][
        "accepted_by"
    ] is None


@pytest.mark.parametrize("name", ["response", "temporary_resolution", "final_resolution"])
async def test_what_an_answer_needs(client: ServiceRequestsClient, name: str) -> None:
    state = {"response": "RESPONDED", "temporary_resolution": "TEMPORARY_RESOLVED"}
    whole = client.body_in_state(state.get(name, "FINAL_RESOLVED"))
    said = whole[name]
    for key in said:
        less = {k: v for k, v in said.items() if k != key}
        found = await refused(client, **whole | {name: less})
        assert found == ("MANDATORYPARAMETER", f"{name}.{key}")
        if key.endswith("identifier"):
            found = await refused(client, **whole | {name: said | {key: {"id": unknown_id()}}})
            assert found == ("ENTITYNOTFOUND", f"{name}.{key}")
    found = await refused(client, **whole | {name: "told"})
    assert found == ("INVALIDPARAMETERTYPE", name)


async def test_a_cancelled_status(client: ServiceRequestsClient) -> None:
    cancelled = {STATUS: {"id": STATUSES["CANCELLED"]}}
    assert await refused(client, **cancelled) == ("INVALIDSTATUS", STATUS)


async def test_whose_account(client: ServiceRequestsClient) -> None:
    account = "accounts_receivable_identifier"
    assert await refused(client, **named("accounts_receivable", "AR3")) == (
        "INVALIDLIFECYCLESTATE",
        account,
    )
    assert (await client.create(**named("accounts_receivable", "AR2")))["accounts_receivable"][
        "life_cycle_state"
    ] == "SUSPENDED"
    none = named("accounts_receivable", "AR4")
    assert await refused(client, **none) == ("MANDATORYPARAMETER", "contact_information_identifier")
    for caller in (client.customer, client.stranger):
        found = await refused(client, **none, **named("contact_information", caller))
        assert found == ("INVALIDCALLER", "contact_information_identifier")


async def test_who_may_call(client: ServiceRequestsClient) -> None:
    made = await client.create(**named("contact_information", client.relative))
    assert made["contact_information"]["id"] == client.relative
    found = await refused(client, **named("contact_information", client.stranger))
    assert found == ("INVALIDCALLER", "contact_information_identifier")
    relation = {"type": "FRIEND", **named("contact_information", client.stranger)}
    owner = client.customer
    await client.update_contact(owner, relation_set=[relation | {"action": "ADD"}])
    made = await client.create(**named("contact_information", client.stranger))
    assert made["contact_information"]["id"] == client.stranger
    removed = {"action": "REMOVE"}
    relation_id = (await client.show_contact(owner))["relation_set"][0]["id"]
    await client.update_contact(
        owner, relation_set=[removed | {"relation_identifier": {"id": relation_id}}]
    )
    found = await refused(client, **named("contact_information", client.stranger))
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
    client: ServiceRequestsClient, type_: str, given: Json, missing: str | None
) -> None:
    body = {TYPE: {"id": type_}} | given
    if missing:
        assert await refused(client, **body) == ("MANDATORYPARAMETER", missing)
    else:
        assert (await client.create(**body))["type"]["id"] == type_


@pytest.mark.parametrize(
    ("more", "at"),
    [
        ({STATUS: {"id": "WAITING"}}, STATUS),
        (named("category", "OTHER"), "category_identifier"),
    ],
)
async def test_what_a_type_allows(client: ServiceRequestsClient, more: Json, at: str) -> None:
    strict = {TYPE: {"id": "STRICT"}}
    assert await refused(client, **strict, **more) == ("NOTALLOWEDFORTYPE", at)
    assert (await client.create(**strict))["type"]["name"] == "Strict"


@pytest.mark.parametrize("name", ["response", "temporary_resolution", "final_resolution"])
async def test_categories_of_answers_that_a_type_allows(
    client: ServiceRequestsClient, name: str
) -> None:
    state = "TEMPORARY_RESOLVED" if name == "temporary_resolution" else "FINAL_RESOLVED"
    strict = {TYPE: {"id": "STRICT"}}
    found = await refused(client, **client.body_in_state(state, {name: ASK}, **strict))
    assert found == ("NOTALLOWEDFORTYPE", f"{name}.category_identifier")
    assert (await client.create_in_state(state, **strict))["life_cycle_state"] == state


async def test_assignment(client: ServiceRequestsClient) -> None:
    unit, user = "unit_identifier", "user_identifier"
    assert await refused(client, assigned_to=...) == ("MANDATORYPARAMETER", "assigned_to")
    assert await refused(client, assigned_to={user: {"id": USER}}) == (
        "MANDATORYPARAMETER",
        "assigned_to.unit_identifier",
    )
    ruled = await client.create(**{TYPE: {"id": "BARE"}}, assigned_to=...)
    assert ruled["assigned_to"]["unit"]["id"] == UNIT
    assert ruled["assigned_to"]["user"]["id"] == USER
    for who, where in (
        (USER, UNIT),
        (USER, OTHER_UNIT),
        (OTHER_USER, OTHER_UNIT),
        (FREE_USER, OTHER_UNIT),
    ):
        made = await client.create(assigned_to={unit: {"id": where}, user: {"id": who}})
        assert made["assigned_to"]["user"]["id"] == who
    found = await refused(client, assigned_to={unit: {"id": UNIT}, user: {"id": OTHER_USER}})
    assert found == ("INVALIDASSIGNMENT", "assigned_to.user_identifier")


async def test_references(client: ServiceRequestsClient) -> None:
    def refers(**ids: str) -> Json:
        return {"referring_to": {f"{kind}_identifier": {"id": id_} for kind, id_ in ids.items()}}

    for kind, id_ in (("subscription", "SU1"), ("job", "JO1"), ("job", "JO3")):
        made = await client.create(**refers(**{kind: id_}))
        assert made["referring_to"][kind]["id"] == id_
    for kind, id_ in (("subscription", "SU2"), ("subscription", "SU3"), ("job", "JO2")):
        found = await refused(client, **refers(**{kind: id_}))
        assert found == ("INVALIDREFERENCE", f"referring_to.{kind}_identifier")
    both = await refused(client, **refers(subscription="SU1", job="JO1"))
    assert both[0] == "SEMIOPTIONALPARAMETER"
    assert await refused(client, **refers(lead="L")) == ("INVALIDIDENTIFIER", "referring_to")
    assert (await client.create(referring_to={}))["referring_to"]["job"] is None


async def test_what_is_unknown_is_ignored(client: ServiceRequestsClient) -> None:
    made = await client.create(
        nobody_knows=1,
        response=None,
        assigned_to={"unit_identifier": {"id": UNIT}, "x": 1},
        services_set=[named("product", "P1") | {"y": {}}],
        **named("owned_by_group", OTHER_GROUP),
    )
    assert made["owned_by_group"]["id"] == OTHER_GROUP
    assert await refused(client, **{TYPE: {"id": "FAULT", "x": 1}}) == ("INVALIDIDENTIFIER", TYPE)


async def test_the_order_of_checks(client: ServiceRequestsClient) -> None:
    """Parameters, identifiers, life cycle states, conditions, then the rules as section 8 lists them."""
    wrong: Json = {
        "urgency_level": "high",
        TYPE: {"id": "X"},
        **named("accounts_receivable", "AR3"),
        "response": answer("response", ASK, **named("accepted_by", client.stranger)),
        "assigned_to": {"unit_identifier": {"id": UNIT}, "user_identifier": {"id": OTHER_USER}},
        **named("contact_information", client.stranger),
        "referring_to": {"subscription_identifier": {"id": "SU2"}},
        "services_set": [named("product", "P3")],
    }
    found = [(await refused(client, **wrong))[0]]
    repaired: list[Json] = [
        {"urgency_level": "URGENCY1"},
        {TYPE: {"id": "STRICT"}},
        named("accounts_receivable", "AR1"),
        {STATUS: {"id": "ANSWERED"}},
        {TYPE: {"id": "FAULT"}},
        named("contact_information", client.relative),
        {"response": answer("response", ASK)},
        {"assigned_to": {"unit_identifier": {"id": UNIT}}},
        {"referring_to": None},
    ]
    for one in repaired:
        wrong |= one
        found.append((await refused(client, **wrong))[0])
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


async def test_repeated(client: ServiceRequestsClient) -> None:
    call, key = ("service_requests/create", client.creation_body()), {"Idempotency-Key": new_key()}
    before = await event_topics(client.api)
    answers = await call_concurrently(client.api, [call] * 20, **key)
    assert answers == [answers[0]] * 20
    assert (await event_topics(client.api))[len(before) :] == ["service_request.opened"]
    status, said = await post_raw(client.api, call[0], call[1] | {"notes": "x"}, **key)
    assert (status, refusal(said)[0]) == (422, "INVALIDREQUEST")


async def test_raced_by_the_account(client: ServiceRequestsClient) -> None:
    """An account that is terminated meanwhile either has the service request or refuses it."""
    for n in range(3):
        account = f"RA{n}"
        owned = {"account_owner_id": client.customer, "number": account}
        await client.register("accounts_receivable", account, **owned)
        call = (
            "service_requests/create",
            client.creation_body(**named("accounts_receivable", account)),
        )
        ended = client.register(
            "accounts_receivable", account, life_cycle_state="TERMINATED", **owned
        )
        _, answers = await asyncio.gather(ended, call_concurrently(client.api, [call] * 4))
        for one in error_names(answers):
            assert one in ("OK", "INVALIDLIFECYCLESTATE")
        assert error_names(await call_concurrently(client.api, [call])) == ["INVALIDLIFECYCLESTATE"]
