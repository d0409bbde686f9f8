"""What is kept of subscriptions: how far each has come, what waits, what was tried.

An event becomes pending in the statement that moves the position past it, and the position moves only
from where its writer has read it (compare and swap). So a process that was killed, paused or cut off
neither loses an event nor takes one in twice. A statement whose answer was lost may be repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from infra.postgres.pool import ConnectionPool

__all__ = [
    "ATTEMPTS",
    "KEPT",
    "Attempt",
    "Lease",
    "Pending",
    "SubscriptionStatus",
    "SubscriptionStore",
    "subscription_status",
]

KEPT = 10_000
"""Attempts of a subscription that the delivery log holds."""
KEPT_FOR = timedelta(days=30)
"""How long it holds them."""

STANDING = "SELECT * FROM webhooks.standing($1) OFFSET $2 LIMIT $3"
LEASE = """
INSERT INTO webhooks.subscriptions AS s (organisation, webhook, position, mark, holder, held_until)
SELECT $1, $2, w.position, coalesce(e.event_hash, ''), $3, clock_timestamp() + $4 * interval '1 second'
  FROM (VALUES ($5::bigint)) AS w (position)
  LEFT JOIN ledger.events e ON e.organisation = $1 AND e.position = w.position
ON CONFLICT (organisation, webhook) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
 WHERE s.holder IS NULL OR s.holder = excluded.holder OR s.held_until < clock_timestamp()
RETURNING s.position, s.round AS epoch, s.state,
          coalesce((SELECT e.event_hash FROM ledger.events e
                     WHERE e.organisation = $1 AND e.position = s.position), '') = s.mark AS position_matches
"""
RENEW = """
UPDATE webhooks.subscriptions SET held_until = clock_timestamp() + $4 * interval '1 second'
 WHERE organisation = $1 AND webhook = $2 AND holder = $3 AND round = $5 AND state = 'ACTIVE'
"""
TAKE = """
WITH moved AS (
    UPDATE webhooks.subscriptions s
       SET position = $5, mark = (SELECT e.event_hash FROM ledger.events e WHERE e.organisation = $1 AND e.position = $5)
     WHERE s.organisation = $1 AND s.webhook = $2 AND s.holder = $3 AND s.position = $4 AND s.round = $6
    RETURNING s.organisation, s.webhook
), taken AS (
    INSERT INTO webhooks.pending (organisation, webhook, position, stream_id, entity)
    SELECT m.organisation, m.webhook, t.position, t.stream_id, t.entity
      FROM moved m, unnest($7::bigint[], $8::uuid[], $9::text[]) AS t (position, stream_id, entity)
)
SELECT count(*) FROM moved
"""
ROOM = "SELECT count(*) FROM webhooks.pending WHERE organisation = $1 AND webhook = $2"
# The first of each entity, if it is due; left joined, so that an event that is gone shows.
PICK = """
SELECT p.position, p.stream_id, p.entity, p.tries, e.topic, e.version, e.recorded_at
  FROM (SELECT f.* FROM (SELECT DISTINCT ON (w.stream_id) w.* FROM webhooks.pending w
                          WHERE w.organisation = $1 AND w.webhook = $2 ORDER BY w.stream_id, w.position) AS f
         WHERE f.next_at <= clock_timestamp() AND f.stream_id <> ALL ($3)
         ORDER BY $5 AND f.tries > 0, f.next_at, f.position LIMIT $4) AS p
  LEFT JOIN ledger.events e ON e.organisation = $1 AND e.position = p.position
 ORDER BY $5 AND p.tries > 0, p.next_at, p.position
"""
NOTE = """
WITH given AS (
    SELECT g.* FROM unnest($5::bigint[], $6::text[], $7::integer[], $8::integer[], $9::float8[])
                        AS g (position, outcome, status, milliseconds, wait)
     WHERE EXISTS (SELECT FROM webhooks.subscriptions s
                    WHERE s.organisation = $1 AND s.webhook = $2 AND s.round = $3)
), done AS (
    DELETE FROM webhooks.pending p USING given g
     WHERE p.organisation = $1 AND p.webhook = $2 AND p.position = g.position AND g.outcome = 'DELIVERED'
    RETURNING p.position, p.tries + 1 AS try
), failed AS (
    UPDATE webhooks.pending p
       SET tries = p.tries + 1, first_try_at = coalesce(p.first_try_at, clock_timestamp()),
           next_at = clock_timestamp() + g.wait * interval '1 second'
      FROM given g
     WHERE p.organisation = $1 AND p.webhook = $2 AND p.position = g.position AND g.outcome <> 'DELIVERED'
    RETURNING p.position, p.tries AS try, p.first_try_at
), noted AS (
    INSERT INTO webhooks.attempts (organisation, webhook, position, try, milliseconds, outcome, status)
    SELECT $1, $2, g.position, t.try, g.milliseconds, g.outcome, g.status
      FROM given g JOIN (SELECT position, try FROM done UNION ALL SELECT position, try FROM failed) AS t USING (position)
     ORDER BY g.position
)
UPDATE webhooks.subscriptions s
   SET delivered_at = CASE WHEN EXISTS (SELECT FROM done) THEN clock_timestamp() ELSE s.delivered_at END,
       state = w.state, state_at = CASE WHEN w.state = s.state THEN s.state_at ELSE clock_timestamp() END
  FROM (SELECT CASE WHEN EXISTS (SELECT FROM given g WHERE g.outcome = 'GONE') THEN 'GONE'
                    WHEN EXISTS (SELECT FROM failed f WHERE f.first_try_at < clock_timestamp() - $4 * interval '1 second')
                    THEN 'PAUSED' ELSE 'ACTIVE' END AS state) AS w
 WHERE s.organisation = $1 AND s.webhook = $2 AND s.round = $3 AND s.state = 'ACTIVE'
RETURNING s.state
"""
RELEASE = "UPDATE webhooks.subscriptions SET holder = NULL, held_until = '-infinity' WHERE organisation = $1 AND holder = $2"
SECRETS = "SELECT * FROM webhooks.signing_secrets($1, $2)"
RECORDS = """
SELECT e.stream_id, e.payload ->> 'kind' || '/' || (e.payload ->> 'record_id') AS entity
  FROM ledger.events e
 WHERE e.organisation = $1 AND e.stream_id = ANY ($2) AND e.version = 1
"""
FORGET = """
DELETE FROM webhooks.attempts a
 WHERE a.organisation = $1 AND a.webhook = $2
   AND (a.made_at < clock_timestamp() - $3::interval
        OR a.number <= (SELECT b.number FROM webhooks.attempts b WHERE b.organisation = $1 AND b.webhook = $2
                         ORDER BY b.number DESC OFFSET $4 LIMIT 1))
"""
ATTEMPTS = """
SELECT position, try, made_at, milliseconds, outcome, status FROM webhooks.attempts
 WHERE organisation = $1 AND webhook = $2 ORDER BY number DESC OFFSET $3 LIMIT $4
"""


@dataclass(frozen=True, slots=True)
class SubscriptionStatus:
    """How a subscription stands: what was registered, and how far it has come.

    ``lag_positions`` counts from the first event that is neither acknowledged nor passed over, and is
    negative if the ledger ends before what was told of it; ``lag_seconds`` is that event's age.
    ``failing_since`` is set while an event that was sent in vain waits.
    """

    organisation: str
    webhook: str
    document: dict[str, Any]
    retired: bool
    position: int
    epoch: int
    state: str
    state_at: datetime | None
    delivered_at: datetime | None
    head: int
    pending: int
    due: int
    failing_since: datetime | None
    lag_positions: int
    lag_seconds: float

    @property
    def display_state(self) -> str:
        """Its state in one word."""
        if self.retired:
            return "RETIRED"
        if self.document["life_cycle_state"] != "EFFECTIVE":
            return "NOT_EFFECTIVE"
        if self.position > self.head:
            return "AHEAD"
        return "FAILING" if self.state == "ACTIVE" and self.failing_since else self.state

    @property
    def is_active(self) -> bool:
        """Whether anything is to be delivered at all."""
        return self.display_state in ("ACTIVE", "FAILING")

    @property
    def has_work(self) -> bool:
        """Whether there may be anything to do now."""
        return self.is_active and (self.due > 0 or self.position < self.head)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to deliver; ``position_matches`` unless another event stands where the subscription has come to."""

    position: int
    epoch: int
    state: str
    position_matches: bool


@dataclass(frozen=True, slots=True)
class Pending:
    """An event that waits. The last three are None if the ledger has no such event any more."""

    position: int
    stream_id: UUID
    entity: str
    tries: int
    topic: str | None
    version: int | None
    recorded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request and what came of it; ``wait`` are the seconds until the next one if it failed."""

    position: int
    outcome: str
    status: int | None
    milliseconds: int
    wait: float = 0.0


def subscription_status(row: asyncpg.Record) -> SubscriptionStatus:
    """A row of ``webhooks.standing``."""
    columns = dict(row)
    columns["epoch"] = columns.pop("round")
    return SubscriptionStatus(**columns | {"document": orjson.loads(row["document"])})


class SubscriptionStore:
    """The tables, for one process that delivers. Every method raises `ServiceUnavailable`.

    :param me: by which the process holds leases.
    """

    def __init__(self, lanes: ConnectionPool, me: UUID) -> None:
        self._lanes = lanes
        self._me = me

    async def standings(self) -> list[SubscriptionStatus]:
        """How all subscriptions stand."""
        rows = await self._lanes.read(lambda c: c.fetch(STANDING, None, 0, None))
        return [subscription_status(row) for row in rows]

    async def lease(self, one: SubscriptionStatus, seconds: float) -> Lease | None:
        """Takes a subscription, for so long; None if another process has it."""
        key = one.organisation, one.webhook
        row = await self._lanes.read(
            lambda c: c.fetchrow(LEASE, *key, self._me, seconds, one.position)
        )
        return Lease(**row) if row else None

    async def renew(self, one: SubscriptionStatus, seconds: float, round_: int) -> bool:
        """Keeps it for so long from now on; False if it is another's, paused or begun anew."""
        key = one.organisation, one.webhook
        said = await self._lanes.read(lambda c: c.execute(RENEW, *key, self._me, seconds, round_))
        return said == "UPDATE 1"

    async def enqueue(
        self,
        one: SubscriptionStatus,
        round_: int,
        at: int,
        upto: int,
        new: Sequence[tuple[int, UUID, str]],
    ) -> bool:
        """Moves the position and makes events (position, stream, entity) pending; False, and nothing
        is written, if it stands elsewhere by now."""
        columns = [list(column) for column in zip(*new, strict=True)] or [[], [], []]
        key = one.organisation, one.webhook
        moved = await self._lanes.read(
            lambda c: c.fetchval(TAKE, *key, self._me, at, upto, round_, *columns)
        )
        return bool(moved)

    async def waiting(self, one: SubscriptionStatus) -> int:
        """How many events wait."""
        key = one.organisation, one.webhook
        return int(await self._lanes.read(lambda c: c.fetchval(ROOM, *key)))

    async def claim_due(
        self, one: SubscriptionStatus, busy: Collection[UUID], most: int, *, new_first: bool
    ) -> list[Pending]:
        """What may be sent now, of entities that are not busy; what has not failed yet first, or
        what may be sent for the longest time."""
        key = one.organisation, one.webhook
        rows = await self._lanes.read(lambda c: c.fetch(PICK, *key, list(busy), most, new_first))
        return [
            Pending(**dict(row) | {"stream_id": UUID(bytes=row["stream_id"].bytes)}) for row in rows
        ]

    async def record_attempts(
        self, one: SubscriptionStatus, round_: int, age: float, attempts: Sequence[Attempt]
    ) -> str | None:
        """Notes what came of requests: the subscription's state, None if it is stopped by now.

        :param age: seconds after its first try in vain at which an event pauses the subscription.
        """
        given = [(a.position, a.outcome, a.status, a.milliseconds, a.wait) for a in attempts]
        columns = [list(column) for column in zip(*given, strict=True)]
        key = one.organisation, one.webhook
        state: str | None = await self._lanes.read(
            lambda c: c.fetchval(NOTE, *key, round_, age, *columns)
        )
        return state

    async def secrets(self, one: SubscriptionStatus) -> list[str]:
        """What it is signed with, sealed."""
        key = one.organisation, one.webhook
        rows = await self._lanes.read(lambda c: c.fetch(SECRETS, *key))
        return [row[0] for row in rows]

    async def records(self, organisation: str, streams: Collection[UUID]) -> dict[UUID, str]:
        """Which registered record (``kind/id``) each of these streams is."""
        if not streams:
            return {}
        rows = await self._lanes.read(lambda c: c.fetch(RECORDS, organisation, list(streams)))
        return {UUID(bytes=row["stream_id"].bytes): row["entity"] for row in rows}

    async def release(self, organisation: str) -> None:
        """Gives the leases in an organisation back, so that others need not wait for their end."""
        await self._lanes.read(lambda c: c.execute(RELEASE, organisation, self._me))

    async def forget(self, one: SubscriptionStatus) -> None:
        """Drops attempts that the log need not hold any more."""
        key = one.organisation, one.webhook
        await self._lanes.read(lambda c: c.execute(FORGET, *key, KEPT_FOR, KEPT))
