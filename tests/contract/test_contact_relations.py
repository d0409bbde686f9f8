"""Relations of contacts (contact_information.md, sections 4.6, 7 and 10.4)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures.organisation import OrganisationClient, company, person, unknown_id, untouched

TYPES = [
    "FAMILY_MEMBER",
    "EXTENDED_FAMILY",
    "PARTNER",
    "CLOSE_FRIEND",
    "FRIEND",
    "WORK_COLLEAGUE",
    "PARTNER_COMPANY",
    "CLIENT",
    "EMPLOYER",
    "EMPLOYEE",
    "BUSINESS",
    "CUSTOM1",
    "CUSTOM2",
    "CUSTOM3",
    "CUSTOM4",
    "CUSTOM5",
]
CREATE = "contact_information/create"
CONTACT = "contact_information_identifier"


def relation(contact: str, type_: str = "FRIEND", **more: Any) -> dict[str, Any]:
    return {"type": type_, CONTACT: {"id": contact}} | more


async def test_creates_relations_of_every_type_to_one_contact(shared: OrganisationClient) -> None:
    other = await shared.create_contact(company())
    items = [relation(other["id"], type_.replace("_", " ").lower(), notes="n") for type_ in TYPES]
    full = await shared.show_contact(await shared.new_contact(relation_set=items))
    assert [entry["type"] for entry in full["relation_set"]] == TYPES
    for entry in full["relation_set"]:
        assert list(entry) == ["id", "type", "notes", "contact"]
        assert (entry["contact"], entry["notes"]) == (other, "n")
    assert (await shared.show_contact(other["id"]))["relation_set"] == []


async def test_a_related_contact_is_shown_as_it_is_now(shared: OrganisationClient) -> None:
    other = await shared.new_contact()
    contact = await shared.new_contact(relation_set=[relation(other)])
    await shared.update_contact(
        other, first_name="Changed", relation_set=[relation(contact, action="ADD")]
    )
    shown = (await shared.show_contact(contact))["relation_set"][0]["contact"]
    assert shown["first_name"] == "Changed"
    assert len(shown) == 11


async def test_update_adds_changes_and_removes(shared: OrganisationClient) -> None:
    one, two = await shared.new_contact(), await shared.new_contact()
    contact = await shared.new_contact(relation_set=[relation(one)])
    first = (await shared.show_contact(contact))["relation_set"][0]
    named = {"relation_identifier": {"id": first["id"]}}
    after = await shared.update_contact(
        contact,
        relation_set=[
            {"action": "ADD", "type": "CLIENT", "contact_information": {"id": two}},
            relation(two, "EMPLOYER", action="ADD"),
            # The related contact never changes; the type may.
            {"action": "UPDATE", **named, "type": "PARTNER", "contact_information": {"id": two}},
        ],
    )
    found = [(entry["type"], entry["contact"]["id"]) for entry in after["relation_set"]]
    assert found == [("PARTNER", one), ("CLIENT", two), ("EMPLOYER", two)]
    assert after["relation_set"][0]["id"] == first["id"]
    notes = {"action": "UPDATE", **named, "notes": "n"}
    assert (await shared.update_contact(contact, relation_set=[notes]))["relation_set"][0][
        "notes"
    ] == "n"
    last = await shared.update_contact(contact, relation_set=[{"action": "REMOVE", **named}])
    assert [entry["type"] for entry in last["relation_set"]] == ["CLIENT", "EMPLOYER"]


@pytest.mark.parametrize(
    ("more", "error", "parameter"),
    [
        ({"type": None}, "MANDATORYPARAMETER", "type"),
        ({"type": "ENEMY"}, "INVALIDPARAMETERVALUE", "type"),
        ({CONTACT: None}, "MANDATORYPARAMETER", CONTACT),
        ({CONTACT: {"id": unknown_id()}}, "ENTITYNOTFOUND", CONTACT),
        ({CONTACT: {"name": "x"}}, "INVALIDIDENTIFIER", CONTACT),
        (
            {CONTACT: None, "contact_information": {"id": unknown_id()}},
            "MANDATORYPARAMETER",
            CONTACT,
        ),
        ({"notes": "x" * 65_536}, "INVALIDPARAMETERVALUE", "notes"),
        ({}, "DUPLICATEENTITY", "type"),
    ],
)
async def test_refuses(
    shared: OrganisationClient, more: dict[str, Any], error: str, parameter: str
) -> None:
    one = relation(await shared.new_contact())
    async with untouched(shared.api):
        found = await shared.api.refused(CREATE, **person(relation_set=[one, one | more]))
    assert found == (error, f"relation_set[1].{parameter}")


@pytest.mark.parametrize(
    ("item", "error", "parameter"),
    [
        ({"type": "FRIEND", "contact_information": "{one}"}, "MANDATORYPARAMETER", "action"),
        ({"action": "ADD", "type": "FRIEND"}, "MANDATORYPARAMETER", CONTACT),
        (
            {"action": "ADD", "type": "CLIENT", "contact_information": "{one}", CONTACT: "{one}"},
            "SEMIOPTIONALPARAMETER",
            CONTACT,
        ),
        ({"action": "ADD", "type": "FRIEND", CONTACT: "{one}"}, "DUPLICATEENTITY", "type"),
        ({"action": "ADD", "type": "FRIEND", CONTACT: "{own}"}, "INVALIDPARAMETERVALUE", CONTACT),
        ({"action": "UPDATE", "type": "CLIENT"}, "MANDATORYPARAMETER", "relation_identifier"),
        (
            {"action": "UPDATE", "relation_identifier": {"type": "FRIEND"}},
            "INVALIDIDENTIFIER",
            "relation_identifier",
        ),
        (
            {"action": "REMOVE", "relation_identifier": {"id": unknown_id()}},
            "ENTITYNOTFOUND",
            "relation_identifier",
        ),
        (
            {"action": "UPDATE", "relation_identifier": "{second}", "type": "FRIEND"},
            "DUPLICATEENTITY",
            "type",
        ),
        (
            {"action": "UPDATE", "relation_identifier": "{second}", "type": None},
            "MANDATORYPARAMETER",
            "type",
        ),
    ],
)
async def test_update_refuses(
    shared: OrganisationClient, item: dict[str, Any], error: str, parameter: str
) -> None:
    one = await shared.new_contact()
    own = await shared.new_contact(relation_set=[relation(one), relation(one, "PARTNER")])
    second = (await shared.show_contact(own))["relation_set"][1]["id"]
    places = {"{one}": {"id": one}, "{own}": {"id": own}, "{second}": {"id": second}}
    given = {k: places.get(v, v) if isinstance(v, str) else v for k, v in item.items()}
    async with untouched(shared.api):
        found = await shared.update_refused(own, relation_set=[given])
    assert found == (error, f"relation_set[0].{parameter}")
