"""Services, physical goods and relations: contract service_requests.md, sections 2 and 6.13."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.communications import event_topics
from tests.fixtures.organisation import unknown_id, untouched
from tests.fixtures.service import Service
from tests.fixtures.service_requests import COVERAGE, ServiceRequestsClient, service_requests_client

Json = dict[str, Any]
SERVICE, GOOD = "services_set", "physical_goods_set"
RELATED = "related_service_requests_set"
NAMES = {
    SERVICE: "service_request_service_identifier",
    GOOD: "service_request_physical_good_identifier",
    RELATED: "service_request_relation_identifier",
}


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> ServiceRequestsClient:
    return await service_requests_client(service)


def named(kind: str, id_: str) -> Json:
    return {f"{kind}_identifier": {"id": id_}}


COVERED = named("warranty_coverage_reason", COVERAGE)
PRODUCT, DECODER = named("product", "P1"), named("product", "P3")


@pytest.mark.parametrize(
    ("set_name", "items", "name", "at"),
    [
        (SERVICE, [{}], "MANDATORYPARAMETER", "[0].product_identifier"),
        (SERVICE, [DECODER], "INVALIDPRODUCT", "[0].product_identifier"),
        (SERVICE, [PRODUCT] * 2, "DUPLICATEENTITY", "[1].product_identifier"),
        (SERVICE, [named("product", "P9")], "ENTITYNOTFOUND", "[0].product_identifier"),
        (SERVICE, [PRODUCT | {"action": "REMOVE"}], "INVALIDPARAMETERVALUE", "[0].action"),
        (SERVICE, "P1", "INVALIDPARAMETERTYPE", ""),
        (GOOD, [PRODUCT], "INVALIDPRODUCT", "[0].product_identifier"),
        (GOOD, [named("product", "P4") | {"serial_number": "x"}], "INVALIDPARAMETERVALUE", "[0].serial_number"),
        (GOOD, [DECODER | COVERED], "INVALIDPARAMETERVALUE", "[0].warranty_coverage_reason_identifier"),
        (GOOD, [named("installed_item", "I1")], "MANDATORYPARAMETER", "[0].warranty_coverage_reason_identifier"),
        (GOOD, [named("installed_item", "I2") | COVERED], "INVALIDPARAMETERVALUE", "[0].warranty_coverage_reason_identifier"),
        (GOOD, [named("installed_item", "I2") | {"serial_number": "x"}], "INVALIDPARAMETERVALUE", "[0].serial_number"),
        (RELATED, [{"description": "x"}], "MANDATORYPARAMETER", "[0].service_request_identifier"),
        (RELATED, [named("service_request", "F" * 32)], "ENTITYNOTFOUND", "[0].service_request_identifier"),
    ],
)  # fmt: skip
async def test_items_that_are_refused(
    client: ServiceRequestsClient, set_name: str, items: Any, name: str, at: str
) -> None:
    one = await client.create()
    added = [item | {"action": "ADD"} for item in items] if at and "action" not in at else items
    async with untouched(client.api):
        assert await client.create_refused(**{set_name: items}) == (name, f"{set_name}{at}")
        if "action" not in at:
            found = await client.call_refused("update", one, **{set_name: added})
            assert found == (name, f"{set_name}{at}")


@pytest.mark.parametrize("item", [{}, named("installed_item", "I2") | DECODER])
async def test_a_good_is_an_item_or_a_product(client: ServiceRequestsClient, item: Json) -> None:
    either = (f"{GOOD}[0].{name}" for name in ("installed_item_identifier", "product_identifier"))
    assert await client.create_refused(**{GOOD: [item]}) == (
        "SEMIOPTIONALPARAMETER",
        ", ".join(either),
    )


async def test_items(client: ServiceRequestsClient) -> None:
    other = await client.create()
    related = named("service_request", other["id"])
    made = await client.create(
        services_set=[named("product", "P2"), PRODUCT | {"action": "add"}],
        physical_goods_set=[
            named("installed_item", "I1") | COVERED,
            named("product", "P4"),
            DECODER | {"serial_number": "S9"},
            DECODER,
        ],
        related_service_requests_set=[related | {"description": "Same house"}],
    )
    assert [one["product"]["id"] for one in made[SERVICE]] == ["P2", "P1"]
    goods = [(g["product"]["id"], g["serial_number"]) for g in made[GOOD]]
    assert goods == [("P3", "S1"), ("P4", None), ("P3", "S9"), ("P3", None)]
    assert made[GOOD][0]["installed_item"]["id"] == "I1"
    assert made[GOOD][0]["warranty_coverage_reason"]["id"] == COVERAGE
    assert made[RELATED][0]["service_request"]["number"] == other["number"]
    assert (await client.show(other))[RELATED] == []
    again = await client.create_refused(related_service_requests_set=[related] * 2)
    assert again == ("DUPLICATEENTITY", f"{RELATED}[1].service_request_identifier")


def changed(set_name: str, action: str, identifier: Any, **more: Any) -> Json:
    item = {"action": action, NAMES[set_name]: identifier} | more
    return {set_name: [{key: value for key, value in item.items() if value is not ...}]}


async def stocked(client: ServiceRequestsClient, other: Json) -> Json:
    """A service request with something in each set."""
    return await client.create(
        services_set=[PRODUCT],
        physical_goods_set=[named("installed_item", "I2"), DECODER, named("product", "P4")],
        related_service_requests_set=[named("service_request", other["id"])],
    )


async def test_removing(client: ServiceRequestsClient) -> None:
    other = await client.create()
    one = await stocked(client, other)
    ways: list[tuple[str, Json]] = [
        (SERVICE, named("product", "P1")),
        (GOOD, named("installed_item", "I2")),
        (GOOD, {"product_identifier": {"code": "DECODER"}}),
        (GOOD, {"id": one[GOOD][2]["id"].lower()}),
        (RELATED, {"service_request_identifier": {"number": other["number"]}}),
    ]
    for set_name, identifier in ways:
        before = len((await client.show(one))[set_name])
        shown = await client.call("update", one, **changed(set_name, "REMOVE", identifier))
        assert len(shown[set_name]) == before - 1
        async with untouched(client.api):
            found = await client.call_refused(
                "update", one, **changed(set_name, "REMOVE", identifier)
            )
        assert found == ("ENTITYNOTFOUND", f"{set_name}[0].{NAMES[set_name]}")
    assert (await event_topics(client.api))[-1] == "service_request.item_removed"


async def test_a_relation_is_described_anew(client: ServiceRequestsClient) -> None:
    other = await client.create()
    one = await stocked(client, other)
    by_link = named("service_request", other["id"])
    described = changed(RELATED, "UPDATE", by_link, description="Next door")
    shown = (await client.call("update", one, **described))[RELATED]
    assert (shown[0]["description"], shown[0]["id"]) == ("Next door", one[RELATED][0]["id"])
    elsewhere = named("service_request", one["id"])
    ignored = changed(RELATED, "update", {"id": shown[0]["id"]}, **elsewhere)
    async with untouched(client.api):
        assert (await client.call("update", one, **ignored))[RELATED] == shown
        assert (await client.call("update", one, **described))[RELATED] == shown
    cleared = changed(RELATED, "UPDATE", by_link, description=None)
    assert (await client.call("update", one, **cleared))[RELATED][0]["description"] is None


async def test_no_relation_to_itself(client: ServiceRequestsClient) -> None:
    one = await client.create()
    item = {"action": "ADD"} | named("service_request", one["id"])
    found = await client.call_refused("update", one, **{RELATED: [item]})
    assert found == ("INVALIDPARAMETERVALUE", f"{RELATED}[0].service_request_identifier")


@pytest.mark.parametrize(
    ("set_name", "action", "identifier", "name", "at"),
    [
        (SERVICE, "UPDATE", {"id": "X"}, "INVALIDPARAMETERVALUE", "action"),
        (GOOD, "UPDATE", {"id": "X"}, "INVALIDPARAMETERVALUE", "action"),
        (SERVICE, ..., {"id": "X"}, "MANDATORYPARAMETER", "action"),
        (SERVICE, "REMOVE", ..., "MANDATORYPARAMETER", NAMES[SERVICE]),
        (RELATED, "UPDATE", ..., "MANDATORYPARAMETER", NAMES[RELATED]),
        (GOOD, "REMOVE", {}, "MANDATORYPARAMETER", NAMES[GOOD]),
        (GOOD, "REMOVE", {"id": "X", "product_identifier": {"id": "P3"}}, "SEMIOPTIONALPARAMETER", NAMES[GOOD]),
        (GOOD, "REMOVE", named("installed_item", "I2") | named("product", "P3"), "SEMIOPTIONALPARAMETER", NAMES[GOOD]),
        (GOOD, "REMOVE", {"product_identifier": {"id": "P3"}, "name": "x"}, "INVALIDIDENTIFIER", NAMES[GOOD]),
        (SERVICE, "REMOVE", named("installed_item", "I2"), "INVALIDIDENTIFIER", NAMES[SERVICE]),
        (SERVICE, "REMOVE", {"product_identifier": {"id": "P9"}}, "ENTITYNOTFOUND", f"{NAMES[SERVICE]}.product_identifier"),
        (SERVICE, "REMOVE", {"product_identifier": "P1"}, "INVALIDIDENTIFIER", f"{NAMES[SERVICE]}.product_identifier"),
        (SERVICE, "REMOVE", {"id": unknown_id()}, "ENTITYNOTFOUND", NAMES[SERVICE]),
    ],
)  # fmt: skip
async def test_identifiers_that_are_refused(
    client: ServiceRequestsClient, set_name: str, action: Any, identifier: Any, name: str, at: str
) -> None:
    one = await client.create()
    wrong = changed(set_name, action, identifier)
    async with untouched(client.api):
        assert await client.call_refused("update", one, **wrong) == (name, f"{set_name}[0].{at}")


async def test_an_identifier_that_means_several(client: ServiceRequestsClient) -> None:
    one = await client.create(physical_goods_set=[DECODER, named("installed_item", "I2")])
    found = await client.call_refused("update", one, **changed(GOOD, "REMOVE", DECODER))
    assert found == ("ENTITYNOTUNIQUE", f"{GOOD}[0].{NAMES[GOOD]}")


async def test_one_failing_item_rejects_the_call(client: ServiceRequestsClient) -> None:
    one = await client.create()
    items = [PRODUCT | {"action": "ADD"}, PRODUCT | {"action": "ADD"}]
    async with untouched(client.api):
        found = await client.call_refused("update", one, notes="x", **{SERVICE: items})
    assert found[0] == "DUPLICATEENTITY"
    swapped = [items[0], changed(SERVICE, "REMOVE", PRODUCT)[SERVICE][0], items[1]]
    assert len((await client.call("update", one, **{SERVICE: swapped}))[SERVICE]) == 1


async def test_a_retired_product_is_shown_and_removed_but_not_chosen(
    client: ServiceRequestsClient,
) -> None:
    said = {"code": "OLD", "product_type_id": "PT1"}
    await client.register("product", "OLD", **said)
    old = {"product_identifier": {"code": "OLD"}}
    one = await client.create(services_set=[old])
    await client.register("product", "OLD", **said, retired=True)
    found = await client.create_refused(services_set=[old])
    assert found == ("ENTITYNOTFOUND", f"{SERVICE}[0].product_identifier")
    assert (await client.show(one))[SERVICE][0]["product"]["code"] == "OLD"
    assert (await client.call("update", one, **changed(SERVICE, "REMOVE", old)))[SERVICE] == []
