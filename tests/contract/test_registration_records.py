"""What a record may hold: ids, fields, links, uniqueness, retirement (reference_entities.md, 1 and 3)."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from domain.reference.catalogue import KINDS
from tests.fixtures.operators import Operator
from tests.fixtures.organisation import (
    CYPRUS,
    GROUP,
    UNIT,
    OrganisationClient,
    organisation_client,
    query_rows,
    unknown_id,
    untouched,
)
from tests.fixtures.service import Api, Json, Service, refusal

MANDATORY, VALUE, TYPE = "MANDATORYPARAMETER", "INVALIDPARAMETERVALUE", "INVALIDPARAMETERTYPE"
NOT_FOUND, DUPLICATE = "ENTITYNOTFOUND", "DUPLICATEENTITY"


@pytest.mark.parametrize(
    ("id_", "kept"),
    [("0af", "0af"), ("a" * 32, "A" * 32), ("x" * 64, "x" * 64), (" 7 ", "7")],
)
async def test_ids(shared: OrganisationClient, id_: str, kept: str) -> None:
    operator = Operator(shared.api)
    report = await operator.lines("industry", {"id": id_, "name": "n"})
    assert report["created"] == 1
    assert (await operator.get(f"industry/{id_.strip()}"))["id"] == kept


@pytest.mark.parametrize(
    ("id_", "name"),
    [(None, MANDATORY), ("", MANDATORY), (7, TYPE), ("a/b", VALUE), ("\u00e9", VALUE)],
)
async def test_refuses_ids(shared: OrganisationClient, id_: object, name: str) -> None:
    report = await Operator(shared.api).lines("industry", {"id": id_, "name": "n"})
    refused = report["refused"][0]
    assert (refused["code"].split(".")[-1], refused["description"]) == (f"{name}EXCEPTION", "id")


@pytest.mark.parametrize(
    ("kind", "fields", "name", "parameter"),
    [
        ("industry", {"colour": "red"}, VALUE, "colour"),
        ("industry", {"password": "x"}, VALUE, "password"),
        ("industry", {"community_id": "x"}, VALUE, "community_id"),
        ("industry", {"name": {}}, TYPE, "name"),
        ("industry", {"name": "x" * 256}, VALUE, "name"),
        ("industry", {"name": "a\0"}, VALUE, "name"),
        ("industry", {"name": "x", "retired": "maybe"}, TYPE, "retired"),
        ("country", {}, MANDATORY, "name"),
        ("country", {"name": "x", "dialing_code": "+357"}, VALUE, "dialing_code"),
        ("country", {"name": "x", "country_flag": {"colour": 1}}, VALUE, "country_flag.colour"),
        ("unit", {"name": "x"}, MANDATORY, "group_id"),
        ("unit", {"name": "x", "group_id": "NONE"}, NOT_FOUND, "group_id"),
        ("unit", {"name": "x", "group_id": GROUP.lower() + "0"}, NOT_FOUND, "group_id"),
        ("unit", {"name": "x", "group_id": 5}, TYPE, "group_id"),
        ("user", {"username": "u"}, MANDATORY, "default_unit_id"),
        ("user", {"username": "u", "default_unit_id": "NONE"}, NOT_FOUND, "default_unit_id"),
        (
            "user",
            {"username": "u", "default_unit_id": UNIT, "unit_ids": [UNIT, "NONE"]},
            NOT_FOUND,
            "unit_ids",
        ),
        ("user", {"username": "u", "default_unit_id": UNIT, "unit_ids": UNIT}, TYPE, "unit_ids"),
        ("user", {"username": "u", "default_unit_id": UNIT, "roles": ["boss"]}, VALUE, "roles[0]"),
        ("user", {"username": "DEMO", "default_unit_id": UNIT}, DUPLICATE, "username"),
        ("country", {"name": "cyprus"}, DUPLICATE, "name"),
        ("country", {"name": "x", "two_character_code": "cy"}, DUPLICATE, "two_character_code"),
        ("privacy_level", {"hierarchy_level": "high"}, TYPE, "hierarchy_level"),
        ("accounts_receivable", {"life_cycle_state": "DEAD"}, VALUE, "life_cycle_state"),
        ("accounts_receivable", {"account_owner_id": unknown_id()}, NOT_FOUND, "account_owner_id"),
        ("accounts_receivable", {"account_owner_id": "mine"}, NOT_FOUND, "account_owner_id"),
        (
            "rewards_participant",
            {"accounts_receivable_id": "9"},
            NOT_FOUND,
            "accounts_receivable_id",
        ),
        ("web_api_key", {"classification": "SYSTEMIC_KEY"}, MANDATORY, "user_id"),
        (
            "web_api_key",
            {"classification": "SYSTEMIC_KEY", "user_id": "1", "key": "short"},
            VALUE,
            "key",
        ),
        (
            "service_request_type",
            {"name": "t", "default_status_ids": {"PENDING": "NONE"}},
            NOT_FOUND,
            "default_status_ids.PENDING",
        ),
        ("organisation", {}, MANDATORY, "name"),
        ("organisation", {"name": "x", "unique_person": ["age"]}, VALUE, "unique_person[0]"),
        ("organisation", {"name": "x", "name_display": "MIDDLE"}, VALUE, "name_display"),
    ],
)
async def test_refuses(
    shared: OrganisationClient, kind: str, fields: Json, name: str, parameter: str
) -> None:
    await shared.create_contact()
    async with untouched(shared.api):
        refused = await Operator(shared.api).refused(kind, unknown_id(), **fields)
    assert refused == (name, parameter)


async def test_a_record_replaces_the_stored_one_as_a_whole(shared: OrganisationClient) -> None:
    operator, id_ = Operator(shared.api), unknown_id()
    template: Json = {"name": f"T {id_}", "media": "f2f", "subject": "s", "direction": "INCOMING"}
    template |= {"life_cycle_state": "not effective", "allowed_unit_ids": [UNIT]}
    await operator.put("communication_template", id_, **template)
    found = await operator.get(f"communication_template/{id_}")
    assert (found["media"], found["life_cycle_state"]) == ("FACE_TO_FACE", "NOT_EFFECTIVE")
    assert found["allowed_unit_ids"] == [UNIT]
    await operator.put("communication_template", id_, name=template["name"])
    found = await operator.get(f"communication_template/{id_}")
    assert (found["subject"], found["direction"]) == (None, "OUTGOING")
    assert (found["media"], found["allowed_unit_ids"]) == (None, [])


UNIQUE = [(kind.key, field) for kind in KINDS.values() for field in kind.unique_fields]
LEAST: dict[str, Json] = {
    "user": {"default_unit_id": UNIT},
    "product": {"product_type_id": "PT"},
    "service_request_status": {"life_cycle_state": "PENDING"},
}


@pytest.mark.parametrize(("kind", "field"), [pair for pair in UNIQUE if pair[0] != "organisation"])
async def test_unique_fields_among_current_records(
    shared: OrganisationClient, kind: str, field: str
) -> None:
    operator = Operator(shared.api)
    await operator.put("product_type", "PT", name="PT")
    value = unknown_id()

    def record(**more: Any) -> Json:
        named = {"name": unknown_id()} if kind == "country" else {}
        named |= {"username": unknown_id()} if kind == "user" else {}
        return LEAST.get(kind, {}) | named | {field: value} | more

    first, second = unknown_id(), unknown_id()
    await operator.put(kind, first, **record())
    async with untouched(shared.api):
        assert await operator.refused(kind, second, **record()) == (DUPLICATE, field)
        blank = record(**{field: f" {value} "})
        assert await operator.refused(kind, second, **blank) == (DUPLICATE, field)
    await operator.put(kind, second, **record(retired=True))
    async with untouched(shared.api):
        assert await operator.refused(kind, second, **record()) == (DUPLICATE, field)
    await operator.put(kind, first, **record(retired=True))
    assert await operator.put(kind, second, **record()) == "UPDATED"
    async with untouched(shared.api):
        assert await operator.refused(kind, first, **record()) == (DUPLICATE, field)
    # A value that was given up is free again.
    await operator.put(kind, second, **record(**{field: unknown_id()}))
    assert await operator.put(kind, first, **record()) == "UPDATED"


async def test_other_fields_may_repeat(shared: OrganisationClient) -> None:
    operator, name = Operator(shared.api), unknown_id()
    for _ in range(2):
        await operator.put("contact_category", unknown_id(), name=name, code=name)
    contact = await shared.new_contact()
    for field in ("name", "code"):
        refused = await shared.update_refused(contact, category_identifier={field: name})
        assert refused == ("ENTITYNOTUNIQUE", "category_identifier")


async def test_one_priority_per_pair_of_levels(shared: OrganisationClient) -> None:
    operator = Operator(shared.api)
    pair = {"urgency_level": "URGENCY1", "impact_level": "IMPACT1", "priority_level": "PRIORITY1"}
    assert await operator.put("service_request_priority", "1", **pair) == "CREATED"
    other = pair | {"priority_level": "PRIORITY2"}
    async with untouched(shared.api):
        refused = await operator.refused("service_request_priority", "2", **other)
    assert refused == (DUPLICATE, "urgency_level, impact_level")
    other |= {"impact_level": "IMPACT2"}
    assert await operator.put("service_request_priority", "2", **other) == "CREATED"


async def test_names_of_organisations_and_keys_are_unique_over_all(
    fresh: OrganisationClient, service: Service
) -> None:
    other = await organisation_client(Api(service))
    name, key = fresh.api.organisation, {"classification": "SYSTEMIC_KEY", "user_id": "1"}
    refused = await Operator(other.api).refused("organisation", "SECOND", name=f" {name} ")
    assert refused == (DUPLICATE, "name")
    secret = uuid4().hex.upper()
    await Operator(fresh.api).put("web_api_key", "K", **key, key=secret)
    async with untouched(other.api):
        refused = await Operator(other.api).refused("web_api_key", "K", **key, key=secret.lower())
    assert refused == (DUPLICATE, "key")
    refused = await Operator(fresh.api).refused("web_api_key", "L", **key, key=secret)
    assert refused == (DUPLICATE, "key")
    await Operator(fresh.api).put("web_api_key", "K", **key, key=uuid4().hex)
    assert await Operator(other.api).put("web_api_key", "K", **key, key=secret) == "CREATED"
    for organisation in (fresh, other):
        kept = await query_rows(
            organisation.api, "SELECT verifier FROM ledger.secrets WHERE organisation = $1"
        )
        assert secret not in str(kept)


async def test_links_to_retired_records(fresh: OrganisationClient) -> None:
    operator = Operator(fresh.api)
    await operator.put("community", "C", name="C")
    await operator.put("group", "G", name="G", community_id="C")
    await operator.put("community", "C", name="C", retired=True)
    async with untouched(fresh.api):
        refused = await operator.refused("group", "H", name="H", community_id="C")
    assert refused == (NOT_FOUND, "community_id")
    # A link that is there already may stay.
    assert await operator.put("group", "G", name="G2", community_id="C") == "UPDATED"
    await operator.put("accounts_receivable", "A", number="1")
    await operator.put("accounts_receivable", "A", number="1", retired=True)
    refused = await operator.refused("job", "J", accounts_receivable_id="A")
    assert refused == (NOT_FOUND, "accounts_receivable_id")


async def test_retiring_and_reinstating_are_upserts(fresh: OrganisationClient) -> None:
    operator, country = Operator(fresh.api), {"name": "CYPRUS", "two_character_code": "CY"}
    assert await operator.put("country", CYPRUS, **country, retired="true") == "UPDATED"
    async with untouched(fresh.api):
        assert await operator.put("country", CYPRUS, **country, retired=1) == "UNCHANGED"
    assert (await operator.get(f"country/{CYPRUS}"))["retired"] is True
    named = {"country_of_residence_identifier": {"name": "CYPRUS"}}
    contact = await fresh.new_contact()
    refused = await fresh.update_refused(contact, demographics=named)
    assert refused == (NOT_FOUND, "demographics.country_of_residence_identifier")
    assert await operator.put("country", CYPRUS, **country) == "UPDATED"
    await fresh.update_contact(contact, demographics=named)
    assert await operator.put("industry", "R", name="R", retired=True) == "CREATED"
    assert (await operator.get("industry/R"))["retired"] is True


async def test_an_organisation_that_is_renamed_or_retired(fresh: OrganisationClient) -> None:
    operator, id_ = Operator(fresh.api), fresh.api.organisation
    contact, new = await fresh.new_contact(), f"NEW {id_}"
    await operator.put("organisation", id_, name=f" {new} ")
    login = {"username": "demo", "password": "demo-password"}
    answer = await fresh.api.open("authentication/token", login | {"organisation": id_})
    assert refusal(answer)[0] == "INVALIDCREDENTIALS"
    fresh.api.organisation = new
    fresh.api.token = await fresh.api.login()
    assert (await fresh.show_contact(contact))["id"] == contact
    await operator.put("organisation", id_, name=new, retired=True)
    answer = await fresh.api.open("authentication/token", login | {"organisation": new})
    assert refusal(answer)[0] == "INVALIDCREDENTIALS"
    query = {"contact_information_identifier": f"id={contact}"}
    answer = await fresh.api.call("GET", "contact_information/show", query=query)
    assert refusal(answer)[0] == "INVALIDTOKEN"
    assert await operator.refused("industry", "1", name="x") == (NOT_FOUND, "organisation")
    await operator.put("organisation", id_, name=new)
    assert (await fresh.show_contact(contact))["id"] == contact
