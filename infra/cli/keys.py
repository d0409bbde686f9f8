"""``crmledger keys``."""

from __future__ import annotations

import sys

import asyncpg
from cyclopts import App

from infra.audit.queries import organisation_id
from infra.cli.runtime import database, prepare_schema
from infra.cli.terminal import err, exit_with, out, progress
from infra.observability.security_log import security_log
from infra.settings import Settings
from infra.store.key_rotation import Rewrapper

__all__ = ["keys"]

keys = App(name="keys", help="Rotation of the service key.")


@keys.command
async def rewrap(*, organisation: str | None = None) -> None:
    """Encrypt with the current service key what one of its fallbacks has encrypted.

    The service runs meanwhile. It may be interrupted and repeated. Exits with 1 if something needs a
    key that is not listed.

    Parameters
    ----------
    organisation
        Name of the only organisation to rewrap.
    """
    settings = Settings.from_environment()
    async with database(settings) as url:
        await prepare_schema(url, own=settings.embedded)
        connection = await asyncpg.connect(url)
        rewrapper = Rewrapper(connection, *settings.service_keys)
        try:
            id_ = await organisation_id(connection, organisation) if organisation else None
            if id_ is not None and id_ not in await rewrapper.organisations():
                exit_with(f"nothing of {organisation} is encrypted")
            before = await rewrapper.count(id_)
            lost = await _run(rewrapper, id_, before)
            left = await rewrapper.count(id_)
        finally:
            rewrapper.close()
            await connection.close()
    security_log.record("keys_rewrapped", rewrapped=before - left, left=left)
    out.print_line(f"{before - left:,} rewrapped, {left:,} left")
    if lost:
        err.print_line(f"{lost:,} need a service key that is not listed")
        sys.exit(1)


async def _run(rewrapper: Rewrapper, organisation: str | None, total: int) -> int:
    with progress() as bar:
        task = bar.add_task("keys", total=total)
        return await rewrapper.run(organisation, lambda count: bar.advance(task, count))
