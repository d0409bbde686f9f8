"""Reading from a streaming replica, for callers who allow what they read to be a little old.

How old a replica is, is judged by the last commit of the primary that it has replayed, against the
primary's clock: everything up to that commit is there. So it may look older than it is when nothing
is written, but never newer; and a primary to which nothing is written has time to answer itself.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator

import asyncpg

from domain.errors import ServiceUnavailable
from infra.postgres.pool import ConnectionPool
from infra.views.queries import ViewReader
from services.context import QueryResult, ViewQuery

__all__ = ["Replica"]

# Asked before the page is read, and not with it: a statement sees the snapshot of its beginning, but this
# function returns what has been replayed when it is called.
STATE = """
SELECT pg_last_xact_replay_timestamp() AS replayed,
       (SELECT coalesce(max(position), 0) FROM ledger.events WHERE organisation = $1) AS position
"""
RETRY_SECONDS = 5.0
"""Seconds after which a replica that did not answer is asked again."""


class Replica:
    """A streaming replica of the database."""

    def __init__(self, pool: ConnectionPool, streams: ConnectionPool, max_age: float) -> None:
        """:param pool: connections to it; ``streams`` those for long lists.
        :param max_age: seconds that its data may be old at most, whatever a caller allows.
        """
        self._pool = pool
        self._streams = streams
        self._max_age = max_age
        self._reader = ViewReader(pool, streams)
        self._away_until = 0.0

    async def select(self, organisation: str, select: ViewQuery) -> QueryResult | None:
        """Return the documents of a page, and set their greatest age in ``select.staleness``.

        Return None if the replica is too far behind or does not answer: then the primary must be asked.
        """
        if time.monotonic() < self._away_until:
            return None
        try:
            return await self._select(organisation, select)
        except (ServiceUnavailable, asyncpg.PostgresError):
            # It does not answer, or the replay of the primary's log has cancelled the statement.
            self._away_until = time.monotonic() + RETRY_SECONDS
            return None

    def stream(
        self, organisation: str, query: ViewQuery, page_size: int
    ) -> AsyncGenerator[QueryResult, None]:
        """Yield the documents of a list, page by page, after `select` has judged the age."""
        return self._reader.stream(organisation, query, page_size)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()
        await self._streams.close()

    async def _select(self, organisation: str, select: ViewQuery) -> QueryResult | None:
        allowed = select.staleness
        state = await self._pool.read(lambda connection: connection.fetchrow(STATE, organisation))
        if allowed is None or allowed.now is None or not state or state["replayed"] is None:
            return None
        age = max((allowed.now - state["replayed"]).total_seconds(), 0.0)
        if age > min(allowed.max_seconds, self._max_age):
            return None
        result = await self._reader.select(organisation, select)
        allowed.seconds, allowed.position = age, state["position"]
        return result
