"""What a customer may see and do: contract common.md, section 11, for service requests."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.service import Api, Service, refusal
from tests.fixtures.service_requests import (
    ASK,
    STATUSES,
    ServiceRequestsClient,
    answer,
    service_requests_client,
)

Json = dict[str, Any]
CLOSED = ("update", "respond", "temporary_resolve", "final_resolve", "complete")
CONFIGURATION = ("types", "statuses", "cancellation_reasons")


@pytest_asyncio.fixture
async def client(service: Service) -> ServiceRequestsClient:
    own = await service_requests_client(service)
    await own.register_settings(consumer_username="demo")
    return own


async def customer(client: ServiceRequestsClient, account: str) -> ServiceRequestsClient:
    """The same organisation as the owner of an account sees it."""
    shown = {"identifier": f"owner-of-{account}", "pass_code": "secret words"}
    related = {"accounts_receivable_identifier": {"id": account}}
    await client.api.post("access_tokens/create", **shown, **related)
    login = {"access_token_identifier": shown, "organisation": client.api.organisation}
    answered = await client.api.open("authentication/token", login)
    assert answered["status"]["code"] == "OK", answered
    api = Api(client.api.service, client.api.organisation, answered["data"]["token"])
    return ServiceRequestsClient(api, client.customer, client.relative, client.stranger)


@pytest_asyncio.fixture
async def mine(client: ServiceRequestsClient) -> ServiceRequestsClient:
    return await customer(client, "AR1")


async def test_what_is_listed(client: ServiceRequestsClient, mine: ServiceRequestsClient) -> None:
    own = await client.create()
    theirs = {"accounts_receivable_identifier": {"id": "AR2"}}
    foreign = await client.create(**theirs)
    relation = {"type": "FRIEND", "contact_information_identifier": {"id": client.customer}}
    await client.update_contact(client.stranger, relation_set=[relation | {"action": "ADD"}])
    called = await client.create(**theirs, contact_information_identifier={"id": client.customer})
    expected = [own["number"], called["number"]]
    assert await mine.list_numbers("get_pending") == expected
    assert await mine.list_numbers("get_overdue") == expected
    assert await mine.list_numbers("list", type_identifier="id=FAULT") == expected
    assert await mine.list_numbers("list", caller_identifier=f"id={client.customer}") == expected
    assert await mine.list_numbers("list", accounts_receivable_identifier="id=AR1") == expected[:1]
    assert await mine.list_numbers("get_pending", number_of_results=1, offset=1) == expected[1:]
    for number, found in ((own["number"], True), (foreign["number"], False)):
        query = {"service_request_identifier": f"number={number}"}
        shown = await mine.api.call("GET", "service_requests/show", query=query)
        assert (shown["status"]["code"] == "OK") is found
    shown = await mine.show(called)
    assert shown["accounts_receivable"] is None
    assert shown["contact_information"]["id"] == client.customer
    elsewhere = {"accounts_receivable_identifier": "id=AR2"}
    refused = await mine.api.call("GET", "service_requests/get_pending", query=elsewhere)
    assert refusal(refused) == ("ENTITYNOTFOUND", "accounts_receivable_identifier")


async def test_nothing_of_others_shows_in_relations(
    client: ServiceRequestsClient, mine: ServiceRequestsClient
) -> None:
    foreign = await client.create(accounts_receivable_identifier={"id": "AR2"})
    related = {"service_request_identifier": {"id": foreign["id"]}}
    one = await client.create(related_service_requests_set=[related])
    assert one["related_service_requests_set"][0]["service_request"]["id"] == foreign["id"]
    assert (await mine.show(one))["related_service_requests_set"][0]["service_request"] is None
    found = await mine.create_refused(related_service_requests_set=[related])
    assert found[0] == "ENTITYNOTFOUND"


async def test_opening(client: ServiceRequestsClient, mine: ServiceRequestsClient) -> None:
    one = await mine.create(services_set=[{"product_identifier": {"id": "P1"}}])
    assert one["contact_information"]["id"] == client.customer
    assert await client.show(one) == one
    found = await mine.create_refused(accounts_receivable_identifier={"id": "AR2"})
    assert found == ("ENTITYNOTFOUND", "accounts_receivable_identifier")
    found = await mine.create_refused(contact_information_identifier={"id": client.relative})
    assert found == ("ENTITYNOTFOUND", "contact_information_identifier")


async def test_a_customer_is_told_like_everybody(
    client: ServiceRequestsClient, mine: ServiceRequestsClient
) -> None:
    phone = {"action": "ADD", "type": "LANDLINE", "number": "22114455"}
    await client.update_contact(client.customer, phone_set=[phone])
    one = await mine.create(type_identifier={"id": "SMS"}, caller_phone="22114455")
    named = {"contact_information_identifier": f"id={client.customer}"}
    (said,) = await mine.api.get("communications/list", **named)
    assert said["referring_to"]["service_request"]["id"] == one["id"]


async def test_accepting_and_cancelling(
    client: ServiceRequestsClient, mine: ServiceRequestsClient
) -> None:
    by = {"accepted_by_identifier": {"id": client.customer}}
    for name, state in (
        ("response", "RESPONDED"),
        ("temporary_resolution", "TEMPORARY_RESOLVED"),
        ("final_resolution", "FINAL_RESOLVED"),
    ):
        one = await client.create_in_state(state, {name: ASK})
        accepted = await mine.call(f"{name}_accept", one, **by)
        assert accepted[name]["accepted_by"]["id"] == client.customer
    assert (await mine.call("cancel", await client.create()))["life_cycle_state"] == "CANCELLED"
    theirs = await client.create(accounts_receivable_identifier={"id": "AR2"})
    assert await mine.call_refused("cancel", theirs) == (
        "ENTITYNOTFOUND",
        "service_request_identifier",
    )


@pytest.mark.parametrize("method", CLOSED)
async def test_what_is_not_open(
    client: ServiceRequestsClient, mine: ServiceRequestsClient, method: str
) -> None:
    one = await client.create()
    said: Json = {
        "status_identifier": {"id": STATUSES["RESPONDED"]},
        "response": answer("response"),
    }
    assert await mine.call_refused(method, one, **said) == ("ACCESSDENIED", "")


@pytest.mark.parametrize("what", CONFIGURATION)
async def test_the_configuration_is_not_open(mine: ServiceRequestsClient, what: str) -> None:
    path = f"service_requests/configuration/{what}/list"
    query = {"service_request_type_identifier": "id=FAULT"}
    assert refusal(await mine.api.call("GET", path, query=query)) == ("ACCESSDENIED", "")
