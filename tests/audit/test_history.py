"""The history of one entity: what happened, by whom, from where, before and after."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from infra.http.audit.routes import AUDIT
from infra.postgres.pool import ConnectionPool
from infra.store.entity_events import PostgresEntityEvents
from services.audit.field_history import RecordedEvent, flatten_document, replay
from services.reference_cache import ReferenceCache
from tests.fixtures.auditors import ROLES, Auditor, auditor
from tests.fixtures.organisation import query_rows, untouched
from tests.fixtures.read_models import keys_of
from tests.fixtures.service import PASSWORD, Service, refusal
from tests.infra.test_openapi import DESCRIBED, problems

Json = dict[str, Any]

STREAMS = """
SELECT stream_id, split_part(min(topic), '.', 1) AS aggregate FROM ledger.events
 WHERE organisation = $1 GROUP BY stream_id
"""
READINGS = """
SELECT payload ->> 'method' AS method, payload -> 'about' AS about FROM ledger.events
 WHERE organisation = $1 || '~access' ORDER BY position
"""


async def histories(past: Auditor) -> list[Json]:
    """The history of everything."""
    return [
        await past.get("history", entity=f"{row['aggregate']}/{row['stream_id']}")
        for row in await query_rows(past.desk.api, STREAMS)
    ]


def changed(entry: Json) -> dict[str, tuple[Any, Any]]:
    """Before and after by field."""
    return {c["field"]: (c["before"], c["after"]) for c in entry["changes"]}


async def one(past: Auditor, topic: str) -> Json:
    """The last entry of a topic."""
    found = [e for h in await histories(past) for e in h["entries"] if e["topic"] == topic]
    return max(found, key=lambda entry: int(entry["position"]))


async def test_every_event_is_told_once_with_what_it_changed(past: Auditor) -> None:
    told = [entry for history in await histories(past) for entry in history["entries"]]
    head = await past.get("head")
    assert sorted(entry["position"] for entry in told) == list(range(1, head["position"] + 1))
    # Waits after wrong guesses are no part of what the token is.
    unchanging = {entry["topic"] for entry in told if not entry["changes"]}
    assert unchanging <= {
        "access_token.guesses_forgiven",
        "record.guesses_forgiven",
        "record.sessions_ended",
    }


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("communication.completed", {"life_cycle_state": ("DRAFT", "COMPLETED")}),
        ("communication.amended", {"subject": ("Hello", "Again")}),
        ("queue_entry.processed", {"life_cycle_state": ("PENDING", "COMPLETED")}),
        ("queue_entry.removed", {"life_cycle_state": ("PENDING", "COMPLETED_AND_REMOVED")}),
        (
            "queue_entry.rejected",
            {
                "life_cycle_state": ("PENDING", "REJECTED"),
                "error_code": (None, "E1"),
                "error_description": (None, "Nobody there"),
            },
        ),
        (
            "contact_information.amended",
            {"demographics.id_number": ("K1", "K2"), "demographics.passport_number": ("P1", None)},
        ),
        ("record.retired", {"retired": (None, True)}),
        ("record.reinstated", {"retired": (True, None)}),
        ("session.released", {"life_cycle_state": ("OPEN", "RELEASED")}),
    ],
)
async def test_before_and_after(past: Auditor, topic: str, expected: Json) -> None:
    assert changed(await one(past, topic)) == expected


async def test_entries_of_sets_stand_by_their_ids(past: Auditor) -> None:
    added = changed(await one(past, "contact_information.entry_added"))
    (name,) = {field.partition("]")[0] for field in added}
    assert added[f"{name}].number"] == (None, "22114455")
    removed = changed(await one(past, "contact_information.entry_removed"))
    assert all(after is None for _, after in removed.values())
    assert {before for before, _ in removed.values()} >= {"22114455", "n"}


async def test_what_no_document_shows_is_told_too(past: Auditor) -> None:
    photo = changed(await one(past, "contact_information.profile_photo_removed"))
    assert photo["profile_photo.file_name"] == ("me.png", None)
    lost = changed(await one(past, "contact_information.last_account_lost"))
    ((account,), nothing) = lost["accounts_receivable_set"]
    assert (account.partition("/")[0], nothing) == ("accounts_receivable", None)
    user = await past.get("history", entity="user/11")
    (key,) = [c["after"] for c in user["entries"][0]["changes"] if c["field"] == "secrets.password"]
    assert len(key) == 32


async def test_who_from_where_and_in_which_request(audited: Auditor) -> None:
    said = {"X-Request-Id": "request-1", "X-Correlation-Id": "chain-1"}
    desk = audited.desk
    body = desk.creation_body(media="EMAIL", to="a@b")
    answer = await desk.api.call("POST", "communications/create", body=body, headers=said)
    id_ = answer["data"]["id"]
    history = await audited.get("history", entity=f"communication/{id_.lower()}")
    (entry,) = history["entries"]
    assert history["entity"] == f"communication/{id_}"
    assert {name: entry[name] for name in ("request", "correlation", "method", "version")} == {
        "request": "request-1",
        "correlation": "chain-1",
        "method": "communications/create",
        "version": 1,
    }
    session = entry["by"].pop("session")
    assert entry["by"] == {
        "user": {"id": "1", "username": "demo", "person_name": "Marios Lannister"},
        "unit": {"id": "48305F8849E3C18B227C5BE3A27BA6DF", "name": "Admin Unit"},
        "client": "127.0.0.1",
        "source": None,
    }
    login = await audited.get("history", entity=f"session/{session}")
    assert login["entries"][0]["sentence"] == "A login succeeded."
    assert entry["at"] <= entry["recorded_at"]


async def test_causes_and_effects(audited: Auditor) -> None:
    desk = audited.desk
    draft = await desk.create_draft(media="EMAIL", to="a@b")
    await desk.call("complete", draft)
    told = await audited.get("history", entity=f"communication/number={draft['number']}")
    begun, completed = told["entries"]
    assert begun["causes"] == begun["effects"] == completed["causes"] == []
    (effect,) = completed["effects"]
    assert effect["topic"] == "queue_entry.queued"
    queued = await audited.get("history", entity=effect["entity"])
    (cause,) = queued["entries"][0]["causes"]
    assert cause == {
        "position": completed["position"],
        "entity": told["entity"],
        "topic": "communication.completed",
        "sentence": "A draft became final.",
    }
    assert queued["entries"][0]["effects"] == []


async def test_a_registered_record_is_a_cause_by_its_kind(past: Auditor) -> None:
    record = await past.get("history", entity="accounts_receivable/A2")
    effects = record["entries"][-1]["effects"]
    topics = {"contact_information.last_account_lost", "contact_information.account_gained"}
    assert {effect["topic"] for effect in effects} == topics
    for effect in effects:
        told = await past.get("history", entity=effect["entity"])
        (entry,) = [e for e in told["entries"] if e["position"] == effect["position"]]
        assert [cause["entity"] for cause in entry["causes"]] == [record["entity"]]


@pytest.mark.parametrize(
    ("named", "ref"),
    [
        ("user/username=DEMO", "user/1"),
        ("user/number=x", None),
        ("communication_queue/number=1", "communication_queue/"),
        ("lead/LE1", "lead/LE1"),
        ("lead/number=L3", "lead/LE1"),
        ("contact_information/id_number=K2", "contact_information/"),
    ],
)
async def test_entities_are_named_as_callers_name_them(
    past: Auditor, named: str, ref: str | None
) -> None:
    status, answer, _ = await past.ask("history", entity=named)
    if ref is None:
        assert (status, refusal(answer)) == (404, ("ENTITYNOTFOUND", "entity"))
    else:
        assert answer["data"]["entity"].startswith(ref)


async def test_pages_of_versions(past: Auditor) -> None:
    whole = await past.get("history", entity="lead/LE1")
    assert [entry["version"] for entry in whole["entries"]] == [1, 2, 3, 4, 5]
    part = await past.get("history", entity="lead/LE1", **{"from": 2, "to": 3})
    assert part == whole | {"from": 2, "to": 3, "entries": whole["entries"][1:3]}
    beyond = await past.get("history", entity="lead/LE1", **{"from": 9})
    assert (beyond["entries"], beyond["versions"], beyond["to"]) == ([], 5, 5)


@pytest.mark.parametrize(
    ("query", "status", "expected"),
    [
        ({}, 400, ("MANDATORYPARAMETER", "entity")),
        ({"entity": "communication"}, 400, ("INVALIDPARAMETERVALUE", "entity")),
        ({"entity": "spaceship/1"}, 400, ("INVALIDPARAMETERVALUE", "entity")),
        ({"entity": "communication/colour=1"}, 400, ("INVALIDIDENTIFIER", "entity")),
        ({"entity": "communication/x"}, 404, ("ENTITYNOTFOUND", "entity")),
        ({"entity": "communication/" + "0" * 32}, 404, ("ENTITYNOTFOUND", "entity")),
        ({"entity": "lead/LE1", "from": "x"}, 400, ("INVALIDPARAMETERTYPE", "from")),
        ({"entity": "lead/LE1", "from": "0"}, 400, ("INVALIDPARAMETERVALUE", "from")),
        ({"entity": "lead/LE1", "from": 3, "to": 2}, 400, ("INVALIDPARAMETERVALUE", "to")),
    ],
)
async def test_refusals_name_the_parameter(
    past: Auditor, query: Json, status: int, expected: tuple[str, str]
) -> None:
    found, answer, _ = await past.ask("history", **query)
    assert (found, refusal(answer)) == (status, expected)


async def test_a_kind_that_the_entity_is_not_of(past: Auditor) -> None:
    status, _, _ = await past.ask("history", entity=f"communication/{past.desk.recipient}")
    assert status == 404


@pytest.mark.parametrize("method", ["history", "blame", "events"])
@pytest.mark.parametrize("role", [role for role in ROLES if role != "auditor"])
async def test_others_are_not_admitted(past: Auditor, method: str, role: str) -> None:
    async with untouched(past.desk.api):
        status, answer, _ = await past.ask(method, role=role, entity="lead/LE1")
    assert (status, refusal(answer)) == (403, ("ACCESSDENIED", ""))


async def test_nothing_of_another_organisation_is_told(past: Auditor, service: Service) -> None:
    other = await auditor(service)
    for entity in (
        f"contact_information/{past.desk.recipient}",
        "contact_information/id_number=K2",
    ):
        status, _, _ = await other.ask("history", entity=entity)
        assert status == 404
    own = await other.get("history", entity="user/1")
    theirs = await past.get("history", entity="user/1")
    assert own["entries"][0]["command"] != theirs["entries"][0]["command"]


async def test_each_reading_is_recorded_by_ids(past: Auditor) -> None:
    await past.get("history", entity="contact_information/id_number=K2")
    await past.get("blame", entity="lead/number=L3")
    last = [
        (row["method"], json.loads(row["about"]))
        for row in await query_rows(past.desk.api, READINGS)
    ]
    (method, about), blame = last[-2:]
    assert method == "history"
    assert "K2" not in about["entity"]
    assert about["entity"].startswith("contact_information/")
    assert blame == ("blame", {"entity": "lead/LE1"})


async def test_secrets_are_nowhere(past: Auditor) -> None:
    told = json.dumps([*await histories(past), await past.get("events", limit=1000)])
    assert PASSWORD not in told
    assert "argon2" not in told


async def test_answers_are_as_described(past: Auditor) -> None:
    asked = {
        "head": {},
        "history": {"entity": "lead/LE1"},
        "blame": {"entity": "lead/LE1"},
        "events": {"topic": "communication"},
    }
    for method, query in asked.items():
        operation = DESCRIBED["paths"][AUDIT + method]["get"]
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        _, answer, _ = await past.ask(method, **query)
        assert not problems(answer, schema), method


async def stored_steps(past: Auditor, stream: UUID) -> tuple[list[RecordedEvent], ZoneInfo]:
    ring, zone = keys_of(past.desk.api.service.database)
    lanes = ConnectionPool(past.desk.api.service.database, 1)
    try:
        _, steps = await PostgresEntityEvents(lanes, ring).read(past.desk.api.organisation, stream)
    finally:
        await lanes.close()
    return steps, zone


async def test_blame_is_what_an_independent_fold_finds(past: Auditor) -> None:
    directory = ReferenceCache(past.desk.api.organisation, ZoneInfo("UTC"))
    for row in await query_rows(past.desk.api, STREAMS):
        stream = UUID(str(row["stream_id"]))
        steps, zone = await stored_steps(past, stream)
        states: list[Json] = [{}]
        for n in range(1, len(steps) + 1):
            *_, aggregate = replay(steps[:n])
            states.append(json.loads(json.dumps(flatten_document(aggregate, directory, zone))))
        expected = {
            field: (
                value,
                max(
                    n
                    for n in range(1, len(states))
                    if states[n - 1].get(field) != states[n].get(field)
                ),
            )
            for field, value in states[-1].items()
        }
        found = await past.get("blame", entity=f"{row['aggregate']}/{stream}")
        told = {f["field"]: (f["value"], f["version"]) for f in found["fields"]}
        assert told == expected


async def test_blame_of_one_field_and_of_the_past(past: Auditor) -> None:
    entity = "contact_information/id_number=K2"
    now = await past.get("blame", entity=entity, field="demographics.id_number")
    (field,) = now["fields"]
    assert (field["value"], field["sentence"]) == ("K2", "Details of the contact were changed.")
    then = await past.get("blame", entity=entity, field="demographics.id_number", version=1)
    assert [(f["value"], f["version"]) for f in then["fields"]] == [("K1", 1)]


async def test_of_who_is_forgotten_only_the_events_are_left(audited: Auditor) -> None:
    desk, name = audited.desk, "Ermintrude"
    phone = {"type": "LANDLINE", "number": "99887766"}
    contact = await desk.new_contact(
        first_name=name, last_name="Q", type="PERSON", phone_set=[phone]
    )
    to = {"contact_information_identifier": {"id": contact}, "subject": f"Dear {name}"}
    draft = await desk.create_draft(**to)
    entities = (f"contact_information/{contact}", f"communication/{draft['id']}")
    before = [await audited.get("history", entity=entity) for entity in entities]
    assert all(name in json.dumps(history) for history in before)
    forget = {"role": "operator", "verb": "POST", "data": json.dumps({"reason": "asked for"})}
    status, answer, _ = await audited.ask(f"contacts/{contact}/forget", **forget)
    assert status == 200, answer
    after = [await audited.get("history", entity=entity) for entity in entities]
    told = json.dumps([after, [await audited.get("blame", entity=entity) for entity in entities]])
    assert name not in told
    assert "99887766" not in told
    assert [e["topic"] for e in after[1]["entries"]] == ["communication.drafted"]
    last = after[0]["entries"][-1]
    assert last["sentence"].endswith("was erased for good. Reason: asked for.")
    assert changed(last)["forgotten"] == (None, True)
