"""Which position a moment means, what is called how at it, and what is recorded of the question."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from domain.parsing import wall_clock
from infra.settings import Settings
from tests.fixtures.auditors import ROLES, Auditor, auditor
from tests.fixtures.organisation import GROUP, UNIT, query_rows
from tests.fixtures.read_models import connection
from tests.fixtures.service import environment, refusal, run_in_process
from tests.fixtures.service_requests import service_requests_client

Json = dict[str, Any]

LIST = "as_of/communications/list"
UNNAMED = "as_of/access_tokens/get_not_associated"
SHOW = "as_of/contact_information/show"
READINGS = """
SELECT e.payload ->> 'method' AS method, e.payload ->> 'about' AS about
  FROM ledger.events e WHERE e.organisation = $1 || '~access' ORDER BY e.position
"""

AN_HOUR_AGO = """
ALTER TABLE ledger.events DISABLE TRIGGER ALL;
UPDATE ledger.events SET recorded_at = recorded_at - interval '1 hour'
"""


async def position(made: Auditor) -> int:
    """The last position."""
    return int((await made.get("head"))["position"])


async def times(made: Auditor) -> dict[int, datetime]:
    """When each position was recorded."""
    sql = "SELECT position, recorded_at FROM ledger.events WHERE organisation = $1"
    return {row["position"]: row["recorded_at"] for row in await query_rows(made.desk.api, sql)}


async def meant(made: Auditor, as_of: str) -> Mapping[str, str]:
    """The headers of an answer."""
    status, answer, headers = await made.ask(UNNAMED, as_of=as_of, number=5)
    assert status == 200, answer
    return headers


async def test_a_time_is_the_last_position_at_or_before_it(audited: Auditor) -> None:
    await audited.desk.create()
    recorded = await times(audited)
    zone = ZoneInfo(Settings.from_environment(environment("postgresql://x")).time_zone)
    for place in (len(recorded), len(recorded) // 2, 7):
        at = recorded[place]
        last = max(n for n, moment in recorded.items() if moment == at)
        before = max((n for n, moment in recorded.items() if moment < at), default=0)
        for text in (at.isoformat(), at.astimezone(zone).replace(tzinfo=None).isoformat()):
            found = await meant(audited, text)
            assert found["X-As-Of-Position"] == str(last)
            assert found["X-As-Of-Recorded-At"] == at.isoformat()
        just_before = (at - timedelta(microseconds=1)).isoformat()
        assert (await meant(audited, just_before))["X-As-Of-Position"] == str(before)
        assert (await meant(audited, str(place)))["X-As-Of-Position"] == str(place)
    tomorrow = (datetime.now(zone) + timedelta(days=1)).strftime("%Y-%m-%d")
    assert (await meant(audited, tomorrow))["X-As-Of-Position"] == str(len(recorded))


@pytest.mark.parametrize("as_of", ["0", "2001-09-09", "1001-01-01T00:00:00"])
async def test_before_the_first_event_there_is_nothing(audited: Auditor, as_of: str) -> None:
    status, answer, headers = await audited.ask(UNNAMED, as_of=as_of, number=5)
    assert (status, answer["data"], headers["X-As-Of-Position"]) == (200, [], "0")
    assert "X-As-Of-Recorded-At" not in headers
    named = {"contact_information_identifier": f"id={audited.desk.recipient}"}
    status, answer, _ = await audited.ask(SHOW, as_of=as_of, **named)
    expected = ("ENTITYNOTFOUND", "contact_information_identifier")
    assert (status, refusal(answer)) == (404, expected)


@pytest.mark.parametrize(
    ("as_of", "name"),
    [
        (None, "MANDATORYPARAMETER"),
        (" ", "MANDATORYPARAMETER"),
        ("-1", "INVALIDPARAMETERTYPE"),
        ("1.5", "INVALIDPARAMETERTYPE"),
        ("yesterday", "INVALIDPARAMETERTYPE"),
        ("2014-02-30", "INVALIDPARAMETERVALUE"),
        ("99999999", "INVALIDPARAMETERVALUE"),
        ("9" * 18, "INVALIDPARAMETERVALUE"),
        ("9" * 40, "INVALIDPARAMETERVALUE"),
    ],
)
async def test_what_is_no_moment_is_refused(audited: Auditor, as_of: str | None, name: str) -> None:
    query = {} if as_of is None else {"as_of": as_of}
    status, answer, _ = await audited.ask(LIST, category_identifier="id=MC2", **query)
    assert (status, refusal(answer)) == (400, (name, "as_of"))


async def test_the_methods_own_refusals_stand(audited: Auditor) -> None:
    now = await position(audited)
    status, answer, _ = await audited.ask(LIST, as_of=now)
    named = "contact_information_identifier, category_identifier"
    assert (status, refusal(answer)) == (400, ("SEMIOPTIONALPARAMETER", named))


async def test_names_mean_whom_they_meant_then(audited: Auditor) -> None:
    desk = audited.desk
    first, second = desk.contacts
    await desk.update_contact(first, demographics={"id_number": "K9"})
    given = await position(audited)
    await desk.update_contact(first, demographics={"id_number": None})
    free = await position(audited)
    await desk.update_contact(second, demographics={"id_number": "K9"})
    taken = await position(audited)
    named = {"contact_information_identifier": "id_number=K9", "fields_set": "id"}
    assert await audited.get(SHOW, as_of=given, **named) == {"id": first}
    status, answer, _ = await audited.ask(SHOW, as_of=free, **named)
    assert (status, refusal(answer)[0]) == (404, "ENTITYNOTFOUND")
    assert await audited.get(SHOW, as_of=taken, **named) == {"id": second}
    listed = await audited.get("as_of/contact_information/list", as_of=given, id_number="K9")
    assert [contact["id"] for contact in listed] == [first]


async def test_the_set_up_is_that_of_the_time(audited: Auditor) -> None:
    desk = audited.desk
    await desk.register_settings(name_display="LAST_FIRST")
    await desk.register("unit", UNIT, name="The old name", group_id=GROUP)
    await desk.register("communication_category", "MC9", name="Old", code="OLD")
    said = await desk.create(category_identifier={"id": "MC9"})
    then = await position(audited)
    await desk.register_settings()
    await desk.register("unit", UNIT, name="The new name", group_id=GROUP)
    await desk.register("communication_category", "MC9", name="New", code="NEW", retired=True)
    query = {"category_identifier": "code=OLD"}
    (old,) = await audited.get(LIST, as_of=then, **query)
    assert old["id"] == said["id"]
    assert old["category"]["name"] == "Old"
    assert old["contact_information"]["name"] == "Xenofontos Kyriacos"
    assert old["log_information"]["created_by_unit"]["name"] == "The old name"
    now = await position(audited)
    assert refusal((await audited.ask(LIST, as_of=now, **query))[1])[0] == "ENTITYNOTFOUND"
    (new,) = await audited.get(LIST, as_of=now, category_identifier="code=NEW")
    assert new["contact_information"]["name"] == "Kyriacos Xenofontos"
    assert new["log_information"]["created_by_unit"]["name"] == "The new name"


async def test_an_access_token_is_named_and_not_shown(audited: Auditor) -> None:
    token = await audited.desk.api.post("access_tokens/create", identifier="ann", pass_code="Se-1")
    now = await position(audited)
    for name in ("id", "number", "identifier", "authentication_code"):
        query = {"access_token_identifier": f"{name}={token[name]}"}
        shown = await audited.get("as_of/access_tokens/show", as_of=now, **query)
        assert shown["id"] == token["id"]
    query = {"access_token_identifier": '{"identifier":"ann","pass_code":"Se-1"}'}
    status, answer, _ = await audited.ask("as_of/access_tokens/show", as_of=now, **query)
    assert (status, refusal(answer)[0]) == (400, "INVALIDIDENTIFIER")


@pytest.mark.parametrize("role", [role for role in ROLES if role != "auditor"])
async def test_only_auditors_see_the_past(audited: Auditor, role: str) -> None:
    status, answer, _ = await audited.ask(LIST, role=role, as_of=1, category_identifier="id=MC2")
    assert (status, refusal(answer)) == (403, ("ACCESSDENIED", ""))


async def test_every_question_is_recorded_and_says_nothing_personal(audited: Auditor) -> None:
    now, contact = await position(audited), audited.desk.recipient
    await audited.desk.update_contact(contact, demographics={"passport_number": "P-SECRET"})
    before = len(await query_rows(audited.desk.api, READINGS))
    named = {"contact_information_identifier": "passport_number=P-SECRET"}
    assert (await audited.ask(SHOW, as_of=now + 1, **named))[0] == 200
    assert (await audited.ask(SHOW, as_of=now, **named))[0] == 404
    found = [tuple(row) for row in (await query_rows(audited.desk.api, READINGS))[before:]]
    entity = f"contact_information/{contact}"
    assert found == [
        (SHOW, f'{{"position":{now + 1},"entities":["{entity}"]}}'),
        (SHOW, f'{{"position":{now},"entities":[]}}'),
    ]


async def test_the_clock_is_that_of_the_position(database: str) -> None:
    async with run_in_process(database) as service:
        desk = await service_requests_client(service)
        made = await auditor(service, desk)
        zone = ZoneInfo(Settings.from_environment(environment("postgresql://x")).time_zone)
        start = datetime.now(zone) - timedelta(minutes=30)
        expected = {"time_period_value": 1, "time_period_uot": "MINUTES"}
        opened = await desk.create(
            start_date=wall_clock(start, zone), estimated_completion_time=expected
        )
        then, query = await position(made), {"fields_set": "number"}
        async with connection(database) as owner:
            await owner.execute(AN_HOUR_AGO)
        overdue, close = (
            f"service_requests/get_{name}"
            for name in ("overdue", "close_to_estimated_completion_time")
        )
        late = await desk.api.get(overdue, **query)
        assert late == [{"number": opened["number"]}]
        assert await made.get(f"as_of/{overdue}", as_of=then, **query) == []
        soon = {"period": 1, "uot": "HOURS"}
        assert await made.get(f"as_of/{close}", as_of=then, **query, **soon) == late
        assert await desk.api.get(close, **query, **soon) == []
