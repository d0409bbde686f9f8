"""The three requests of ``/reference/v1`` and what they answer (reference_entities.md, section 1)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import infra.demo
from domain.reference.catalogue import KINDS
from infra.http.operators.reference import REFERENCE
from tests.contract.scenes import base_records
from tests.fixtures.operators import Operator
from tests.fixtures.organisation import (
    UNIT,
    OrganisationClient,
    query_rows,
    stored_rows,
    unknown_id,
    untouched,
)
from tests.fixtures.service import OPERATOR_KEY, Json, refusal

SECRET = "whsec_" + "QUJD" * 8
FILES = ("20-countries.jsonl", "10-organisation.jsonl", "30-setup.jsonl", "50-customers.jsonl")


def demo_records() -> list[Json]:
    """Records of every kind, in link order, without those that a usable organisation has."""
    folder = Path(infra.demo.__file__).parent
    texts = [(folder / name).read_text("utf-8") for name in FILES]
    records = [json.loads(line) for text in texts for line in text.splitlines()]
    there = {(record["kind"], record["id"]) for record in base_records()} | {("user", "1")}
    return [
        record
        for record in records
        if record["kind"] != "organisation"
        and record.get("username") != "demo"
        and (record["kind"], record["id"]) not in there
    ]


def with_contact(record: Json, contact: str) -> Json:
    """The record with one contact in place of every ``@alias``."""
    known = (k for k, v in record.items() if isinstance(v, str) and v.startswith("@"))
    return record | dict.fromkeys(known, contact)


async def test_creates_updates_and_leaves_as_it_is(shared: OrganisationClient) -> None:
    operator, id_ = Operator(shared.api), unknown_id()
    assert await operator.put("industry", id_, name="Mining", code="M") == "CREATED"
    async with untouched(shared.api):
        assert await operator.put("industry", id_, code="M", name="Mining") == "UNCHANGED"
        assert (
            await operator.put("industry", id_, name="Mining", code="M", retired=0) == "UNCHANGED"
        )
    assert await operator.put("industry", id_, name="Mines") == "UPDATED"
    said = {"kind": "industry", "organisation": shared.api.organisation, "id": id_}
    expected = said | {"retired": False, "name": "Mines", "code": None}
    assert await operator.get(f"industry/{id_}") == expected
    assert await operator.put("industry", id_.lower(), **expected) == "UNCHANGED"


async def test_every_kind_is_registered_and_read_back(fresh: OrganisationClient) -> None:
    operator = Operator(fresh.api)
    contact = await fresh.new_contact()
    records = [with_contact(record, contact) for record in demo_records()]
    records += [
        {
            "kind": "web_api_key",
            "id": "K",
            "number": "9",
            "classification": "SYSTEMIC_KEY",
            "user_id": "1",
            "key": uuid4().hex,
        },
        {"kind": "webhook", "id": "W", "url": "https://a.example/told", "secret": SECRET},
    ]
    report = await operator.lines("user", *records)
    assert report == {"created": len(records), "updated": 0, "unchanged": 0, "refused": []}
    assert {record["kind"] for record in records} | {"organisation"} == set(KINDS)
    report = await operator.lines("user", *records)
    assert report == {"created": 0, "updated": 0, "unchanged": len(records), "refused": []}
    for kind in {record["kind"] for record in records}:
        last = [record for record in records if record["kind"] == kind][-1]
        found = await operator.get(f"{kind}/{last['id']}")
        secrets = set(KINDS[kind].secrets)
        assert not secrets & found.keys()
        given = {name: value for name, value in last.items() if name not in secrets}
        assert {name: found[name] for name in given if value_is_given(given[name])} == {
            name: value for name, value in given.items() if value_is_given(value)
        }
        # What is read is a record itself.
        assert await operator.put(kind, last["id"], **found) == "UNCHANGED"


def value_is_given(value: Any) -> bool:
    """Objects inside records are completed by their defaults, so they differ from what was given."""
    return not isinstance(value, dict)


async def test_the_organisation_itself(fresh: OrganisationClient) -> None:
    operator, name = Operator(fresh.api), fresh.api.organisation
    found = await operator.get(f"organisation/{name}")
    assert "organisation" not in found
    assert found["unique_person"] == ["name", "id_number"]
    assert await operator.put("organisation", name, **found) == "UNCHANGED"
    refused = await operator.refused("organisation", name, **found, organisation=name)
    assert refused == ("INVALIDPARAMETERVALUE", "organisation")
    listed = await operator.get("organisation")
    assert [record["id"] for record in listed] == [name]


async def test_kind_and_organisation_inside_or_outside_the_record(
    shared: OrganisationClient,
) -> None:
    operator, name = Operator(shared.api), shared.api.organisation
    record = {"kind": "industry", "id": unknown_id(), "name": "I", "organisation": name}
    path, key = f"{REFERENCE}community", {"Authorization": f"bearer {OPERATOR_KEY}"}
    send = shared.api.service.send
    status, answer, _ = await send("POST", path, data=json.dumps(record), headers=key)
    assert (status, answer["data"]["created"]) == (200, 1)
    del record["organisation"]
    _, answer, _ = await send("POST", path, data=json.dumps(record), headers=key)
    refused = answer["data"]["refused"]
    assert refused[0]["description"] == "organisation"
    assert refused[0]["code"].endswith("CORE.MANDATORYPARAMETEREXCEPTION")
    report = await operator.lines("industry", record | {"organisation": "NO SUCH"})
    assert report["refused"][0]["code"].endswith("ENTITYNOTFOUNDEXCEPTION")
    assert await operator.refused("industry", "1", organisation="NO SUCH", name="x") == (
        "ENTITYNOTFOUND",
        "organisation",
    )


async def test_lines_are_applied_in_order_and_refused_ones_passed_over(
    fresh: OrganisationClient,
) -> None:
    operator = Operator(fresh.api)
    report = await operator.lines(
        "group",
        {"id": "G", "name": "G", "community_id": "NEW"},
        {"kind": "community", "id": "NEW", "name": "New"},
        "",
        {"id": "G", "name": "G", "community_id": "NEW"},
        "{'id': 1}",
        '{"id": "H", "name": "H",}',
        "[]",
        {"id": "G", "name": "G2"},
        {"id": "G", "name": "G2"},
        {"id": "H", "name": "H", "colour": "red"},
        {"kind": "planet", "id": "1"},
        {"name": "no id"},
        "\ufeff{}",
        {"id": "I", "name": "\N{GREEK SMALL LETTER OMEGA}"},
    )
    refused = [
        (r["line"], r["code"].split(".")[-1], r["description"]) for r in report.pop("refused")
    ]
    assert report == {"created": 3, "updated": 1, "unchanged": 1}
    assert refused == [
        (1, "ENTITYNOTFOUNDEXCEPTION", "community_id"),
        (5, "INVALIDREQUESTEXCEPTION", "not strict JSON"),
        (6, "INVALIDREQUESTEXCEPTION", "not strict JSON"),
        (7, "INVALIDREQUESTEXCEPTION", "not a JSON object"),
        (10, "INVALIDPARAMETERVALUEEXCEPTION", "colour"),
        (11, "INVALIDPARAMETERVALUEEXCEPTION", "kind"),
        (12, "MANDATORYPARAMETEREXCEPTION", "id"),
        (13, "INVALIDREQUESTEXCEPTION", "not strict JSON"),
    ]
    assert (await operator.get("group/G"))["name"] == "G2"


async def test_lines_end_as_they_like(fresh: OrganisationClient) -> None:
    operator = Operator(fresh.api)
    data = b'{"id":"1","name":"a"}\r\n\r\n{"id":"2","name":"b"}\n\n'
    status, answer = await operator.send("POST", "industry", data=data)
    assert (status, answer["data"]["created"], answer["data"]["refused"]) == (200, 2, [])
    status, answer = await operator.send("POST", "industry", data=b"")
    assert (status, answer["data"]["created"]) == (200, 0)


async def test_lists_by_id_in_pages(fresh: OrganisationClient) -> None:
    operator = Operator(fresh.api)
    for n in (3, 1, 2):
        await operator.put("industry_sector", f"S{n}", name=f"Sector {n}", retired=n == 2)

    async def ids(**query: Any) -> list[str]:
        return [record["id"] for record in await operator.get("industry_sector", **query)]

    assert await ids() == ["IS1", "S1", "S2", "S3"]
    assert await ids(number_of_results=2, offset=1) == ["S1", "S2"]
    assert await ids(offset=9) == []
    assert [r["retired"] for r in await operator.get("industry_sector", offset=2)] == [True, False]
    for query, name in (("number_of_results", "0"), ("offset", "-1")):
        status, answer = await operator.send("GET", "industry_sector", query={query: name})
        assert (status, refusal(answer)) == (400, ("INVALIDPARAMETERVALUE", query))


@pytest.mark.parametrize(
    ("verb", "path", "status", "name", "description"),
    [
        ("GET", "planet/1", 404, "METHODNOTFOUND", ""),
        ("PUT", "planet/1", 404, "METHODNOTFOUND", ""),
        ("POST", "planet", 404, "METHODNOTFOUND", ""),
        ("POST", "industry/1", 404, "METHODNOTFOUND", ""),
        ("PUT", "industry", 404, "METHODNOTFOUND", ""),
        ("GET", "industry/1/2", 404, "METHODNOTFOUND", ""),
        ("DELETE", "industry/1", 405, "METHODNOTALLOWED", ""),
        ("GET", "industry/NONE", 404, "ENTITYNOTFOUND", "id"),
        ("GET", "industry/a%00b", 404, "ENTITYNOTFOUND", "id"),
        ("GET", "organisation/NONE", 404, "ENTITYNOTFOUND", "id"),
        ("PUT", "industry/a%20b", 400, "INVALIDPARAMETERVALUE", "id"),
        ("PUT", "industry/" + "x" * 65, 400, "INVALIDPARAMETERVALUE", "id"),
    ],
)
async def test_refuses_paths(
    shared: OrganisationClient, verb: str, path: str, status: int, name: str, description: str
) -> None:
    async with untouched(shared.api):
        found, answer = await Operator(shared.api).send(verb, path, data=b"{}")
    assert (found, refusal(answer)) == (status, (name, description))


@pytest.mark.parametrize("verb", ["PUT", "POST", "GET"])
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        f"Basic {OPERATOR_KEY}",
        OPERATOR_KEY,
        f"Bearer {OPERATOR_KEY}x",
    ],
)
async def test_refuses_other_keys(
    shared: OrganisationClient, verb: str, authorization: str | None
) -> None:
    path = "industry/1" if verb == "PUT" else "industry"
    await shared.create_contact()
    async with untouched(shared.api):
        status, answer = await Operator(shared.api).send(
            verb, path, data=b'{"name":"x"}', authorization=authorization
        )
    assert (status, refusal(answer)[0]) == (401, "INVALIDTOKEN")


async def test_a_session_is_no_operator(shared: OrganisationClient) -> None:
    token = await shared.api.login()
    status, _ = await Operator(shared.api).send("GET", "industry", authorization=f"Bearer {token}")
    assert status == 401


async def test_refuses_bodies_that_are_no_records(shared: OrganisationClient) -> None:
    operator = Operator(shared.api)
    async with untouched(shared.api):
        for data in (b"[]", b"{", b"null", b'{"name":"x"} {}'):
            status, answer = await operator.send("PUT", "industry/1", data=data)
            assert (status, refusal(answer)[0]) == (400, "INVALIDREQUEST")


async def test_records_of_other_organisations_are_apart(
    fresh: OrganisationClient, shared: OrganisationClient
) -> None:
    await fresh.register("industry", "MINE", name="Mine")
    await shared.register("industry", "MINE", name="Theirs")
    assert (await Operator(fresh.api).get("industry/MINE"))["name"] == "Mine"
    await shared.register("community", "THEIRS", name="Theirs")
    refused = await Operator(fresh.api).refused("group", "G", name="G", community_id="THEIRS")
    assert refused == ("ENTITYNOTFOUND", "community_id")


async def test_secrets_stay_when_absent_and_are_never_shown(fresh: OrganisationClient) -> None:
    operator = Operator(fresh.api)
    user = {"username": "fourth", "default_unit_id": UNIT}
    assert await operator.put("user", "4", **user, password="a long password") == "CREATED"
    await fresh.api.login("fourth", "a long password")
    for same in (user, user | {"password": None}, user | {"password": "a long password"}):
        assert await operator.put("user", "4", **same) == "UNCHANGED"
    assert await operator.put("user", "4", **user, email="a@b") == "UPDATED"
    await fresh.api.login("fourth", "a long password")
    assert await operator.put("user", "4", **user, email="a@b", password="another one") == "UPDATED"
    await fresh.api.login("fourth", "another one")
    old = {"username": "fourth", "password": "a long password"}
    answer = await fresh.api.open(
        "authentication/token", old | {"organisation": fresh.api.organisation}
    )
    assert refusal(answer)[0] == "INVALIDCREDENTIALS"
    assert "password" not in await operator.get("user/4")
    said = str(await stored_rows(fresh.api))
    assert "a long password" not in said
    assert "another one" not in said
    verifiers = await query_rows(
        fresh.api,
        "SELECT verifier FROM ledger.secrets WHERE organisation = $1 AND owner = 'user/4'",
    )
    assert [row["verifier"].split("$")[1] for row in verifiers] == ["argon2id"]
