"""The ledgers as they were: the implementation of `services.audit.as_of.Past`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import structs

from infra.encryption import KeyRing
from infra.postgres.pool import ConnectionPool
from infra.projections.temporal import PAST, AsOfPool, TemporalViews
from infra.store.context_loader import ContextLoader
from infra.views.queries import ViewReader
from services.audit.as_of import LedgerPosition
from services.context import CallContext, ContextQuery, QueryResult, ViewQuery

__all__ = ["PostgresTemporalStore", "TemporalReadModels", "resolve_position"]

LAST = "SELECT ledger.position_before($1, $2::timestamptz + interval '1 microsecond')"
RECORDED = "SELECT recorded_at FROM ledger.events WHERE organisation = $1 AND position = $2"


async def resolve_position(
    fetchval: Callable[..., Awaitable[Any]], organisation: str, when: int | datetime
) -> LedgerPosition | None:
    """A position, or the last one recorded at or before a time; None beyond the ledger's end.

    :param fetchval: asks the database, as a connection does.
    """
    position: int = when if isinstance(when, int) else await fetchval(LAST, organisation, when)
    if position == 0:
        return LedgerPosition(0)
    recorded_at = await fetchval(RECORDED, organisation, position)
    return LedgerPosition(position, recorded_at) if recorded_at else None


class TemporalReadModels:
    """The views after one position, read by the statements that read them now."""

    def __init__(
        self,
        pool: ConnectionPool,
        streams: ConnectionPool,
        ring: KeyRing,
        zone: ZoneInfo,
        organisation: str,
        moment: LedgerPosition,
    ) -> None:
        """:param moment: to which the history of the organisation has been brought."""
        then = AsOfPool(pool, organisation, moment.position)
        streams_then = AsOfPool(streams, organisation, moment.position)
        self._questions = ContextLoader(then, ring, zone, schema=PAST)
        self._reader = ViewReader(then, streams_then, PAST)
        self._now = moment.recorded_at

    async def load_context(self, organisation: str, question: ContextQuery) -> CallContext:
        """Return the context of a call at that moment; its clock stands still there."""
        return structs.replace(await self._questions.load(organisation, question), now=self._now)

    async def select(self, organisation: str, select: ViewQuery) -> QueryResult:
        """Reads documents of a view."""
        return await self._reader.select(organisation, select)

    def stream(
        self, organisation: str, query: ViewQuery, page_size: int
    ) -> AsyncGenerator[QueryResult, None]:
        """Yield the documents of a list, page by page."""
        return self._reader.stream(organisation, query, page_size)

    async def compact(self, organisation: str, ref: str) -> bytes | None:
        """One stored compact object."""
        return await self._reader.compact(organisation, ref)


class PostgresTemporalStore:
    """One process's way to the past."""

    def __init__(
        self,
        pool: ConnectionPool,
        streams: ConnectionPool,
        history: TemporalViews,
        ring: KeyRing,
        zone: ZoneInfo,
    ) -> None:
        self._pool = pool
        self._streams = streams
        self._history = history
        self._ring = ring
        self._zone = zone

    async def find_position(self, organisation: str, when: int | datetime) -> LedgerPosition | None:
        """A position, or the last one recorded at or before a time; None beyond the ledger's end."""
        return await self._pool.read(
            lambda connection: resolve_position(connection.fetchval, organisation, when)
        )

    async def read_models_at(self, organisation: str, moment: LedgerPosition) -> TemporalReadModels:
        """The views as they were after a position.

        Raises `ServiceUnavailable` if they have to be brought so far first and that takes long.
        """
        await self._history.catch_up_to(organisation, moment.position)
        return TemporalReadModels(
            self._pool, self._streams, self._ring, self._zone, organisation, moment
        )
