"""Which contacts may not be equal (contact_information.md, section 8), also under other rules."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.fixtures.organisation import (
    OrganisationClient,
    company,
    person,
    query_rows,
    unknown_id,
    untouched,
)
from tests.fixtures.service import refusal

CREATE = "contact_information/create"
DUPLICATE = "DUPLICATEENTITY"


def known(first: str, last: str, **numbers: str) -> dict[str, Any]:
    """A person of that name with these numbers."""
    return {"type": "PERSON", "first_name": first, "last_name": last, "demographics": numbers}


async def claims(w: OrganisationClient) -> list[str]:
    """The contacts that hold a claim."""
    found = await query_rows(
        w.api,
        "SELECT stream_id FROM ledger.claims WHERE organisation = $1"
        " AND starts_with(claim, 'contact_information:') ORDER BY 1",
    )
    return [row["stream_id"].hex.upper() for row in found]


@pytest.mark.parametrize(
    ("body", "accepted"),
    [
        (known(" jon ", "SNOW", id_number=" 1 "), False),
        (known("Jon", "Snow", id_number="1", passport_number="9"), False),
        (known("Jon", "Snow", id_number="2"), True),
        (known("Jon", "Stark", id_number="1"), True),
        (known("Jon", "Snow"), True),
        (known("Jon S", "now", id_number="1"), True),
        (company(company_name="Jon Snow"), True),
    ],
)
async def test_name_and_id_number_of_persons(
    fresh: OrganisationClient, body: dict[str, Any], accepted: bool
) -> None:
    await fresh.create_contact(known("Jon", "Snow", id_number="1"))
    if accepted:
        await fresh.create_contact(body)
        return
    async with untouched(fresh.api):
        assert await fresh.api.refused(CREATE, **body) == (DUPLICATE, "name, id_number")


@pytest.mark.parametrize(("vat", "accepted"), [(" V ", False), ("v", True), (None, True)])
async def test_name_and_vat_number_of_companies(
    fresh: OrganisationClient, vat: str | None, accepted: bool
) -> None:
    profile = {"company_profile": {"vat_registration_number": "V"}}
    await fresh.create_contact({"type": "COMPANY", "company_name": "Acme"} | profile)
    body = {"type": "COMPANY", "company_name": "ACME "}
    body |= {"company_profile": {"vat_registration_number": vat}}
    if accepted:
        await fresh.create_contact(body)
    else:
        found = await fresh.api.refused(CREATE, **body)
        assert found == (DUPLICATE, "name, vat_registration_number")


async def test_an_update_is_checked_and_frees_what_it_gives_up(fresh: OrganisationClient) -> None:
    first = await fresh.new_contact(known("Jon", "Snow", id_number="1"))
    second = await fresh.new_contact(known("Jon", "Stark", id_number="1"))
    async with untouched(fresh.api):
        assert await fresh.update_refused(second, last_name="snow") == (
            DUPLICATE,
            "name, id_number",
        )
    await fresh.update_contact(first, last_name="Targaryen")
    await fresh.update_contact(second, last_name="snow")
    async with untouched(fresh.api):
        assert await fresh.update_refused(first, last_name="Snow") == (DUPLICATE, "name, id_number")
    await fresh.update_contact(second, demographics=None)
    await fresh.update_contact(first, last_name="Snow")


@pytest.mark.parametrize(
    ("rule", "first", "second", "unique"),
    [
        ([], known("A", "B", id_number="1"), known("A", "B", id_number="1"), True),
        (["name"], known("A", "B"), known("a", "b", id_number="1"), False),
        (["id_number"], known("A", "B", id_number="1"), known("C", "D", id_number="1"), False),
        (
            ["passport_number", "social_security_number"],
            known("A", "B", passport_number="1", social_security_number="2"),
            known("C", "D", passport_number="1", social_security_number="2"),
            False,
        ),
        (
            ["passport_number", "social_security_number"],
            known("A", "B", passport_number="1"),
            known("C", "D", passport_number="1"),
            True,
        ),
    ],
)
async def test_other_rules(
    fresh: OrganisationClient, rule: list[str], first: Any, second: Any, unique: bool
) -> None:
    await fresh.register_settings(unique_person=rule)
    await fresh.create_contact(first)
    if unique:
        await fresh.create_contact(second)
    else:
        assert await fresh.api.refused(CREATE, **second) == (DUPLICATE, ", ".join(rule))


async def test_a_changed_rule_holds_for_contacts_that_are_there(fresh: OrganisationClient) -> None:
    first = await fresh.new_contact(known("Jon", "Snow", id_number="1"))
    second = await fresh.new_contact(known("Jon", "Snow", id_number="2"))
    third = await fresh.new_contact(known("Arya", "Stark", passport_number="P"))
    await fresh.register_settings(unique_person=["name"])
    assert await claims(fresh) == sorted([first, second, third])
    for body in (known("JON", "snow"), known("arya", "stark")):
        async with untouched(fresh.api):
            assert await fresh.api.refused(CREATE, **body) == (DUPLICATE, "name")
    # Contacts that were equal already can change, and keep others out until the last one leaves.
    await fresh.update_contact(second, title="Mr", demographics={"id_number": "3"})
    await fresh.update_contact(first, first_name="Bran")
    async with untouched(fresh.api):
        assert await fresh.api.refused(CREATE, **known("Jon", "Snow")) == (DUPLICATE, "name")
        assert await fresh.update_refused(first, first_name="Jon") == (DUPLICATE, "name")
    await fresh.update_contact(second, first_name="Robb")
    await fresh.update_contact(first, first_name="Jon")
    await fresh.update_contact(third, last_name="Faceless")
    await fresh.create_contact(known("Arya", "Stark"))
    await fresh.register_settings(unique_person=[])
    assert await claims(fresh) == []
    await fresh.create_contact(known("Jon", "Snow"))
    await fresh.register_settings()
    refused = await fresh.api.refused(CREATE, **known("Jon", "Snow", id_number="1"))
    assert refused == (DUPLICATE, "name, id_number")


async def test_rules_of_companies_change_apart(fresh: OrganisationClient) -> None:
    await fresh.create_contact(company(company_name="Acme"))
    await fresh.create_contact(known("Jon", "Snow", id_number="1"))
    await fresh.register_settings(unique_company=["name"])
    body = company(company_name=" acme")
    assert await fresh.api.refused(CREATE, **body) == (DUPLICATE, "name")
    assert len(await claims(fresh)) == 2


async def test_claims_show_no_personal_data_and_any_text_fits(fresh: OrganisationClient) -> None:
    letters = "".join(chr(0x20000 + n * 7) for n in range(255))
    body = known(letters, letters[::-1], id_number=letters)
    await fresh.create_contact(body)
    assert await fresh.api.refused(CREATE, **body) == (DUPLICATE, "name, id_number")
    await fresh.register_settings(unique_person=["name"])
    assert await fresh.api.refused(CREATE, **body) == (DUPLICATE, "name")
    await fresh.create_contact(known("Daenerys", "Targaryen", id_number="1"))
    found = await query_rows(fresh.api, "SELECT claim FROM ledger.claims WHERE organisation = $1")
    assert not [row["claim"] for row in found if "daenerys" in row["claim"].casefold()]


async def test_parallel_updates_to_one_identity(shared: OrganisationClient) -> None:
    number = unknown_id()
    made = await asyncio.gather(
        *(shared.new_contact(person(demographics={"id_number": number})) for _ in range(10))
    )
    path, name = "contact_information/update", {"first_name": "Same", "last_name": number}
    answers = await asyncio.gather(
        *(
            shared.api.call(
                "POST", path, body=name | {"contact_information_identifier": {"id": contact}}
            )
            for contact in made
        )
    )
    lost = [refusal(answer) for answer in answers if answer["status"]["code"] != "OK"]
    assert lost == [(DUPLICATE, "name, id_number")] * 9


async def test_a_rule_that_changes_during_creates_holds_for_all_of_them(
    fresh: OrganisationClient,
) -> None:
    await fresh.create_contact()
    for n in range(6):
        rule = ["name"] if n % 2 == 0 else []
        bodies = [known(f"First {n}", f"Last {m}") for m in range(8)]
        calls = [fresh.api.call("POST", CREATE, body=body) for body in bodies]
        await asyncio.gather(*calls[:4], fresh.register_settings(unique_person=rule), *calls[4:])
        held = await claims(fresh)
        if not rule:
            assert held == []
            continue
        found = await query_rows(fresh.api, "SELECT id FROM views.contacts WHERE organisation = $1")
        assert held == sorted(row["id"] for row in found)
