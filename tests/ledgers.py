"""The ledger without a service in front of it: changes made by hand, appended as the service does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeAlias, cast
from uuid import uuid4
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from domain.aggregate import Fact, Stamp
from domain.reference.records import Record
from infra.ledger.commit_batch import append_arguments, packed, settle_arguments
from infra.ledger.group_commit import APPEND, SETTLE, Appender
from infra.ledger.integrity import problems
from infra.postgres.pool import Lane, Lanes
from services import registry as documents  # noqa: F401 (declares the projections)
from services.ids import record_stream
from services.ports import Change, Written
from services.projections import project

__all__ = [
    "ORGANISATION",
    "ZONE",
    "appender",
    "ask_append",
    "ask_settle",
    "lanes",
    "record",
    "renamed",
    "trips_to_it",
    "unsound",
    "written",
]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

ORGANISATION = "LEDGER"
ZONE = ZoneInfo("Asia/Nicosia")
BY = Stamp(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


def record(id_: str | None = None, organisation: str = ORGANISATION) -> Record:
    """A new industry, with one fact that is not written yet."""
    id_ = id_ or uuid4().hex[:12].upper()
    return Record.begin(
        Record.Registered,
        BY,
        id=record_stream(organisation, "industry", id_),
        kind="industry",
        record_id=id_,
        fields={"name": id_, "code": id_},
        secrets={},
    )


def renamed(one: Record, name: str | None = None) -> Record:
    """The same with one more fact."""
    one.replace(one.fields | {"name": name or uuid4().hex}, {}, BY, retired=False)
    return one


def written(*aggregates: Record, **effects: Any) -> Change:
    """The change that writes the new facts of aggregates."""
    command = uuid4().hex
    facts = [(a, [cast(Fact, fact) for fact in a.collect_events()]) for a in aggregates]
    return Change(
        command=command,
        metadata={"at": BY.at.isoformat(), "command": command},
        written=[Written(new) for _, new in facts],
        rows=[row for a, _ in facts for row in project(a, {}, ZONE).rows],
        effects=effects,
        answer=b"{}" if "key" in effects else None,
    )


@asynccontextmanager
async def lanes(url: str, count: int = 2, **more: Any) -> AsyncIterator[Lanes]:
    """Connections as the service has them."""
    made = Lanes(url, count, **more)
    yield made
    await made.close()


def trips_to_it(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Grows with each trip to the database from now on."""
    trips: list[float | None] = []
    lane = Lanes.lane

    def counted(these: Lanes, until: float | None = None) -> AbstractAsyncContextManager[Lane]:
        trips.append(until)
        return lane(these, until)

    monkeypatch.setattr(Lanes, "lane", counted)
    return trips


@asynccontextmanager
async def appender(url: str, **more: Any) -> AsyncIterator[Appender]:
    """An appender with connections of its own."""
    async with lanes(url) as own:
        made = Appender(own, **more)
        yield made
        await made.drain()


async def ask_append(
    connection: Connection, *changes: Change, deadline: datetime | None = None
) -> list[str]:
    """What ``ledger.append`` says of a batch, on a connection of the test's own."""
    deadline = deadline or datetime(2100, 1, 1, tzinfo=UTC)
    arguments = append_arguments([packed(change) for change in changes])
    rows = await connection.fetch(APPEND, ORGANISATION, deadline, *arguments)
    lost = {row["command"]: row["verdict"] for row in rows}
    return [lost.get(n, "WRITTEN") for n in range(1, len(changes) + 1)]


async def ask_settle(connection: Connection, *changes: Change) -> list[bool]:
    """What ``ledger.settle`` says of a batch."""
    arguments = settle_arguments([packed(change) for change in changes])
    return list(await connection.fetchval(SETTLE, ORGANISATION, *arguments))


async def unsound(url: str, organisation: str = ORGANISATION) -> list[str]:
    """What is wrong with a ledger, seen by the service's role."""
    lane = await Lane.open(url, 60)
    try:
        return await problems(lane.connection, organisation)
    finally:
        await lane.connection.close()
