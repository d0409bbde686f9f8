"""Methods 35 to 46 and O3 to O5: contract service_requests.md, sections 6.11, 6.12 and 9."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import combinations
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from tests.fixtures.organisation import unknown_id
from tests.fixtures.service import Service, refusal
from tests.fixtures.service_requests import (
    ASK,
    STATUSES,
    ServiceRequestsClient,
    service_requests_client,
)

Json = dict[str, Any]
BY_STATE = {
    "get_pending": "PENDING",
    "get_responded": "RESPONDED",
    "get_temporary_resolved": "TEMPORARY_RESOLVED",
    "get_final_resolved": "FINAL_RESOLVED",
    "get_completed": "COMPLETED",
}
PENDING_ACCEPTANCE = {
    f"{method}_pending_acceptance": (state, name)
    for method, state, name in (
        ("get_responded", "RESPONDED", "response"),
        ("get_temporary_resolved", "TEMPORARY_RESOLVED", "temporary_resolution"),
        ("get_final_resolved", "FINAL_RESOLVED", "final_resolution"),
    )
}
CLOSE = "get_close_to_estimated_completion_time"
FREELY_FILTERED = (*BY_STATE, *PENDING_ACCEPTANCE, "get_overdue")
LISTS = ("list", *FREELY_FILTERED, CLOSE)


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> ServiceRequestsClient:
    return await service_requests_client(service)


@pytest_asyncio.fixture
async def several(service: Service) -> tuple[ServiceRequestsClient, dict[str, Json]]:
    """One service request in each state, and one that waits for acceptance in each that can."""
    own = await service_requests_client(service)
    made = {state: await own.create_in_state(state) for state in STATUSES}
    for method, (state, name) in PENDING_ACCEPTANCE.items():
        made[method] = await own.create_in_state(state, {name: ASK})
    return own, made


def near(**more: int) -> str:
    """A date of the service's wall clock so much later than now."""
    now = datetime.now(ZoneInfo("Asia/Nicosia")).replace(tzinfo=None, microsecond=0)
    return (now + timedelta(**more)).isoformat()


def required(method: str) -> Json:
    return {"period": 1, "uot": "DAYS"} if method == CLOSE else {}


async def test_by_state(several: tuple[ServiceRequestsClient, dict[str, Json]]) -> None:
    own, made = several
    for method, state in BY_STATE.items():
        expected = [one["number"] for one in made.values() if one["life_cycle_state"] == state]
        assert await own.list_numbers(method) == expected
    for method in PENDING_ACCEPTANCE:
        assert await own.list_numbers(method) == [made[method]["number"]]
    whole = [one["number"] for one in made.values()]
    assert await own.list_numbers("list", type_identifier="id=FAULT") == whole


async def test_accepted_ones_wait_no_more(
    several: tuple[ServiceRequestsClient, dict[str, Json]],
) -> None:
    own, _ = several
    for method, (state, name) in PENDING_ACCEPTANCE.items():
        one = await own.create_in_state(state, {name: ASK})
        assert (await own.list_numbers(method))[-1] == one["number"]
        by = {"accepted_by_identifier": {"id": own.customer}}
        await own.call(f"{name}_accept", one, **by)
        assert one["number"] not in await own.list_numbers(method)


async def test_filters(several: tuple[ServiceRequestsClient, dict[str, Json]]) -> None:
    own, made = several
    other = await own.create(
        accounts_receivable_identifier={"id": "AR2"},
        type_identifier={"id": "BARE"},
        category_identifier={"id": "OTHER"},
    )
    filters = {
        "accounts_receivable_identifier": "number=ACRAR2",
        "type_identifier": "name=Bare",
        "caller_identifier": f"id={own.stranger}",
        "category_identifier": "code=NS",
    }
    for name, value in filters.items():
        assert await own.list_numbers("get_pending", **{name: value}) == [other["number"]]
    assert await own.list_numbers("get_pending", **filters) == [other["number"]]
    nothing = filters | {"category_identifier": "code=NP"}
    assert await own.list_numbers("get_pending", **nothing) == []
    assert await own.list_numbers("get_pending", category_identifier="code=NP") == [
        made["PENDING"]["number"]
    ]
    one = {"caller_identifier": filters["caller_identifier"]}
    assert await own.list_numbers("list", **one) == [other["number"]]
    assert await own.list_numbers("list", **one, category_identifier="code=NP") == []


async def test_filters_of_the_list_combine(
    several: tuple[ServiceRequestsClient, dict[str, Json]],
) -> None:
    own, made = several
    all_of_them = {
        "accounts_receivable_identifier": "id=AR1",
        "type_identifier": "id=FAULT",
        "caller_identifier": f"id={own.customer}",
    }
    others = {
        "accounts_receivable_identifier": "id=AR2",
        "type_identifier": "id=BARE",
        "caller_identifier": f"id={own.stranger}",
    }
    numbers = [one["number"] for one in made.values()]
    for count in (1, 2, 3):
        for names in combinations(all_of_them, count):
            filters = {name: all_of_them[name] for name in names}
            assert await own.list_numbers("list", **filters) == numbers
            for name in names:
                nothing = filters | {name: others[name]}
                assert await own.list_numbers("list", **nothing) == []


async def test_a_list_is_of_something(client: ServiceRequestsClient) -> None:
    names = ("accounts_receivable_identifier", "type_identifier", "caller_identifier")
    for query in ({}, {"category_identifier": "id=CAT"}):
        answer = await client.api.call("GET", "service_requests/list", query=query)
        assert refusal(answer) == ("SEMIOPTIONALPARAMETER", ", ".join(names))


@pytest.mark.parametrize("method", LISTS)
async def test_what_does_not_exist(client: ServiceRequestsClient, method: str) -> None:
    for name in ("accounts_receivable", "type", "caller", "category"):
        query = {f"{name}_identifier": f"id={unknown_id()}"} | required(method)
        if name == "category" and method == "list":
            query |= {"type_identifier": "id=FAULT"}
        if method == CLOSE and name in ("caller", "category"):
            continue
        sent = {key: str(value) for key, value in query.items()}
        answer = await client.api.call("GET", f"service_requests/{method}", query=sent)
        assert refusal(answer) == ("ENTITYNOTFOUND", f"{name}_identifier")


@pytest.mark.parametrize("method", LISTS)
@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"number_of_results": "0"}, "INVALIDPARAMETERVALUE"),
        ({"number_of_results": str(2**53)}, "INVALIDPARAMETERVALUE"),
        ({"offset": "-1"}, "INVALIDPARAMETERVALUE"),
        ({"offset": "x"}, "INVALIDPARAMETERTYPE"),
    ],
)
async def test_sizes(client: ServiceRequestsClient, method: str, given: Json, name: str) -> None:
    query = required(method) | ({"type_identifier": "id=FAULT"} if method == "list" else {})
    sent = {key: str(value) for key, value in (query | given).items()}
    answer = await client.api.call("GET", f"service_requests/{method}", query=sent)
    assert refusal(answer) == (name, *given)


async def test_pages(service: Service) -> None:
    own = await service_requests_client(service)
    whole = [(await own.create())["number"] for _ in range(5)]
    by_type = {"type_identifier": "id=FAULT"}
    for method, query in (("list", by_type), ("get_pending", {}), ("get_overdue", {})):
        seen: list[str] = []
        for offset in (0, 2, 4, 6):
            page = {"number_of_results": 2, "offset": offset}
            seen += await own.list_numbers(method, **query, **page)
        assert seen == whole
    shown = await own.api.get("service_requests/list", **by_type, fields_set="number,status")
    assert {tuple(one) for one in shown} == {("number", "status")}


async def test_overdue(service: Service) -> None:
    own = await service_requests_client(service)
    late = {"start_date": "2020-01-01", "estimated_completion_time": ...}
    due = {}
    for name, date in (("late", "2020-03-01"), ("early", "2020-02-01"), ("again", "2020-03-01")):
        due[name] = (await own.create(**late, expected_completion_date=date))["number"]
    await own.create(estimated_completion_time=..., expected_completion_date=near(days=1))
    for state in ("COMPLETED", "CANCELLED"):
        await own.create_in_state(state, **late, expected_completion_date="2020-01-15")
    resolved = await own.create_in_state(
        "FINAL_RESOLVED", **late, expected_completion_date="2020-02-15"
    )
    found = await own.list_numbers("get_overdue")
    assert found == [due["early"], resolved["number"], due["late"], due["again"]]
    assert await own.list_numbers("get_overdue", number_of_results=2, offset=1) == found[1:3]
    dated = {"service_request_identifier": {"number": due["early"]}}
    cleared = dated | {"expected_completion_date": None}
    await own.api.post("service_requests/update", **cleared)
    assert await own.list_numbers("get_overdue") == found[1:]
    again = dated | {"expected_completion_date": "2999-01-01"}
    await own.api.post("service_requests/update", **again)
    assert await own.list_numbers("get_overdue") == found[1:]


async def test_close_to_completion(service: Service) -> None:
    own = await service_requests_client(service)
    open_ = {"start_date": "2020-01-01", "estimated_completion_time": ...}
    made = {}
    for name, delay in (("hours", {"hours": 30}), ("day", {"hours": 23}), ("year", {"days": 300})):
        made[name] = (await own.create(**open_, expected_completion_date=near(**delay)))["number"]
    await own.create(**open_, expected_completion_date="2020-02-01")
    await own.create_in_state("COMPLETED", **open_, expected_completion_date=near(hours=20))

    async def close(period: Any, uot: str, **more: str) -> list[str]:
        return await own.list_numbers(CLOSE, period=period, uot=uot, **more)

    assert await close(0, "DAYS") == []
    assert await close(1, "days") == [made["day"]]
    assert await close(48.0, "HOURS") == [made["day"], made["hours"]]
    assert await close(12, "MONTHS") == [made["day"], made["hours"], made["year"]]
    assert await close(10**7, "YEARS") == [made["day"], made["hours"], made["year"]]
    both = {"accounts_receivable_identifier": "id=AR1", "type_identifier": "id=BARE"}
    assert await close(12, "MONTHS", **both) == []


@pytest.mark.parametrize(
    ("query", "name", "at"),
    [
        ({"uot": "DAYS"}, "MANDATORYPARAMETER", "period"),
        ({"period": "1"}, "MANDATORYPARAMETER", "uot"),
        ({"period": "-1", "uot": "DAYS"}, "INVALIDPARAMETERVALUE", "period"),
        ({"period": "1.5", "uot": "DAYS"}, "INVALIDPARAMETERVALUE", "period"),
        ({"period": "x", "uot": "DAYS"}, "INVALIDPARAMETERTYPE", "period"),
        ({"period": "1", "uot": "AGES"}, "INVALIDPARAMETERVALUE", "uot"),
    ],
)
async def test_periods_that_are_refused(
    client: ServiceRequestsClient, query: Json, name: str, at: str
) -> None:
    answer = await client.api.call("GET", f"service_requests/{CLOSE}", query=query)
    assert refusal(answer) == (name, at)


async def test_retired_set_up_can_still_be_searched_for(client: ServiceRequestsClient) -> None:
    said = {"name": "Old", "code": "OLD"}
    await client.register("service_request_category", "OLD", **said)
    one = await client.create(category_identifier={"code": "OLD"})
    await client.register("service_request_category", "OLD", **said, retired=True)
    assert await client.list_numbers("get_pending", category_identifier="code=OLD") == [
        one["number"]
    ]
    refused = await client.create_refused(category_identifier={"code": "OLD"})
    assert refused == ("ENTITYNOTFOUND", "category_identifier")


async def test_show(client: ServiceRequestsClient) -> None:
    one = await client.create()
    path = "service_requests/show"
    named = {"service_request_identifier": f"number={one['number']}"}
    assert await client.api.get(path, **named) == one
    assert await client.api.get(path, **named, fields_set="id") == {"id": one["id"]}
    answer = await client.api.call("GET", path, query={"service_request_identifier": "number=SR9"})
    assert refusal(answer) == ("ENTITYNOTFOUND", "service_request_identifier")
    assert refusal(await client.api.call("GET", path)) == (
        "MANDATORYPARAMETER",
        "service_request_identifier",
    )


CONFIGURATION = "service_requests/configuration"


async def test_types(service: Service) -> None:
    own = await service_requests_client(service)
    shown = await own.api.get(f"{CONFIGURATION}/types/list")
    assert {one["id"] for one in shown} == {"BARE", "BOTH", "FAULT", "MAIL", "SMS", "STRICT"}
    assert set(shown[0]) == {"id", "name", "alternative_code", "description"}
    await own.register("service_request_type", "BARE", name="Bare", retired=True)
    unit = {"unit_identifier": "name=Call Centre"}
    assert len(await own.api.get(f"{CONFIGURATION}/types/list", **unit)) == len(shown) - 1
    none = await own.api.call(
        "GET", f"{CONFIGURATION}/types/list", query={"unit_identifier": "id=X"}
    )
    assert refusal(none) == ("ENTITYNOTFOUND", "unit_identifier")


async def test_statuses_of_a_type(client: ServiceRequestsClient) -> None:
    path, by = f"{CONFIGURATION}/statuses/list", "service_request_type_identifier"
    shown = await client.api.get(path, **{by: "id=STRICT"})
    assert {one["id"] for one in shown} == set(STATUSES.values())
    whole = await client.api.get(path, **{by: "id=FAULT"})
    assert len(whole) > len(shown)
    assert {one["id"] for one in whole if one["default"]} == set(STATUSES.values())
    pending = await client.api.get(path, **{by: "id=FAULT"}, life_cycle_state="pending")
    assert [(one["status"]["name"], one["default"]) for one in pending] == [
        ("New", True),
        ("Waiting", False),
    ]
    assert refusal(await client.api.call("GET", path)) == ("MANDATORYPARAMETER", by)


async def test_cancellation_reasons_of_a_type(client: ServiceRequestsClient) -> None:
    path, by = f"{CONFIGURATION}/cancellation_reasons/list", "service_request_type_identifier"
    shown = await client.api.get(path, **{by: "id=FAULT"})
    assert [(one["id"], one["default"]) for one in shown] == [("AGAIN", True), ("DOUBLE", False)]
    assert set(shown[0]) == {"id", "name", "alternative_code", "description", "default"}
    assert [one["id"] for one in await client.api.get(path, **{by: "id=STRICT"})] == ["AGAIN"]
