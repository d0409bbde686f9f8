"""``crmledger send``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from cyclopts import Parameter

from infra.app import Application
from infra.cli.operators import open_command_application
from infra.cli.runtime import stop_signal
from infra.cli.worker import AdminPort, serve_admin_port
from infra.delivery.dispatcher import MessageDispatcher
from infra.observability.logs import configure_logs
from infra.settings import Settings

__all__ = ["send", "send_in_background"]


def _create_dispatcher(application: Application, pause: float) -> MessageDispatcher:
    return MessageDispatcher(
        application.url, application.ledger, application.secrets, application.zone, pause=pause
    )


async def send(
    *,
    pause: Annotated[float, Parameter(help="Seconds between two looks at the ledgers.")] = 0.5,
    admin_port: AdminPort = None,
) -> None:
    """Sends what waits in the queue without an external system, until it is told to stop (SIGTERM or Ctrl-C)."""
    settings = Settings.from_environment()
    configure_logs()
    stop = stop_signal()
    async with open_command_application(settings) as application:
        dispatcher = _create_dispatcher(application, pause)
        async with serve_admin_port(dispatcher, settings, admin_port):
            await dispatcher.run(stop)


@asynccontextmanager
async def send_in_background(application: Application) -> AsyncIterator[None]:
    """Send messages in the background until the context is left; then finish what is under way."""
    stop = asyncio.Event()
    task = asyncio.create_task(_create_dispatcher(application, 0.5).run(stop))
    try:
        yield
    finally:
        stop.set()
        await task
