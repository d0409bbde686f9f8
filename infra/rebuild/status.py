"""The views with their sizes, versions and lags."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from infra.projections.projector import lags
from infra.projections.sql_projections import ANALYTICS
from infra.projections.temporal import HISTORY
from infra.rebuild.table_sets import view_names
from infra.replay.pipeline import Connection, connect_as_owner
from services.projection_versions import VERSION, VERSIONS

__all__ = ["ProjectionStatus", "load_statuses"]

SIZE = """
SELECT pg_total_relation_size(c.oid), v.version
  FROM pg_class c LEFT JOIN ledger.view_versions v ON v.view = $1::text
 WHERE c.oid = $1::text::regclass
"""


HISTORY_TABLES = "SELECT 'temporal.' || t FROM temporal.tables() AS t"
HISTORY_VERSION = "SELECT min(version) FROM projection.checkpoints WHERE view = 'history'"


@dataclass(frozen=True, slots=True)
class ProjectionStatus:
    """One view: rows, bytes on disk with indexes, versions of its definition.

    ``version`` is the one by which its rows were written, ``program_version`` that of this code; they
    differ after the code was changed and until the view is rebuilt. The lag of a view that is written together with
    its events is None; that of others is the largest of all organisations. ``parked`` entities are
    those whose events it could not take in.
    """

    name: str
    rows: int
    size: int
    version: int | None
    program_version: int | None
    lag_positions: int | None = None
    lag_seconds: float | None = None
    parked: int = 0


async def load_statuses(owner_url: str) -> list[ProjectionStatus]:
    """Return all views, inline ones first. The temporal tables, which follow those, count as one."""
    connection = await connect_as_owner(owner_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            inline = [
                await _load_status(connection, f"views.{view}", VERSIONS.get(view))
                for view in await view_names(connection)
            ]
            fed = [
                replace(
                    await _load_status(connection, f"analytics.{name}", view.version),
                    **await _load_lag(connection, name),
                )
                for name, view in ANALYTICS.items()
            ]
            return [*inline, *fed, await _load_temporal_status(connection)]
    finally:
        await connection.close()


async def _load_status(
    connection: Connection, name: str, program_version: int | None
) -> ProjectionStatus:
    rows: int = await connection.fetchval(f"SELECT count(*) FROM {name}")  # noqa: S608 (a view's name)
    size, version = await connection.fetchrow(SIZE, name) or (0, None)
    return ProjectionStatus(name, rows, size, version, program_version)


async def _load_lag(connection: Connection, view: str) -> dict[str, Any]:
    """Return the lag of a view, as fields of its status."""
    view_lags = await lags(connection, view)
    return {
        "lag_positions": max((lag.positions for lag in view_lags), default=0),
        "lag_seconds": max((lag.seconds for lag in view_lags), default=0.0),
        "parked": sum(lag.parked for lag in view_lags),
    }


async def _load_temporal_status(connection: Connection) -> ProjectionStatus:
    names = [row[0] for row in await connection.fetch(HISTORY_TABLES)]
    tables = [await _load_status(connection, name, None) for name in names]
    return ProjectionStatus(
        "temporal.*",
        rows=sum(table.rows for table in tables),
        size=sum(table.size for table in tables),
        version=await connection.fetchval(HISTORY_VERSION),
        program_version=VERSION,
        **await _load_lag(connection, HISTORY),
    )
