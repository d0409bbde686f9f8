"""Group commit: commands that arrive together are written in one transaction.

The server's ``ledger.append`` does everything in one statement outside any other transaction, so
its commit needs no message of its own. What became of a batch whose answer was lost is looked up,
never guessed: nothing of it can be written after its deadline.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import orjson
import structlog

from domain.errors import ServiceUnavailable
from infra.batching import Batcher
from infra.ledger.mapper import to_payload
from infra.postgres import LOST, Lane, Lanes
from services.ports import Change, Verdict

__all__ = ["Appender"]

APPEND = """
SELECT command, verdict, detail FROM ledger.append(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
"""
OUTCOME = "SELECT ledger.outcome($1, $2, $3, $4)"
ANSWERED = """
SELECT EXISTS (SELECT FROM ledger.answers WHERE organisation = $1 AND key = $2 AND request_hash = $3)
"""
GONE = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)"

DEADLINE = timedelta(seconds=5)
"""How long after it was sent a batch may still be written."""

GIVING_UP = 30.0
"""Seconds after which an outcome that cannot be looked up is reported as unknown."""

WRITTEN = Verdict("WRITTEN")

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Sent:
    """What must be known of a batch to find out what became of it."""

    pid: int = 0
    deadline: datetime | None = None


class Appender:
    """Writes changes, in batches of at most ``most``; one batch of an organisation at a time."""

    def __init__(self, lanes: Lanes, *, most: int = 256) -> None:
        self._lanes = lanes
        self._batcher: Batcher[Change, Verdict] = Batcher(
            self._write, places=lanes.count, most=most, exclusive=True
        )

    async def append(self, organisation: str, change: Change) -> Verdict:
        """What became of one change; it is durable when this says ``WRITTEN``.

        Raises `ServiceUnavailable` if the database is away or the outcome cannot be found out.
        """
        return await self._batcher.submit(organisation, change)

    async def drain(self) -> None:
        """Waits until all changes are decided."""
        await self._batcher.drain()

    async def _write(self, key: Hashable, changes: list[Change]) -> list[Verdict | BaseException]:
        organisation = str(key)
        verdicts: list[Verdict | BaseException] = []
        for batch in _apart(changes):
            verdicts += await self._batch(organisation, batch)
        return verdicts

    async def _batch(self, organisation: str, batch: list[Change]) -> list[Verdict | BaseException]:
        sent = _Sent()
        try:
            verdicts = await self._send(organisation, batch, sent)
            if verdicts[0].name == "LATE":
                verdicts = await self._send(organisation, batch, sent)
            return list(verdicts)
        except LOST as error:
            if sent.deadline is None:
                unavailable = ServiceUnavailable("the database is away", retry_after=1)
                unavailable.__cause__ = error
                return [unavailable] * len(batch)
            log.warning("append.unknown", commands=len(batch), error=type(error).__name__)
            return await self._resolve(organisation, batch, sent)
        except asyncpg.PostgresError as error:
            # The server refused the whole batch and said so: nothing of it is written.
            if len(batch) == 1:
                return [error]
            apart = [await self._batch(organisation, [change]) for change in batch]
            return [verdict for verdicts in apart for verdict in verdicts]

    async def _send(self, organisation: str, batch: list[Change], sent: _Sent) -> list[Verdict]:
        arguments = _arguments(batch)
        async with self._lanes.lane() as lane:
            sent.pid, sent.deadline = lane.pid, lane.now() + DEADLINE
            rows = await lane.connection.fetch(APPEND, organisation, sent.deadline, *arguments)
        lost = {row["command"]: Verdict(row["verdict"], row["detail"] or "") for row in rows}
        return [lost.get(n, WRITTEN) for n in range(1, len(batch) + 1)]

    async def _resolve(
        self, organisation: str, batch: list[Change], sent: _Sent
    ) -> list[Verdict | BaseException]:
        """Looks up what became of a batch, as soon as nobody can write it any more."""
        until = time.monotonic() + GIVING_UP
        while time.monotonic() < until:
            try:
                async with self._lanes.lane() as lane:
                    settled = await _settled(lane, sent)
                    found = [await _is_written(lane, organisation, change) for change in batch]
                if settled or all(found):
                    return [WRITTEN if written else _undone() for written in found]
            except LOST:
                pass
            await asyncio.sleep(0.05)
        unknown = ServiceUnavailable("the outcome is not known; ask again with the same key")
        return [unknown] * len(batch)


def _undone() -> ServiceUnavailable:
    return ServiceUnavailable("nothing was written", retry_after=1)


async def _settled(lane: Lane, sent: _Sent) -> bool:
    """Whether the backend that had the batch is gone, or too late to write it."""
    assert sent.deadline is not None
    gone: bool = await lane.connection.fetchval(GONE, sent.pid)
    return gone or lane.now() > sent.deadline + timedelta(seconds=1)


async def _is_written(lane: Lane, organisation: str, change: Change) -> bool:
    written: bool
    if change.written:
        fact = change.written[0].facts[0]
        stream, version = fact.originator_id, fact.originator_version
        written = await lane.connection.fetchval(
            OUTCOME, organisation, stream, version, change.command
        )
    else:
        key, request_hash = change.effects["key"], change.effects["request_hash"]
        written = await lane.connection.fetchval(ANSWERED, organisation, key, request_hash)
    return written


def _apart(changes: list[Change]) -> Iterator[list[Change]]:
    """The changes in batches in which no two touch the same entity, claim or idempotency key.

    The function compares each command with what is stored, so those of one batch must not depend on
    each other; of two that do, the second is compared with what the first has written.
    """
    batch: list[Change] = []
    touched: set[Any] = set()
    for change in changes:
        own = _touched(change)
        if touched & own:
            yield batch
            batch, touched = [], set()
        batch.append(change)
        touched |= own
    yield batch


def _touched(change: Change) -> set[Any]:
    effects = change.effects
    streams: set[Any] = {w.facts[0].originator_id for w in change.written}
    for name in ("take", "release", "take_worldwide", "release_worldwide"):
        streams |= {item["claim"] for item in effects.get(name, ())}
    streams |= {item["stream"] for item in effects.get("expect", ()) if "reclaim" in effects}
    return streams | ({("key", effects["key"])} if "key" in effects else set())


def _arguments(batch: list[Change]) -> list[Any]:
    """The batch as the arrays of ``ledger.append``, in the order of its parameters."""
    facts, rows = _facts(batch), _rows(batch)
    return [
        [orjson.dumps(change.metadata).decode() for change in batch],
        [orjson.dumps(change.effects).decode() for change in batch],
        [change.answer for change in batch],
        *(list(column) for column in zip(*facts, strict=True)),
        *([] for _ in range(0 if facts else 7)),
        *(list(column) for column in zip(*rows, strict=True)),
        *([] for _ in range(0 if rows else 7)),
    ]


def _facts(batch: list[Change]) -> list[tuple[Any, ...]]:
    return [
        (
            n,
            fact.originator_id,
            fact.originator_version,
            fact.TOPIC,
            fact.SCHEMA,
            written.subject,
            to_payload(fact, written.key).decode(),
        )
        for n, change in enumerate(batch, start=1)
        for written in change.written
        for fact in written.facts
    ]


def _rows(batch: list[Change]) -> list[tuple[Any, ...]]:
    return [
        (
            n,
            row.view,
            row.stream,
            row.version,
            orjson.dumps(row.columns).decode(),
            row.document.decode() if row.document is not None else None,
            " ".join(row.refs),
        )
        for n, change in enumerate(batch, start=1)
        for row in change.rows
    ]
