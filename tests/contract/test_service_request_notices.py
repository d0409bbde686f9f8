"""What the caller is told of a status: contract service_requests.md, section 4."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_asyncio

from tests.communications_world import events
from tests.service import Service
from tests.service_requests_world import STATUSES, Helpdesk, answer, helpdesk
from tests.world import rows

Json = dict[str, Any]
BOTH = {"type_identifier": {"id": "BOTH"}, "caller_email": "a@b.c", "caller_phone": "22114455"}


@pytest_asyncio.fixture
async def here(service: Service) -> Helpdesk:
    return await helpdesk(service)


async def told(here: Helpdesk) -> list[Json]:
    """The communications with the customer."""
    named = {"contact_information_identifier": f"id={here.customer}"}
    return list(await here.api.get("communications/list", **named))


async def test_a_create_is_told_by_mail_and_sms(here: Helpdesk) -> None:
    one = await here.open(**BOTH)
    mail, sms = await told(here)
    assert (mail["media"], mail["to"]) == ("EMAIL", "a@b.c")
    assert (sms["media"], sms["to"]) == ("SMS", "22114455")
    for said in (mail, sms):
        assert (said["direction"], said["life_cycle_state"]) == ("OUTGOING", "COMPLETED")
        assert said["contact_information"]["id"] == here.customer
        assert said["referring_to"]["service_request"]["id"] == one["id"]
        assert said["subject"] == f"Service request {one['number']}: New"
        assert said["content"] == f"Your service request {one['number']} (Told) is now: New."
        assert said["log_information"] == one["log_information"]
        assert said["number"]
        assert said["code"]
    assert mail["code"] != sms["code"]
    for media, said in (("EMAIL", mail), ("SMS", sms)):
        (entry,) = await here.api.get("communications/queue/list", media=media)
        assert entry["communication"]["id"] == said["id"]
        assert entry["life_cycle_state"] == "PENDING"


async def test_each_change_of_the_status_is_told_once(here: Helpdesk) -> None:
    one = await here.open(**BOTH | {"caller_phone": "1"})
    await here.on("update", one, description="nobody is told")
    await here.on("update", one, status_identifier={"id": "NEW"})
    await here.on("update", one, status_identifier={"id": "WAITING"})
    solved = {name: answer(name) for name in ("response", "final_resolution")}
    await here.on("update", one, status_identifier={"id": STATUSES["FINAL_RESOLVED"]}, **solved)
    await here.on("complete", one, status_identifier={"id": STATUSES["COMPLETED"]})
    mails = [
        said["subject"].split(": ")[1] for said in await told(here) if said["media"] == "EMAIL"
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
async def test_who_is_told(here: Helpdesk, type_: str, given: Json, media: list[str]) -> None:
    await here.open(type_identifier={"id": type_}, **given)
    assert [said["media"] for said in await told(here)] == media


async def test_cancelling_is_told(here: Helpdesk) -> None:
    await here.on("cancel", await here.open(**BOTH))
    assert [said["subject"].split(": ")[1] for said in await told(here)] == [
        "New",
        "New",
        "Withdrawn",
        "Withdrawn",
    ]


async def test_a_refused_call_tells_nothing(here: Helpdesk) -> None:
    one = await here.at("RESPONDED", **BOTH)
    before = await events(here.api)
    assert (await here.not_on("cancel", one))[0] == "INVALIDLIFECYCLESTATE"
    assert (await here.unopened(**BOTH, services_set=[{"product_identifier": {"id": "P3"}}]))[0]
    assert await events(here.api) == before


async def test_notices_keep_to_the_limits_of_their_media(here: Helpdesk) -> None:
    await here.settings(content_limits={"SMS": 20, "EMAIL": 0})
    await here.open(**BOTH)
    (sms,) = await told(here)
    assert (sms["media"], sms["content"]) == ("SMS", "Your service request")


async def test_a_server_that_is_off_queues_nothing(here: Helpdesk) -> None:
    await here.settings(sms_server_enabled=False)
    await here.open(**BOTH)
    assert len(await told(here)) == 2
    assert await here.api.get("communications/queue/list", media="SMS") == []
    assert len(await here.api.get("communications/queue/list", media="EMAIL")) == 1


async def test_causation(here: Helpdesk) -> None:
    """The events of a notice lead to the service request's event, in the same transaction."""
    one = await here.at("RESPONDED", **BOTH)
    found = await rows(
        here.api,
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


async def test_what_is_told_is_caused_by_what_set_the_status(here: Helpdesk) -> None:
    one = await here.open(**BOTH, services_set=[{"product_identifier": {"id": "P1"}}])
    waiting = {"status_identifier": {"id": "WAITING"}}
    await here.on("update", one, notes="x", **waiting)
    found = await rows(
        here.api,
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
