"""Methods 18 and 19, contact_information/show and list."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.shapes import SHAPES, assert_shape
from tests.fixtures.organisation import (
    INDUSTRY,
    OrganisationClient,
    company,
    person,
    unknown_id,
    untouched,
)
from tests.fixtures.service import refusal

SHOW, LIST = "contact_information/show", "contact_information/list"
IDENTIFIER = "contact_information_identifier"


async def refused(w: OrganisationClient, path: str, **query: str) -> tuple[str, str]:
    return refusal(await w.api.call("GET", path, query=query))


@pytest.mark.parametrize(
    ("body", "profile", "field"),
    [
        (person(), "demographics", "id_number"),
        (person(), "demographics", "passport_number"),
        (person(), "demographics", "social_security_number"),
        (company(), "company_profile", "vat_registration_number"),
        (company(), "company_profile", "registration_number"),
    ],
)
async def test_shows_by_every_identifier(
    shared: OrganisationClient, body: dict[str, Any], profile: str, field: str
) -> None:
    value = f"n{unknown_id()}"
    contact = await shared.new_contact(body, **{profile: {field: f" {value} "}})
    full = await shared.show_contact(contact)
    assert_shape(full, SHAPES[SHOW])
    for query in (
        f"{field}={value}",
        f"{field}= {value} ",
        f'{{"{field}":"{value}"}}',
        f"number={full['number']}",
        f"id={contact.lower()}",
    ):
        assert await shared.api.get(SHOW, **{IDENTIFIER: query}) == full
    upper = await refused(shared, SHOW, **{IDENTIFIER: f"{field}={value.upper()}"})
    assert upper == ("ENTITYNOTFOUND", IDENTIFIER)
    await shared.update_contact(contact, **{profile: {field: "other"}})
    gone = await refused(shared, SHOW, **{IDENTIFIER: f"{field}={value}"})
    assert gone == ("ENTITYNOTFOUND", IDENTIFIER)


async def test_a_field_of_persons_never_means_a_company(shared: OrganisationClient) -> None:
    number = unknown_id()
    await shared.new_contact(company(company_profile={"vat_registration_number": number}))
    found = await refused(shared, SHOW, **{IDENTIFIER: f"id_number={number}"})
    assert found == ("ENTITYNOTFOUND", IDENTIFIER)


async def test_several_matches_are_not_unique(shared: OrganisationClient) -> None:
    number = unknown_id()
    for _ in range(2):
        await shared.new_contact(demographics={"passport_number": number})
    by = {"passport_number": number}
    found = await refused(shared, SHOW, **{IDENTIFIER: f"passport_number={number}"})
    assert found == ("ENTITYNOTUNIQUE", IDENTIFIER)
    path = "contact_information/update"
    assert await shared.api.refused(path, **{IDENTIFIER: by}) == ("ENTITYNOTUNIQUE", IDENTIFIER)


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        (None, "MANDATORYPARAMETER"),
        ("", "MANDATORYPARAMETER"),
        ("number", "INVALIDIDENTIFIER"),
        ("CI000001", "INVALIDIDENTIFIER"),
        ("name=x", "INVALIDIDENTIFIER"),
        ("{not json}", "INVALIDIDENTIFIER"),
        ("number=", "MANDATORYPARAMETER"),
        ('{"id":"1","number":"2"}', "SEMIOPTIONALPARAMETER"),
        ("id=1", "ENTITYNOTFOUND"),
    ],
)
async def test_refuses_to_show(
    shared: OrganisationClient, identifier: str | None, name: str
) -> None:
    query = {} if identifier is None else {IDENTIFIER: identifier}
    assert await refused(shared, SHOW, **query) == (name, IDENTIFIER)


async def test_a_repeated_identifier_is_one_too_many(shared: OrganisationClient) -> None:
    contact = await shared.new_contact()
    named = [("token", shared.api.token), *[(IDENTIFIER, f"id={contact}")] * 2]
    _, answer, _ = await shared.api.service.send("GET", f"/crmapi/rest/v2/{SHOW}", query=named)
    assert refusal(answer) == ("SEMIOPTIONALPARAMETER", IDENTIFIER)


async def test_shows_both_profiles(shared: OrganisationClient) -> None:
    industry = {"industry_identifier": {"name": "Retail"}}
    sector = {"industry_sector_identifier": {"alternative_code": "FD"}}
    full = await shared.show_contact(
        await shared.new_contact(person(), demographics=industry | sector)
    )
    assert full["demographics"]["industry"] == {"id": INDUSTRY, "name": "Retail", "code": "RET"}
    mirrored = full["company_profile"]
    assert mirrored["industry"] == full["demographics"]["industry"]
    assert mirrored["industry_sector"] == {"id": "IS1", "name": "Food", "alternative_code": "FD"}
    rest = {k: v for k, v in mirrored.items() if not k.startswith("industry")}
    assert set(rest.values()) == {None}
    full = await shared.show_contact(await shared.new_contact(company(), company_profile=industry))
    assert full["demographics"]["industry"]["code"] == "RET"
    assert full["demographics"]["name_day"] == {"day": None, "month": None}


async def test_organizational_unit_and_unset_settings(shared: OrganisationClient) -> None:
    full = await shared.show_contact(await shared.new_contact())
    assert full["organizational_unit"] == 0
    assert full["organizational_unit"] is not False
    assert set(full["authorization_settings"].values()) == {False, None}


async def test_shows_only_the_wanted_fields(shared: OrganisationClient) -> None:
    query = {IDENTIFIER: f"id={await shared.new_contact()}"}
    kept = await shared.api.get(SHOW, **query, fields_set="demographics,emails_set,demographics.x")
    assert list(kept) == ["demographics", "emails_set"]
    assert len(kept["demographics"]) == 13
    assert await shared.api.get(SHOW, **query, fields_set="nothing") == {}
    assert len(await shared.api.get(SHOW, **query, fields_set="")) > 40


PHONES = [{"type": "MOBILE", "number": "99-84 99(96)", "country_identifier": {"id": "180"}}]
EMAILS = [{"type": "PERSONAL", "email_address": "Tyrion@Casterly.Rock"}]


@pytest.fixture(scope="module")
def number() -> str:
    return unknown_id()


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        ({"id_number": "{n}"}, True),
        ({"id_number": " {n} "}, True),
        ({"id_number": "{n}x"}, False),
        ({"passport_number": "P{n}"}, True),
        ({"passport_number": "p{n}"}, False),
        ({"social_security_number": "S{n}"}, True),
        ({"id_number": "{n}", "passport_number": "P{n}"}, True),
        ({"id_number": "{n}", "passport_number": "P"}, False),
        ({"id_number": "{n}", "vat_registration_number": "{n}"}, False),
        ({"id_number": "{n}", "email_address": " tyrion@CASTERLY.rock "}, True),
        ({"id_number": "{n}", "email_address": "casterly.rock"}, False),
        ({"id_number": "{n}", "phone_number": "99849996"}, True),
        ({"id_number": "{n}", "phone_number": "+53 99849996"}, True),
        ({"id_number": "{n}", "phone_number": "0053-99849996"}, True),
        ({"id_number": "{n}", "phone_number": "53(99849996)"}, True),
        ({"id_number": "{n}", "phone_number": "9984999"}, False),
        ({"id_number": "{n}", "passport_number": ""}, True),
    ],
)
async def test_lists_what_matches_all_criteria(
    shared: OrganisationClient, number: str, criteria: dict[str, str], found: bool
) -> None:
    numbers = {"passport_number": f"P{number}", "social_security_number": f"S{number}"}
    first = await shared.api.get(LIST, id_number=number)
    if not first:
        demographics = {"id_number": number} | numbers
        await shared.new_contact(demographics=demographics, phone_set=PHONES, email_set=EMAILS)
    query = {name: text.replace("{n}", number) for name, text in criteria.items()}
    listed = await shared.api.get(LIST, **query)
    assert len(listed) == int(found)
    for contact in listed:
        assert contact == await shared.show_contact(contact["id"])


async def test_lists_companies_by_vat_number(shared: OrganisationClient) -> None:
    number = unknown_id()
    body = company(company_profile={"vat_registration_number": number})
    contact = await shared.new_contact(body)
    listed = await shared.api.get(LIST, vat_registration_number=number, fields_set="id,type")
    assert listed == [{"id": contact, "type": "COMPANY"}]
    assert await shared.api.get(LIST, id_number=number) == []


async def test_lists_in_order_of_creation_by_pages(shared: OrganisationClient) -> None:
    number = unknown_id()
    made = [await shared.new_contact(demographics={"passport_number": number}) for _ in range(5)]
    await shared.update_contact(made[0], title="Mr")

    async def page(**query: Any) -> list[str]:
        return [c["id"] for c in await shared.api.get(LIST, passport_number=number, **query)]

    assert await page() == made
    assert await page(number_of_results=2) == made[:2]
    assert await page(number_of_results="2", offset=3) == made[3:]
    assert await page(offset=5) == await page(offset=99999) == []
    assert await page(number_of_results=1000, offset=0) == made


async def test_lists_all_by_default(fresh: OrganisationClient) -> None:
    number = unknown_id()
    for _ in range(101):
        await fresh.create_contact(demographics={"passport_number": number})
    listed = await fresh.api.get(LIST, passport_number=number, fields_set="number")
    assert [contact["number"] for contact in listed] == [f"CI{n:06d}" for n in range(1, 102)]


SEMI = "id_number, passport_number, social_security_number, vat_registration_number, "


@pytest.mark.parametrize(
    ("query", "name", "parameter"),
    [
        ({}, "SEMIOPTIONALPARAMETER", f"{SEMI}email_address, phone_number"),
        ({"id_number": ""}, "SEMIOPTIONALPARAMETER", f"{SEMI}email_address, phone_number"),
        (
            {"id_number": "1", "number_of_results": "0"},
            "INVALIDPARAMETERVALUE",
            "number_of_results",
        ),
        (
            {"id_number": "1", "number_of_results": str(2**53)},
            "INVALIDPARAMETERVALUE",
            "number_of_results",
        ),
        (
            {"id_number": "1", "number_of_results": "1.5"},
            "INVALIDPARAMETERTYPE",
            "number_of_results",
        ),
        (
            {"id_number": "1", "number_of_results": "many"},
            "INVALIDPARAMETERTYPE",
            "number_of_results",
        ),
        ({"id_number": "1", "offset": "-1"}, "INVALIDPARAMETERVALUE", "offset"),
        ({"id_number": "1", "offset": "x"}, "INVALIDPARAMETERTYPE", "offset"),
        ({"id_number": "x" * 4001}, "INVALIDPARAMETERVALUE", "id_number"),
        # The group is complete, or not, before what stands after it in the table.
        ({"offset": "x"}, "SEMIOPTIONALPARAMETER", f"{SEMI}email_address, phone_number"),
        ({"id_number": "a\0"}, "INVALIDPARAMETERVALUE", "id_number"),
    ],
)
async def test_refuses_to_list(
    shared: OrganisationClient, query: dict[str, str], name: str, parameter: str
) -> None:
    async with untouched(shared.api):
        assert await refused(shared, LIST, **query) == (name, parameter)


async def test_a_change_is_found_at_once(shared: OrganisationClient) -> None:
    email = f"{unknown_id()}@x"
    contact = await shared.new_contact()
    added = [{"action": "ADD", "type": "BUSINESS", "email_address": email}]
    await shared.update_contact(contact, email_set=added)
    assert [c["id"] for c in await shared.api.get(LIST, email_address=email)] == [contact]
    removed = [{"action": "REMOVE", "email_identifier": {"type": "BUSINESS"}}]
    await shared.update_contact(contact, email_set=removed)
    assert await shared.api.get(LIST, email_address=email) == []
