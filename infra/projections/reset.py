"""Reset of a projection: its table is filled again from position 1, as after a change of its definition."""

from __future__ import annotations

from infra.projections.sql_projections import ANALYTICS
from infra.replay.pipeline import connect_as_owner

__all__ = ["reset_projection"]

# The lock keeps positions where they are; a projector in the middle of a batch finds its own moved.
AGAIN = """
LOCK TABLE projection.checkpoints IN EXCLUSIVE MODE;
UPDATE projection.checkpoints SET position = 0, moved_at = clock_timestamp() WHERE view = '{view}';
TRUNCATE analytics.{view};
DELETE FROM projection.parked WHERE view = '{view}';
UPDATE ledger.view_versions SET version = {version}, written_at = clock_timestamp() WHERE view = 'analytics.{view}';
"""


async def reset_projection(url: str, view: str) -> None:
    """Empty the table of a projection; the next projector fills it from position 1.

    :param url: the database, as its owner.
    :raises ValueError: there is no such projection.
    """
    if view not in ANALYTICS:
        raise ValueError(f"the projector feeds no {view}; it feeds {', '.join(ANALYTICS)}")
    connection = await connect_as_owner(url)
    try:
        async with connection.transaction():
            await connection.execute(AGAIN.format(view=view, version=ANALYTICS[view].version))
    finally:
        await connection.close()
