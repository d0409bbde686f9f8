"""Addresses, phones and emails of a contact (contact_information.md, sections 3, 4 and 7)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures.organisation import (
    UNITED_KINGDOM,
    OrganisationClient,
    company,
    person,
    query_rows,
    untouched,
)

CREATE = "contact_information/create"
MANDATORY, VALUE, TYPE = "MANDATORYPARAMETER", "INVALIDPARAMETERVALUE", "INVALIDPARAMETERTYPE"

ADDRESS = {"type": "HOME", "street_name": "Main"}
PHONE = {"type": "LANDLINE", "number": "22114455"}
EMAIL = {"type": "PERSONAL", "email_address": "a@b.c"}
SETS = {
    "address": (ADDRESS, "addresses_set", "street_name", "street_name"),
    "phone": (PHONE, "phones_set", "number", "number"),
    "email": (EMAIL, "emails_set", "email_address", "email"),
}
"""Of each set: an item, the key of the answer, the value that an entry must have, and its key."""

each_set = pytest.mark.parametrize("name", SETS)


def udf(string: int, floating: int, date: int) -> dict[str, Any]:
    """User-defined fields, all of them given."""
    return (
        {f"udf_string_{n}": f"s{n}" for n in range(1, string + 1)}
        | {f"udf_float_{n}": n + 0.5 for n in range(1, floating + 1)}
        | {f"udf_date_{n}": f"2015-01-{n:02d}T10:00:00" for n in range(1, date + 1)}
    )


async def test_creates_addresses_with_all_fields(shared: OrganisationClient) -> None:
    texts = [
        "street_name",
        "street_number",
        "apartment_number",
        "area",
        "town_city",
        "district",
        "municipality",
        "postal_code",
        "po_box",
        "po_box_postal_code",
        "care_of",
    ]
    given: dict[str, Any] = {name: f"the {name}" for name in texts} | udf(16, 4, 4)
    item = given | {"type": "custom1", "floor": "2", "notes": "dropped"}
    item["country_identifier"] = {"two_character_code": "gb"}
    contact = await shared.new_contact(address_set=[item, ADDRESS | {"action": "ADD"}])
    first, second = (await shared.show_contact(contact))["addresses_set"]
    assert {name: first[name] for name in given} == given
    assert (first["type"], first["state"], first["floor"]) == ("CUSTOM1", "Active", 2)
    assert first["country"]["id"] == UNITED_KINGDOM
    assert "notes" not in first
    assert (second["type"], second["country"]["name"]) == ("HOME", "UNITED STATES")
    assert second["udf_string_16"] is second["floor"] is None
    assert len({first["id"], second["id"]}) == 2
    stored = await query_rows(
        shared.api,
        "SELECT 1 FROM views.contacts WHERE organisation = $1 AND document::text LIKE '%dropped%'",
    )
    assert stored == []


async def test_creates_phones_with_all_fields(shared: OrganisationClient) -> None:
    given: dict[str, Any] = udf(8, 4, 4) | {"notes": "at work"}
    item = given | {"type": "MOBILE", "number": " (99) 849-996 ", "area_code": "+53"}
    phones = [item | {"country_identifier": {"name": "cyprus"}}, PHONE]
    first, second = (await shared.show_contact(await shared.new_contact(phone_set=phones)))[
        "phones_set"
    ]
    assert {name: first[name] for name in given} == given
    assert (first["number"], first["area_code"], first["full_number"]) == (
        "(99) 849-996",
        "53",
        "005399849996",
    )
    assert first["country"]["dialing_code"] == "357"
    assert (second["full_number"], second["state"]) == ("00122114455", "Active")
    assert second["country"]["name"] == "UNITED STATES"


async def test_creates_emails_with_all_fields(shared: OrganisationClient) -> None:
    given: dict[str, Any] = udf(8, 4, 4) | {"notes": "at work"}
    item = given | {"type": "BUSINESS", "email_address": " Tyrion@Casterly.Rock "}
    full = await shared.show_contact(await shared.new_contact(email_set=[item, EMAIL]))
    first, second = full["emails_set"]
    assert {name: first[name] for name in given} == given
    assert first["email"] == " Tyrion@Casterly.Rock "
    assert "email_address" not in first
    assert (second["email"], second["notes"]) == ("a@b.c", None)
    found = await shared.api.get("contact_information/list", email_address="tyrion@casterly.rock")
    assert full in found


TYPES = {
    "address": "HOME BUSINESS POBOX CUSTOM1 CUSTOM2 CUSTOM3 CUSTOM4 CUSTOM5",
    "phone": "LANDLINE MOBILE FAX CUSTOM1 CUSTOM2 CUSTOM3 CUSTOM4 CUSTOM5",
    "email": "PERSONAL BUSINESS CUSTOM1 CUSTOM2 CUSTOM3 CUSTOM4 CUSTOM5",
}


@each_set
async def test_every_type_may_occur_once_in_order_of_addition(
    shared: OrganisationClient, name: str
) -> None:
    item, key, *_ = SETS[name]
    types = TYPES[name].split()[::-1]
    items = [item | {"type": f" {type_.lower()} "} for type_ in types]
    contact = await shared.new_contact(**{f"{name}_set": items})
    assert [entry["type"] for entry in (await shared.show_contact(contact))[key]] == types


@each_set
async def test_refuses_items(shared: OrganisationClient, name: str) -> None:
    item, _, needed, _ = SETS[name]
    at = f"{name}_set[1]"
    country = "country_identifier"
    cases: list[tuple[dict[str, Any], str, str]] = [
        (item | {"type": None}, MANDATORY, "type"),
        (item | {"type": "WORK"}, VALUE, "type"),
        (item | {needed: " "}, MANDATORY, needed),
        (item | {needed: None}, MANDATORY, needed),
        (item | {needed: "x" * 4001}, VALUE, needed),
        (item | {"action": "UPDATE"}, VALUE, "action"),
        (item | {"action": "REMOVE"}, VALUE, "action"),
        (item | {"udf_float_4": "x"}, TYPE, "udf_float_4"),
        (item | {"udf_date_4": "2015-13-01"}, VALUE, "udf_date_4"),
    ]
    if name == "address":
        cases.append((item, "DUPLICATEENTITY", "type"))
    if name != "email":
        cases.append((item | {country: {"name": "NARNIA"}}, "ENTITYNOTFOUND", country))
    if name != "address":
        cases.append((item | {"notes": "x" * 65_536}, VALUE, "notes"))
    await shared.create_contact()
    for second, error, parameter in cases:
        body = person(**{f"{name}_set": [item, second]})
        async with untouched(shared.api):
            assert await shared.api.refused(CREATE, **body) == (error, f"{at}.{parameter}")


@pytest.mark.parametrize(
    ("item", "error", "parameter"),
    [
        *(
            (PHONE | {"number": n}, VALUE, "phone_set[0].number")
            for n in ("12", "1" * 65, "+12", "()", "call me", "1 ext 2", "²²²")
        ),
        (PHONE | {"area_code": "1" * 256}, VALUE, "phone_set[0].area_code"),
        *(
            (EMAIL | {"email_address": e}, VALUE, "email_set[0].email_address")
            for e in ("a", "@", "a@", "@b", "a@b@c", " @b", "a@ ")
        ),
        (ADDRESS | {"floor": "2.5"}, TYPE, "address_set[0].floor"),
        (ADDRESS | {"floor": "two"}, TYPE, "address_set[0].floor"),
        (ADDRESS | {"udf_string_16": "x" * 4001}, VALUE, "address_set[0].udf_string_16"),
    ],
)
async def test_refuses_values(
    shared: OrganisationClient, item: dict[str, Any], error: str, parameter: str
) -> None:
    body = person(**{parameter.partition("[")[0]: [item]})
    async with untouched(shared.api):
        assert await shared.api.refused(CREATE, **body) == (error, parameter)


NUMBERS = [
    ("123", "001123"),
    ("1" * 64, f"001{'1' * 64}"),
    (22114455, "00122114455"),
    ("+35799123456", "0035799123456"),
    ("0035799123456", "0035799123456"),
    ("(+357) 99-123-456", "0035799123456"),
    ("+0035799123456", "0035799123456"),
    ("99.123.456", "00199123456"),
    ("99/123456", "00199123456"),
    (" 99123456 ext 3 ", "00199123456"),
    ("99123456 EXT.3", "00199123456"),
    ("99123456x3", "00199123456"),
    ("99123456#3", "00199123456"),
    ("+357 99123456 ext 3", "0035799123456"),
    ("fax 99123456", "00199123456"),
    ("#31#99123456", "0013199123456"),
    ("099123456", "001099123456"),
    ("\u0669\u0669123456", "00199123456"),
    ("99123456 after 6", "001991234566"),
]


@pytest.mark.parametrize(("number", "full"), NUMBERS)
async def test_accepts_numbers(shared: OrganisationClient, number: object, full: str) -> None:
    contact = await shared.new_contact(company(phone_set=[PHONE | {"number": number}]))
    [phone] = (await shared.show_contact(contact))["phones_set"]
    assert (phone["number"], phone["full_number"]) == (str(number).strip(), full)
    for sought in (str(number), full, f"+{full[2:]}", full[2:]):
        listed = await shared.api.get(
            "contact_information/list", phone_number=sought, number_of_results=1000
        )
        assert contact in [found["id"] for found in listed], sought


@pytest.mark.parametrize(
    ("code", "kept", "full"),
    [
        ("357", "357", "0035722114455"),
        ("+357", "357", "0035722114455"),
        (" 00357 ", "357", "0035722114455"),
        ("3-57", "3-57", "0035722114455"),
        (357, "357", "0035722114455"),
        (None, "1", "00122114455"),
        ("none", "none", "22114455"),
    ],
)
async def test_area_codes(shared: OrganisationClient, code: object, kept: str, full: str) -> None:
    contact = await shared.new_contact(phone_set=[PHONE | {"area_code": code}])
    [phone] = (await shared.show_contact(contact))["phones_set"]
    assert (phone["area_code"], phone["full_number"]) == (kept, full)


@pytest.mark.parametrize("name", ["phone", "email"])
async def test_phones_and_emails_of_one_type_may_repeat(
    shared: OrganisationClient, name: str
) -> None:
    item, key, needed, sent = SETS[name]
    of, sets = f"{name}_identifier", f"{name}_set"
    contact = await shared.new_contact(**{sets: [item, item]})
    first, second = (await shared.show_contact(contact))[key]
    added = await shared.update_contact(contact, **{sets: [item | {"action": "ADD"}]})
    assert [entry["type"] for entry in added[key]] == [item["type"]] * 3
    for action in ("UPDATE", "REMOVE"):
        several = [{"action": action, of: {"type": item["type"]}, "notes": "x"}]
        async with untouched(shared.api):
            refused = await shared.update_refused(contact, **{sets: several})
        assert refused == ("ENTITYNOTUNIQUE", f"{sets}[0].{of}")
    named = [{"action": "UPDATE", of: {"id": second["id"]}, "notes": "x"}]
    named += [{"action": "REMOVE", of: {"id": first["id"]}}]
    left = (await shared.update_contact(contact, **{sets: named}))[key]
    assert [entry["id"] for entry in left] == [second["id"], added[key][2]["id"]]
    last = [{"action": "REMOVE", of: {"id": second["id"]}}]
    last += [{"action": "UPDATE", of: {"type": item["type"]}, "notes": "the only one"}]
    [one] = (await shared.update_contact(contact, **{sets: last}))[key]
    assert (one["notes"], one[sent]) == ("the only one", item[needed])


async def test_without_a_registered_default_country(fresh: OrganisationClient) -> None:
    await fresh.register_settings(default_country_id="999")
    contact = await fresh.new_contact(phone_set=[PHONE], address_set=[ADDRESS])
    full = await fresh.show_contact(contact)
    phone = full["phones_set"][0]
    assert phone["country"] is full["addresses_set"][0]["country"] is None
    assert (phone["area_code"], phone["full_number"]) == (None, "22114455")
    await fresh.register_settings(default_country_id="181")
    phone = (await fresh.show_contact(await fresh.new_contact(phone_set=[PHONE])))["phones_set"][0]
    assert phone["full_number"] == "0035722114455"


@each_set
async def test_update_adds_changes_and_removes_in_order(
    shared: OrganisationClient, name: str
) -> None:
    item, key, needed, sent = SETS[name]
    of = f"{name}_identifier"
    contact = await shared.new_contact(**{f"{name}_set": [item]})
    first = (await shared.show_contact(contact))[key][0]
    added = {"action": "add", **item, "type": "CUSTOM1", of: "ignored"}
    changed = {"action": "UPDATE", of: {"id": first["id"].lower()}, "type": "CUSTOM2"}
    changed |= {needed: "123@456" if name == "email" else "123456", "udf_string_1": "u"}
    after = (await shared.update_contact(contact, **{f"{name}_set": [added, changed]}))[key]
    assert [entry["type"] for entry in after] == [first["type"], "CUSTOM1"]
    assert after[0]["id"] == first["id"]
    assert after[0][sent].startswith("123")
    assert after[0]["udf_string_1"] == "u"
    assert all(entry["state"] == "Active" for entry in after)
    unset = {"action": "UPDATE", of: {"type": first["type"]}, "udf_string_1": None}
    entry = (await shared.update_contact(contact, **{f"{name}_set": [unset]}))[key][0]
    assert (entry["udf_string_1"], entry[sent]) == (None, after[0][sent])
    # What is removed makes room; the new entry stands at the end and has an id of its own.
    remove = {"action": "REMOVE", of: {"type": "custom1"}, "type": "NONSENSE", needed: None}
    again = (await shared.update_contact(contact, **{f"{name}_set": [remove, added]}))[key]
    assert [entry["type"] for entry in again] == [first["type"], "CUSTOM1"]
    assert again[1]["id"] != after[1]["id"]


@each_set
async def test_update_refuses_items(shared: OrganisationClient, name: str) -> None:
    item, _, needed, _ = SETS[name]
    of, at = f"{name}_identifier", f"{name}_set[0]"
    contact = await shared.new_contact(**{f"{name}_set": [item]})
    other = await shared.new_contact(**{f"{name}_set": [item | {"type": "CUSTOM5"}]})
    foreign = (await shared.show_contact(other))[SETS[name][1]][0]["id"]
    own = {of: {"type": item["type"]}}
    cases: list[tuple[dict[str, Any], str, str]] = [
        (item, MANDATORY, "action"),
        (item | {"action": ""}, MANDATORY, "action"),
        (item | {"action": "REPLACE"}, VALUE, "action"),
        (item | {"action": "ADD", needed: None}, MANDATORY, needed),
        (item | {"action": "UPDATE"}, MANDATORY, of),
        (item | {"action": "REMOVE", of: None}, MANDATORY, of),
        ({"action": "UPDATE", of: {}}, MANDATORY, of),
        ({"action": "UPDATE", of: {"id": "1", "type": "HOME"}}, "SEMIOPTIONALPARAMETER", of),
        ({"action": "UPDATE", of: {"number": "1"}}, "INVALIDIDENTIFIER", of),
        ({"action": "UPDATE", of: {"type": "WORK"}}, VALUE, f"{of}.type"),
        ({"action": "UPDATE", of: {"type": "CUSTOM5"}}, "ENTITYNOTFOUND", of),
        ({"action": "REMOVE", of: {"id": foreign}}, "ENTITYNOTFOUND", of),
        ({"action": "UPDATE", **own, needed: None}, MANDATORY, needed),
        ({"action": "UPDATE", **own, needed: " "}, MANDATORY, needed),
        ({"action": "UPDATE", **own, "udf_float_1": {}}, TYPE, "udf_float_1"),
    ]
    if name == "address":
        cases.append((item | {"action": "ADD"}, "DUPLICATEENTITY", "type"))
    for bad, error, parameter in cases:
        async with untouched(shared.api):
            found = await shared.update_refused(contact, **{f"{name}_set": [bad]})
        assert found == (error, f"{at}.{parameter}"), bad


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ({"number": "99-000"}, "00199000"),
        ({"area_code": "30"}, "003022114455"),
        ({"area_code": None}, "22114455"),
        ({"country_identifier": {"id": "181"}}, "0035722114455"),
        ({"country_identifier": {"id": "181"}, "area_code": "7"}, "00722114455"),
        ({"country_identifier": {"id": "127"}}, "00122114455"),
        ({"notes": "n"}, "00122114455"),
    ],
)
async def test_the_full_number_follows(
    shared: OrganisationClient, change: dict[str, Any], number: str
) -> None:
    contact = await shared.new_contact(phone_set=[PHONE])
    item = {"action": "UPDATE", "phone_identifier": {"type": "LANDLINE"}} | change
    full = await shared.update_contact(contact, phone_set=[item])
    assert full["phones_set"][0]["full_number"] == number
    for sought in (number, full["phones_set"][0]["number"]):
        listed = await shared.api.get(
            "contact_information/list", phone_number=sought, number_of_results=1000
        )
        assert contact in [found["id"] for found in listed]


async def test_an_area_code_of_its_own_stays_when_the_country_does(
    shared: OrganisationClient,
) -> None:
    phone = PHONE | {"area_code": "99", "country_identifier": {"id": "181"}}
    contact = await shared.new_contact(phone_set=[phone])
    item = {"action": "UPDATE", "phone_identifier": {"type": "LANDLINE"}, "number": "123"}
    item["country_identifier"] = {"id": "181"}
    found = (await shared.update_contact(contact, phone_set=[item]))["phones_set"][0]
    assert (found["area_code"], found["full_number"]) == ("99", "0099123")
