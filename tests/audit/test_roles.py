"""Who may read history, and that every reading leaves an event (services/audit/access.py)."""

from __future__ import annotations

import pytest

from infra.http.audit.routes import AUDIT
from services.audit.access import access_ledger
from tests.fixtures.auditors import ROLES, Auditor
from tests.fixtures.organisation import query_rows
from tests.fixtures.service import refusal

READINGS = """
SELECT e.payload ->> 'method' AS method, e.metadata ->> 'user' AS user_id, e.position
  FROM ledger.events e WHERE e.organisation = $1 || '~access' ORDER BY e.position
"""


@pytest.mark.parametrize("role", ROLES)
async def test_only_auditors_are_admitted(audited: Auditor, role: str) -> None:
    status, answer, _ = await audited.ask("head", role=role)
    if role == "auditor":
        assert status == 200
    else:
        assert (status, refusal(answer)) == (403, ("ACCESSDENIED", ""))


@pytest.mark.parametrize("header", [None, "", "Basic YTo=", "Bearer", "Bearer x.y.z"])
async def test_who_shows_no_token_is_unknown(audited: Auditor, header: str | None) -> None:
    service = audited.desk.api.service
    headers = {} if header is None else {"Authorization": header}
    status, answer, _ = await service.send("GET", AUDIT + "head", headers=headers)
    assert (status, refusal(answer)) == (401, ("INVALIDTOKEN", ""))


async def test_a_token_in_the_query_is_no_bearer(audited: Auditor) -> None:
    service = audited.desk.api.service
    query = {"token": audited.tokens["auditor"]}
    status, _, _ = await service.send("GET", AUDIT + "head", query=query)
    assert status == 401


async def test_the_head_is_the_last_event(audited: Auditor) -> None:
    before = await audited.get("head")
    await audited.desk.create()
    after = await audited.get("head")
    assert after["position"] == before["position"] + 1
    assert after["organisation"] == audited.desk.api.organisation


async def test_every_reading_is_a_event_of_the_access_ledger(audited: Auditor) -> None:
    before = await query_rows(audited.desk.api, READINGS)
    await audited.get("head")
    await audited.ask("head", role="service")
    after = await query_rows(audited.desk.api, READINGS)
    assert [dict(row) for row in after[len(before) :]] == [
        {"method": "head", "user_id": "11", "position": len(before) + 1}
    ]


async def test_readings_do_not_stand_among_the_events_that_are_read(audited: Auditor) -> None:
    before = await audited.get("head")
    assert await audited.get("head") == before
    assert access_ledger("A") == "A~access"
