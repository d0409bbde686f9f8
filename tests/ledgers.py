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

from domain.aggregate import Attribution, DomainEvent
from domain.reference.records import Record
from infra.ledger.commit_batch import append_arguments, encode_commit, settle_arguments
from infra.ledger.group_commit import APPEND, SETTLE, GroupCommitter
from infra.ledger.integrity import integrity_problems
from infra.postgres.pool import ConnectionPool, PooledConnection
from services import registry as documents  # noqa: F401 (declares the projections)
from services.ids import record_stream_id
from services.ports import Commit, StreamCommit
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
BY = Attribution(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


def record(id_: str | None = None, organisation: str = ORGANISATION) -> Record:
    """A new industry, with one event that is not written yet."""
    id_ = id_ or uuid4().hex[:12].upper()
    return Record.create(
        Record.Registered,
        BY,
        id=record_stream_id(organisation, "industry", id_),
        kind="industry",
        record_id=id_,
        fields={"name": id_, "code": id_},
        secrets={},
    )


def renamed(one: Record, name: str | None = None) -> Record:
    """The same with one more event."""
    one.replace(one.fields | {"name": name or uuid4().hex}, {}, BY, retired=False)
    return one


def written(*aggregates: Record, **effects: Any) -> Commit:
    """The change that writes the new events of aggregates."""
    command = uuid4().hex
    events = [(a, [cast(DomainEvent, event) for event in a.collect_events()]) for a in aggregates]
    return Commit(
        command=command,
        metadata={"at": BY.at.isoformat(), "command": command},
        written=[StreamCommit(new) for _, new in events],
        rows=[row for a, _ in events for row in project(a, {}, ZONE).rows],
        effects=effects,
        answer=b"{}" if "key" in effects else None,
    )


@asynccontextmanager
async def lanes(url: str, count: int = 2, **more: Any) -> AsyncIterator[ConnectionPool]:
    """Connections as the service has them."""
    made = ConnectionPool(url, count, **more)
    yield made
    await made.close()


def trips_to_it(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Grows with each trip to the database from now on."""
    trips: list[float | None] = []
    lane = ConnectionPool.acquire

    def counted(
        these: ConnectionPool, until: float | None = None
    ) -> AbstractAsyncContextManager[PooledConnection]:
        trips.append(until)
        return lane(these, until)

    monkeypatch.setattr(ConnectionPool, "lane", counted)
    return trips


@asynccontextmanager
async def appender(url: str, **more: Any) -> AsyncIterator[GroupCommitter]:
    """An appender with connections of its own."""
    async with lanes(url) as own:
        made = GroupCommitter(own, **more)
        yield made
        await made.drain()


async def ask_append(
    connection: Connection, *changes: Commit, deadline: datetime | None = None
) -> list[str]:
    """What ``ledger.append`` says of a batch, on a connection of the test's own."""
    deadline = deadline or datetime(2100, 1, 1, tzinfo=UTC)
    arguments = append_arguments([encode_commit(change) for change in changes])
    rows = await connection.fetch(APPEND, ORGANISATION, deadline, *arguments)
    lost = {row["command"]: row["verdict"] for row in rows}
    return [lost.get(n, "WRITTEN") for n in range(1, len(changes) + 1)]


async def ask_settle(connection: Connection, *changes: Commit) -> list[bool]:
    """What ``ledger.settle`` says of a batch."""
    arguments = settle_arguments([encode_commit(change) for change in changes])
    return list(await connection.fetchval(SETTLE, ORGANISATION, *arguments))


async def unsound(url: str, organisation: str = ORGANISATION) -> list[str]:
    """What is wrong with a ledger, seen by the service's role."""
    lane = await PooledConnection.open(url, 60)
    try:
        return await integrity_problems(lane.connection, organisation)
    finally:
        await lane.connection.close()
