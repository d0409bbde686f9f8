"""Method 20, contact_information/create: what it makes and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.shapes import SHAPES, assert_shape
from tests.fixtures.organisation import (
    CATEGORY,
    GROUP,
    OTHER_GROUP,
    PRIVACY_LEVEL,
    OrganisationClient,
    company,
    person,
    unknown_id,
    untouched,
)
from tests.fixtures.service import refusal

PATH = "contact_information/create"
SHORT = [
    "id",
    "type",
    "life_cycle_state",
    "name",
    "title",
    "first_name",
    "middle_name",
    "last_name",
    "company_name",
    "demographics",
    "company_profile",
]


async def test_creates(shared: OrganisationClient) -> None:
    made = await shared.create_contact(
        person(
            title="Mr",
            first_name="Jaime",
            middle_name="T",
            last_name="Lannister",
            preferred_language="ell",
            category_identifier={"name": "Gold"},
            privacy_level_identifier={"name": "Moderate"},
            udf_string_16="text",
            udf_float_8="10",
            udf_date_8="2015-01-02",
        )
    )
    assert_shape(made, SHAPES[PATH])
    assert list(made) == SHORT
    assert made["name"] == "Jaime Lannister"
    assert made["life_cycle_state"] == "MARKETING"
    assert made["company_profile"] is None
    assert made["demographics"]["date_of_birth"] == {"day": None, "month": None, "year": None}
    full = await shared.show_contact(made["id"])
    assert {key: full[key] for key in ("title", "middle_name", "company_name")} == {
        "title": "Mr",
        "middle_name": "T",
        "company_name": None,
    }
    assert full["preferred_language"] == "ELL"
    assert full["category"] == {"id": CATEGORY, "name": "Gold", "code": "GLD"}
    assert full["privacy_level"]["id"] == PRIVACY_LEVEL
    assert full["owned_by_group"]["id"] == GROUP
    assert (full["udf_string_16"], full["udf_float_8"]) == ("text", 10)
    assert full["udf_date_8"] == "2015-01-02T00:00:00"
    log = full["log_information"]
    assert log["created_date"] == log["updated_date"]
    assert log["created_by_user"] == log["updated_by_user"]
    assert log["created_by_user"]["username"] == "demo"
    assert log["created_by_unit"] == log["updated_by_unit"]


async def test_creates_a_company(shared: OrganisationClient) -> None:
    made = await shared.create_contact(
        company(company_name="Acme Ltd", company_profile={"profile_year": "2015"})
    )
    assert made["name"] == made["company_name"] == "Acme Ltd"
    assert made["demographics"] is None
    assert made["company_profile"]["profile_year"] == 2015
    assert [made[key] for key in ("title", "first_name", "middle_name", "last_name")] == [None] * 4


async def test_creates_with_its_own_profile_even_if_nothing_was_sent(
    shared: OrganisationClient,
) -> None:
    assert (await shared.create_contact(company()))["company_profile"]["annual_turnover"] is None
    assert (await shared.create_contact(person()))["demographics"]["gender"] is None


async def test_creates_for_the_group_that_is_named(shared: OrganisationClient) -> None:
    contact = await shared.new_contact(owned_by_group_identifier={"alternative_code": "NO"})
    assert (await shared.show_contact(contact))["owned_by_group"]["id"] == OTHER_GROUP


async def test_creates_and_answers_only_the_wanted_fields_of_the_short_form(
    shared: OrganisationClient,
) -> None:
    made = await shared.create_contact(
        fields_set=" type , name,number, email_set, demographics.gender"
    )
    assert list(made) == ["type", "name"]
    assert await shared.create_contact(fields_set=["type"]) == {"type": "PERSON"}
    assert await shared.create_contact(fields_set="emails_set") == {}
    for everything in (None, "", "  "):
        assert list(await shared.create_contact(fields_set=everything)) == SHORT


async def test_numbers_are_given_in_sequence(fresh: OrganisationClient) -> None:
    numbers = [(await fresh.show_contact(await fresh.new_contact()))["number"] for _ in range(3)]
    assert numbers == ["CI000001", "CI000002", "CI000003"]


@pytest.mark.parametrize("given", [True, 1, "1", "true"])
async def test_decisions_about_marketing_are_stamped(
    shared: OrganisationClient, given: object
) -> None:
    contact = await shared.new_contact(send_direct_marketing_material=given)
    full = await shared.show_contact(contact)
    settings = full["authorization_settings"]
    assert settings["send_direct_marketing_material"] is True
    created = full["log_information"]["created_date"]
    assert settings["direct_marketing_setting_updated_date"] == created
    assert settings["direct_marketing_setting_updated_by_user"]["username"] == "demo"
    assert settings["send_affiliate_marketing_material"] is False
    assert settings["affiliate_marketing_setting_updated_date"] is None
    assert settings["affiliate_marketing_setting_updated_by_user"] is None


async def test_null_is_as_if_absent(shared: OrganisationClient) -> None:
    names = ("title", "notes", "category_identifier", "owned_by_group_identifier", "address_set")
    nothing = dict.fromkeys((*names, "demographics", "company_profile", "company_name"), None)
    marketing = {"send_direct_marketing_material": None, "udf_date_1": None}
    full = await shared.show_contact(
        await shared.new_contact(**nothing, **marketing, unknown={"any": 1})
    )
    assert full["owned_by_group"]["id"] == GROUP
    assert full["notes"] is full["category"] is full["title"] is None
    assert full["authorization_settings"]["send_direct_marketing_material"] is False


async def test_texts_that_are_empty_or_numbers(shared: OrganisationClient) -> None:
    full = await shared.show_contact(
        await shared.new_contact(title="", udf_string_1=12, middle_name=" X ")
    )
    assert (full["title"], full["udf_string_1"], full["middle_name"]) == (None, "12", " X ")


async def test_sets_inside_demographics_are_unknown_keys(shared: OrganisationClient) -> None:
    phones = [{"type": "NONSENSE"}]
    contact = await shared.new_contact(demographics={"phone_set": phones, "email_set": 5})
    assert (await shared.show_contact(contact))["phones_set"] == []


MANDATORY, VALUE, TYPE = "MANDATORYPARAMETER", "INVALIDPARAMETERVALUE", "INVALIDPARAMETERTYPE"
NOT_FOUND, INVALID = "ENTITYNOTFOUND", "INVALIDIDENTIFIER"
P, C = person(), company()


@pytest.mark.parametrize(
    ("body", "name", "parameter"),
    [
        ({}, MANDATORY, "type"),
        ({"type": None}, MANDATORY, "type"),
        ({"type": " "}, MANDATORY, "type"),
        ({"type": "ROBOT"}, VALUE, "type"),
        ({"type": 5}, TYPE, "type"),
        ({"type": "PERSON"}, MANDATORY, "first_name"),
        ({"type": "PERSON", "first_name": "A"}, MANDATORY, "last_name"),
        (P | {"last_name": None}, MANDATORY, "last_name"),
        (P | {"first_name": "  "}, MANDATORY, "first_name"),
        ({"type": "COMPANY"}, MANDATORY, "company_name"),
        (C | {"company_name": ""}, MANDATORY, "company_name"),
        (P | {"company_name": "A"}, VALUE, "company_name"),
        (P | {"company_profile": {}}, VALUE, "company_profile"),
        *((C | {name: "A"}, VALUE, name) for name in ("first_name", "last_name")),
        *((C | {name: "A"}, VALUE, name) for name in ("middle_name", "title")),
        (C | {"demographics": {}}, VALUE, "demographics"),
        (C | {"demographics": 5}, TYPE, "demographics"),
        (P | {"title": "x" * 256}, VALUE, "title"),
        (P | {"first_name": "x" * 256}, VALUE, "first_name"),
        (P | {"notes": "x" * 65_536}, VALUE, "notes"),
        (P | {"udf_string_1": "x" * 4001}, VALUE, "udf_string_1"),
        (P | {"udf_string_1": "a\0b"}, VALUE, "udf_string_1"),
        (P | {"first_name": True}, TYPE, "first_name"),
        (P | {"first_name": ["A"]}, TYPE, "first_name"),
        (P | {"preferred_language": "KLINGON"}, VALUE, "preferred_language"),
        (P | {"category_identifier": "name=Gold"}, INVALID, "category_identifier"),
        (
            P | {"category_identifier": {"id": "1", "code": "x"}},
            "SEMIOPTIONALPARAMETER",
            "category_identifier",
        ),
        (P | {"category_identifier": {"name": "No"}}, NOT_FOUND, "category_identifier"),
        (P | {"category_identifier": {"title": "x"}}, INVALID, "category_identifier"),
        (P | {"owned_by_group_identifier": {"id": "9"}}, NOT_FOUND, "owned_by_group_identifier"),
        (P | {"privacy_level_identifier": {"number": "9"}}, NOT_FOUND, "privacy_level_identifier"),
        (P | {"send_direct_marketing_material": "yes"}, TYPE, "send_direct_marketing_material"),
        (P | {"udf_float_1": "ten"}, TYPE, "udf_float_1"),
        (P | {"udf_date_1": "2015-02-30"}, VALUE, "udf_date_1"),
        (P | {"udf_date_1": "today"}, TYPE, "udf_date_1"),
        (P | {"demographics": [{}]}, TYPE, "demographics"),
        (P | {"address_set": {}}, TYPE, "address_set"),
        (P | {"address_set": [5]}, TYPE, "address_set[0]"),
        (P | {"fields_set": {}}, TYPE, "fields_set"),
        (P | {"fields_set": [5]}, TYPE, "fields_set"),
    ],
)
async def test_refuses(
    shared: OrganisationClient, body: dict[str, Any], name: str, parameter: str
) -> None:
    async with untouched(shared.api):
        assert await shared.api.refused(PATH, **body) == (name, parameter)


async def test_an_empty_text_for_what_does_not_apply_is_null(shared: OrganisationClient) -> None:
    await shared.create_contact(person(company_name=""))
    await shared.create_contact(company(first_name="", title=""))


@pytest.mark.parametrize(
    ("more", "name", "parameter"),
    [
        # Parameters in the order of the table, each wholly before the next.
        ({"first_name": None, "notes": 5, "title": {}}, MANDATORY, "first_name"),
        ({"title": {}, "udf_date_1": "x", "demographics": 5}, TYPE, "title"),
        # All parameters before all identifiers, identifiers before uniqueness.
        ({"category_identifier": {"id": "9"}, "demographics": 5}, TYPE, "demographics"),
        ({"category_identifier": {"id": "9"}}, NOT_FOUND, "category_identifier"),
        ({"address_set": [{"type": "HOME", "street_name": "x"}] * 2}, "DUPLICATEENTITY", "t"),
        ({}, "DUPLICATEENTITY", "name, id_number"),
    ],
)
async def test_refuses_in_the_order_of_checks(
    shared: OrganisationClient, more: dict[str, Any], name: str, parameter: str
) -> None:
    taken = person(demographics={"id_number": unknown_id()})
    await shared.create_contact(taken)
    refused = await shared.api.refused(PATH, **taken | more)
    assert refused == (name, "address_set[1].type" if parameter == "t" else parameter)


async def test_refuses_without_a_session_before_all_else(shared: OrganisationClient) -> None:
    answer = await shared.api.open(PATH, {"type": 5, "token": "x"})
    assert refusal(answer)[0] == "INVALIDTOKEN"


async def test_refuses_other_transports(shared: OrganisationClient) -> None:
    token = shared.api.token or await shared.api.login()
    send = shared.api.service.send
    path = f"/crmapi/rest/v2/{PATH}"
    assert (await send("GET", path, query={"token": token}))[0] == 405
    assert (await send("POST", path, data=b"{'type':1}"))[0] == 400
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    assert (await send("POST", path, data=b"--x--", headers=form))[0] == 400
    body = json.dumps(person() | {"token": token}).replace("}", ",}").encode()
    status, answer, _ = await send("POST", path + "/", data=body, headers={"Content-Type": "x/y"})
    assert (status, answer["status"]["code"]) == (200, "OK")


@pytest.mark.parametrize("unset", [{}, {"preferred_language": None}, {"preferred_language": ""}])
async def test_the_language_is_the_organisation_s(
    fresh: OrganisationClient, unset: dict[str, Any]
) -> None:
    contact = await fresh.new_contact(**unset)
    assert (await fresh.show_contact(contact))["preferred_language"] == "ENG"
    await fresh.register_settings(default_language="ell")
    for body in (person(), company()):
        made = await fresh.new_contact(body, **unset)
        assert (await fresh.show_contact(made))["preferred_language"] == "ELL"
    # It is the contact's own from then on, and can be taken away.
    assert (await fresh.show_contact(contact))["preferred_language"] == "ENG"
    gone = await fresh.update_contact(contact, preferred_language=None)
    assert gone["preferred_language"] is None


async def test_forms_send_their_empty_fields_too(shared: OrganisationClient) -> None:
    """A blank text is null whatever the parameter's type; PHP's empty arrays are empty objects."""
    blank = {
        "title": " ",
        "preferred_language": "",
        "send_direct_marketing_material": "",
        "udf_float_1": "",
        "udf_date_1": " ",
        "category_identifier": "",
        "owned_by_group_identifier": {"id": "", "name": None},
        "privacy_level_identifier": [],
        "demographics": {"date_of_birth": [], "name_day": {"day": "", "month": ""}},
        "email_set": "",
        "fields_set": "",
    }
    contact = await shared.new_contact(person(**blank))
    other = await shared.new_contact(person(demographics=[]))
    shown, plain = [await shared.show_contact(id_) for id_ in (contact, other)]
    differing = {name for name in shown if shown[name] != plain[name]}
    assert differing <= {"id", "number", "name", "last_name", "log_information"}
    updated = await shared.update_contact(contact, title="Mr", udf_float_1=5)
    updated = await shared.update_contact(contact, title=" ", udf_float_1="")
    assert (updated["title"], updated["udf_float_1"]) == (None, None)
    query = {
        "email_address": "nobody@here",
        "offset": "",
        "number_of_results": " ",
        "id_number": "",
    }
    assert await shared.api.get("contact_information/list", **query) == []
