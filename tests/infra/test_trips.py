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
from tests.communications_world import Desk, desk
from tests.ledgers import trips_to_it
from tests.service import Json, in_process

ASK, NUMBERS, APPEND, SELECT = "ask", "numbers", "append", "select"
"""What a trip is for; the test can only count them."""


async def listed(made: Desk, said: Json, entry: Json) -> Any:
    named = f"id={made.reader}"
    return await made.api.get("communications/list", contact_information_identifier=named)


async def numbered(made: Desk, said: Json, entry: Json) -> Any:
    named = f"number={said['number']}"
    return await made.api.get("communications/show", communication_identifier=named)


CALLS: dict[str, tuple[Callable[[Desk, Json, Json], Awaitable[Any]], tuple[str, ...]]] = {
    "show": (lambda made, said, entry: made.see(said), (ASK,)),
    "show by number": (numbered, (ASK,)),
    "list": (listed, (ASK, SELECT)),
    "show of an entry": (lambda made, said, entry: made.entry(entry["id"]), (ASK,)),
    "create": (lambda made, said, entry: made.say(), (ASK, NUMBERS, APPEND)),
    "update": (
        lambda made, said, entry: made.on("update", said, subject="x"),
        (ASK, NUMBERS, APPEND),
    ),
    "process": (lambda made, said, entry: made.queue("process", entry), (ASK, APPEND)),
}


@pytest_asyncio.fixture
async def quiet(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """A service that goes to the database for nothing but calls, and in each for the numbers that it wants."""
    monkeypatch.setattr(AppendNotifier, "ring", lambda _: None)
    monkeypatch.setattr(numbers, "AHEAD", 0)
    async with in_process(database, CRMLEDGER_SEAL_SECONDS="0") as service:
        yield await desk(service)


async def test_trips_of_calls(quiet: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    trips = trips_to_it(monkeypatch)
    found = {}
    for name, (call, _) in CALLS.items():
        said, entry = await quiet.draft(), await quiet.mail()
        trips.clear()
        await call(quiet, said, entry)
        found[name] = len(trips)
    assert found == {name: len(wanted) for name, (_, wanted) in CALLS.items()}


def conflicts() -> float:
    """How many commands of this process came too late."""
    found = REGISTRY.get_sample_value("crmledger_append_refused_total", {"reason": "CONFLICT"})
    return found or 0


async def test_who_waits_for_others_loads_what_they_have_changed(quiet: Desk) -> None:
    said, before = await quiet.draft(), conflicts()
    subjects = [f"Number {n}" for n in range(12)]
    await asyncio.gather(*(quiet.on("update", said, subject=subject) for subject in subjects))
    assert (await quiet.see(said))["subject"] in subjects
    assert conflicts() == before
