"""Method 48: contract service_requests.md, sections 3, 5, 6.2, 6.13 and 8."""

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
from tests.fixtures.organisation import OTHER_GROUP, PRIVACY_LEVEL, UNIT, USER, untouched
from tests.fixtures.service import Service, refusal
from tests.fixtures.service_requests import (
    ASK,
    FREE,
    OTHER_UNIT,
    OTHER_USER,
    STATUSES,
    ServiceRequestsClient,
    answer,
    service_requests_client,
)

Json = dict[str, Any]
STATUS = "status_identifier"
OPEN = ("PENDING", "RESPONDED", "TEMPORARY_RESOLVED", "FINAL_RESOLVED")
KEPT = (
    "category_identifier",
    "urgency_level",
    "impact_level",
    "owned_by_group_identifier",
    "start_date",
    "assigned_to",
    STATUS,
)


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> ServiceRequestsClient:
    return await service_requests_client(service)


def to(state: str) -> Json:
    return {STATUS: {"id": STATUSES[state]}}


async def test_passive_fields(client: ServiceRequestsClient) -> None:
    one = await client.create(description="a", caller_email="a@b", udf_string_1="x")
    given: Json = {
        "description": "b",
        "notes": "n",
        "caller_email": None,
        "caller_phone": "22",
        "category_identifier": {"code": "NS"},
        "owned_by_group_identifier": {"id": OTHER_GROUP},
        "privacy_level_identifier": {"id": PRIVACY_LEVEL},
        "udf_string_1": None,
        "udf_float_4": 1.5,
        "udf_date_1": "2026-01-01",
    }
    changed = await client.call("update", one, **given)
    assert (changed["description"], changed["notes"], changed["caller_email"]) == ("b", "n", None)
    assert (changed["caller_phone"], changed["udf_string_1"]) == ("22", None)
    assert (changed["udf_float_4"], changed["udf_date_1"]) == (1.5, "2026-01-01T00:00:00")
    assert changed["category"]["code"] == "NS"
    assert changed["owned_by_group"]["id"] == OTHER_GROUP
    assert changed["privacy_level"]["id"] == PRIVACY_LEVEL
    assert (await event_topics(client.api))[-1] == "service_request.amended"
    async with untouched(client.api):
        assert await client.call("update", one, **given) == changed
        assert await client.call("update", one) == changed
    assert (await client.call("update", one, privacy_level_identifier=None))[
        "privacy_level"
    ] is None


@pytest.mark.parametrize("name", KEPT)
async def test_what_cannot_be_null(client: ServiceRequestsClient, name: str) -> None:
    one = await client.create()
    async with untouched(client.api):
        assert await client.call_refused("update", one, **{name: None}) == (
            "MANDATORYPARAMETER",
            name,
        )


async def test_caller_texts_that_the_type_needs(client: ServiceRequestsClient) -> None:
    sms = await client.create(type_identifier={"id": "SMS"}, caller_phone="1")
    for value in (None, "", "  "):
        found = await client.call_refused("update", sms, caller_phone=value)
        assert found == ("MANDATORYPARAMETER", "caller_phone")
    assert (await client.call("update", sms, caller_email=None))["caller_phone"] == "1"
    assert (await client.call("update", await client.create(), caller_phone=None))[
        "caller_phone"
    ] is None


@pytest.mark.parametrize(
    ("given", "start", "expected", "period"),
    [
        ({"start_date": "2026-04-01"}, "2026-04-01T00:00:00", "2026-04-03T00:00:00", (2, "DAYS")),
        (
            {"expected_completion_date": "2026-03-02T10:00:01"},
            "2026-03-02T09:00:00",
            "2026-03-02T10:00:01",
            (61, "MINUTES"),
        ),
        (
            {"expected_completion_date": "2026-03-16T09:00:00"},
            "2026-03-02T09:00:00",
            "2026-03-16T09:00:00",
            (2, "WEEKS"),
        ),
        (
            {"estimated_completion_time": {"time_period_value": "1", "time_period_uot": "months"}},
            "2026-03-02T09:00:00",
            "2026-04-02T09:00:00",
            (1, "MONTHS"),
        ),
        (
            {"start_date": "2024-02-29", "expected_completion_date": "2024-02-29"},
            "2024-02-29T00:00:00",
            "2024-02-29T00:00:00",
            (0, "MINUTES"),
        ),
        ({"estimated_completion_time": None}, "2026-03-02T09:00:00", None, None),
        ({"expected_completion_date": None}, "2026-03-02T09:00:00", None, None),
    ],
)
async def test_dates(
    client: ServiceRequestsClient, given: Json, start: str, expected: str | None, period: Any
) -> None:
    changed = await client.call("update", await client.create(), **given)
    assert (changed["start_date"], changed["expected_completion_date"]) == (start, expected)
    shown = changed["estimated_completion_time"]
    assert (shown and (shown["time_period_value"], shown["time_period_uot"])) == period
    if period is None:
        later = await client.call("update", changed, start_date="2027-01-01")
        assert (later["start_date"], later["expected_completion_date"]) == (
            "2027-01-01T00:00:00",
            None,
        )


@pytest.mark.parametrize(
    ("given", "name", "at"),
    [
        ({"expected_completion_date": "2026-03-01"}, "INVALIDPARAMETERVALUE", "expected_completion_date"),
        ({"start_date": "2026-03-09", "expected_completion_date": "2026-03-08"}, "INVALIDPARAMETERVALUE", "expected_completion_date"),
        ({"expected_completion_date": "2026-05-01", "estimated_completion_time": {"time_period_value": 1, "time_period_uot": "DAYS"}}, "SEMIOPTIONALPARAMETER", "expected_completion_date, estimated_completion_time"),
        ({"estimated_completion_time": {"time_period_value": 0, "time_period_uot": "DAYS"}}, "INVALIDPARAMETERVALUE", "estimated_completion_time.time_period_value"),
        ({"estimated_completion_time": {"time_period_value": 1.5, "time_period_uot": "DAYS"}}, "INVALIDPARAMETERVALUE", "estimated_completion_time.time_period_value"),
        ({"estimated_completion_time": {"time_period_value": 1}}, "MANDATORYPARAMETER", "estimated_completion_time.time_period_uot"),
        ({"estimated_completion_time": {"time_period_value": 9999, "time_period_uot": "YEARS"}}, "INVALIDPARAMETERVALUE", "estimated_completion_time"),
        ({"start_date": "soon"}, "INVALIDPARAMETERTYPE", "start_date"),
    ],
)  # fmt: skip
async def test_dates_that_are_refused(
    client: ServiceRequestsClient, given: Json, name: str, at: str
) -> None:
    one = await client.create()
    async with untouched(client.api):
        assert await client.call_refused("update", one, **given) == (name, at)


async def test_priority_follows_its_levels(client: ServiceRequestsClient, service: Service) -> None:
    one = await client.create()
    assert one["priority_level"] == "PRIORITY2"
    assert (await client.call("update", one, impact_level="impact3"))[
        "priority_level"
    ] == "PRIORITY4"
    assert (await client.call("update", one, urgency_level="CUSTOM2"))["priority_level"] is None
    own = await service_requests_client(service)
    former = await own.create()
    levels = {"urgency_level": "URGENCY3", "impact_level": "IMPACT3"}
    await own.register("service_request_priority", "1", **levels, priority_level="CUSTOM5")
    assert (await own.create())["priority_level"] is None
    assert (await own.call("update", former, notes="x"))["priority_level"] == "PRIORITY2"
    assert (await own.call("update", former, urgency_level="URGENCY2"))[
        "priority_level"
    ] == "PRIORITY2"
    assert (await own.call("update", former, **levels))["priority_level"] == "CUSTOM5"


async def test_assignment(client: ServiceRequestsClient) -> None:
    unit, user = "unit_identifier", "user_identifier"
    one = await client.create(assigned_to={unit: {"id": UNIT}, user: {"id": USER}})

    async def assigned(**given: Any) -> tuple[str, str | None]:
        changed = (await client.call("update", one, assigned_to=given))["assigned_to"]
        return changed["unit"]["id"], changed["user"] and changed["user"]["id"]

    assert await assigned() == (UNIT, USER)
    assert await assigned(**{unit: {"id": UNIT}}) == (UNIT, USER)
    assert await assigned(**{unit: {"id": OTHER_UNIT}}) == (OTHER_UNIT, None)
    assert await assigned(**{user: {"id": OTHER_USER}}) == (OTHER_UNIT, OTHER_USER)
    assert await assigned(**{user: None}) == (OTHER_UNIT, None)
    assert await assigned(**{unit: {"id": UNIT}, user: {"id": USER}}) == (UNIT, USER)
    found = await client.call_refused("update", one, assigned_to={user: {"id": OTHER_USER}})
    assert found == ("INVALIDASSIGNMENT", "assigned_to.user_identifier")
    found = await client.call_refused("update", one, assigned_to={unit: None})
    assert found == ("MANDATORYPARAMETER", "assigned_to.unit_identifier")


async def test_references(client: ServiceRequestsClient) -> None:
    one = await client.create(referring_to={"subscription_identifier": {"id": "SU1"}})

    async def refers(given: Any) -> tuple[Any, Any]:
        shown = (await client.call("update", one, referring_to=given))["referring_to"]
        return tuple(link and link["id"] for link in (shown["subscription"], shown["job"]))  # type: ignore[return-value]

    assert await refers({}) == ("SU1", None)
    assert await refers({"job_identifier": {"id": "JO1"}}) == (None, "JO1")
    assert await refers(None) == (None, None)
    found = await client.call_refused("update", one, referring_to={"job_identifier": {"id": "JO2"}})
    assert found == ("INVALIDREFERENCE", "referring_to.job_identifier")


@pytest.mark.parametrize("state", OPEN)
async def test_another_status_of_the_state(client: ServiceRequestsClient, state: str) -> None:
    again = {"PENDING": "WAITING", "RESPONDED": "ESCALATED", "TEMPORARY_RESOLVED": "LENT"}
    one = await client.create_in_state(state)
    status = again.get(state, "SWAPPED")
    changed = await client.call("update", one, **{STATUS: {"id": status}})
    assert (changed["status"]["id"], changed["life_cycle_state"]) == (status, state)
    assert (await event_topics(client.api))[-1] == "service_request.status_changed"


@pytest.mark.parametrize("state", ["COMPLETED", "CANCELLED"])
async def test_what_has_ended(client: ServiceRequestsClient, state: str) -> None:
    one = await client.create_in_state(state)
    async with untouched(client.api):
        assert await client.call_refused("update", one, notes="x") == ("INVALIDLIFECYCLESTATE", "")
        assert await client.call_refused("update", one) == ("INVALIDLIFECYCLESTATE", "")


@pytest.mark.parametrize("state", OPEN)
@pytest.mark.parametrize("target", STATUSES)
async def test_moving(client: ServiceRequestsClient, state: str, target: str) -> None:
    """Forwards with all that the way needs, several steps at once; never backwards."""
    way = [*OPEN, "COMPLETED"]
    one = await client.create_in_state(state)
    if target == "CANCELLED":
        assert await client.call_refused("update", one, **to(target)) == ("INVALIDSTATUS", STATUS)
        return
    if way.index(target) < way.index(state):
        found = await client.call_refused("update", one, **to(target))
        assert found == ("INVALIDLIFECYCLESTATE", "")
        return
    needed = {
        "response": ("PENDING",) if target != "PENDING" else (),
        "temporary_resolution": OPEN[:2] if target == "TEMPORARY_RESOLVED" else (),
        "final_resolution": OPEN[:3] if target in ("FINAL_RESOLVED", "COMPLETED") else (),
    }
    given = {name: answer(name) for name, states in needed.items() if state in states}
    for name in given:
        less = {key: said for key, said in given.items() if key != name}
        found = await client.call_refused("update", one, **to(target), **less)
        assert found == ("MANDATORYPARAMETER", name)
    moved = await client.call("update", one, **to(target), **given)
    assert moved["life_cycle_state"] == target
    assert bool(moved["actual_completed_date"]) == (target == "COMPLETED")


async def test_resolutions_come_with_a_status(client: ServiceRequestsClient) -> None:
    for name in ("temporary_resolution", "final_resolution"):
        one = await client.create_in_state("FINAL_RESOLVED", {"temporary_resolution": FREE})
        said = {name: answer(name, description="new")}
        assert await client.call_refused("update", one, **said) == ("MANDATORYPARAMETER", STATUS)
        changed = await client.call("update", one, **to("FINAL_RESOLVED"), **said)
        assert changed[name]["description"] == "new"


async def test_answers_that_do_not_fit(client: ServiceRequestsClient) -> None:
    pending = await client.create()
    found = await client.call_refused("update", pending, response=answer("response"))
    assert found == ("INVALIDPARAMETERVALUE", "response")
    responded = await client.create_in_state("RESPONDED")
    early = {"final_resolution": answer("final_resolution")}
    found = await client.call_refused("update", responded, **to("RESPONDED"), **early)
    assert found == ("INVALIDPARAMETERVALUE", "final_resolution")
    assert await client.call_refused("update", responded, response=None) == (
        "MANDATORYPARAMETER",
        "response",
    )
    assert (await client.call("update", pending, response=None))["response"] is None


async def test_a_temporary_resolution_is_taken_back(client: ServiceRequestsClient) -> None:
    gone = {"temporary_resolution": None}
    patched = await client.create_in_state("TEMPORARY_RESOLVED")
    found = await client.call_refused("update", patched, **gone)
    assert found == ("MANDATORYPARAMETER", "temporary_resolution")
    said = {"final_resolution": answer("final_resolution")}
    moved = await client.call("update", patched, **to("FINAL_RESOLVED"), **said, **gone)
    assert moved["temporary_resolution"] is None
    accepted = answer("temporary_resolution", ASK, accepted_by_identifier={"id": client.customer})
    solved = await client.create_in_state("FINAL_RESOLVED", temporary_resolution=accepted)
    assert await client.call_refused("update", solved, **gone) == (
        "ALREADYACCEPTED",
        "temporary_resolution",
    )


async def test_acceptance_in_updates(client: ServiceRequestsClient) -> None:
    one = await client.create_in_state("RESPONDED", {"response": ASK})
    said = {"temporary_resolution": answer("temporary_resolution")}
    found = await client.call_refused("update", one, **to("TEMPORARY_RESOLVED"), **said)
    assert found == ("PENDINGACCEPTANCE", "response")
    accepting = answer("response", ASK, accepted_by_identifier={"id": client.relative})
    moved = await client.call("update", one, **to("TEMPORARY_RESOLVED"), **said, response=accepting)
    assert moved["response"]["accepted_by"]["id"] == client.relative
    found = await client.call_refused("update", moved, response=answer("response"))
    assert found == ("ALREADYACCEPTED", "response")
    late = await client.create_in_state("TEMPORARY_RESOLVED")
    found = await client.call_refused("update", late, response=answer("response", ASK))
    assert found == ("PENDINGACCEPTANCE", "response")
    stranger = answer("response", accepted_by_identifier={"id": client.stranger})
    found = await client.call_refused("update", late, response=stranger)
    assert found == ("INVALIDACCEPTINGCONTACT", "response.accepted_by_identifier")


async def test_repeated(client: ServiceRequestsClient) -> None:
    one, key = await client.create(), {"Idempotency-Key": new_key()}
    call = client.call_parameters("update", one, notes="again")
    before = await event_topics(client.api)
    answers = await call_concurrently(client.api, [call] * 20, **key)
    assert answers == [answers[0]] * 20
    assert (await event_topics(client.api))[len(before) :] == ["service_request.amended"]
    status, said = await post_raw(client.api, call[0], call[1] | {"x": 1}, **key)
    assert (status, refusal(said)[0]) == (422, "INVALIDREQUEST")


async def test_raced(client: ServiceRequestsClient) -> None:
    one = await client.create()
    updates = [
        client.call_parameters("update", one, **{f"udf_string_{n}": "x"}) for n in range(1, 9)
    ]
    assert error_names(await call_concurrently(client.api, updates)) == ["OK"] * 8
    shown = await client.show(one)
    assert [shown[f"udf_string_{n}"] for n in range(1, 9)] == ["x"] * 8
    moved = await call_concurrently(
        client.api,
        [
            client.call_parameters("update", one, **to("RESPONDED"), response=answer("response")),
            client.call_parameters("cancel", one),
        ],
    )
    assert error_names(moved) == ["INVALIDLIFECYCLESTATE", "OK"]
