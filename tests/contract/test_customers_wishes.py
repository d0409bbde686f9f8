"""What customers create is a wish, and whom it may write to (common.md, section 11)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from services.pipeline.method import BASE, METHODS
from tests.contract.test_service_request_consumers import customer
from tests.fixtures.organisation import untouched
from tests.fixtures.read_models import connection
from tests.fixtures.service import Api, Service, refusal, run_in_process
from tests.fixtures.service_requests import (
    ANSWERS,
    REPEATABLE,
    STATUSES,
    USER,
    ServiceRequestsClient,
    answer,
    service_requests_client,
)

Json = dict[str, Any]
PHONE, EMAIL = "22114455", "Loukia@Example.com"
TOLD = {"type_identifier": {"id": "SMS"}, "caller_phone": PHONE}
BOTH = {"type_identifier": {"id": "BOTH"}, "caller_phone": PHONE, "caller_email": EMAIL}
LIMIT = 3


@pytest_asyncio.fixture
async def client(service: Service) -> ServiceRequestsClient:
    own = await service_requests_client(service)
    await own.register_settings(consumer_username="demo", notice_limit_per_hour=LIMIT)
    phones = [{"action": "ADD", "type": "LANDLINE", "number": PHONE}]
    emails = [{"action": "ADD", "type": "BUSINESS", "email_address": EMAIL}]
    await own.update_contact(own.customer, phone_set=phones, email_set=emails)
    return own


@pytest_asyncio.fixture
async def mine(client: ServiceRequestsClient) -> ServiceRequestsClient:
    return await customer(client, "AR1")


@pytest_asyncio.fixture
async def elsewhere(mine: ServiceRequestsClient) -> AsyncIterator[ServiceRequestsClient]:
    """The same session, through another process."""
    async with run_in_process(mine.api.service.database) as running:
        api = Api(running, mine.api.organisation, mine.api.token)
        yield ServiceRequestsClient(api, mine.customer, mine.relative, mine.stranger)


async def notices(client: ServiceRequestsClient) -> list[Json]:
    """What was written to the customer."""
    named = {"contact_information_identifier": f"id={client.customer}"}
    return list(await client.api.get("communications/list", **named))


@pytest.mark.parametrize("state", [state for state in STATUSES if state != "PENDING"])
async def test_a_wish_is_pending(
    client: ServiceRequestsClient, mine: ServiceRequestsClient, state: str
) -> None:
    for status in {STATUSES[state], REPEATABLE.get(state, STATUSES[state])}:
        async with untouched(client.api):
            refused = await mine.create_refused(status_identifier={"id": status})
            assert refused == ("INVALIDSTATUS", "status_identifier")
    assert (await mine.create(status_identifier={"id": "WAITING"}))["life_cycle_state"] == "PENDING"


@pytest.mark.parametrize("name", ANSWERS)
async def test_customers_answer_nothing(
    client: ServiceRequestsClient, mine: ServiceRequestsClient, name: str
) -> None:
    async with untouched(client.api):
        for status in ("NEW", STATUSES["RESPONDED"]):
            said = {"status_identifier": {"id": status}, name: answer(name)}
            assert await mine.create_refused(**said) == ("ACCESSDENIED", name)
    assert await mine.create(**{name: None})


@pytest.mark.parametrize("user", [{"id": USER}, {"username": "demo"}, {"username": "nobody"}])
async def test_customers_do_not_learn_who_works_here(
    client: ServiceRequestsClient, mine: ServiceRequestsClient, user: Json
) -> None:
    unit = client.creation_body()["assigned_to"]
    assigned = {"assigned_to": unit | {"user_identifier": user}}
    async with untouched(client.api):
        refused = await mine.create_refused(**assigned)
        assert refused == ("ACCESSDENIED", "assigned_to.user_identifier")
    assert await mine.create(assigned_to=unit | {"user_identifier": {"username": ""}})
    if user != {"username": "nobody"}:
        assert (await client.create(**assigned))["assigned_to"]["user"]["id"] == USER


def test_every_method_that_customers_may_create_with_says_what_is_staff_work() -> None:
    """A method that opens to them with answers or an assignment must not forget it."""
    staff = {*ANSWERS, "assigned_to"}
    for method in METHODS.values():
        named = {field.name for field, _ in method.parameters} & staff
        if method.open_to_consumers and named:
            assert {path.partition(".")[0] for path in method.staff_only} >= named, method.path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"caller_phone": PHONE}, [PHONE]),
        ({"caller_phone": "2211-4455"}, [PHONE]),
        ({"caller_phone": "99887766"}, []),
        ({"caller_phone": f"{PHONE}0"}, []),
        ({"caller_phone": "1", "caller_email": EMAIL}, [EMAIL]),
        ({"caller_phone": "1", "caller_email": EMAIL.upper()}, [EMAIL]),
        ({"caller_phone": "1", "caller_email": f"victim@x.y, {EMAIL}; other@x.y"}, [EMAIL]),
        ({"caller_phone": "1", "caller_email": "victim@x.y"}, []),
    ],
)
async def test_notices_go_to_registered_addresses(
    mine: ServiceRequestsClient, given: Json, expected: list[str]
) -> None:
    one = await mine.create(**BOTH | {"caller_email": None} | given)
    assert [said["to"] for said in await notices(mine)] == expected
    assert one["caller_phone"] == given["caller_phone"]


async def test_staff_write_to_whom_they_say(client: ServiceRequestsClient) -> None:
    for _ in range(LIMIT + 1):
        await client.create(**TOLD | {"caller_phone": "99887766"})
    assert [said["to"] for said in await notices(client)] == ["99887766"] * (LIMIT + 1)


async def test_so_many_an_hour(client: ServiceRequestsClient, mine: ServiceRequestsClient) -> None:
    with capture_logs() as logs:
        made = [await mine.create(**TOLD) for _ in range(LIMIT + 2)]
    assert len({one["number"] for one in made}) == LIMIT + 2
    assert len(await notices(mine)) == LIMIT
    limited = [log for log in logs if log["event"] == "notices.limited"]
    assert [log["organisation"] for log in limited] == [client.api.organisation] * 2
    # Withdrawing is told, too: and then no more than all the rest.
    assert (await mine.call("cancel", made[0]))["life_cycle_state"] == "CANCELLED"
    assert len(await notices(mine)) == LIMIT
    other = await customer(client, "AR2")
    theirs = {"accounts_receivable_identifier": {"id": "AR2"}}
    phones = [{"action": "ADD", "type": "LANDLINE", "number": PHONE}]
    await client.update_contact(client.stranger, phone_set=phones)
    await client.register(
        "accounts_receivable", "AR2", number="A2", account_owner_id=client.stranger
    )
    await other.create(**TOLD, **theirs)
    sent = await client.api.get("communications/queue/list", media="SMS")
    assert len(sent) == LIMIT + 1
    async with connection(client.api.service.database) as owner:
        statement = "UPDATE ledger.notices SET counted_at = counted_at - interval '1 hour' WHERE organisation = $1"
        await owner.execute(statement, client.api.organisation)
    await mine.create(**TOLD)
    assert len(await notices(mine)) == LIMIT + 1


async def test_two_at_once_need_room_for_two(mine: ServiceRequestsClient) -> None:
    for _ in range(2):
        await mine.create(**BOTH)
    assert len(await notices(mine)) == 2


async def test_ten_where_nothing_is_set(service: Service) -> None:
    own = await service_requests_client(service)
    await own.register_settings(consumer_username="demo")
    phones = [{"action": "ADD", "type": "LANDLINE", "number": PHONE}]
    await own.update_contact(own.customer, phone_set=phones)
    mine = await customer(own, "AR1")
    await asyncio.gather(*(mine.create(**TOLD) for _ in range(12)))
    assert len(await notices(mine)) == 10


async def test_none_where_none_is_wanted(
    client: ServiceRequestsClient, mine: ServiceRequestsClient
) -> None:
    await client.register_settings(consumer_username="demo", notice_limit_per_hour=0)
    await mine.create(**TOLD)
    assert await notices(mine) == []


async def test_raced_in_several_processes(
    mine: ServiceRequestsClient, elsewhere: ServiceRequestsClient
) -> None:
    made = await asyncio.gather(
        *(process.create(**TOLD) for process in (mine, elsewhere) for _ in range(2 * LIMIT))
    )
    assert len({one["number"] for one in made}) == 4 * LIMIT
    assert len(await notices(mine)) == LIMIT


async def test_repeated_it_is_counted_once(mine: ServiceRequestsClient) -> None:
    body = json.dumps({"token": mine.api.token} | mine.creation_body(**TOLD)).encode()
    for n in range(LIMIT + 1):
        for _ in range(2):
            _, said, _ = await mine.api.service.send(
                "POST",
                f"{BASE}service_requests/create",
                data=body,
                headers={"Idempotency-Key": f"k{n}"},
            )
            assert said["status"]["code"] == "OK"
    assert len(await notices(mine)) == LIMIT


async def test_a_refused_call_counts_nothing(mine: ServiceRequestsClient) -> None:
    for _ in range(LIMIT):
        refused = await mine.api.call(
            "POST",
            "service_requests/create",
            body=mine.creation_body(**TOLD, services_set=[{"product_identifier": {"id": "P3"}}]),
        )
        assert refusal(refused)[0]
    for _ in range(LIMIT):
        await mine.create(**TOLD)
    assert len(await notices(mine)) == LIMIT
