"""How often a call goes to the database: a trip that it does not need costs every caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from infra.ledger import sequences as numbers
from infra.observability.metrics import REGISTRY
from infra.postgres.notify import AppendNotifier
from infra.store.postgres_store import PostgresStore
from services.context import CallContext
from tests.fixtures.access_tokens import tokens_client
from tests.fixtures.communications import CommunicationsClient, communications_client
from tests.fixtures.ledgers import count_round_trips
from tests.fixtures.service import Json, run_in_process

ASK, COUNT, NUMBERS, APPEND, SELECT = "ask", "count", "numbers", "append", "select"
"""What a trip is for; the test can only count them."""


async def listed(made: CommunicationsClient, said: Json, entry: Json) -> Any:
    named = f"id={made.recipient}"
    return await made.api.get("communications/list", contact_information_identifier=named)


async def numbered(made: CommunicationsClient, said: Json, entry: Json) -> Any:
    named = f"number={said['number']}"
    return await made.api.get("communications/show", communication_identifier=named)


CALLS: dict[
    str, tuple[Callable[[CommunicationsClient, Json, Json], Awaitable[Any]], tuple[str, ...]]
] = {
    "show": (lambda made, said, entry: made.show(said), (ASK,)),
    "show by number": (numbered, (ASK,)),
    "list": (listed, (ASK, SELECT)),
    "show of an entry": (lambda made, said, entry: made.show_queue_entry(entry["id"]), (ASK,)),
    "create": (lambda made, said, entry: made.create(), (ASK, NUMBERS, APPEND)),
    "update": (
        lambda made, said, entry: made.call("update", said, subject="x"),
        (ASK, NUMBERS, APPEND),
    ),
    "process": (lambda made, said, entry: made.call_queue("process", entry), (ASK, APPEND)),
}


@pytest_asyncio.fixture
async def quiet(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[CommunicationsClient]:
    """A service that goes to the database for nothing but calls, and in each for the numbers that it wants."""
    monkeypatch.setattr(AppendNotifier, "notify", lambda _: None)
    monkeypatch.setattr(numbers, "PREALLOCATE_SECONDS", 0)
    async with run_in_process(database, CRMLEDGER_SEAL_SECONDS="0") as service:
        yield await communications_client(service)


async def test_trips_of_calls(quiet: CommunicationsClient, monkeypatch: pytest.MonkeyPatch) -> None:
    trips = count_round_trips(monkeypatch)
    found = {}
    for name, (call, _) in CALLS.items():
        said, entry = await quiet.create_draft(), await quiet.create_email()
        trips.clear()
        await call(quiet, said, entry)
        found[name] = len(trips)
    assert found == {name: len(wanted) for name, (_, wanted) in CALLS.items()}


async def test_a_right_authentication_code_costs_one_trip(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is shown: the one that asks whether it may be tried."""
    monkeypatch.setattr(AppendNotifier, "notify", lambda _: None)
    async with run_in_process(database, CRMLEDGER_SEAL_SECONDS="0") as service:
        made = await tokens_client(service)
        token = await made.create_token()
        trips = count_round_trips(monkeypatch)
        for _ in range(3):
            trips.clear()
            await made.show_token(token)
            assert len(trips) == len((ASK, COUNT))


def conflicts() -> float:
    """How many commands of this process came too late."""
    found = REGISTRY.get_sample_value("crmledger_append_refused_total", {"reason": "CONFLICT"})
    return found or 0


async def test_who_waits_for_others_loads_what_they_have_changed(
    quiet: CommunicationsClient,
) -> None:
    said, before = await quiet.create_draft(), conflicts()
    subjects = [f"Number {n}" for n in range(12)]
    await asyncio.gather(*(quiet.call("update", said, subject=subject) for subject in subjects))
    assert (await quiet.show(said))["subject"] in subjects
    assert conflicts() == before


async def test_who_was_told_before_another_call_ended_loads_what_that_has_changed(
    quiet: CommunicationsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it comes when there is nobody to wait for any more."""
    said, before = await quiet.create_draft(), conflicts()
    told, go_on, ask = asyncio.Event(), asyncio.Event(), PostgresStore.load_context

    async def ask_slowly(*question: Any) -> CallContext:
        answer = await ask(*question)
        if not told.is_set():
            told.set()
            await go_on.wait()
        return answer

    monkeypatch.setattr(PostgresStore, "load_context", ask_slowly)
    late = asyncio.create_task(quiet.call("update", said, subject="second"))
    await told.wait()
    await quiet.call("update", said, subject="first")
    go_on.set()
    await late
    assert (await quiet.show(said))["subject"] == "second"
    assert conflicts() == before
