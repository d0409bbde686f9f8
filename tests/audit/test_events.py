"""The feed: events as they are stored, what a page says of itself, filters, lines, long polling."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from infra.audit.seal_builder import seal_next
from infra.audit.sealer import signer_of
from infra.http.audit.events import NDJSON
from infra.http.audit.routes import AUDIT
from infra.ledger import event_search as search
from infra.postgres.pool import PooledConnection
from services.audit.access import access_ledger
from tests.fixtures.auditors import Auditor
from tests.fixtures.organisation import query_rows
from tests.fixtures.service import RING, environment, refusal

Json = dict[str, Any]

EVENTS = """
SELECT organisation, position, stream_id::text, version, topic, schema_version, subject::text,
       payload::text, metadata::text, recorded_at, encode(event_hash, 'hex') AS event_hash,
       encode(ledger.event_hash(organisation, position, stream_id, version, topic, schema_version, subject,
              payload::text, metadata::text, recorded_at), 'hex') AS computed
  FROM ledger.events WHERE organisation = $1 ORDER BY position
"""


async def lines(past: Auditor, **query: Any) -> list[Json]:
    """What a stream holds, line by line."""
    service = past.desk.api.service
    headers = {"Accept": NDJSON, "Authorization": f"Bearer {past.tokens['auditor']}"}
    text = {name: str(value) for name, value in query.items()}
    url = f"{service.url}{AUDIT}events"
    async with service.http.get(url, params=text, headers=headers) as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, NDJSON)
        assert answer.headers["X-Request-Id"]
        return [json.loads(line) for line in (await answer.read()).splitlines()]


async def test_events_are_what_is_stored(past: Auditor) -> None:
    page = await past.get("events", limit=1000)
    stored = await query_rows(past.desk.api, EVENTS)
    head = len(stored)
    assert {name: page[name] for name in ("from", "to", "count", "left_out", "head", "seal")} == {
        "from": 1,
        "to": head,
        "count": head,
        "left_out": 0,
        "head": head,
        "seal": None,
    }
    for event, row in zip(page["events"], stored, strict=True):
        expected = dict(row)
        assert expected.pop("computed") == event["event_hash"]
        expected["recorded_at"] = row["recorded_at"].isoformat()
        for name in ("payload", "metadata"):
            expected[name] = json.loads(row[name])
        assert event == expected
    personal = [e for e in page["events"] if "personal" in e["payload"]]
    assert personal
    assert all(isinstance(e["payload"]["personal"], str) for e in personal)


async def test_payloads_are_sent_byte_by_byte(past: Auditor) -> None:
    service = past.desk.api.service
    headers = {"Authorization": f"Bearer {past.tokens['auditor']}"}
    url = f"{service.url}{AUDIT}events?limit=1000"
    async with service.http.get(url, headers=headers) as answer:
        raw = (await answer.read()).decode()
    for row in await query_rows(past.desk.api, EVENTS):
        assert f'"payload":{row["payload"]},"metadata":{row["metadata"]},' in raw


async def test_a_page_names_the_seal_that_it_lies_under(audited: Auditor) -> None:
    api = audited.desk.api
    head = (await audited.get("head"))["position"]
    signer = signer_of(environment("")["CRMLEDGER_SERVICE_KEY"])
    lane = await PooledConnection.open(api.service.database, 30)
    try:
        sealed = await seal_next(lane.connection, api.organisation, signer, RING)
    finally:
        await lane.connection.close()
    assert sealed
    seal = (await audited.get("events", after=3, limit=2))["seal"]
    (row,) = await query_rows(
        api, "SELECT statement::text FROM ledger.seals WHERE organisation = $1"
    )
    statement = json.loads(row["statement"])
    assert seal == {name: statement[name] for name in ("number", "first", "last", "root")}
    assert (seal["first"], seal["last"]) == (1, head)
    await audited.desk.create()
    assert (await audited.get("events", after=head))["seal"] is None


async def test_pages_follow_on_each_other(past: Auditor) -> None:
    whole = await past.get("events", limit=1000)
    found: list[Json] = []
    after = 0
    while after < whole["head"]:
        page = await past.get("events", after=after, limit=17)
        assert (page["from"], page["count"], page["left_out"]) == (
            after + 1,
            len(page["events"]),
            0,
        )
        found += page["events"]
        after = page["to"]
    assert found == whole["events"]
    end = await past.get("events", after=after)
    assert (end["from"], end["to"], end["count"], end["left_out"]) == (after + 1, after, 0, 0)


def matching(event: Json, name: str, value: str) -> bool:
    return bool(event["metadata"].get(name) == value)


async def test_each_filter_and_what_it_leaves_out(past: Auditor) -> None:
    whole = (await past.get("events", limit=1000))["events"]
    draft = next(e for e in whole if e["topic"] == "communication.drafted")
    lead = next(e for e in whole if e["payload"].get("record_id") == "LE1")
    request, moment = draft["metadata"]["request"], draft["recorded_at"]
    expected = {
        ("stream", draft["stream_id"]): lambda e: e["stream_id"] == draft["stream_id"],
        ("stream", "lead/LE1"): lambda e: e["stream_id"] == lead["stream_id"],
        ("topic", "communication.drafted"): lambda e: e["topic"] == "communication.drafted",
        ("topic", "communication"): lambda e: e["topic"].startswith("communication."),
        ("actor", "1"): lambda e: matching(e, "user", "1"),
        ("actor", "DEMO"): lambda e: matching(e, "user", "1"),
        ("request", request): lambda e: matching(e, "request", request),
        ("cause", request): lambda e: matching(e, "correlation", request),
        ("since", moment): lambda e: e["recorded_at"] >= moment,
        ("until", moment): lambda e: e["recorded_at"] < moment,
    }
    for (name, value), fits in expected.items():
        page = await past.get("events", limit=1000, **{name: value})
        wanted = [e for e in whole if fits(e)]
        assert wanted
        assert page["events"] == wanted, name
        assert (page["from"], page["to"], page["head"]) == (1, len(whole), len(whole)), name
        assert page["count"] + page["left_out"] == len(whole), name


async def test_filters_join(past: Auditor) -> None:
    whole = (await past.get("events", limit=1000))["events"]
    page = await past.get("events", topic="communication", actor="demo", limit=2, after=3)
    wanted = [e for e in whole if e["topic"].startswith("communication.")][:2]
    assert page["events"] == wanted
    assert page["to"] == wanted[1]["position"]
    assert page["left_out"] == page["to"] - 3 - 2


async def test_a_chain_of_calls(audited: Auditor) -> None:
    api = audited.desk.api
    for n in range(2):
        said = {"X-Request-Id": f"call-{n}", "X-Correlation-Id": "call-0"}
        await api.call(
            "POST", "communications/create", body=audited.desk.creation_body(), headers=said
        )
    first = await audited.get("events", request="call-0")
    chain = await audited.get("events", cause="call-0")
    assert [e["metadata"]["request"] for e in first["events"]] == ["call-0"]
    assert [e["metadata"]["request"] for e in chain["events"]] == ["call-0", "call-1"]


async def test_a_page_looks_through_so_many_positions(
    past: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (await past.get("events", limit=1000))["events"]
    monkeypatch.setattr(search, "WINDOW", 10)
    page = await past.get("events", topic="communication", limit=1000)
    assert (page["from"], page["to"] % 10) == (1, 0)
    fitting = [e for e in whole if e["topic"].startswith("communication.")]
    assert page["events"] == [e for e in fitting if e["position"] <= page["to"]]
    assert 0 < page["count"] < len(fitting)
    assert page["count"] + page["left_out"] == page["to"]
    monkeypatch.setattr(search, "LOOKING", 0)
    page = await past.get("events", topic="communication")
    assert (page["to"], page["count"], page["left_out"]) == (10, 0, 10)
    monkeypatch.undo()
    monkeypatch.setattr(search, "WINDOW", 10)
    found = await lines(past, topic="communication")
    assert found[:-1] == fitting
    assert found[-1]["page"]["left_out"] == len(whole) - len(found) + 1


async def test_lines(past: Auditor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.http.audit.events.CHUNK", 7)
    whole = await past.get("events", limit=1000)
    *events, last = await lines(past)
    assert events == whole["events"]
    assert last["page"] == {k: v for k, v in whole.items() if k != "events"}
    *some, last = await lines(past, after=5, limit=10)
    assert some == whole["events"][5:15]
    assert (last["page"]["from"], last["page"]["to"], last["page"]["count"]) == (6, 15, 10)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> asyncio.Semaphore:
    """Counts the pages that have been read."""
    counted, read = asyncio.Semaphore(0), search.Search.page

    async def page(*asked: Any) -> search.Page:
        found = await read(*asked)
        counted.release()
        return found

    monkeypatch.setattr(search.Search, "page", page)
    return counted


async def test_a_follower_waits_for_what_comes(audited: Auditor, looks: asyncio.Semaphore) -> None:
    head = (await audited.get("head"))["position"]
    waiting = asyncio.create_task(audited.get("events", after=head, topic="communication", wait=30))
    await looks.acquire()
    assert not waiting.done()
    await audited.desk.new_contact()
    await audited.desk.create()
    page = await waiting
    assert [e["topic"] for e in page["events"]] == ["communication.recorded"]
    assert (page["from"], page["to"], page["left_out"]) == (head + 1, head + 2, 1)


async def test_waiting_ends(audited: Auditor) -> None:
    head = (await audited.get("head"))["position"]
    started = time.monotonic()
    page = await audited.get("events", after=head, wait=1)
    assert time.monotonic() - started > 0.9
    assert (page["from"], page["to"], page["count"]) == (head + 1, head, 0)


async def test_many_followers_hold_no_connection(
    audited: Auditor, looks: asyncio.Semaphore
) -> None:
    """Else the event could only be written, and would be seen, after they have waited in vain."""
    head = (await audited.get("head"))["position"]
    waiting = [asyncio.create_task(audited.get("events", after=head, wait=30)) for _ in range(20)]
    for _ in waiting:
        await looks.acquire()
    await audited.desk.create()
    pages = await asyncio.gather(*waiting)
    assert {page["to"] for page in pages} == {head + 1}


async def test_who_has_read_is_read_likewise(audited: Auditor) -> None:
    await audited.get("events", stream=f"contact_information/{audited.desk.recipient}", limit=1)
    page = await audited.get("events", ledger="access", limit=1000)
    organisation = audited.desk.api.organisation
    assert page["ledger"] == access_ledger(organisation)
    former, last = (event["payload"] for event in page["events"][-2:])
    assert former["method"] == "events"
    assert former["about"]["stream"].replace("-", "").upper() == audited.desk.recipient
    assert last == {"method": "events", "about": {"ledger": "ACCESS", "limit": 1000}}
    assert page["events"][-1]["metadata"]["user"] == "11"


@pytest.mark.parametrize(
    ("query", "status", "expected"),
    [
        ({"after": "x"}, 400, ("INVALIDPARAMETERTYPE", "after")),
        ({"after": -1}, 400, ("INVALIDPARAMETERVALUE", "after")),
        ({"after": 10**9}, 400, ("INVALIDPARAMETERVALUE", "after")),
        ({"limit": 0}, 400, ("INVALIDPARAMETERVALUE", "limit")),
        ({"wait": 3600}, 400, ("INVALIDPARAMETERVALUE", "wait")),
        ({"topic": "communication.exploded"}, 400, ("INVALIDPARAMETERVALUE", "topic")),
        ({"stream": "x"}, 400, ("INVALIDPARAMETERVALUE", "stream")),
        ({"stream": "lead/XX"}, 404, ("ENTITYNOTFOUND", "stream")),
        ({"actor": "nobody"}, 404, ("ENTITYNOTFOUND", "actor")),
        ({"actor": "a b"}, 400, ("INVALIDPARAMETERVALUE", "actor")),
        ({"request": "a b"}, 400, ("INVALIDPARAMETERVALUE", "request")),
        ({"since": "Monday"}, 400, ("INVALIDPARAMETERTYPE", "since")),
        ({"ledger": "cellar"}, 400, ("INVALIDPARAMETERVALUE", "ledger")),
    ],
)
async def test_refusals_name_the_parameter(
    past: Auditor, query: Json, status: int, expected: tuple[str, str]
) -> None:
    found, answer, _ = await past.ask("events", **query)
    assert (found, refusal(answer)) == (status, expected)


async def test_times_without_an_offset_are_of_the_services_zone(past: Auditor) -> None:
    page = await past.get("events", since="2000-01-01", until="2000-01-02T00:00:00")
    assert (page["count"], page["to"]) == (0, page["head"])
    assert page["left_out"] == page["head"]
