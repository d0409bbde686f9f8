"""Methods 9 and 10 and the life cycle: contract communications.md, sections 8.1, 8.5, 8.6 and 9.1."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.communications import (
    CommunicationsClient,
    call_concurrently,
    communications_client,
    error_names,
    event_topics,
    new_key,
    post_raw,
)
from tests.fixtures.organisation import untouched
from tests.fixtures.service import Service, refusal

Json = dict[str, Any]
COMPACT = {
    "id",
    "number",
    "life_cycle_state",
    "subject",
    "viewed",
    "viewed_on",
    "contact_information",
}
MAIL = {"media": "EMAIL", "to": "a@b"}
ON = "communication_identifier"


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    return await communications_client(service)


def on(method: str, communication: Json, **more: Any) -> tuple[str, Json]:
    return f"communications/{method}", {ON: {"id": communication["id"]}} | more


TABLE = [
    ("DRAFT", "update", {}, "DRAFT"),
    ("DRAFT", "update", {"life_cycle_state": "DRAFT"}, "DRAFT"),
    ("DRAFT", "update", {"life_cycle_state": "COMPLETED"}, "COMPLETED"),
    ("DRAFT", "complete", {}, "COMPLETED"),
    ("DRAFT", "set_as_viewed", {}, None),
    ("COMPLETED", "update", {}, None),
    ("COMPLETED", "update", {"life_cycle_state": "COMPLETED"}, None),
    ("COMPLETED", "complete", {}, None),
    ("COMPLETED", "set_as_viewed", {}, "COMPLETED"),
]


@pytest.mark.parametrize(("state", "method", "given", "leads_to"), TABLE)
async def test_the_table(
    client: CommunicationsClient, state: str, method: str, given: Json, leads_to: str | None
) -> None:
    one = await client.create(**MAIL, life_cycle_state=state)
    before = await event_topics(client.api, "queue_entry.queued")
    if leads_to:
        assert (await client.call(method, one, **given))["life_cycle_state"] == leads_to
    else:
        async with untouched(client.api):
            refused = await client.call_refused(method, one, **given)
        assert refused[0] == "INVALIDLIFECYCLESTATE"
    queued = len(await event_topics(client.api, "queue_entry.queued")) - len(before)
    assert queued == (1 if state == "DRAFT" and leads_to == "COMPLETED" else 0)
    assert (await client.show(one))["life_cycle_state"] == leads_to or state


QUEUED = {
    (direction, media, system): direction == "OUTGOING" and (system or media in ("EMAIL", "SMS"))
    for direction, media, system in product(
        ("INCOMING", "OUTGOING"),
        ("EMAIL", "SMS", "PHONE", "LETTER", "FACE_TO_FACE"),
        (False, True),
    )
}


@pytest.mark.parametrize("way", ["create", "complete", "update"])
@pytest.mark.parametrize(("case", "expected"), QUEUED.items(), ids=str)
async def test_what_is_queued(
    client: CommunicationsClient, way: str, case: tuple[str, str, bool], expected: bool
) -> None:
    direction, media, system = case
    given: Json = {"direction": direction, "media": media, "to": "a@b"}
    if system:
        given["communication_queue_external_system_identifier"] = {"id": "ES1"}
    if way == "create":
        one = await client.create(**given)
    else:
        one = await client.create_draft(**given)
        more = {"life_cycle_state": "COMPLETED"} if way == "update" else {}
        await client.call(way, one, **more)
    entries = await client.api.get("communications/queue/list", media=media, number_of_results=1000)
    mine = [entry for entry in entries if entry["communication"]["id"] == one["id"]]
    assert len(mine) == int(expected)
    for entry in mine:
        assert entry["life_cycle_state"] == "PENDING"
        assert (entry["error_code"], entry["error_description"]) == (None, None)
        assert (entry["communication_queue_external_system"] or {}).get("id") == (
            "ES1" if system else None
        )


@pytest.mark.parametrize(("media", "setting"), [("EMAIL", "email"), ("SMS", "sms")])
async def test_servers_that_are_off_queue_nothing(
    service: Service, media: str, setting: str
) -> None:
    own = await communications_client(service)
    await own.register_settings(**{f"{setting}_server_enabled": False})
    await own.create(media=media, to="a@b")
    assert await event_topics(own.api, "queue_entry") == []
    other = "SMS" if media == "EMAIL" else "EMAIL"
    await own.create(media=other, to="a@b")
    await own.create(
        media=media, to="a@b", communication_queue_external_system_identifier={"id": "ES1"}
    )
    assert await event_topics(own.api, "queue_entry") == ["queue_entry.queued"] * 2


async def test_the_entry_is_of_the_session_that_completes(client: CommunicationsClient) -> None:
    draft = await client.create_draft(**MAIL)
    token = await client.api.login(unit="83FEA79C4ADC57C16330F36173A02B8D")
    await client.api.open(*_with(on("complete", draft), token=token))
    entries = await client.api.get("communications/queue/get_latest", media="EMAIL", number=1)
    log = entries[0]["log_information"]
    assert entries[0]["communication"]["id"] == draft["id"]
    assert log["created_by_unit"]["name"] == log["updated_by_unit"]["name"] == "Call Centre"


def _with(call: tuple[str, Json], **more: Any) -> tuple[str, Json]:
    return call[0], call[1] | more


async def test_complete_happens(client: CommunicationsClient) -> None:
    draft = await client.create_draft()
    done = await client.call("complete", draft)
    assert set(done) == COMPACT
    assert done["life_cycle_state"] == "COMPLETED"
    assert await client.show(draft) == draft | {
        "life_cycle_state": "COMPLETED",
        "log_information": (await client.show(draft))["log_information"],
    }
    assert (await event_topics(client.api))[-1] == "communication.completed"


async def test_complete_does_not_resolve_tags(client: CommunicationsClient) -> None:
    nested = {"type": "STRING", "name": "nested", "string_value": "#subscription.number"}
    draft = await client.create_draft(
        content="#unrestricted_string.nested",
        referring_to={"subscription_identifier": {"id": "SU1"}},
        unrestricted_parameter_set=[nested],
    )
    await client.call("complete", draft)
    assert (await client.show(draft))["content"] == "#subscription.number"


async def test_viewed_now(client: CommunicationsClient) -> None:
    said = await client.create()
    seen = await client.call("set_as_viewed", said)
    assert set(seen) == COMPACT
    assert seen["viewed"] == 1
    assert seen["viewed_on"]
    assert (await client.show(said))["viewed_on"] == seen["viewed_on"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2014-05-05T15:49:59", "Mon May 05 15:49:59 EEST 2014"),
        ("2014-01-05", "Sun Jan 05 00:00:00 EET 2014"),
        ("1999-12-31 23:59:59.999", "Fri Dec 31 23:59:59 EET 1999"),
        ("2014-05-05T12:49:59Z", "Mon May 05 15:49:59 EEST 2014"),
        ("2014-05-05T12:49:59+01:00", "Mon May 05 14:49:59 EEST 2014"),
        ("2999-05-05T15:49:59", "Sun May 05 15:49:59 EEST 2999"),
        # An hour that the clock shows twice: the zone is that of the instant.
        ("2026-10-25T00:30:24Z", "Sun Oct 25 03:30:24 EEST 2026"),
        ("2026-10-25T01:30:24Z", "Sun Oct 25 03:30:24 EET 2026"),
        ("2026-10-25T03:30:24.5+02:00", "Sun Oct 25 03:30:24 EET 2026"),
        ("2026-10-25T03:30:24", "Sun Oct 25 03:30:24 EEST 2026"),
        ("2026-10-25T02:00:00Z", "Sun Oct 25 04:00:00 EET 2026"),
    ],
)
async def test_viewed_on(client: CommunicationsClient, given: str, shown: str) -> None:
    said = await client.create()
    await client.call("set_as_viewed", said, viewed_on="2001-01-01")
    seen = await client.call("set_as_viewed", said, viewed_on=given)
    assert (seen["viewed"], seen["viewed_on"]) == (1, shown)


@pytest.mark.parametrize("given", [{"viewed_on": None}, {}])
async def test_viewed_by_default(client: CommunicationsClient, given: Json) -> None:
    said = await client.create()
    assert (await client.call("set_as_viewed", said, **given))["viewed"] == 1


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("yesterday", "INVALIDPARAMETERTYPE"),
        (5, "INVALIDPARAMETERTYPE"),
        ("2014-02-30", "INVALIDPARAMETERVALUE"),
        ("2014-05-05T25:00:00", "INVALIDPARAMETERVALUE"),
    ],
)
async def test_viewed_on_refused(client: CommunicationsClient, value: Any, name: str) -> None:
    said = await client.create()
    async with untouched(client.api):
        refused = await client.call_refused("set_as_viewed", said, viewed_on=value)
    assert refused == (name, "viewed_on")


async def test_viewing_does_not_touch_the_queue(client: CommunicationsClient) -> None:
    entry = await client.create_email()
    await client.call("set_as_viewed", entry["communication"])
    now = await client.show_queue_entry(entry["id"])
    assert now["communication"]["viewed"] == 1
    assert now | {"communication": None} == entry | {"communication": None}


CALLS: dict[str, Json] = {"complete": {}, "set_as_viewed": {"viewed_on": "2014-05-05"}}


@pytest.mark.parametrize("method", CALLS)
async def test_repeated(client: CommunicationsClient, method: str) -> None:
    state = "DRAFT" if method == "complete" else "COMPLETED"
    one = await client.create(**MAIL, life_cycle_state=state)
    call, key = on(method, one, **CALLS[method]), {"Idempotency-Key": new_key()}
    before = await event_topics(client.api)
    answers = await call_concurrently(client.api, [call] * 50, **key)
    assert answers == [answers[0]] * 50
    assert answers[0]["status"]["code"] == "OK"
    new = (await event_topics(client.api))[len(before) :]
    expected = {
        "complete": ["communication.completed", "queue_entry.queued"],
        "set_as_viewed": ["communication.marked_viewed"],
    }
    assert new == expected[method]
    async with untouched(client.api):
        assert await call_concurrently(client.api, [call], **key) == [answers[0]]
        status, answer = await post_raw(client.api, call[0], call[1] | {"x": 1}, **key)
        assert (status, refusal(answer)[0]) == (422, "INVALIDREQUEST")


async def test_repeated_without_a_key(client: CommunicationsClient) -> None:
    draft = await client.create_draft()
    call = on("complete", draft)
    assert error_names(await call_concurrently(client.api, [call])) == ["OK"]
    assert error_names(await call_concurrently(client.api, [call])) == ["INVALIDLIFECYCLESTATE"]
    viewed = on("set_as_viewed", draft)
    assert error_names(
        [
            *await call_concurrently(client.api, [viewed]),
            *await call_concurrently(client.api, [viewed]),
        ]
    ) == [
        "OK",
        "OK",
    ]


async def test_completing_twice_at_once(client: CommunicationsClient) -> None:
    for _ in range(5):
        draft = await client.create_draft(**MAIL)
        before = await event_topics(client.api)
        answers = await call_concurrently(client.api, [on("complete", draft)] * 2)
        assert error_names(answers) == ["INVALIDLIFECYCLESTATE", "OK"]
        new = (await event_topics(client.api))[len(before) :]
        assert new == ["communication.completed", "queue_entry.queued"]


async def test_viewing_and_completing_at_once(client: CommunicationsClient) -> None:
    draft = await client.create_draft()
    answers = await call_concurrently(
        client.api, [on("set_as_viewed", draft), on("complete", draft)]
    )
    assert answers[1]["status"]["code"] == "OK"
    viewed = answers[0]["status"]["code"] == "OK"
    assert (await client.show(draft))["viewed"] == int(viewed)


async def test_viewing_at_once_the_last_one_counts(client: CommunicationsClient) -> None:
    said = await client.create()
    calls = [on("set_as_viewed", said, viewed_on=f"20{n:02}-01-01") for n in range(10, 20)]
    answers = await call_concurrently(client.api, calls)
    assert error_names(answers) == ["OK"] * 10
    shown = {answer["data"]["viewed_on"] for answer in answers}
    assert (await client.show(said))["viewed_on"] in shown
