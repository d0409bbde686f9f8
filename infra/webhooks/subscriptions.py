"""The store of subscriptions: the position of each, its pending events and its attempts.

An event becomes pending in the statement that moves the position past it, and the position moves only
from where its writer has read it (compare and swap). So a process that is killed, paused or cut off
neither loses an event nor enqueues one twice. A statement whose result was lost may be repeated.
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
    "MAX_ATTEMPTS",
    "Attempt",
    "LeasedSubscription",
    "Pending",
    "SubscriptionStatus",
    "SubscriptionStore",
    "subscription_status",
]

MAX_ATTEMPTS = 10_000
"""Number of attempts of a subscription that the delivery log holds."""
MAX_ATTEMPT_AGE = timedelta(days=30)
"""How long the delivery log holds an attempt."""

STANDING = "SELECT * FROM webhooks.subscription_status($1) OFFSET $2 LIMIT $3"
LEASE = """
INSERT INTO webhooks.subscriptions AS s (organisation, webhook, position, position_hash, lease_holder, lease_expires_at)
SELECT $1, $2, w.position, coalesce(e.event_hash, ''), $3, clock_timestamp() + $4 * interval '1 second'
  FROM (VALUES ($5::bigint)) AS w (position)
  LEFT JOIN ledger.events e ON e.organisation = $1 AND e.position = w.position
ON CONFLICT (organisation, webhook) DO UPDATE SET lease_holder = excluded.lease_holder, lease_expires_at = excluded.lease_expires_at
 WHERE s.lease_holder IS NULL OR s.lease_holder = excluded.lease_holder OR s.lease_expires_at < clock_timestamp()
RETURNING s.position, s.epoch AS epoch, s.state,
          coalesce((SELECT e.event_hash FROM ledger.events e
                     WHERE e.organisation = $1 AND e.position = s.position), '') = s.position_hash AS position_matches
"""
RENEW = """
UPDATE webhooks.subscriptions SET lease_expires_at = clock_timestamp() + $4 * interval '1 second'
 WHERE organisation = $1 AND webhook = $2 AND lease_holder = $3 AND epoch = $5 AND state = 'ACTIVE'
"""
TAKE = """
WITH moved AS (
    UPDATE webhooks.subscriptions s
       SET position = $5, position_hash = (SELECT e.event_hash FROM ledger.events e WHERE e.organisation = $1 AND e.position = $5)
     WHERE s.organisation = $1 AND s.webhook = $2 AND s.lease_holder = $3 AND s.position = $4 AND s.epoch = $6
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
                    WHERE s.organisation = $1 AND s.webhook = $2 AND s.epoch = $3)
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
 WHERE s.organisation = $1 AND s.webhook = $2 AND s.epoch = $3 AND s.state = 'ACTIVE'
RETURNING s.state
"""
RELEASE = "UPDATE webhooks.subscriptions SET lease_holder = NULL, lease_expires_at = '-infinity' WHERE organisation = $1 AND lease_holder = $2"
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
    """The status of a subscription: its registered document and its progress.

    ``lag_positions`` counts from the first event that is neither acknowledged nor skipped. It is
    negative if the ledger ends before the subscription's position. ``lag_seconds`` is the age of that
    event. ``failing_since`` is set while an event waits that was sent in vain.
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
    def key(self) -> tuple[str, str]:
        """The organisation and the id."""
        return self.organisation, self.webhook

    @property
    def display_state(self) -> str:
        """The state in one word."""
        if self.retired:
            return "RETIRED"
        if self.document["life_cycle_state"] != "EFFECTIVE":
            return "NOT_EFFECTIVE"
        if self.position > self.head:
            return "AHEAD"
        return "FAILING" if self.state == "ACTIVE" and self.failing_since else self.state

    @property
    def is_active(self) -> bool:
        """True if events are to be sent to it."""
        return self.display_state in ("ACTIVE", "FAILING")

    @property
    def has_work(self) -> bool:
        """True if there may be anything to do now."""
        return self.is_active and (self.due > 0 or self.position < self.head)


@dataclass(frozen=True, slots=True)
class LeasedSubscription:
    """A subscription that this process has leased.

    ``position_matches`` is False if the ledger has another event at its position than was sent.
    """

    position: int
    epoch: int
    state: str
    position_matches: bool


@dataclass(frozen=True, slots=True)
class Pending:
    """An event that waits. The last three fields are None if the ledger no longer has it."""

    position: int
    stream_id: UUID
    entity: str
    tries: int
    topic: str | None
    version: int | None
    recorded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request and its result; ``wait`` is the seconds until the next one if it failed."""

    position: int
    outcome: str
    status: int | None
    milliseconds: int
    wait: float = 0.0


def subscription_status(row: asyncpg.Record) -> SubscriptionStatus:
    """Return a row of ``webhooks.subscription_status`` as a status."""
    return SubscriptionStatus(**dict(row) | {"document": orjson.loads(row["document"])})


class SubscriptionStore:
    """The tables of subscriptions. Every method raises `ServiceUnavailable`.

    :param holder: the id by which this process holds leases.
    """

    def __init__(self, pool: ConnectionPool, holder: UUID) -> None:
        self._pool = pool
        self._holder = holder

    async def statuses(self) -> list[SubscriptionStatus]:
        """Return the status of every subscription."""
        rows = await self._pool.read(lambda c: c.fetch(STANDING, None, 0, None))
        return [subscription_status(row) for row in rows]

    async def lease(self, status: SubscriptionStatus, seconds: float) -> LeasedSubscription | None:
        """Lease a subscription for ``seconds``; None if another process has it."""
        row = await self._pool.read(
            lambda c: c.fetchrow(LEASE, *status.key, self._holder, seconds, status.position)
        )
        return LeasedSubscription(**row) if row else None

    async def renew(self, status: SubscriptionStatus, seconds: float, epoch: int) -> bool:
        """Renew the lease. False if another process has it, it is paused or an operator intervened."""
        command_tag = await self._pool.read(
            lambda c: c.execute(RENEW, *status.key, self._holder, seconds, epoch)
        )
        return command_tag == "UPDATE 1"

    async def enqueue(
        self,
        status: SubscriptionStatus,
        epoch: int,
        after: int,
        upto: int,
        events: Sequence[tuple[int, UUID, str]],
    ) -> bool:
        """Move the position and make events pending.

        :param events: position, stream and entity (``kind/id``) of each.
        :returns: False, and writes nothing, if the position has been moved meanwhile.
        """
        columns = [list(column) for column in zip(*events, strict=True)] or [[], [], []]
        moved = await self._pool.read(
            lambda c: c.fetchval(TAKE, *status.key, self._holder, after, upto, epoch, *columns)
        )
        return bool(moved)

    async def count_pending(self, status: SubscriptionStatus) -> int:
        """Return the number of pending events."""
        return int(await self._pool.read(lambda c: c.fetchval(ROOM, *status.key)))

    async def claim_due(
        self, status: SubscriptionStatus, busy: Collection[UUID], limit: int, *, new_first: bool
    ) -> list[Pending]:
        """Return the first due event of each entity, those that are due for the longest time first.

        :param busy: streams of entities with a request under way; they are left out.
        :param new_first: puts the events first that have not failed yet.
        """
        rows = await self._pool.read(
            lambda c: c.fetch(PICK, *status.key, list(busy), limit, new_first)
        )
        return [
            Pending(**dict(row) | {"stream_id": UUID(bytes=row["stream_id"].bytes)}) for row in rows
        ]

    async def record_attempts(
        self, status: SubscriptionStatus, epoch: int, max_age: float, attempts: Sequence[Attempt]
    ) -> str | None:
        """Record the results of requests: the subscription's state, None if it is no longer active.

        :param max_age: seconds after the first failure of an event at which it pauses the subscription.
        """
        rows = [
            (attempt.position, attempt.outcome, attempt.status, attempt.milliseconds, attempt.wait)
            for attempt in attempts
        ]
        columns = [list(column) for column in zip(*rows, strict=True)]
        state: str | None = await self._pool.read(
            lambda c: c.fetchval(NOTE, *status.key, epoch, max_age, *columns)
        )
        return state

    async def secrets(self, status: SubscriptionStatus) -> list[str]:
        """Return the signing secrets, encrypted."""
        rows = await self._pool.read(lambda c: c.fetch(SECRETS, *status.key))
        return [row[0] for row in rows]

    async def records(self, organisation: str, streams: Collection[UUID]) -> dict[UUID, str]:
        """Return the registered record (``kind/id``) of each of these streams."""
        if not streams:
            return {}
        rows = await self._pool.read(lambda c: c.fetch(RECORDS, organisation, list(streams)))
        return {UUID(bytes=row["stream_id"].bytes): row["entity"] for row in rows}

    async def release(self, organisation: str) -> None:
        """Give the leases in an organisation back, so that others need not wait for their end."""
        await self._pool.read(lambda c: c.execute(RELEASE, organisation, self._holder))

    async def purge_attempts(self, status: SubscriptionStatus) -> None:
        """Delete the attempts that the delivery log no longer holds."""
        await self._pool.read(
            lambda c: c.execute(FORGET, *status.key, MAX_ATTEMPT_AGE, MAX_ATTEMPTS)
        )
