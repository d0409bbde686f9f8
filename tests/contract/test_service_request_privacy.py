"""What belongs to the caller stands in views in clear and in events encrypted (decision 0003)."""

from __future__ import annotations

from typing import Any

import pytest_asyncio

from tests.fixtures.organisation import query_rows
from tests.fixtures.service import Service
from tests.fixtures.service_requests import (
    ASK,
    STATUSES,
    ServiceRequestsClient,
    answer,
    service_requests_client,
)

Json = dict[str, Any]
MARK = "Quizzlebury"


@pytest_asyncio.fixture
async def client(service: Service) -> ServiceRequestsClient:
    return await service_requests_client(service)


def text(name: str) -> str:
    return f"{MARK} {name}"


async def test_nothing_personal_stands_in_events(client: ServiceRequestsClient) -> None:
    other = await client.create()
    related = {"service_request_identifier": {"id": other["id"]}, "description": text("relation")}
    one = await client.create(
        description=text("description"),
        notes=text("notes"),
        caller_email=f"{MARK}@mail.example",
        caller_phone=text("phone"),
        udf_string_1=text("udf"),
        related_service_requests_set=[related],
        type_identifier={"id": "BOTH"},
    )
    named = {
        "service_request_relation_identifier": {"service_request_identifier": {"id": other["id"]}}
    }
    changed = named | {"action": "UPDATE", "description": text("changed")}
    await client.call("update", one, notes=text("again"), related_service_requests_set=[changed])
    for method, state, name in (
        ("respond", "RESPONDED", "response"),
        ("temporary_resolve", "TEMPORARY_RESOLVED", "temporary_resolution"),
        ("final_resolve", "FINAL_RESOLVED", "final_resolution"),
    ):
        status = {"status_identifier": {"id": STATUSES[state]}}
        for said in ("first", "second"):
            given = answer(name, ASK, description=text(said))
            await client.call(method, one, **status, **{name: given})
        await client.call(f"{name}_accept", one, accepted_by_identifier={"id": client.customer})
    events = await query_rows(
        client.api,
        "SELECT topic, subject, payload::text || metadata::text AS said FROM ledger.events"
        " WHERE organisation = $1 AND (starts_with(topic, 'service_request.') OR starts_with(topic, 'communication.'))",
    )
    assert len(events) > 15
    assert {row["subject"].hex.upper() for row in events} == {client.customer}
    assert not [row["topic"] for row in events if MARK in row["said"]]
    shown = await query_rows(
        client.api,
        "SELECT document::text AS said FROM views.service_requests WHERE organisation = $1",
    )
    assert any(MARK in row["said"] for row in shown)
    whole = await client.show(one)
    assert whole["description"] == text("description")
    assert whole["final_resolution"]["description"] == text("second")


async def test_states_and_references_stay_readable(client: ServiceRequestsClient) -> None:
    await client.create_in_state("RESPONDED", {"response": ASK})
    payloads = await query_rows(
        client.api,
        "SELECT payload ->> 'status' AS status, payload -> 'answer' ->> 'category' AS category,"
        " payload -> 'details' ->> 'priority_level' AS priority FROM ledger.events"
        " WHERE organisation = $1 AND starts_with(topic, 'service_request.') ORDER BY position",
    )
    assert [tuple(row.values()) for row in payloads] == [
        (None, None, "PRIORITY2"),
        ("ANSWERED", "ASK", None),
    ]
