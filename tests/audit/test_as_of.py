"""As of a position or a time, each method that reads answers what a replay up to it would."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.parsing import wall_clock
from infra.postgres.embedded.server import EmbeddedPostgres
from infra.rebuild.table_diff import compare
from infra.rebuild.table_sets import view_names
from services.audit.as_of import methods
from services.pipeline.method import METHODS, Method
from tests.fixtures import databases
from tests.fixtures.access_tokens import TokensClient, tokens_client
from tests.fixtures.auditors import Auditor, auditor
from tests.fixtures.organisation import GROUP, UNIT
from tests.fixtures.read_models import connection
from tests.fixtures.replayed_past import ParameterPool, PastReplay, parameter_pool, past_replay
from tests.fixtures.service import run_in_process
from tests.fixtures.service_requests import STATUSES, ServiceRequestsClient, service_requests_client
from tests.properties.test_views import STEPS, Player

ZONE = ZoneInfo("Asia/Nicosia")
READ = [method.path for method in methods()]
TALK = ("draft", "mail", "change", "complete", "view", "process", "reject", "rename", "phone")
UNNAMED = "as_of/access_tokens/get_not_associated"
CALLS = 3
"""Calls of each method at each position."""

Json = dict[str, Any]


@pytest_asyncio.fixture(scope="module", params=["desk", "helpdesk"])
async def lived(
    request: pytest.FixtureRequest, postgres: EmbeddedPostgres, template: str
) -> AsyncIterator[Auditor]:
    """An organisation in a database of its own, in which much has happened."""
    async with databases.database(postgres, template) as url, run_in_process(url) as service:
        if request.param == "desk":
            desk = await tokens_client(service)
            await live(desk)
        else:
            desk = await service_requests_client(service)
            await serve(desk)
        yield await auditor(service, desk)


def asked(made: Auditor) -> list[Method]:
    """The methods that have something to read there."""
    requests = isinstance(made.desk, ServiceRequestsClient)
    return [m for m in methods() if m.path.startswith("service_requests/") is requests]


async def serve(desk: ServiceRequestsClient) -> None:
    """Service requests of all states, due around now, some of which are changed and cancelled."""
    chance = random.Random(9)
    for n in range(40):
        # Half an hour off, so that nothing falls due while the test runs.
        start = datetime.now(ZONE) - timedelta(days=chance.randint(0, 4), minutes=30)
        opened = await desk.create_in_state(
            chance.choice(list(STATUSES)), start_date=wall_clock(start, ZONE)
        )
        path, body = desk.call_parameters("update", opened, description=f"Changed {n}")
        await desk.api.call("POST", path, body=body)
        if n % 10 == 0:
            await desk.register("service_request_type", "OLD", name=f"Old {n}", retired=n > 20)


async def live(desk: TokensClient) -> None:
    """Contacts, communications, tokens and set-up that come, change, go and are called anew."""
    chance, player = random.Random(8), Player(desk)
    for n in range(120):
        await player.step(chance.choice(STEPS if n % 3 == 0 else TALK), n)
        if n % 10 == 0:
            category = {"category_identifier": {"id": "MC2"}}
            system = {"communication_queue_external_system_identifier": {"id": "ES2"}}
            await desk.create(media="EMAIL", to="a@b", **category, **system)
            await desk.register("unit", UNIT, name=f"Unit {n}", group_id=GROUP)
            await desk.register_settings(name_display=("FIRST_LAST", "LAST_FIRST")[n // 10 % 2])
    for contact, number in zip([0, 0, 1], ["K77", None, "K77"], strict=True):
        await desk.update_contact(desk.contacts[contact], demographics={"id_number": number})
    await desk.register("communication_category", "MC2", name="Care", code="CAR", retired=True)


@pytest_asyncio.fixture(scope="module")
async def replayed(
    lived: Auditor, postgres: EmbeddedPostgres, template: str
) -> AsyncIterator[PastReplay]:
    """A replay of that organisation's ledger."""
    api = lived.desk.api
    async with (
        databases.database(postgres, template) as url,
        past_replay(api.service.database, url, api.organisation) as made,
    ):
        yield made


@pytest_asyncio.fixture(scope="module")
async def named(lived: Auditor) -> ParameterPool:
    """Everything that anything was ever called."""
    await lived.get(UNNAMED, as_of=await head(lived), number=1)
    return await parameter_pool(lived.desk.api)


async def head(made: Auditor) -> int:
    """The last position."""
    return int((await made.get("head"))["position"])


async def then(made: Auditor, method: Method, as_of: object, query: Json) -> tuple[str, Any]:
    """Code and data (or description) of a method as of a position."""
    _, answer, _ = await made.ask(f"as_of/{method.path}", as_of=as_of, **query)
    said = answer["status"]
    return ("OK", answer["data"]) if said["code"] == "OK" else (said["code"], said["description"])


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
async def test_as_of_is_a_replay(
    lived: Auditor, replayed: PastReplay, named: ParameterPool, seed: int
) -> None:
    chance = random.Random(seed)
    position = chance.randint(0, await head(lived))
    await replayed.stand_at(position)
    for method in asked(lived):
        for _ in range(CALLS):
            query = named.parameters(method, chance)
            found = await then(lived, method, position, query)
            assert found == await replayed.answer(method, query), (position, method.path, query)


async def test_the_present_is_the_last_position(lived: Auditor, named: ParameterPool) -> None:
    chance, position = random.Random(1), await head(lived)
    for method in (m for m in asked(lived) if METHODS[m.path].verb == "GET"):
        for _ in range(10):
            query = named.parameters(method, chance)
            answer = await lived.desk.api.call("GET", method.path, query=query)
            status, found, headers = await lived.ask(
                f"as_of/{method.path}", as_of=position, **query
            )
            assert found == answer
            if answer["status"]["code"] == "OK":
                assert (status, headers["X-As-Of-Position"]) == (200, str(position))


async def test_long_lists_are_as_short_ones(
    lived: Auditor, named: ParameterPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every list in pages of one document equals the list as a whole, now and then."""
    chance, position = random.Random(3), await head(lived) // 2
    calls = [
        (method, named.parameters(method, chance))
        for method in asked(lived)
        if method.is_list and METHODS[method.path].verb == "GET"
        for _ in range(10)
    ]
    whole = [await _now_and_then(lived, position, *call) for call in calls]
    monkeypatch.setattr("services.pipeline.query_runner.PAGE_SIZE", 1)
    assert [await _now_and_then(lived, position, *call) for call in calls] == whole
    assert any(len(data) > 3 for found in whole for _, data in found)


async def _now_and_then(
    made: Auditor, position: int, method: Method, query: Json
) -> list[tuple[str, Any]]:
    answer = await made.desk.api.call("GET", method.path, query=query)
    return [(answer["status"]["code"], answer["data"]), await then(made, method, position, query)]


async def test_what_stands_in_history_is_what_stands_in_the_views(lived: Auditor) -> None:
    position = await head(lived)
    await lived.get(UNNAMED, as_of=position, number=1)
    async with connection(lived.desk.api.service.database) as owner:
        await owner.execute(f"SET crmledger.as_of_position = {position}")
        for view in await view_names(owner):
            assert await compare(owner, view, "past") == []
        assert await owner.fetchval("SELECT count(*) FROM past.entities")
