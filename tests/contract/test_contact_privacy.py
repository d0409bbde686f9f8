"""Other organisations' contacts, personal data in the ledger, and set-up that changes.

Contract: common.md, sections 10 and 11; reference_entities.md, section 1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.contract.test_contact_photo import add, download, image, named
from tests.fixtures.organisation import (
    CATEGORY,
    CYPRUS,
    OrganisationClient,
    organisation_client,
    person,
    query_rows,
    untouched,
)
from tests.fixtures.service import Api, Service, refusal

CONTACT = "contact_information_identifier"


@pytest_asyncio.fixture(scope="module")
async def foreign(service: Service) -> AsyncIterator[OrganisationClient]:
    """Another organisation."""
    yield await organisation_client(Api(service))


@pytest.mark.parametrize(
    "path",
    [
        "contact_information/update",
        "contact_information/profile_photo/remove",
        "communications/create",
    ],
)
async def test_contacts_of_others_do_not_exist(
    shared: OrganisationClient, foreign: OrganisationClient, path: str
) -> None:
    other = await foreign.show_contact(
        await foreign.new_contact(demographics={"id_number": "foreign"})
    )
    more = {
        "subject": "s",
        "content": "c",
        "media": "PHONE",
        "direction": "INCOMING",
        "category_identifier": None,
    }
    await shared.create_contact()
    async with untouched(shared.api), untouched(foreign.api):
        for identifier in ({"id": other["id"]}, {"id_number": "foreign"}):
            body = {CONTACT: identifier} | (more if path.startswith("comm") else {})
            assert await shared.api.refused(path, **body) == ("ENTITYNOTFOUND", CONTACT)


async def test_contacts_of_others_are_neither_shown_nor_listed(
    shared: OrganisationClient, foreign: OrganisationClient
) -> None:
    other = await foreign.new_contact(demographics={"id_number": "only theirs"})
    path = "contact_information/list"
    assert await shared.api.get(path, id_number="only theirs") == []
    assert len(await foreign.api.get(path, id_number="only theirs")) == 1
    for method in ("show", "profile_photo/view"):
        query = {CONTACT: f"id={other}"}
        answer = await shared.api.call("GET", f"contact_information/{method}", query=query)
        assert refusal(answer) == ("ENTITYNOTFOUND", CONTACT)


async def test_ids_of_others_inside_bodies(
    shared: OrganisationClient, foreign: OrganisationClient
) -> None:
    other, own = await foreign.new_contact(), await shared.new_contact()
    await foreign.register("contact_category", "FOREIGN", name="Foreign")
    friend = {"type": "FRIEND", CONTACT: {"id": other}}
    async with untouched(shared.api):
        for item in (friend, {"type": "FRIEND", "contact_information": {"id": other}}):
            found = await shared.update_refused(own, relation_set=[item | {"action": "ADD"}])
            assert found == ("ENTITYNOTFOUND", f"relation_set[0].{CONTACT}")
        found = await shared.update_refused(own, category_identifier={"id": "FOREIGN"})
        assert found == ("ENTITYNOTFOUND", "category_identifier")


async def test_photos_of_others(shared: OrganisationClient, foreign: OrganisationClient) -> None:
    contact = await foreign.new_contact()
    photo = (await add(foreign, contact, image()))["data"]
    await shared.create_contact()
    async with untouched(foreign.api):
        status, answer, _ = await download(shared, photo["file_content_url"])
        assert (status, refusal(answer)[0]) == (404, "ENTITYNOTFOUND")
        assert refusal(await add(shared, contact, image())) == ("ENTITYNOTFOUND", CONTACT)
    assert (await download(foreign, photo["file_content_url"]))[0] == 200


async def test_equal_contacts_of_two_organisations(
    shared: OrganisationClient, foreign: OrganisationClient
) -> None:
    body = person(demographics={"id_number": "equal"})
    await shared.create_contact(body)
    await foreign.create_contact(body)
    assert (await shared.api.refused("contact_information/create", **body))[0] == "DUPLICATEENTITY"


async def test_events_hold_no_personal_data_in_clear(fresh: OrganisationClient) -> None:
    words = [f"secret{n:02d}" for n in range(20)]
    word = iter(words)
    contact = await fresh.new_contact(
        person(first_name=next(word), middle_name=next(word), title=next(word)),
        last_name=next(word),
        notes=next(word),
        udf_string_3=next(word),
        demographics={"id_number": next(word), "social_security_number": next(word)},
        address_set=[{"type": "HOME", "street_name": next(word), "care_of": next(word)}],
        phone_set=[{"type": "FAX", "number": "8675309", "notes": next(word)}],
        email_set=[{"type": "BUSINESS", "email_address": f"{next(word)}@{next(word)}"}],
    )
    await fresh.update_contact(
        contact,
        first_name=next(word),
        notes=next(word),
        demographics={"passport_number": next(word)},
        email_set=[
            {"action": "UPDATE", "email_identifier": {"type": "BUSINESS"}, "notes": next(word)}
        ],
        address_set=[{"action": "ADD", "type": "POBOX", "street_name": next(word)}],
    )
    await fresh.new_contact({"type": "COMPANY", "company_name": next(word)})
    answer = await add(fresh, contact, image(), f"{next(word)}.jpg")
    assert answer["status"]["code"] == "OK"
    assert next(word, None) is None
    events = await query_rows(
        fresh.api,
        "SELECT payload::text || metadata::text AS text FROM ledger.events WHERE organisation = $1",
    )
    said = "".join(row["text"] for row in events)
    assert [word for word in [*words, "8675309", "5309"] if word in said] == []
    # The same words are found where they are looked for.
    full = str(await fresh.show_contact(contact))
    assert words[3] in full


async def test_each_contact_has_a_key_of_its_own(fresh: OrganisationClient) -> None:
    made = [await fresh.new_contact() for _ in range(2)]
    await fresh.update_contact(made[0], title="Mr")
    found = await query_rows(
        fresh.api, "SELECT subject, wrapped FROM ledger.personal_keys WHERE organisation = $1"
    )
    assert sorted(row["subject"].hex.upper() for row in found) == sorted(made)
    assert found[0]["wrapped"] != found[1]["wrapped"]


async def test_the_order_of_names_changes_at_once(fresh: OrganisationClient) -> None:
    other = await fresh.new_contact(person(first_name="Jon", last_name=" Snow "))
    friend = {"type": "FRIEND", CONTACT: {"id": other}}
    contact = await fresh.new_contact(
        person(first_name="Arya", middle_name="X", last_name="Stark"), relation_set=[friend]
    )
    company = await fresh.new_contact({"type": "COMPANY", "company_name": "Acme Ltd"})
    for display, names in (
        ("LAST_FIRST", ("Stark Arya", "Snow Jon")),
        ("FIRST_LAST", ("Arya Stark", "Jon Snow")),
        (None, ("Arya Stark", "Jon Snow")),
    ):
        await fresh.register_settings(name_display=display)
        full = await fresh.show_contact(contact)
        assert (full["name"], full["relation_set"][0]["contact"]["name"]) == names
        assert (await fresh.update_contact(contact, title=f"{display}"))["name"] == names[0]
        assert (await fresh.show_contact(company))["name"] == "Acme Ltd"


async def test_embedded_records_are_shown_as_they_are_now(fresh: OrganisationClient) -> None:
    contact = await fresh.new_contact(
        category_identifier={"id": CATEGORY},
        demographics={"country_of_residence_identifier": {"id": CYPRUS}},
    )
    await fresh.register("contact_category", CATEGORY, name="Platinum")
    await fresh.register("community", "2CAA7DA7C8F26FDB47A1E215181CE403", name="Renamed")
    await fresh.register(
        "country", CYPRUS, name="KYPROS", dialing_code="999", country_flag={"id": "7"}
    )
    full = await fresh.show_contact(contact)
    assert full["category"] == {"id": CATEGORY, "name": "Platinum", "code": None}
    assert full["owned_by_group"]["community_name"] == "Renamed"
    assert full["log_information"]["created_by_unit"]["community_name"] == "Renamed"
    assert full["demographics"]["country_of_residence"] == {
        "id": CYPRUS,
        "name": "KYPROS",
        "alternative_code": None,
        "dialing_code": "999",
        "two_character_code": None,
        "three_character_code": None,
        "country_flag": {"id": "7", "file": None},
    }
    user = {"username": "demo", "default_unit_id": "48305F8849E3C18B227C5BE3A27BA6DF"}
    await fresh.register("user", "1", **user, person_name="Someone Else")
    log = (await fresh.show_contact(contact))["log_information"]
    assert log["created_by_user"] == {
        "id": "1",
        "username": "demo",
        "person_name": "Someone Else",
        "email": None,
    }


async def test_retired_records_stay_where_they_are_and_cannot_be_chosen(
    fresh: OrganisationClient,
) -> None:
    contact = await fresh.new_contact(category_identifier={"id": CATEGORY})
    await fresh.register("contact_category", CATEGORY, name="Gold", retired=True)
    assert (await fresh.show_contact(contact))["category"]["name"] == "Gold"
    assert (await fresh.update_contact(contact, title="Mr"))["category"]["name"] == "Gold"
    async with untouched(fresh.api):
        for identifier in ({"id": CATEGORY}, {"name": "Gold"}):
            found = await fresh.update_refused(contact, category_identifier=identifier)
            assert found == ("ENTITYNOTFOUND", "category_identifier")
    await fresh.register("contact_category", "NEW", name="Gold")
    found = await fresh.update_contact(contact, category_identifier={"name": "Gold"})
    assert found["category"]["id"] == "NEW"
    await fresh.register("contact_category", CATEGORY, name="Gold")
    async with untouched(fresh.api):
        refused = await fresh.update_refused(contact, category_identifier={"name": "Gold"})
    assert refused == ("ENTITYNOTUNIQUE", "category_identifier")


async def test_removals_leave_only_the_event(fresh: OrganisationClient) -> None:
    contact = await fresh.new_contact()
    await add(fresh, contact, image())
    await fresh.api.post("contact_information/profile_photo/remove", **named(contact))
    topics = await query_rows(
        fresh.api,
        "SELECT topic FROM ledger.events WHERE organisation = $1 AND stream_id = $2::text::uuid"
        " ORDER BY version",
        contact,
    )
    assert [row["topic"].partition(".")[2] for row in topics] == [
        "registered",
        "profile_photo_added",
        "profile_photo_removed",
    ]
