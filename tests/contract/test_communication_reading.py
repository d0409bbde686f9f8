"""Methods 5 and 6, communications/show and list: contract communications.md, sections 2, 8.2, 8.3."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_asyncio

from domain.reference.catalogue import REFERRING_TO
from tests.fixtures.communications import CommunicationsClient, communications_client
from tests.fixtures.organisation import unknown_id
from tests.fixtures.service import Service, refusal

Json = dict[str, Any]
SHOW, LIST = "communications/show", "communications/list"
ON, OF = "communication_identifier", "contact_information_identifier"
FULL = [
    *[
        "id",
        "number",
        "code",
        "life_cycle_state",
        "direction",
        "media",
        "subject",
        "content",
        "from",
        "to",
        "notes",
    ],
    *["viewed", "viewed_on", "contact_information", "category"],
    *["communication_queue_external_system", "referring_to", "follow_up_set"],
    "unrestricted_parameter_set",
    *(f"udf_string_{n}" for n in range(1, 9)),
    *(f"udf_float_{n}" for n in range(1, 5)),
    *(f"udf_date_{n}" for n in range(1, 5)),
    *["owned_by_group", "privacy_level", "log_information"],
]


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    """Six communications: two contacts, two categories and two media in turn; one is a draft."""
    own = await communications_client(service)
    for n in range(6):
        await own.create(
            subject=str(n),
            contact_information_identifier={"id": own.contacts[n % 2]},
            category_identifier={"id": f"MC{1 + n // 3}"},
            media=("PHONE", "LETTER")[n // 2 % 2],
            direction=("INCOMING", "OUTGOING")[n // 4],
            life_cycle_state="DRAFT" if n == 2 else "COMPLETED",
        )
    return own


async def listed(client: CommunicationsClient, **query: Any) -> str:
    """The subjects of a list, in its order."""
    return "".join(one["subject"] for one in await client.api.get(LIST, **query))


async def refused(client: CommunicationsClient, path: str, **query: Any) -> tuple[str, str]:
    return refusal(await client.api.call("GET", path, query={k: str(v) for k, v in query.items()}))


async def test_show(client: CommunicationsClient) -> None:
    said = await client.create(
        subject="x", contact_information_identifier={"id": await client.new_contact()}
    )
    for named in (f"id={said['id']}", f"id={said['id'].lower()}", f"number={said['number']}"):
        assert await client.api.get(SHOW, **{ON: named}) == said
    assert list(said) == FULL
    assert list(said["referring_to"]) == list(REFERRING_TO)
    as_json = json.dumps({"number": f" {said['number']} "})
    assert await client.api.get(SHOW, **{ON: as_json}) == said


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({}, "MANDATORYPARAMETER"),
        ({ON: "x"}, "INVALIDIDENTIFIER"),
        ({ON: "code=1"}, "INVALIDIDENTIFIER"),
        ({ON: "{"}, "INVALIDIDENTIFIER"),
        ({ON: '{"id": "\\ud800"}'}, "INVALIDIDENTIFIER"),
        ({ON: '{"id": NaN}'}, "INVALIDIDENTIFIER"),
        ({ON: "number="}, "MANDATORYPARAMETER"),
        ({ON: '{"id": "1", "number": "2"}'}, "SEMIOPTIONALPARAMETER"),
        ({ON: "number=CM999999"}, "ENTITYNOTFOUND"),
        ({ON: f"id={unknown_id()}"}, "ENTITYNOTFOUND"),
        ({ON: "number=1"}, "ENTITYNOTFOUND"),
    ],
)
async def test_show_refused(client: CommunicationsClient, query: Json, name: str) -> None:
    await client.create_email(contact_information_identifier={"id": await client.new_contact()})
    assert await refused(client, SHOW, **query) == (name, ON)


async def test_a_repeated_identifier_has_two_fields(client: CommunicationsClient) -> None:
    token = await client.api.login()
    query = [("token", token), (ON, "number=CM000001"), (ON, "number=CM000001")]
    _, answer, _ = await client.api.service.send("GET", f"/crmapi/rest/v2/{SHOW}", query=query)
    assert refusal(answer) == ("SEMIOPTIONALPARAMETER", ON)


@pytest.mark.parametrize("inner", ["=", "%3D"])
async def test_the_inner_equals_sign_may_be_encoded(
    client: CommunicationsClient, inner: str
) -> None:
    token = await client.api.login()
    path = f"/crmapi/rest/v2/{SHOW}?token={token}&{ON}=number{inner}CM000003"
    _, answer, _ = await client.api.service.send("GET", path)
    assert answer["data"]["subject"] == "2"


async def test_list(client: CommunicationsClient) -> None:
    contact = f"id={client.contacts[0]}"
    found = await client.api.get(LIST, **{OF: contact})
    assert [one["subject"] for one in found] == ["0", "2", "4"]
    assert [one["life_cycle_state"] for one in found] == ["COMPLETED", "DRAFT", "COMPLETED"]
    assert found == [await client.show(one) for one in found]


FILTERS: dict[str, tuple[Json, str]] = {
    "category": ({"category_identifier": "id=MC1"}, "012"),
    "category by name": ({"category_identifier": "name=Care"}, "345"),
    "category by code": ({"category_identifier": "code=CAR"}, "345"),
    "media": ({"category_identifier": "id=MC1", "media": "letter"}, "2"),
    "direction": ({"category_identifier": "id=MC2", "direction": "outgoing"}, "45"),
    "all": ({"category_identifier": "id=MC2", "direction": "INCOMING", "media": "LETTER"}, "3"),
    "nothing": ({"category_identifier": "id=MC1", "media": "SMS"}, ""),
    "empty filters": ({"category_identifier": "id=MC1", "media": "", "direction": ""}, "012"),
    "first": ({"category_identifier": "id=MC1", "number_of_results": 1}, "0"),
    "offset": ({"category_identifier": "id=MC1", "offset": 1}, "12"),
    "page": ({"category_identifier": "id=MC1", "offset": 1, "number_of_results": 1}, "1"),
    "beyond": ({"category_identifier": "id=MC1", "offset": 1000}, ""),
    "most": ({"category_identifier": "id=MC1", "number_of_results": 2**53 - 1}, "012"),
}


@pytest.mark.parametrize("case", FILTERS)
async def test_filters(client: CommunicationsClient, case: str) -> None:
    query, expected = FILTERS[case]
    assert await listed(client, **query) == expected


async def test_both_of_the_semi_optional_ones(client: CommunicationsClient) -> None:
    contact = f"id={client.contacts[0]}"
    assert await listed(client, **{OF: contact}, category_identifier="id=MC1") == "02"


LIST_REFUSED: list[tuple[Json, str, str]] = [
    ({}, "SEMIOPTIONALPARAMETER", f"{OF}, category_identifier"),
    ({"media": "PHONE"}, "SEMIOPTIONALPARAMETER", f"{OF}, category_identifier"),
    ({"media": "FAX"}, "SEMIOPTIONALPARAMETER", f"{OF}, category_identifier"),
    ({OF: f"id={unknown_id()}"}, "ENTITYNOTFOUND", OF),
    ({OF: "name=x"}, "INVALIDIDENTIFIER", OF),
    ({"category_identifier": "id=nothing"}, "ENTITYNOTFOUND", "category_identifier"),
    *(
        ({"category_identifier": "id=MC1", name: value}, refused, name)
        for name, value, refused in (
            ("media", "FAX", "INVALIDPARAMETERVALUE"),
            ("direction", "BOTH", "INVALIDPARAMETERVALUE"),
            ("number_of_results", 0, "INVALIDPARAMETERVALUE"),
            ("number_of_results", 2**53, "INVALIDPARAMETERVALUE"),
            ("number_of_results", "ten", "INVALIDPARAMETERTYPE"),
            ("number_of_results", "1.5", "INVALIDPARAMETERTYPE"),
            ("offset", -1, "INVALIDPARAMETERVALUE"),
            ("offset", 2**53, "INVALIDPARAMETERVALUE"),
            ("offset", "x", "INVALIDPARAMETERTYPE"),
        )
    ),
]


@pytest.mark.parametrize("case", LIST_REFUSED, ids=lambda c: f"{c[1]}-{c[0]}")
async def test_list_refused(client: CommunicationsClient, case: tuple[Json, str, str]) -> None:
    query, name, description = case
    assert await refused(client, LIST, **query) == (name, description)


async def test_a_retired_category_can_still_be_asked_for(client: CommunicationsClient) -> None:
    await client.register("communication_category", "MC7", name="Old")
    await client.create(
        subject="o",
        category_identifier={"id": "MC7"},
        contact_information_identifier={"id": await client.new_contact()},
    )
    await client.register("communication_category", "MC7", name="Old", retired=True)
    assert await listed(client, category_identifier="name=Old") == "o"
    [one] = await client.api.get(LIST, category_identifier="id=MC7")
    assert one["category"]["name"] == "Old"
    await client.register("communication_category", "MC8", name="Old")
    assert await listed(client, category_identifier="name=Old") == ""


async def test_all_by_default(client: CommunicationsClient) -> None:
    contact = await client.new_contact()
    for _ in range(101):
        await client.create(contact_information_identifier={"id": contact})
    assert len(await listed(client, **{OF: f"id={contact}"}, fields_set="subject")) == 505
    rest = await client.api.get(LIST, **{OF: f"id={contact}"}, offset=100)
    assert len(rest) == 1


async def test_other_organisations_see_nothing(
    client: CommunicationsClient, service: Service
) -> None:
    other = await communications_client(service)
    assert await refused(other, SHOW, **{ON: "number=CM000001"}) == ("ENTITYNOTFOUND", ON)
    assert await refused(other, LIST, **{OF: f"id={client.contacts[0]}"}) == ("ENTITYNOTFOUND", OF)
    assert await listed(other, category_identifier="id=MC1") == ""


async def test_a_contact_is_named_by_its_own_identifiers(client: CommunicationsClient) -> None:
    person = await client.new_contact(
        demographics={"id_number": "ID77", "passport_number": "P77", "social_security_number": "S7"}
    )
    await client.create(contact_information_identifier={"passport_number": "P77"}, subject="p")
    for named in (f"id={person}", "id_number=ID77", "social_security_number=S7"):
        assert await listed(client, **{OF: named}) == "p"
    assert await refused(client, LIST, **{OF: "vat_registration_number=ID77"}) == (
        "ENTITYNOTFOUND",
        OF,
    )


@pytest.mark.parametrize(("display", "name"), [("FIRST_LAST", "A B"), ("LAST_FIRST", "B A")])
async def test_embedded_names_follow_the_setting(service: Service, display: str, name: str) -> None:
    own = await communications_client(service)
    await own.register_settings(name_display=display)
    contact = await own.new_contact({"type": "PERSON", "first_name": "A", "last_name": "B"})
    said = await own.create(
        contact_information_identifier={"id": contact}, content="#contact_information.name"
    )
    assert (said["contact_information"]["name"], said["content"]) == (name, name)
