"""``crmledger project``: the projection worker, which also seals."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo

from cyclopts import Parameter

from infra.app import run_sealer
from infra.cli.runtime import database, prepare_schema, stop_signal
from infra.cli.views import RESET_TIMEOUT
from infra.cli.worker import AdminPort, serve_admin_port
from infra.encryption import KeyRing
from infra.postgres.pool import ConnectionPool
from infra.projections.projector import Projector
from infra.projections.temporal import TemporalViews
from infra.settings import Settings

__all__ = ["project"]


async def project(
    *,
    lease: Annotated[
        float, Parameter(help="Seconds after which another process takes over.")
    ] = 15.0,
    pause: Annotated[
        float, Parameter(name="--poll-interval", help="Poll interval of the ledger in seconds.")
    ] = 0.5,
    admin_port: AdminPort = None,
) -> None:
    """Run the projection worker: analytics tables, temporal tables and seals.

    Runs until SIGTERM or Ctrl-C.
    """
    settings = Settings.from_environment()
    stop = stop_signal()
    async with database(settings) as url:
        await prepare_schema(url, own=settings.embedded)
        pool = ConnectionPool(url, 1, timeout=RESET_TIMEOUT)
        ring = KeyRing(*settings.service_keys)
        history = TemporalViews(pool, ring, ZoneInfo(settings.time_zone))
        projector = Projector(url, ring, history, lease=lease, pause=pause)
        async with serve_admin_port(projector, settings, admin_port), run_sealer(settings, url):
            await projector.run(stop)
        await pool.close()
