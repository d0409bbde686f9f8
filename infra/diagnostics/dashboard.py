"""What the console shows of one organisation: counted on indexes, and never more than `MOST`.

A look costs the same whether a hundred messages wait or a million. Ages are turned into positions
first (no event was recorded earlier than the one before it), so that nothing has to be joined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import asyncpg

from domain.communication import MEDIA
from domain.service_request_answers import OPEN
from infra.delivery.backlog import Backlog, backlogs
from infra.ledger.positions import HEAD
from infra.postgres.pool import ConnectionPool
from infra.projections.projector import ProjectionLag
from infra.projections.sql_projections import ANALYTICS
from infra.projections.temporal import HISTORY
from infra.webhooks.subscriptions import STANDING, SubscriptionStatus, subscription_status

__all__ = [
    "AGES",
    "HOURS",
    "MOST",
    "Dashboard",
    "DashboardReader",
    "QueueDepth",
    "SealSummary",
]

MOST = 10_000
"""Entries of one media, and requests of one state, that are counted."""
AGES = (
    ("less than 5 minutes", timedelta(minutes=5)),
    ("less than an hour", timedelta(hours=1)),
    ("less than a day", timedelta(days=1)),
    ("a day or more", None),
)
"""How long a message has waited: what is said, and the bound."""
HOURS = 24
"""Hours of which the events are counted."""
SEALS = 24
"""Seals that are shown."""
WEBHOOKS = 24
"""Subscriptions that are shown."""

NOW = "SELECT clock_timestamp()"
# The positions before which an event was recorded earlier than each moment.
BOUNDS = """
SELECT ledger.position_before($1, m.moment) FROM unnest($2::timestamptz[]) WITH ORDINALITY AS m (moment, n) ORDER BY m.n
"""
# The longest waiting of each media: if there are more than are counted, these are the ones that matter.
WAITING = """
SELECT m.media, q.external_system AS system,
       (q.created <= $4)::int + (q.created <= $5)::int + (q.created <= $6)::int AS age, count(*) AS entries
  FROM unnest($2::text[]) AS m (media),
       LATERAL (SELECT e.external_system, e.created FROM views.queue_entries e
                 WHERE e.organisation = $1 AND e.media = m.media AND e.life_cycle_state = 'PENDING'
                 ORDER BY e.created LIMIT $3) AS q
 GROUP BY 1, 2, 3
"""
REQUESTS = """
SELECT s.state, (SELECT count(*) FROM (SELECT FROM views.service_requests r
                                        WHERE r.organisation = $1 AND r.life_cycle_state = s.state LIMIT $3) AS r) AS open
  FROM unnest($2::text[]) AS s (state)
"""
OVERDUE = """
SELECT life_cycle_state AS state, count(*) AS requests
  FROM (SELECT life_cycle_state FROM views.service_requests
         WHERE organisation = $1 AND due < $2 ORDER BY due LIMIT $3) AS r
 GROUP BY 1
"""
LAGS = """
SELECT v.name, $1::text AS organisation, coalesce(p.position, 0) AS position, $3 - coalesce(p.position, 0) AS positions,
       coalesce(extract(epoch FROM clock_timestamp() - e.recorded_at)::float8, 0) AS seconds,
       (SELECT count(*) FROM projection.parked q WHERE q.organisation = $1 AND q.view = v.name) AS parked
  FROM unnest($2::text[]) AS v (name)
  LEFT JOIN projection.checkpoints p ON p.organisation = $1 AND p.view = v.name
  LEFT JOIN ledger.events e ON e.organisation = $1 AND e.position = coalesce(p.position, 0) + 1
 ORDER BY v.name
"""
SEALED = """
SELECT number, first_position AS first, last_position AS last, (statement ->> 'sealed_at')::timestamptz AS sealed_at
  FROM ledger.seals WHERE organisation = $1 ORDER BY number DESC LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Messages that wait for one system, or of one media if no system was named, by age."""

    system: str | None
    media: str | None
    by_age: tuple[int, ...]

    @property
    def entries(self) -> int:
        """All of them."""
        return sum(self.by_age)


@dataclass(frozen=True, slots=True)
class SealSummary:
    """One seal."""

    number: int
    first: int
    last: int
    sealed_at: datetime


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Everything, at one moment.

    ``full`` are the media of which more wait than were counted, ``requests`` the open service
    requests by state as (overdue, not overdue), ``lags`` are by view, ``events`` how many were recorded in each of the
    last hours, the present one last, ``seals`` the last ones, the oldest first, ``webhooks`` how the
    first subscriptions stand, ``outgoing`` what the service itself has to send.
    """

    now: datetime
    head: int
    waiting: Sequence[QueueDepth]
    full: Sequence[str]
    requests: Mapping[str, tuple[int, int]]
    lags: Mapping[str, ProjectionLag]
    seals: Sequence[SealSummary]
    events: Sequence[int]
    webhooks: Sequence[SubscriptionStatus]
    outgoing: Sequence[Backlog]

    @property
    def unsealed(self) -> int:
        """Events that no seal covers; negative: the ledger ends before its last seal."""
        return self.head - (self.seals[-1].last if self.seals else 0)


class DashboardReader:
    """Looks at organisations, with one connection at a time."""

    def __init__(self, lanes: ConnectionPool) -> None:
        self._lanes = lanes

    async def read(self, organisation: str, wall_clock: str) -> Dashboard:
        """What there is to see now.

        :param wall_clock: the service's, by which requests are due, as it stands in parameters.
        Raises `ServiceUnavailable`.
        """
        due = datetime.fromisoformat(wall_clock)
        return await self._lanes.read(lambda connection: _look(connection, organisation, due))


async def _look(
    connection: asyncpg.Connection[asyncpg.Record], organisation: str, due: datetime
) -> Dashboard:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        now = await connection.fetchval(NOW)
        head = await connection.fetchval(HEAD, organisation)
        ages = [now - age for _, age in AGES if age]
        hours = [now - timedelta(hours=n) for n in range(HOURS, 0, -1)]
        rows = await connection.fetch(BOUNDS, organisation, ages + hours)
        bounds = [row[0] for row in rows]
        waiting, full = await _waiting(connection, organisation, bounds[: len(ages)])
        seals = await connection.fetch(SEALED, organisation, SEALS)
        lags = await connection.fetch(LAGS, organisation, [*ANALYTICS, HISTORY], head)
        webhooks = await connection.fetch(STANDING, organisation, 0, WEBHOOKS)
        return Dashboard(
            now=now,
            head=head,
            waiting=waiting,
            full=full,
            requests=await _requests(connection, organisation, due),
            lags={view: ProjectionLag(*lag) for view, *lag in lags},
            seals=[SealSummary(**row) for row in reversed(seals)],
            events=_steps([*bounds[len(ages) :], head]),
            webhooks=[subscription_status(row) for row in webhooks],
            outgoing=await backlogs(connection, organisation),
        )


async def _waiting(
    connection: asyncpg.Connection[asyncpg.Record], organisation: str, ages: Sequence[int]
) -> tuple[list[QueueDepth], list[str]]:
    """What waits, the most first, and the media of which there is more than was counted."""
    rows = await connection.fetch(WAITING, organisation, list(MEDIA.allowed), MOST + 1, *ages)
    found: dict[tuple[str | None, str | None], list[int]] = {}
    totals: Counter[str] = Counter()
    for row in rows:
        key = (row["system"], None if row["system"] else row["media"])
        found.setdefault(key, [0] * len(AGES))[row["age"]] += row["entries"]
        totals[row["media"]] += row["entries"]
    waiting = [QueueDepth(*key, tuple(counts)) for key, counts in found.items()]
    full = [media for media, total in totals.items() if total > MOST]
    return sorted(waiting, key=lambda one: -one.entries), full


async def _requests(
    connection: asyncpg.Connection[asyncpg.Record], organisation: str, due: datetime
) -> dict[str, tuple[int, int]]:
    rows = await connection.fetch(REQUESTS, organisation, list(OPEN), MOST)
    late = await connection.fetch(OVERDUE, organisation, due, MOST + 1)
    overdue = {row["state"]: row["requests"] for row in late}
    return {
        row["state"]: (
            overdue.get(row["state"], 0),
            max(row["open"] - overdue.get(row["state"], 0), 0),
        )
        for row in rows
    }


def _steps(positions: Sequence[int]) -> list[int]:
    """How many events lie between each position and the next."""
    return [after - before for before, after in pairwise(positions)]
