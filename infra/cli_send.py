"""``crmledger send``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from cyclopts import Parameter

from infra.app import Application
from infra.cli_operator import application
from infra.http.admin import Admin
from infra.http.server import serving
from infra.sending.sender import Sender
from infra.settings import Settings
from infra.telemetry import configure_logs
from infra.terminal import out, told_to_stop

__all__ = ["send", "sending"]


def _sender(running: Application, pause: float) -> Sender:
    return Sender(running.url, running.ledger, running.secrets, running.zone, pause=pause)


async def send(
    *,
    pause: Annotated[float, Parameter(help="Seconds between two looks at the ledgers.")] = 0.5,
    admin_port: Annotated[
        int | None, Parameter(help="Port of health and metrics, if not CRMLEDGER_ADMIN_PORT.")
    ] = None,
) -> None:
    """Sends what waits in the queue without an external system, until it is told to stop (SIGTERM or Ctrl-C)."""
    settings = Settings.from_environment()
    port = settings.admin_port if admin_port is None else admin_port
    configure_logs()
    stop = told_to_stop()
    async with application(settings) as running:
        sender = _sender(running, pause)
        admin = Admin(sender)
        async with serving(admin.edge().handle, settings.host, port) as port:
            address = f"{settings.host}:{port}"
            out.print(f"Health and metrics     http://{address}/health/ready", highlight=False)
            out.file.flush()
            await sender.run(stop)
            admin.leaving = True


@asynccontextmanager
async def sending(running: Application) -> AsyncIterator[None]:
    """Sends in the background until left; then finishes what is under way."""
    stop = asyncio.Event()
    task = asyncio.create_task(_sender(running, 0.5).run(stop))
    try:
        yield
    finally:
        stop.set()
        await task
