"""Method 48: contract service_requests.md, sections 3, 5, 6.2, 6.13 and 8."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.communications_world import events, names, new_key, posted, together
from tests.service import Service, refusal
from tests.service_requests_world import (
    ASK,
    FREE,
    OTHER_UNIT,
    OTHER_USER,
    STATUSES,
    Helpdesk,
    answer,
    helpdesk,
)
from tests.world import OTHER_GROUP, PRIVACY_LEVEL, UNIT, USER, untouched

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
async def here(service: Service) -> Helpdesk:
    return await helpdesk(service)


def to(state: str) -> Json:
    return {STATUS: {"id": STATUSES[state]}}


async def test_passive_fields(here: Helpdesk) -> None:
    one = await here.open(description="a", caller_email="a@b", udf_string_1="x")
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
    changed = await here.on("update", one, **given)
    assert (changed["description"], changed["notes"], changed["caller_email"]) == ("b", "n", None)
    assert (changed["caller_phone"], changed["udf_string_1"]) == ("22", None)
    assert (changed["udf_float_4"], changed["udf_date_1"]) == (1.5, "2026-01-01T00:00:00")
    assert changed["category"]["code"] == "NS"
    assert changed["owned_by_group"]["id"] == OTHER_GROUP
    assert changed["privacy_level"]["id"] == PRIVACY_LEVEL
    assert (await events(here.api))[-1] == "service_request.amended"
    async with untouched(here.api):
        assert await here.on("update", one, **given) == changed
        assert await here.on("update", one) == changed
    assert (await here.on("update", one, privacy_level_identifier=None))["privacy_level"] is None


@pytest.mark.parametrize("name", KEPT)
async def test_what_cannot_be_null(here: Helpdesk, name: str) -> None:
    one = await here.open()
    async with untouched(here.api):
        assert await here.not_on("update", one, **{name: None}) == ("MANDATORYPARAMETER", name)


async def test_caller_texts_that_the_type_needs(here: Helpdesk) -> None:
    sms = await here.open(type_identifier={"id": "SMS"}, caller_phone="1")
    for value in (None, "", "  "):
        found = await here.not_on("update", sms, caller_phone=value)
        assert found == ("MANDATORYPARAMETER", "caller_phone")
    assert (await here.on("update", sms, caller_email=None))["caller_phone"] == "1"
    assert (await here.on("update", await here.open(), caller_phone=None))["caller_phone"] is None


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
    here: Helpdesk, given: Json, start: str, expected: str | None, period: Any
) -> None:
    changed = await here.on("update", await here.open(), **given)
    assert (changed["start_date"], changed["expected_completion_date"]) == (start, expected)
    shown = changed["estimated_completion_time"]
    assert (shown and (shown["time_period_value"], shown["time_period_uot"])) == period
    if period is None:
        later = await here.on("update", changed, start_date="2027-01-01")
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
async def test_dates_that_are_refused(here: Helpdesk, given: Json, name: str, at: str) -> None:
    one = await here.open()
    async with untouched(here.api):
        assert await here.not_on("update", one, **given) == (name, at)


async def test_priority_follows_its_levels(here: Helpdesk, service: Service) -> None:
    one = await here.open()
    assert one["priority_level"] == "PRIORITY2"
    assert (await here.on("update", one, impact_level="impact3"))["priority_level"] == "PRIORITY4"
    assert (await here.on("update", one, urgency_level="CUSTOM2"))["priority_level"] is None
    own = await helpdesk(service)
    former = await own.open()
    levels = {"urgency_level": "URGENCY3", "impact_level": "IMPACT3"}
    await own.register("service_request_priority", "1", **levels, priority_level="CUSTOM5")
    assert (await own.open())["priority_level"] is None
    assert (await own.on("update", former, notes="x"))["priority_level"] == "PRIORITY2"
    assert (await own.on("update", former, urgency_level="URGENCY2"))[
        "priority_level"
    ] == "PRIORITY2"
    assert (await own.on("update", former, **levels))["priority_level"] == "CUSTOM5"


async def test_assignment(here: Helpdesk) -> None:
    unit, user = "unit_identifier", "user_identifier"
    one = await here.open(assigned_to={unit: {"id": UNIT}, user: {"id": USER}})

    async def assigned(**given: Any) -> tuple[str, str | None]:
        changed = (await here.on("update", one, assigned_to=given))["assigned_to"]
        return changed["unit"]["id"], changed["user"] and changed["user"]["id"]

    assert await assigned() == (UNIT, USER)
    assert await assigned(**{unit: {"id": UNIT}}) == (UNIT, USER)
    assert await assigned(**{unit: {"id": OTHER_UNIT}}) == (OTHER_UNIT, None)
    assert await assigned(**{user: {"id": OTHER_USER}}) == (OTHER_UNIT, OTHER_USER)
    assert await assigned(**{user: None}) == (OTHER_UNIT, None)
    assert await assigned(**{unit: {"id": UNIT}, user: {"id": USER}}) == (UNIT, USER)
    found = await here.not_on("update", one, assigned_to={user: {"id": OTHER_USER}})
    assert found == ("INVALIDASSIGNMENT", "assigned_to.user_identifier")
    found = await here.not_on("update", one, assigned_to={unit: None})
    assert found == ("MANDATORYPARAMETER", "assigned_to.unit_identifier")


async def test_references(here: Helpdesk) -> None:
    one = await here.open(referring_to={"subscription_identifier": {"id": "SU1"}})

    async def refers(given: Any) -> tuple[Any, Any]:
        shown = (await here.on("update", one, referring_to=given))["referring_to"]
        return tuple(link and link["id"] for link in (shown["subscription"], shown["job"]))  # type: ignore[return-value]

    assert await refers({}) == ("SU1", None)
    assert await refers({"job_identifier": {"id": "JO1"}}) == (None, "JO1")
    assert await refers(None) == (None, None)
    found = await here.not_on("update", one, referring_to={"job_identifier": {"id": "JO2"}})
    assert found == ("INVALIDREFERENCE", "referring_to.job_identifier")


@pytest.mark.parametrize("state", OPEN)
async def test_another_status_of_the_state(here: Helpdesk, state: str) -> None:
    again = {"PENDING": "WAITING", "RESPONDED": "ESCALATED", "TEMPORARY_RESOLVED": "LENT"}
    one = await here.at(state)
    status = again.get(state, "SWAPPED")
    changed = await here.on("update", one, **{STATUS: {"id": status}})
    assert (changed["status"]["id"], changed["life_cycle_state"]) == (status, state)
    assert (await events(here.api))[-1] == "service_request.status_changed"


@pytest.mark.parametrize("state", ["COMPLETED", "CANCELLED"])
async def test_what_has_ended(here: Helpdesk, state: str) -> None:
    one = await here.at(state)
    async with untouched(here.api):
        assert await here.not_on("update", one, notes="x") == ("INVALIDLIFECYCLESTATE", "")
        assert await here.not_on("update", one) == ("INVALIDLIFECYCLESTATE", "")


@pytest.mark.parametrize("state", OPEN)
@pytest.mark.parametrize("target", STATUSES)
async def test_moving(here: Helpdesk, state: str, target: str) -> None:
    """Forwards with all that the way needs, several steps at once; never backwards."""
    way = [*OPEN, "COMPLETED"]
    one = await here.at(state)
    if target == "CANCELLED":
        assert await here.not_on("update", one, **to(target)) == ("INVALIDSTATUS", STATUS)
        return
    if way.index(target) < way.index(state):
        found = await here.not_on("update", one, **to(target))
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
        found = await here.not_on("update", one, **to(target), **less)
        assert found == ("MANDATORYPARAMETER", name)
    moved = await here.on("update", one, **to(target), **given)
    assert moved["life_cycle_state"] == target
    assert bool(moved["actual_completed_date"]) == (target == "COMPLETED")


async def test_resolutions_come_with_a_status(here: Helpdesk) -> None:
    for name in ("temporary_resolution", "final_resolution"):
        one = await here.at("FINAL_RESOLVED", {"temporary_resolution": FREE})
        said = {name: answer(name, description="new")}
        assert await here.not_on("update", one, **said) == ("MANDATORYPARAMETER", STATUS)
        changed = await here.on("update", one, **to("FINAL_RESOLVED"), **said)
        assert changed[name]["description"] == "new"


async def test_answers_that_do_not_fit(here: Helpdesk) -> None:
    pending = await here.open()
    found = await here.not_on("update", pending, response=answer("response"))
    assert found == ("INVALIDPARAMETERVALUE", "response")
    responded = await here.at("RESPONDED")
    early = {"final_resolution": answer("final_resolution")}
    found = await here.not_on("update", responded, **to("RESPONDED"), **early)
    assert found == ("INVALIDPARAMETERVALUE", "final_resolution")
    assert await here.not_on("update", responded, response=None) == (
        "MANDATORYPARAMETER",
        "response",
    )
    assert (await here.on("update", pending, response=None))["response"] is None


async def test_a_temporary_resolution_is_taken_back(here: Helpdesk) -> None:
    gone = {"temporary_resolution": None}
    patched = await here.at("TEMPORARY_RESOLVED")
    found = await here.not_on("update", patched, **gone)
    assert found == ("MANDATORYPARAMETER", "temporary_resolution")
    said = {"final_resolution": answer("final_resolution")}
    moved = await here.on("update", patched, **to("FINAL_RESOLVED"), **said, **gone)
    assert moved["temporary_resolution"] is None
    accepted = answer("temporary_resolution", ASK, accepted_by_identifier={"id": here.customer})
    solved = await here.at("FINAL_RESOLVED", temporary_resolution=accepted)
    assert await here.not_on("update", solved, **gone) == (
        "ALREADYACCEPTED",
        "temporary_resolution",
    )


async def test_acceptance_in_updates(here: Helpdesk) -> None:
    one = await here.at("RESPONDED", {"response": ASK})
    said = {"temporary_resolution": answer("temporary_resolution")}
    found = await here.not_on("update", one, **to("TEMPORARY_RESOLVED"), **said)
    assert found == ("PENDINGACCEPTANCE", "response")
    accepting = answer("response", ASK, accepted_by_identifier={"id": here.relative})
    moved = await here.on("update", one, **to("TEMPORARY_RESOLVED"), **said, response=accepting)
    assert moved["response"]["accepted_by"]["id"] == here.relative
    found = await here.not_on("update", moved, response=answer("response"))
    assert found == ("ALREADYACCEPTED", "response")
    late = await here.at("TEMPORARY_RESOLVED")
    found = await here.not_on("update", late, response=answer("response", ASK))
    assert found == ("PENDINGACCEPTANCE", "response")
    stranger = answer("response", accepted_by_identifier={"id": here.stranger})
    found = await here.not_on("update", late, response=stranger)
    assert found == ("INVALIDACCEPTINGCONTACT", "response.accepted_by_identifier")


async def test_repeated(here: Helpdesk) -> None:
    one, key = await here.open(), {"Idempotency-Key": new_key()}
    call = here.call("update", one, notes="again")
    before = await events(here.api)
    answers = await together(here.api, [call] * 20, **key)
    assert answers == [answers[0]] * 20
    assert (await events(here.api))[len(before) :] == ["service_request.amended"]
    status, said = await posted(here.api, call[0], call[1] | {"x": 1}, **key)
    assert (status, refusal(said)[0]) == (422, "INVALIDREQUEST")


async def test_raced(here: Helpdesk) -> None:
    one = await here.open()
    updates = [here.call("update", one, **{f"udf_string_{n}": "x"}) for n in range(1, 9)]
    assert names(await together(here.api, updates)) == ["OK"] * 8
    shown = await here.see(one)
    assert [shown[f"udf_string_{n}"] for n in range(1, 9)] == ["x"] * 8
    moved = await together(
        here.api,
        [
            here.call("update", one, **to("RESPONDED"), response=answer("response")),
            here.call("cancel", one),
        ],
    )
    assert names(moved) == ["INVALIDLIFECYCLESTATE", "OK"]
