"""Methods 11 to 14, the queue's reads: contract communications.md, section 9.4."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.communications import CommunicationsClient, communications_client
from tests.fixtures.organisation import unknown_id
from tests.fixtures.service import Service, refusal

Json = dict[str, Any]
QUEUE, SYSTEM = "communications/queue", "communication_queue_external_system_identifier"
READS = ("list", "get_latest", "get_pending_completed")
STATES = {
    "list": ("PENDING", "REJECTED", "COMPLETED", "COMPLETED_AND_REMOVED"),
    "get_latest": ("PENDING",),
    "get_pending_completed": ("PENDING", "COMPLETED"),
}
WAYS: dict[str, tuple[str, ...]] = {
    "PENDING": (),
    "REJECTED": ("reject",),
    "COMPLETED": ("process",),
    "COMPLETED_AND_REMOVED": ("process", "remove"),
}


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    """An entry for each state, contact, media and system; the subject says which."""
    own = await communications_client(service)
    for state, contact, media, system in product(
        WAYS, (0, 1), ("EMAIL", "SMS"), (None, "ES1", "ES2")
    ):
        said = await own.create(
            subject=f"{state} {contact} {media} {system}",
            contact_information_identifier={"id": own.contacts[contact]},
            media=media,
            to="a@b",
            **({SYSTEM: {"id": system}} if system else {}),
        )
        numbers = await own.api.get(f"{QUEUE}/get_latest", media=media, number=1)
        assert numbers[0]["communication"]["id"] == said["id"]
        for method in WAYS[state]:
            await own.call_queue(method, numbers[0])
    return own


def expected(
    read: str, *, media: str | None = None, system: str | None = None, contact: int | None = None
) -> list[str]:
    """The subjects in the order of the read, by the contract's table."""
    found = [
        f"{s} {c} {m} {e}"
        for s, c, m, e in product(WAYS, (0, 1), ("EMAIL", "SMS"), (None, "ES1", "ES2"))
        if s in STATES[read] and media in (None, m) and system in (None, e) and contact in (None, c)
    ]
    return found if read == "list" else found[::-1]


async def read(client: CommunicationsClient, method: str, **query: Any) -> list[str]:
    if method == "get_latest":
        query = {"number": 100} | query
    entries = await client.api.get(f"{QUEUE}/{method}", **query)
    return [entry["communication"]["subject"] for entry in entries]


async def refused(client: CommunicationsClient, method: str, **query: Any) -> tuple[str, str]:
    given = {name: str(value) for name, value in query.items()}
    return refusal(await client.api.call("GET", f"{QUEUE}/{method}", query=given))


@pytest.mark.parametrize("method", READS)
@pytest.mark.parametrize("contact", [None, 0, 1])
@pytest.mark.parametrize("media", ["EMAIL", "SMS"])
async def test_by_media(
    client: CommunicationsClient, method: str, media: str, contact: int | None
) -> None:
    query: Json = {"media": media.lower()}
    if contact is not None:
        query["contact_information_identifier"] = f"id={client.contacts[contact]}"
    assert await read(client, method, **query) == expected(method, media=media, contact=contact)


@pytest.mark.parametrize("method", READS)
@pytest.mark.parametrize("contact", [None, 0, 1])
@pytest.mark.parametrize(
    ("system", "named"),
    [("ES1", "id=ES1"), ("ES1", "alternative_code=PM"), ("ES2", "name=Pigeon")],
)
async def test_by_system(
    client: CommunicationsClient, method: str, system: str, named: str, contact: int | None
) -> None:
    query: Json = {SYSTEM: named}
    if contact is not None:
        query["contact_information_identifier"] = f"id={client.contacts[contact]}"
    assert await read(client, method, **query) == expected(method, system=system, contact=contact)


@pytest.mark.parametrize("state", WAYS)
async def test_list_of_one_state(client: CommunicationsClient, state: str) -> None:
    found = await read(
        client, "list", media="SMS", life_cycle_state=state.lower().replace("_", " ")
    )
    assert found == [one for one in expected("list", media="SMS") if one.split()[0] == state]


async def test_complete_is_another_word_for_completed(client: CommunicationsClient) -> None:
    found = await read(client, "list", media="SMS", life_cycle_state="COMPLETE")
    assert found == await read(client, "list", media="SMS", life_cycle_state="COMPLETED") != []


@pytest.mark.parametrize("method", ["get_latest", "get_pending_completed"])
async def test_the_others_do_not_take_a_state(client: CommunicationsClient, method: str) -> None:
    found = await read(client, method, media="SMS", life_cycle_state="REJECTED")
    assert found == expected(method, media="SMS")


@pytest.mark.parametrize("method", READS)
async def test_pages(client: CommunicationsClient, method: str) -> None:
    whole = expected(method, media="EMAIL")
    if method == "get_latest":
        assert await read(client, method, media="EMAIL", number=2) == whole[:2]
        assert await read(client, method, media="EMAIL", number="1000") == whole
        return
    assert await read(client, method, media="EMAIL", number_of_results=2) == whole[:2]
    assert await read(client, method, media="EMAIL", offset=3) == whole[3:]
    assert await read(client, method, media="EMAIL", number_of_results=2, offset=1) == whole[1:3]
    assert await read(client, method, media="EMAIL", offset=10**6) == []


async def test_number_is_an_alias_of_get_pending_completed_only(
    client: CommunicationsClient,
) -> None:
    method = "get_pending_completed"
    whole = expected(method, media="EMAIL")
    assert await read(client, method, media="EMAIL", number=2) == whole[:2]
    assert await read(client, method, media="EMAIL", number=2, offset=1) == whole[1:3]
    assert await read(client, method, media="EMAIL", number=2, number_of_results=3) == whole[:3]
    assert await read(client, "list", media="EMAIL", number=2) == expected("list", media="EMAIL")
    latest = expected("get_latest", media="EMAIL")
    assert await read(client, "get_latest", media="EMAIL", number=9, offset=1) == latest[:9]


EITHER = f"{SYSTEM}, media"
REFUSED: list[tuple[Json, str, str]] = [
    ({}, "SEMIOPTIONALPARAMETER", EITHER),
    ({"media": ""}, "SEMIOPTIONALPARAMETER", EITHER),
    ({"media": "EMAIL", SYSTEM: "id=ES1"}, "SEMIOPTIONALPARAMETER", EITHER),
    ({"media": "FAX"}, "INVALIDPARAMETERVALUE", "media"),
    ({SYSTEM: "ES1"}, "INVALIDIDENTIFIER", SYSTEM),
    ({SYSTEM: "number=1"}, "INVALIDIDENTIFIER", SYSTEM),
    ({SYSTEM: "id=nothing"}, "ENTITYNOTFOUND", SYSTEM),
    (
        {"media": "EMAIL", "contact_information_identifier": f"id={unknown_id()}"},
        "ENTITYNOTFOUND",
        "contact_information_identifier",
    ),
]


@pytest.mark.parametrize("method", READS)
@pytest.mark.parametrize("case", REFUSED, ids=lambda c: f"{c[1]}-{c[0]}")
async def test_refused(
    client: CommunicationsClient, method: str, case: tuple[Json, str, str]
) -> None:
    query, name, description = case
    assert await refused(client, method, number=1, **query) == (name, description)


SIZES: list[tuple[str, str, Any, str]] = [
    *(
        (method, name, value, refusal_name)
        for method, name in (
            ("list", "number_of_results"),
            ("get_latest", "number"),
            ("get_pending_completed", "number_of_results"),
            ("get_pending_completed", "number"),
        )
        for value, refusal_name in (
            (0, "INVALIDPARAMETERVALUE"),
            (-1, "INVALIDPARAMETERVALUE"),
            (2**53, "INVALIDPARAMETERVALUE"),
            ("1.5", "INVALIDPARAMETERTYPE"),
            ("x", "INVALIDPARAMETERTYPE"),
        )
    ),
    *(
        (method, "offset", value, refusal_name)
        for method in ("list", "get_pending_completed")
        for value, refusal_name in ((-1, "INVALIDPARAMETERVALUE"), ("x", "INVALIDPARAMETERTYPE"))
    ),
    ("list", "life_cycle_state", "SENT", "INVALIDPARAMETERVALUE"),
]


@pytest.mark.parametrize(("method", "name", "value", "refusal_name"), SIZES)
async def test_sizes(
    client: CommunicationsClient, method: str, name: str, value: Any, refusal_name: str
) -> None:
    refused_with = await refused(client, method, media="EMAIL", **{name: value})
    assert refused_with == (refusal_name, name)


async def test_get_latest_needs_a_number(client: CommunicationsClient) -> None:
    for query in ({}, {"number": ""}, {"number_of_results": 5}):
        found = await refused(client, "get_latest", media="EMAIL", **query)
        assert found == ("MANDATORYPARAMETER", "number")


async def test_nothing_matches(client: CommunicationsClient) -> None:
    for method in READS:
        assert await read(client, method, media="LETTER") == []


ON = "communication_queue_identifier"


async def test_show(client: CommunicationsClient) -> None:
    [entry] = await client.api.get(f"{QUEUE}/get_latest", media="EMAIL", number=1)
    for named in (f"id={entry['id']}", f"number={entry['number']}"):
        assert await client.api.get(f"{QUEUE}/show", **{ON: named}) == entry


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({}, "MANDATORYPARAMETER"),
        ({ON: "1"}, "INVALIDIDENTIFIER"),
        ({ON: "code=1"}, "INVALIDIDENTIFIER"),
        ({ON: "number="}, "MANDATORYPARAMETER"),
        ({ON: "number=999999"}, "ENTITYNOTFOUND"),
        ({ON: "number=CM000001"}, "ENTITYNOTFOUND"),
    ],
)
async def test_show_refused(client: CommunicationsClient, query: Json, name: str) -> None:
    assert await refused(client, "show", **query) == (name, ON)


async def test_numbers_are_decimal_and_count_per_organisation(service: Service) -> None:
    own = await communications_client(service)
    entries = [await own.create_email(), await own.create_email()]
    assert [entry["number"] for entry in entries] == ["1", "2"]


async def test_of_another_organisation_there_is_nothing(
    client: CommunicationsClient, service: Service
) -> None:
    other = await communications_client(service)
    assert await refused(other, "show", **{ON: "number=1"}) == ("ENTITYNOTFOUND", ON)
    for method in READS:
        assert await read(other, method, media="EMAIL") == []
