"""What views there are and how they stand."""

from __future__ import annotations

from dataclasses import dataclass

from infra.views.folding import Connection, connected
from infra.views.projector import ANALYTICS, lags
from infra.views.tables import VERSIONS, views

__all__ = ["ViewState", "view_states"]

SIZE = """
SELECT pg_total_relation_size(c.oid), v.version
  FROM pg_class c LEFT JOIN ledger.view_versions v ON v.view = $1::text
 WHERE c.oid = $1::text::regclass
"""


@dataclass(frozen=True, slots=True)
class ViewState:
    """One view: rows, bytes on disk with indexes, versions of its definition.

    ``version`` is the one its rows were written by, ``wanted`` this code's; they differ after the
    code was changed and until the view is rebuilt. The lag of a view that is written together with
    its facts is None; that of others is the largest of all organisations.
    """

    name: str
    rows: int
    size: int
    version: int | None
    wanted: int | None
    lag_positions: int | None = None
    lag_seconds: float | None = None


async def view_states(owner_url: str) -> list[ViewState]:
    """All views, inline ones first."""
    connection = await connected(owner_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            inline = [
                await _state(connection, f"views.{view}", VERSIONS.get(view))
                for view in await views(connection)
            ]
            return inline + [await _behind(connection, view) for view in ANALYTICS]
    finally:
        await connection.close()


async def _state(
    connection: Connection,
    name: str,
    wanted: int | None,
    lag: tuple[int, float] | tuple[None, None] = (None, None),
) -> ViewState:
    rows: int = await connection.fetchval(f"SELECT count(*) FROM {name}")  # noqa: S608 (a view's name)
    size, version = await connection.fetchrow(SIZE, name) or (0, None)
    return ViewState(name, rows, size, version, wanted, *lag)


async def _behind(connection: Connection, view: str) -> ViewState:
    behind = await lags(connection, view)
    lag = (
        max((lag.positions for lag in behind), default=0),
        max((lag.seconds for lag in behind), default=0.0),
    )
    return await _state(connection, f"analytics.{view}", ANALYTICS[view].version, lag)
