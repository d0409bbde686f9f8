"""Method 21, contact_information/update: fields, notes, marketing, log."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from tests.contract.shapes import SHAPES, assert_shape
from tests.fixtures.organisation import (
    CATEGORY,
    OTHER_CATEGORY,
    OTHER_GROUP,
    OrganisationClient,
    company,
    person,
    query_rows,
    unknown_id,
    untouched,
)
from tests.fixtures.service import refusal

PATH = "contact_information/update"
PREFIX = r"Marios Lannister \d{1,2}/\d{1,2}/\d{4} \d\d:\d\d:\d\d "


async def test_changes(shared: OrganisationClient) -> None:
    contact = await shared.new_contact(
        person(first_name="Arya", last_name="Stark", title="Miss", udf_string_1="a")
    )
    before = await shared.show_contact(contact)
    after = await shared.update_contact(
        contact,
        type="COMPANY",
        first_name="Sansa",
        title=None,
        category_identifier={"code": "SLV"},
        owned_by_group_identifier={"id": OTHER_GROUP},
        udf_float_1=1.5,
        demographics={"gender": "female"},
    )
    assert_shape(after, SHAPES[PATH])
    assert after == await shared.show_contact(contact)
    assert (after["type"], after["name"], after["title"]) == ("PERSON", "Sansa Stark", None)
    assert (after["udf_string_1"], after["udf_float_1"]) == ("a", 1.5)
    assert after["category"]["id"] == OTHER_CATEGORY
    assert after["owned_by_group"]["id"] == OTHER_GROUP
    assert after["demographics"]["gender"] == "FEMALE"
    assert after["number"] == before["number"]
    assert after["life_cycle_state"] == "MARKETING"


async def test_absent_keeps_and_null_unsets(shared: OrganisationClient) -> None:
    contact = await shared.new_contact(
        middle_name="M", preferred_language="ENG", category_identifier={"id": CATEGORY}
    )
    after = await shared.update_contact(contact, middle_name="", category_identifier=None)
    assert (after["middle_name"], after["category"]) == (None, None)
    assert after["preferred_language"] == "ENG"


async def test_demographics_are_merged_key_by_key(shared: OrganisationClient) -> None:
    birth = {"day": 1, "month": 2, "year": 1990}
    number, named = unknown_id(), {"date_of_birth": birth, "gender": "MALE"}
    contact = await shared.new_contact(demographics=named | {"id_number": number})
    change = {"gender": None, "passport_number": "P", "date_of_birth": {"day": 3, **birth}}
    change["date_of_birth"]["day"] = 3
    found = (await shared.update_contact(contact, demographics=change))["demographics"]
    assert (found["gender"], found["id_number"], found["passport_number"]) == (None, number, "P")
    assert found["date_of_birth"] == {"day": 3, "month": 2, "year": 1990}
    cleared = await shared.update_contact(contact, demographics={"date_of_birth": None})
    assert cleared["demographics"]["date_of_birth"] == dict.fromkeys(birth)
    assert cleared["demographics"]["passport_number"] == "P"
    cleared = await shared.update_contact(contact, demographics=None)
    assert (
        cleared["demographics"]["id_number"] is cleared["demographics"]["passport_number"] is None
    )
    again = await shared.update_contact(contact, demographics={"id_number": "7"})
    assert again["demographics"]["id_number"] == "7"


async def test_company_profile_is_merged_key_by_key(shared: OrganisationClient) -> None:
    contact = await shared.new_contact(company(company_profile={"number_of_employees": 5}))
    after = await shared.update_contact(contact, company_profile={"annual_turnover": "10.50"})
    profile = after["company_profile"]
    assert (profile["number_of_employees"], profile["annual_turnover"]) == (5, 10.5)
    after = await shared.update_contact(contact, company_profile=None)
    assert after["company_profile"]["number_of_employees"] is None


@pytest.mark.parametrize("make", [person, company])
async def test_null_of_what_does_not_apply_is_accepted(
    shared: OrganisationClient, make: Any
) -> None:
    body = make()
    foreign = ("company_name", "company_profile")
    if body["type"] == "COMPANY":
        foreign = ("first_name", "middle_name", "last_name", "title", "demographics")
    contact = await shared.new_contact(body)
    await shared.update_contact(contact, **dict.fromkeys(foreign, None))
    for name in foreign:
        given = {} if name in ("demographics", "company_profile") else "x"
        async with untouched(shared.api):
            refused = await shared.update_refused(contact, **{name: given})
        assert refused == ("INVALIDPARAMETERVALUE", name)


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        (person(), "first_name"),
        (person(), "last_name"),
        (company(), "company_name"),
        (person(), "owned_by_group_identifier"),
    ],
)
@pytest.mark.parametrize("given", [None, "", "  "])
async def test_refuses_null_for_what_must_stay(
    shared: OrganisationClient, body: dict[str, Any], parameter: str, given: object
) -> None:
    contact = await shared.new_contact(body)
    async with untouched(shared.api):
        refused = await shared.update_refused(contact, **{parameter: given})
    assert refused == ("MANDATORYPARAMETER", parameter)


IDENTIFIER = "contact_information_identifier"


@pytest.mark.parametrize(
    ("identifier", "name", "parameter"),
    [
        (None, "MANDATORYPARAMETER", IDENTIFIER),
        ("", "MANDATORYPARAMETER", IDENTIFIER),
        ("id=1", "INVALIDIDENTIFIER", IDENTIFIER),
        ([{}], "INVALIDIDENTIFIER", IDENTIFIER),
        ([], "MANDATORYPARAMETER", IDENTIFIER),
        ({"name": "x"}, "INVALIDIDENTIFIER", IDENTIFIER),
        ({"id": "1", "name": "x"}, "INVALIDIDENTIFIER", IDENTIFIER),
        ({}, "MANDATORYPARAMETER", IDENTIFIER),
        ({"id": None, "number": ""}, "MANDATORYPARAMETER", IDENTIFIER),
        ({"id": "1", "number": "1"}, "SEMIOPTIONALPARAMETER", IDENTIFIER),
        ({"id": {}}, "INVALIDPARAMETERTYPE", f"{IDENTIFIER}.id"),
        ({"id": "1"}, "ENTITYNOTFOUND", IDENTIFIER),
        ({"id": unknown_id()}, "ENTITYNOTFOUND", IDENTIFIER),
        ({"number": "CI999999"}, "ENTITYNOTFOUND", IDENTIFIER),
    ],
)
async def test_refuses_identifiers(
    shared: OrganisationClient, identifier: object, name: str, parameter: str
) -> None:
    await shared.create_contact()
    async with untouched(shared.api):
        refused = await shared.api.refused(PATH, **{IDENTIFIER: identifier}, title="Mr")
    assert refused == (name, parameter)


async def test_refuses_in_the_order_of_checks(shared: OrganisationClient) -> None:
    contact = await shared.new_contact(company())
    # A value before an identifier; an identifier before what the contact's type decides.
    found = await shared.update_refused(
        contact, first_name="x", title={}, category_identifier={"id": "9"}
    )
    assert found == ("INVALIDPARAMETERTYPE", "title")
    found = await shared.update_refused(contact, first_name="x", category_identifier={"id": "9"})
    assert found == ("ENTITYNOTFOUND", "category_identifier")
    address = [{"action": "UPDATE", "address_identifier": {"type": "HOME"}}]
    found = await shared.update_refused(contact, first_name="x", address_set=address)
    assert found == ("INVALIDPARAMETERVALUE", "first_name")


async def test_a_refused_set_takes_the_other_changes_with_it(shared: OrganisationClient) -> None:
    contact = await shared.new_contact()
    emails = [
        {"action": "ADD", "type": "BUSINESS", "email_address": "a@b"},
        {"action": "REMOVE", "email_identifier": {"type": "PERSONAL"}},
    ]
    async with untouched(shared.api):
        found = await shared.update_refused(contact, title="Sir", email_set=emails)
    assert found == ("ENTITYNOTFOUND", "email_set[1].email_identifier")


async def test_notes_are_signed_and_appended(shared: OrganisationClient) -> None:
    contact = await shared.new_contact(notes="Family")
    assert re.fullmatch(PREFIX + "Family", (await shared.show_contact(contact))["notes"])
    notes = (await shared.update_contact(contact, notes="Moved"))["notes"]
    assert re.fullmatch(f"{PREFIX}Family\n{PREFIX}Moved", notes)
    assert (await shared.update_contact(contact, title="Mr"))["notes"] == notes
    assert (await shared.update_contact(contact, notes=None))["notes"] is None
    notes = (await shared.update_contact(contact, notes="x" * 4000))["notes"]
    assert re.fullmatch(PREFIX + "x{4000}", notes)
    again = (await shared.update_contact(contact, notes="y" * 4000))["notes"]
    assert len(again) > 8000


async def test_marketing_is_stamped_each_time_and_taken_back_by_null(
    shared: OrganisationClient,
) -> None:
    contact = await shared.new_contact()
    send = "send_affiliate_marketing_material"
    count = "SELECT 1 FROM ledger.events WHERE organisation = $1 AND stream_id = $2::text::uuid"
    for _ in range(2):
        before = len(await query_rows(shared.api, count, contact))
        settings = (await shared.update_contact(contact, **{send: 0}))["authorization_settings"]
        assert settings[send] is False
        assert settings["affiliate_marketing_setting_updated_by_user"]["id"] == "1"
        assert settings["affiliate_marketing_setting_updated_date"] is not None
        assert settings["direct_marketing_setting_updated_date"] is None
        assert len(await query_rows(shared.api, count, contact)) == before + 1
    settings = (await shared.update_contact(contact, **{send: None}))["authorization_settings"]
    assert settings[send] is False
    assert settings["affiliate_marketing_setting_updated_by_user"] is None
    assert settings["affiliate_marketing_setting_updated_date"] is None


async def test_a_call_that_changes_nothing_stores_nothing(shared: OrganisationClient) -> None:
    home = {"type": "HOME", "street_name": "Main"}
    contact = await shared.new_contact(
        title="Mr", demographics={"gender": "MALE"}, address_set=[home], udf_date_1="2015-01-01"
    )
    same = {"action": "UPDATE", "address_identifier": {"type": "home"}, "street_name": "Main"}
    full = await shared.show_contact(contact)
    async with untouched(shared.api):
        assert await shared.update_contact(contact) == full
        after = await shared.update_contact(
            contact,
            title="Mr",
            notes=None,
            demographics={"gender": "male", "passport_number": None},
            company_profile=None,
            address_set=[same],
            phone_set=[],
            email_set=None,
            udf_date_1="2015-01-01T00:00:00",
            send_direct_marketing_material=None,
        )
    assert after == full


async def test_the_log_names_the_last_session(fresh: OrganisationClient) -> None:
    await fresh.register("unit", "U2", name="Second", group_id=OTHER_GROUP)
    await fresh.register(
        "user", "2", username="Second", person_name="S", default_unit_id="U2", password="password-2"
    )
    contact = await fresh.new_contact()
    fresh.api.token = await fresh.api.login("second", "password-2")
    log = (await fresh.update_contact(contact, title="Mr"))["log_information"]
    assert (log["created_by_user"]["id"], log["updated_by_user"]["id"]) == ("1", "2")
    assert log["updated_by_unit"]["name"] == "Second"
    assert log["created_by_unit"]["name"] == "Admin Unit"
    own = await fresh.show_contact(await fresh.new_contact())
    assert own["owned_by_group"]["id"] == OTHER_GROUP


async def test_answers_only_the_wanted_fields(shared: OrganisationClient) -> None:
    contact = await shared.new_contact()
    after = await shared.update_contact(contact, title="Mr", fields_set="title,number,subscription")
    assert list(after) == ["number", "title"]


async def test_repeating_appends_again_without_a_key_and_not_with_one(
    shared: OrganisationClient,
) -> None:
    contact = await shared.new_contact()
    for lines in (1, 2):
        notes = (await shared.update_contact(contact, notes="Again"))["notes"]
        assert len(notes.split("\n")) == lines
    headers = {"Idempotency-Key": unknown_id()}
    body = {IDENTIFIER: {"id": contact}, "notes": "Once"}
    first = await shared.api.call("POST", PATH, body=body, headers=headers)
    async with untouched(shared.api):
        assert await shared.api.call("POST", PATH, body=body, headers=headers) == first
    other = json.dumps(body | {"notes": "Twice", "token": shared.api.token}).encode()
    url = f"/crmapi/rest/v2/{PATH}"
    async with untouched(shared.api):
        status, answer, _ = await shared.api.service.send("POST", url, data=other, headers=headers)
    assert (status, refusal(answer)[0]) == (422, "INVALIDREQUEST")


async def test_a_race_loses_no_change(shared: OrganisationClient) -> None:
    contact = await shared.new_contact()
    texts = [f"Note {n}" for n in range(15)]
    await asyncio.gather(
        *(
            shared.update_contact(contact, notes=text, **{f"udf_string_{n + 1}": text})
            for n, text in enumerate(texts)
        )
    )
    full = await shared.show_contact(contact)
    assert sorted(line.split(" ", 4)[-1] for line in full["notes"].split("\n")) == sorted(texts)
    assert [full[f"udf_string_{n + 1}"] for n in range(15)] == texts
    stored = await query_rows(
        shared.api,
        "SELECT version FROM ledger.events WHERE organisation = $1 AND stream_id = $2::text::uuid ORDER BY 1",
        contact,
    )
    assert [row["version"] for row in stored] == list(range(1, len(stored) + 1))
