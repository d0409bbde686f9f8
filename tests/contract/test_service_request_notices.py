"""What the caller is told of a status: contract service_requests.md, section 4."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.communications import event_topics
from tests.fixtures.organisation import query_rows
from tests.fixtures.service import Service
from tests.fixtures.service_requests import (
    STATUSES,
    ServiceRequestsClient,
    answer,
    service_requests_client,
)

Json = dict[str, Any]
BOTH = {"type_identifier": {"id": "BOTH"}, "caller_email": "a@b.c", "caller_phone": "22114455"}


@pytest_asyncio.fixture
async def client(service: Service) -> ServiceRequestsClient:
    return await service_requests_client(service)


async def told(client: ServiceRequestsClient) -> list[Json]:
    """The communications with the customer."""
    named = {"contact_information_identifier": f"id={client.customer}"}
    return list(await client.api.get("communications/list", **named))


async def test_a_create_is_told_by_mail_and_sms(client: ServiceRequestsClient) -> None:
    one = await client.create(**BOTH)
    mail, sms = await told(client)
    assert (mail["media"], mail["to"]) == ("EMAIL", "a@b.c")
    assert (sms["media"], sms["to"]) == ("SMS", "22114455")
    for said in (mail, sms):
        assert (said["direction"], said["life_cycle_state"]) == ("OUTGOING", "COMPLETED")
        assert said["contact_information"]["id"] == client.customer
        assert said["referring_to"]["service_request"]["id"] == one["id"]
        assert said["subject"] == f"Service request {one['number']}: New"
        assert said["content"] == f"Your service request {one['number']} (Told) is now: New."
        assert said["log_information"] == one["log_information"]
        assert said["number"]
        assert said["code"]
    assert mail["code"] != sms["code"]
    for media, said in (("EMAIL", mail), ("SMS", sms)):
        (entry,) = await client.api.get("communications/queue/list", media=media)
        assert entry["communication"]["id"] == said["id"]
        assert entry["life_cycle_state"] == "PENDING"


async def test_each_change_of_the_status_is_told_once(client: ServiceRequestsClient) -> None:
    one = await client.create(**BOTH | {"caller_phone": "1"})
    await client.call("update", one, description="nobody is told")
    await client.call("update", one, status_identifier={"id": "NEW"})
    await client.call("update", one, status_identifier={"id": "WAITING"})
    solved = {name: answer(name) for name in ("response", "final_resolution")}
    await client.call("update", one, status_identifier={"id": STATUSES["FINAL_RESOLVED"]}, **solved)
    await client.call("complete", one, status_identifier={"id": STATUSES["COMPLETED"]})
    mails = [
        said["subject"].split(": ")[1] for said in await told(client) if said["media"] == "EMAIL"
    ]
    assert mails == ["New", "Waiting", "Solved", "Closed"]


@pytest.mark.parametrize(
    ("type_", "given", "media"),
    [
        ("FAULT", {"caller_email": "a@b", "caller_phone": "1"}, []),
        ("MAIL", {"caller_email": "a@b", "caller_phone": "1"}, ["EMAIL"]),
        ("MAIL", {"caller_email": "nowhere"}, []),
        ("SMS", {"caller_email": "a@b", "caller_phone": "1"}, ["SMS"]),
        ("BOTH", {"caller_phone": "1"}, ["SMS"]),
    ],
)
async def test_who_is_told(
    client: ServiceRequestsClient, type_: str, given: Json, media: list[str]
) -> None:
    await client.create(type_identifier={"id": type_}, **given)
    assert [said["media"] for said in await told(client)] == media


async def test_cancelling_is_told(client: ServiceRequestsClient) -> None:
    await client.call("cancel", await client.create(**BOTH))
    assert [said["subject"].split(": ")[1] for said in await told(client)] == [
        "New",
        "New",
        "Withdrawn",
        "Withdrawn",
    ]


async def test_a_refused_call_tells_nothing(client: ServiceRequestsClient) -> None:
    one = await client.create_in_state("RESPONDED", **BOTH)
    before = await event_topics(client.api)
    assert (await client.call_refused("cancel", one))[0] == "INVALIDLIFECYCLESTATE"
    assert (
        await client.create_refused(**BOTH, services_set=[{"product_identifier": {"id": "P3"}}])
    )[0]
    assert await event_topics(client.api) == before


async def test_notices_keep_to_the_limits_of_their_media(client: ServiceRequestsClient) -> None:
    await client.register_settings(content_limits={"SMS": 20, "EMAIL": 0})
    await client.create(**BOTH)
    (sms,) = await told(client)
    assert (sms["media"], sms["content"]) == ("SMS", "Your service request")


async def test_a_server_that_is_off_queues_nothing(client: ServiceRequestsClient) -> None:
    await client.register_settings(sms_server_enabled=False)
    await client.create(**BOTH)
    assert len(await told(client)) == 2
    assert await client.api.get("communications/queue/list", media="SMS") == []
    assert len(await client.api.get("communications/queue/list", media="EMAIL")) == 1


async def test_causation(client: ServiceRequestsClient) -> None:
    """The events of a notice lead to the service request's event, in the same transaction."""
    one = await client.create_in_state("RESPONDED", **BOTH)
    found = await query_rows(
        client.api,
        "SELECT stream_id, version, topic, metadata::text AS said, recorded_at FROM ledger.events"
        " WHERE organisation = $1 AND position > (SELECT position - 1 FROM ledger.events"
        " WHERE organisation = $1 AND topic = 'service_request.opened') ORDER BY position",
    )
    topics = [row["topic"] for row in found]
    assert topics == [
        "service_request.opened",
        "service_request.responded",
        *["communication.recorded", "queue_entry.queued"] * 2,
    ]
    responded = found[1]
    assert responded["stream_id"].hex.upper() == one["id"]
    causes = json.loads(responded["said"])["causation"]
    assert causes == {
        str(row["stream_id"]): f"{responded['stream_id']}/{responded['version']}"
        for row in found[2:]
    }
    assert len({(row["recorded_at"], row["said"]) for row in found}) == 1


async def test_what_is_told_is_caused_by_what_set_the_status(client: ServiceRequestsClient) -> None:
    one = await client.create(**BOTH, services_set=[{"product_identifier": {"id": "P1"}}])
    waiting = {"status_identifier": {"id": "WAITING"}}
    await client.call("update", one, notes="x", **waiting)
    found = await query_rows(
        client.api,
        "SELECT e.topic, c.topic AS cause FROM ledger.events e, json_each_text(e.metadata -> 'causation') AS m"
        " JOIN ledger.events c ON c.stream_id = split_part(m.value, '/', 1)::uuid"
        " AND c.version = split_part(m.value, '/', 2)::integer"
        " WHERE e.organisation = $1 AND c.organisation = $1 AND m.key = e.stream_id::text"
        " AND e.topic = 'communication.recorded' ORDER BY e.position",
    )
    assert [row["cause"] for row in found] == [
        *["service_request.opened"] * 2,
        *["service_request.status_changed"] * 2,
    ]
