"""``referring_to``, ``code`` and ``follow_up_set``: contract communications.md, sections 3 and 6."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from domain.reference.catalogue import REFERRING_TO, identifiable
from tests.fixtures.communications import (
    REFERRED_RECORDS,
    CommunicationsClient,
    call_concurrently,
    communications_client,
    error_names,
)
from tests.fixtures.organisation import untouched
from tests.fixtures.service import Service

Json = dict[str, Any]
REGISTERED = {
    record["kind"]: record for record in REFERRED_RECORDS if record["kind"] in REFERRING_TO
}
"""The last record of each kind that is registered for the tests."""


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    return await communications_client(service)


def to(kind: str, **identifier: Any) -> Json:
    """``referring_to`` one entity."""
    return {"referring_to": {f"{kind}_identifier": identifier}}


def linked(communication: Json) -> Json:
    """The ids of what is referred to, by kind."""
    return {
        kind: shown["id"]
        for kind, shown in communication["referring_to"].items()
        if shown is not None
    }


async def test_every_kind_is_always_shown(client: CommunicationsClient) -> None:
    assert set((await client.create())["referring_to"]) == set(REFERRING_TO)


@pytest.mark.parametrize("kind", REGISTERED)
async def test_every_kind_on_create_and_update(client: CommunicationsClient, kind: str) -> None:
    record = REGISTERED[kind]
    said = await client.create(**to(kind, id=record["id"]))
    draft = await client.create_draft()
    changed = await client.call("update", draft, **to(kind, id=record["id"]))
    assert linked(said) == linked(changed) == {kind: record["id"]}
    shown = said["referring_to"][kind]
    given = {k: v for k, v in record.items() if k in shown and k != "kind"}
    assert {name: shown[name] for name in given} == given


@pytest.mark.parametrize("kind", REGISTERED)
async def test_every_identifier_field(client: CommunicationsClient, kind: str) -> None:
    record = REGISTERED[kind]
    for field in identifiable(kind).fields:
        if field in record:
            said = await client.create(**to(kind, **{field: f" {record[field]} "}))
            assert linked(said) == {kind: record["id"]}


async def test_all_kinds_at_once(client: CommunicationsClient) -> None:
    referring = {f"{kind}_identifier": {"id": r["id"]} for kind, r in REGISTERED.items()}
    first = await client.create()
    referring["communication_identifier"] = {"number": first["number"]}
    said = await client.create(referring_to=referring)
    expected = {kind: record["id"] for kind, record in REGISTERED.items()}
    assert linked(said) == expected | {"communication": first["id"]}


REFUSED: list[tuple[Any, str, str]] = [
    ({"colour_identifier": {"id": "1"}}, "INVALIDIDENTIFIER", "referring_to"),
    ({"subscription": {"id": "SU1"}}, "INVALIDIDENTIFIER", "referring_to"),
    ({"reward_award_transaction_identifier": {"id": "1"}}, "INVALIDIDENTIFIER", "referring_to"),
    ({"subscription_identifier ": {"id": "SU1"}}, "INVALIDIDENTIFIER", "referring_to"),
    ([{}], "INVALIDPARAMETERTYPE", "referring_to"),
    ("number=1", "INVALIDPARAMETERTYPE", "referring_to"),
    *(
        (
            {f"{kind}_identifier": {"id": "nothing"}},
            "ENTITYNOTFOUND",
            f"referring_to.{kind}_identifier",
        )
        for kind in REFERRING_TO
        if kind != "access_token"
    ),
    (
        {"subscription_identifier": {"name": "1"}},
        "INVALIDIDENTIFIER",
        "referring_to.subscription_identifier",
    ),
    (
        {"subscription_identifier": {"id": "SU1", "number": "S60302"}},
        "SEMIOPTIONALPARAMETER",
        "referring_to.subscription_identifier",
    ),
    (
        {"subscription_identifier": "SU1"},
        "INVALIDIDENTIFIER",
        "referring_to.subscription_identifier",
    ),
    (
        {"access_token_identifier": {"identifier": "1", "pass_code": "2"}},
        "INVALIDIDENTIFIER",
        "referring_to.access_token_identifier",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: f"{c[1]}-{c[0]}")
async def test_refused(client: CommunicationsClient, case: tuple[Any, str, str]) -> None:
    given, name, description = case
    draft = await client.create_draft()
    async with untouched(client.api):
        assert await client.create_refused(referring_to=given) == (name, description)
        assert await client.call_refused("update", draft, referring_to=given) == (name, description)


async def test_entities_of_other_customers_are_allowed(client: CommunicationsClient) -> None:
    await client.register(
        "notification", "NO9", number="N9", contact_information_id=client.contacts[1]
    )
    said = await client.create(**to("notification", number="N9"))
    assert said["contact_information"]["id"] == client.contacts[0]
    shown = said["referring_to"]["notification"]
    assert shown["contact_information"]["id"] == client.contacts[1]


async def test_retired_entities_cannot_be_referred_to_but_stay_shown(
    client: CommunicationsClient,
) -> None:
    await client.register("job", "JO9", number="J9")
    said = await client.create(**to("job", id="JO9"))
    await client.register("job", "JO9", number="J9", retired=True)
    assert linked(await client.show(said)) == {"job": "JO9"}
    for named in ({"id": "JO9"}, {"number": "J9"}):
        refused = await client.create_refused(**to("job", **named))
        assert refused == ("ENTITYNOTFOUND", "referring_to.job_identifier")


async def test_the_entity_is_shown_as_it_is_now(client: CommunicationsClient) -> None:
    await client.register("job", "JO8", number="J8", description="Dig")
    said = await client.create(**to("job", id="JO8"))
    await client.register("job", "JO8", number="J8", description="Fill")
    assert (await client.show(said))["referring_to"]["job"]["description"] == "Fill"


BOTH = {"subscription_identifier": {"id": "SU1"}, "job_identifier": {"id": "JO1"}}
UPDATES: dict[str, tuple[Any, Json]] = {
    "a kind not mentioned stays": (
        {"bill_identifier": {"id": "BI1"}},
        {"subscription": "SU1", "job": "JO1", "bill": "BI1"},
    ),
    "another of the same kind replaces": (
        {"subscription_identifier": {"id": "SU2"}},
        {"subscription": "SU2", "job": "JO1"},
    ),
    "a kind that is null is removed": ({"job_identifier": None}, {"subscription": "SU1"}),
    "null removes all": (None, {}),
    "an empty object changes nothing": ({}, {"subscription": "SU1", "job": "JO1"}),
    "null for what is not linked": (
        {"bill_identifier": None},
        {"subscription": "SU1", "job": "JO1"},
    ),
}


@pytest.mark.parametrize("case", UPDATES)
async def test_updates(client: CommunicationsClient, case: str) -> None:
    given, expected = UPDATES[case]
    draft = await client.create_draft(referring_to=BOTH)
    assert linked(await client.call("update", draft, referring_to=given)) == expected
    assert linked(await client.show(draft)) == expected


async def test_a_communication_does_not_refer_to_itself(client: CommunicationsClient) -> None:
    draft = await client.create_draft()
    for named in ({"id": draft["id"]}, {"number": draft["number"]}):
        async with untouched(client.api):
            refused = await client.call_refused("update", draft, **to("communication", **named))
        assert refused == (
            "INVALIDPARAMETERVALUE",
            "referring_to.communication_identifier",
        )


async def test_the_compact_communication(client: CommunicationsClient) -> None:
    first = await client.create()
    said = await client.create(**to("communication", id=first["id"]))
    shown = said["referring_to"]["communication"]
    assert shown == {
        name: first[name]
        for name in (
            "id",
            "number",
            "life_cycle_state",
            "subject",
            "viewed",
            "viewed_on",
            "contact_information",
        )
    }
    await client.call("set_as_viewed", first)
    assert (await client.show(said))["referring_to"]["communication"]["viewed"] == 1


async def test_each_new_communication_has_a_code_of_its_own(client: CommunicationsClient) -> None:
    codes = [(await client.create())["code"], (await client.create_draft())["code"]]
    assert int(codes[0]) < int(codes[1])


async def test_follow_ups(client: CommunicationsClient) -> None:
    first = await client.create()
    second = await client.create_draft(**to("communication", id=first["id"]))
    third = await client.create(**to("communication", number=second["number"]))
    assert first["code"] == second["code"] == third["code"]
    shown = [await client.show(one) for one in (first, second, third)]
    ids = [[one["id"] for one in full["follow_up_set"]] for full in shown]
    assert ids == [[second["id"], third["id"]], [third["id"]], []]
    assert third["follow_up_set"] == []
    compact = {name: third[name] for name in shown[0]["follow_up_set"][1]}
    assert shown[0]["follow_up_set"][1] == compact
    changed = await client.call("update", second, notes="x")
    assert [one["id"] for one in changed["follow_up_set"]] == [third["id"]]
    listed = await client.api.get(
        "communications/list",
        contact_information_identifier=f"id={client.recipient}",
        number_of_results=1000,
    )
    found = {one["id"]: [f["id"] for f in one["follow_up_set"]] for one in listed}
    assert [found[one["id"]] for one in (first, second, third)] == ids


async def test_updates_do_not_change_the_code(client: CommunicationsClient) -> None:
    first, other = await client.create(), await client.create()
    follow_up = await client.create_draft(**to("communication", id=first["id"]))
    gone = await client.call("update", follow_up, referring_to=None)
    assert gone["code"] == first["code"]
    draft = await client.create_draft()
    added = await client.call("update", draft, **to("communication", id=other["id"]))
    assert added["code"] == draft["code"] != other["code"]
    assert [one["id"] for one in (await client.show(first))["follow_up_set"]] == [follow_up["id"]]
    assert (await client.show(other))["follow_up_set"] == []


async def test_the_first_hundred_follow_ups_are_shown(client: CommunicationsClient) -> None:
    first = await client.create_draft()
    others = [await client.create(**to("communication", id=first["id"])) for _ in range(102)]
    ids = [one["id"] for one in others]
    changed = await client.call("update", first, notes="x")
    everything = await client.api.get(
        "communications/list",
        contact_information_identifier=f"id={client.recipient}",
        number_of_results=1000,
    )
    [listed] = [one for one in everything if one["id"] == first["id"]]
    for shown in (changed, listed, await client.show(first)):
        assert [one["id"] for one in shown["follow_up_set"]] == ids[:100]
    assert [one["id"] for one in (await client.show(others[1]))["follow_up_set"]] == ids[2:]


async def test_follow_ups_of_other_contacts_count(client: CommunicationsClient) -> None:
    first = await client.create()
    second = await client.create(
        contact_information_identifier={"id": client.contacts[1]},
        **to("communication", id=first["id"]),
    )
    assert [one["id"] for one in (await client.show(first))["follow_up_set"]] == [second["id"]]


async def test_raced_follow_ups_share_the_code(client: CommunicationsClient) -> None:
    first = await client.create()
    body = client.creation_body(**to("communication", id=first["id"]))
    answers = await call_concurrently(client.api, [("communications/create", body)] * 10)
    assert error_names(answers) == ["OK"] * 10
    numbers = [answer["data"]["number"] for answer in answers]
    shown = [one["number"] for one in (await client.show(first))["follow_up_set"]]
    assert sorted(shown) == sorted(numbers)
    assert {answer["data"]["code"] for answer in answers} == {first["code"]}
