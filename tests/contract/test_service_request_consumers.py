"""What a customer may see and do: contract common.md, section 11, for service requests."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.service import Api, Service, refusal
from tests.service_requests_world import ASK, STATUSES, Helpdesk, answer, helpdesk

Json = dict[str, Any]
CLOSED = ("update", "respond", "temporary_resolve", "final_resolve", "complete")
CONFIGURATION = ("types", "statuses", "cancellation_reasons")


@pytest_asyncio.fixture(scope="module")
async def here(service: Service) -> Helpdesk:
    own = await helpdesk(service)
    await own.settings(consumer_username="demo")
    return own


async def customer(here: Helpdesk, account: str) -> Helpdesk:
    """The same organisation as the owner of an account sees it."""
    shown = {"identifier": f"owner-of-{account}", "pass_code": "secret words"}
    related = {"accounts_receivable_identifier": {"id": account}}
    await here.api.post("access_tokens/create", **shown, **related)
    login = {"access_token_identifier": shown, "organisation": here.api.organisation}
    answered = await here.api.open("authentication/token", login)
    assert answered["status"]["code"] == "OK", answered
    api = Api(here.api.service, here.api.organisation, answered["data"]["token"])
    return Helpdesk(api, here.customer, here.relative, here.stranger)


@pytest_asyncio.fixture(scope="module")
async def mine(here: Helpdesk) -> Helpdesk:
    return await customer(here, "AR1")


async def test_what_is_listed(here: Helpdesk, mine: Helpdesk) -> None:
    own = await here.open()
    theirs = {"accounts_receivable_identifier": {"id": "AR2"}}
    foreign = await here.open(**theirs)
    relation = {"type": "FRIEND", "contact_information_identifier": {"id": here.customer}}
    await here.update(here.stranger, relation_set=[relation | {"action": "ADD"}])
    called = await here.open(**theirs, contact_information_identifier={"id": here.customer})
    expected = [own["number"], called["number"]]
    assert await mine.numbers("get_pending") == expected
    assert await mine.numbers("get_overdue") == expected
    assert await mine.numbers("list", type_identifier="id=FAULT") == expected
    assert await mine.numbers("list", caller_identifier=f"id={here.customer}") == expected
    assert await mine.numbers("list", accounts_receivable_identifier="id=AR1") == expected[:1]
    assert await mine.numbers("get_pending", number_of_results=1, offset=1) == expected[1:]
    for number, found in ((own["number"], True), (foreign["number"], False)):
        query = {"service_request_identifier": f"number={number}"}
        shown = await mine.api.call("GET", "service_requests/show", query=query)
        assert (shown["status"]["code"] == "OK") is found
    shown = await mine.see(called)
    assert shown["accounts_receivable"] is None
    assert shown["contact_information"]["id"] == here.customer
    elsewhere = {"accounts_receivable_identifier": "id=AR2"}
    refused = await mine.api.call("GET", "service_requests/get_pending", query=elsewhere)
    assert refusal(refused) == ("ENTITYNOTFOUND", "accounts_receivable_identifier")


async def test_nothing_of_others_shows_in_relations(here: Helpdesk, mine: Helpdesk) -> None:
    foreign = await here.open(accounts_receivable_identifier={"id": "AR2"})
    related = {"service_request_identifier": {"id": foreign["id"]}}
    one = await here.open(related_service_requests_set=[related])
    assert one["related_service_requests_set"][0]["service_request"]["id"] == foreign["id"]
    assert (await mine.see(one))["related_service_requests_set"][0]["service_request"] is None
    found = await mine.unopened(related_service_requests_set=[related])
    assert found[0] == "ENTITYNOTFOUND"


async def test_opening(here: Helpdesk, mine: Helpdesk) -> None:
    one = await mine.open(services_set=[{"product_identifier": {"id": "P1"}}])
    assert one["contact_information"]["id"] == here.customer
    assert await here.see(one) == one
    found = await mine.unopened(accounts_receivable_identifier={"id": "AR2"})
    assert found == ("ENTITYNOTFOUND", "accounts_receivable_identifier")
    found = await mine.unopened(contact_information_identifier={"id": here.relative})
    assert found == ("ENTITYNOTFOUND", "contact_information_identifier")


async def test_a_customer_is_told_like_everybody(here: Helpdesk, mine: Helpdesk) -> None:
    one = await mine.open(type_identifier={"id": "SMS"}, caller_phone="22")
    named = {"contact_information_identifier": f"id={here.customer}"}
    (said,) = await mine.api.get("communications/list", **named)
    assert said["referring_to"]["service_request"]["id"] == one["id"]


async def test_accepting_and_cancelling(here: Helpdesk, mine: Helpdesk) -> None:
    by = {"accepted_by_identifier": {"id": here.customer}}
    for name, state in (
        ("response", "RESPONDED"),
        ("temporary_resolution", "TEMPORARY_RESOLVED"),
        ("final_resolution", "FINAL_RESOLVED"),
    ):
        one = await here.at(state, {name: ASK})
        accepted = await mine.on(f"{name}_accept", one, **by)
        assert accepted[name]["accepted_by"]["id"] == here.customer
    assert (await mine.on("cancel", await here.open()))["life_cycle_state"] == "CANCELLED"
    theirs = await here.open(accounts_receivable_identifier={"id": "AR2"})
    assert await mine.not_on("cancel", theirs) == ("ENTITYNOTFOUND", "service_request_identifier")


@pytest.mark.parametrize("method", CLOSED)
async def test_what_is_not_open(here: Helpdesk, mine: Helpdesk, method: str) -> None:
    one = await here.open()
    said: Json = {
        "status_identifier": {"id": STATUSES["RESPONDED"]},
        "response": answer("response"),
    }
    assert await mine.not_on(method, one, **said) == ("ACCESSDENIED", "")


@pytest.mark.parametrize("what", CONFIGURATION)
async def test_the_configuration_is_not_open(mine: Helpdesk, what: str) -> None:
    path = f"service_requests/configuration/{what}/list"
    query = {"service_request_type_identifier": "id=FAULT"}
    assert refusal(await mine.api.call("GET", path, query=query)) == ("ACCESSDENIED", "")
