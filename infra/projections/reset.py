"""Feeding a table of analysts from the beginning again, as after its definition was changed."""

from __future__ import annotations

from infra.projections.sql_projections import ANALYTICS
from infra.replay.pipeline import connect_as_owner

__all__ = ["reset_projection"]

# Nobody moves a position meanwhile; a projector that is at work finds it moved, and begins anew.
AGAIN = """
LOCK TABLE projection.checkpoints IN EXCLUSIVE MODE;
UPDATE projection.checkpoints SET position = 0, moved_at = clock_timestamp() WHERE view = '{view}';
TRUNCATE analytics.{view};
DELETE FROM projection.parked WHERE view = '{view}';
UPDATE ledger.view_versions SET version = {version}, written_at = clock_timestamp() WHERE view = 'analytics.{view}';
"""


async def reset_projection(url: str, view: str) -> None:
    """Empties a table that the projector feeds; it is fed from position 1 by whoever projects.

    :param url: the database, as its owner.
    :raises ValueError: there is no such table.
    """
    if view not in ANALYTICS:
        raise ValueError(f"the projector feeds no {view}; it feeds {', '.join(ANALYTICS)}")
    connection = await connect_as_owner(url)
    try:
        async with connection.transaction():
            await connection.execute(AGAIN.format(view=view, version=ANALYTICS[view].version))
    finally:
        await connection.close()
