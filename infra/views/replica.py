"""Reading from a streaming replica, for callers who allow what they read to be a little old.

How old a replica is, is judged by the last commit of the primary that it has replayed, against the
primary's clock: everything up to that commit is there. So it may look older than it is when nothing
is written, but never newer; and a primary to which nothing is written has time to answer itself.
"""

from __future__ import annotations

import time

import asyncpg

from domain.errors import ServiceUnavailable
from infra.postgres.pool import ConnectionPool
from infra.views.queries import ViewReader
from services.context import QueryResult, ViewQuery

__all__ = ["Replica"]

# Asked before the page is read, and not with it: a statement sees the moment at which it began, but this
# function says what has been replayed at the moment at which it is called.
STATE = """
SELECT pg_last_xact_replay_timestamp() AS replayed,
       (SELECT coalesce(max(position), 0) FROM ledger.events WHERE organisation = $1) AS position
"""
AWAY = 5.0
"""Seconds for which a replica that did not answer is not asked again."""


class Replica:
    """A copy of the database that follows it."""

    def __init__(self, lanes: ConnectionPool, most: float) -> None:
        """:param lanes: connections to it; ``most`` seconds is the oldest that it may be for anybody."""
        self._lanes = lanes
        self._most = most
        self._reader = ViewReader(lanes)
        self._away_until = 0.0

    async def select(self, organisation: str, select: ViewQuery) -> QueryResult | None:
        """The documents of a page, and in ``select.staleness`` how old they are at most.

        None if it is too far behind, or does not answer: the primary must be asked.
        """
        if time.monotonic() < self._away_until:
            return None
        try:
            return await self._selected(organisation, select)
        except (ServiceUnavailable, asyncpg.PostgresError):
            # It is gone, or what is replayed has ended the statement.
            self._away_until = time.monotonic() + AWAY
            return None

    async def close(self) -> None:
        """Closes the connections."""
        await self._lanes.close()

    async def _selected(self, organisation: str, select: ViewQuery) -> QueryResult | None:
        allowed = select.staleness
        state = await self._lanes.read(lambda connection: connection.fetchrow(STATE, organisation))
        if allowed is None or allowed.now is None or not state or state["replayed"] is None:
            return None
        age = max((allowed.now - state["replayed"]).total_seconds(), 0.0)
        if age > min(allowed.max_seconds, self._most):
            return None
        found = await self._reader.select(organisation, select)
        allowed.seconds, allowed.position = age, state["position"]
        return found
