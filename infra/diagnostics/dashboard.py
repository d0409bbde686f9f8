"""The figures of the console for one organisation, counted on indexes and at most up to `MOST`.

Reading them costs the same for a hundred queued messages or a million. Ages are converted to positions
first (no event was recorded earlier than the one before it), so that no join is needed.
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
"""The most entries of one media, and requests of one state, that are counted."""
AGES = (
    ("less than 5 minutes", timedelta(minutes=5)),
    ("less than an hour", timedelta(hours=1)),
    ("less than a day", timedelta(days=1)),
    ("a day or more", None),
)
"""Ages of queued messages: label and upper bound."""
HOURS = 24
"""Hours for which events are counted."""
SEALS = 24
"""The most seals that are read."""
WEBHOOKS = 24
"""The most webhook subscriptions that are read."""

NOW = "SELECT clock_timestamp()"
# The last position that was recorded before each moment.
BOUNDS = """
SELECT ledger.position_before($1, m.moment) FROM unnest($2::timestamptz[]) WITH ORDINALITY AS m (moment, n) ORDER BY m.n
"""
# The oldest of each media: if there are more than are counted, these are the ones that matter.
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
    """Queued messages by age, of one external system, or of one media without an external system."""

    system: str | None
    media: str | None
    by_age: tuple[int, ...]

    @property
    def entries(self) -> int:
        """The total number of messages."""
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
    """All figures at one moment.

    ``full`` are the media with more queued messages than were counted, ``requests`` the open service
    requests by state as (overdue, not overdue), ``lags`` those of projections by view, ``events`` the number
    of events in each of the last hours, the current one last, ``seals`` the last ones, the oldest first,
    ``webhooks`` the status of the first subscriptions, ``outgoing`` the backlogs of the built-in sender.
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
        """The number of unsealed events; negative: the ledger ends before its last seal."""
        return self.head - (self.seals[-1].last if self.seals else 0)


class DashboardReader:
    """Reads dashboards, with one connection at a time."""

    def __init__(self, lanes: ConnectionPool) -> None:
        self._lanes = lanes

    async def read(self, organisation: str, wall_clock: str) -> Dashboard:
        """Return the current dashboard.

        :param wall_clock: the local time of the service, by which requests are due, as in parameters.
        Raises `ServiceUnavailable`.
        """
        due = datetime.fromisoformat(wall_clock)
        return await self._lanes.read(lambda connection: _read(connection, organisation, due))


async def _read(
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
            events=_differences([*bounds[len(ages) :], head]),
            webhooks=[subscription_status(row) for row in webhooks],
            outgoing=await backlogs(connection, organisation),
        )


async def _waiting(
    connection: asyncpg.Connection[asyncpg.Record], organisation: str, ages: Sequence[int]
) -> tuple[list[QueueDepth], list[str]]:
    """The queue depths, the greatest first, and the media with more messages than were counted."""
    rows = await connection.fetch(WAITING, organisation, list(MEDIA.allowed), MOST + 1, *ages)
    depths: dict[tuple[str | None, str | None], list[int]] = {}
    totals: Counter[str] = Counter()
    for row in rows:
        key = (row["system"], None if row["system"] else row["media"])
        depths.setdefault(key, [0] * len(AGES))[row["age"]] += row["entries"]
        totals[row["media"]] += row["entries"]
    waiting = [QueueDepth(*key, tuple(counts)) for key, counts in depths.items()]
    full = [media for media, total in totals.items() if total > MOST]
    return sorted(waiting, key=lambda depth: -depth.entries), full


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


def _differences(positions: Sequence[int]) -> list[int]:
    """The number of events between each position and the next."""
    return [after - before for before, after in pairwise(positions)]
