"""``crmledger send``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from cyclopts import Parameter

from infra.app import Application
from infra.cli.runtime import open_command_application, stop_signal
from infra.cli.worker import AdminPort, serve_admin_port
from infra.delivery.dispatcher import MessageDispatcher
from infra.settings import Settings

__all__ = ["send", "send_in_background"]


def _create_dispatcher(application: Application, pause: float) -> MessageDispatcher:
    return MessageDispatcher(
        application.url, application.ledger, application.secrets, application.zone, pause=pause
    )


async def send(
    *,
    pause: Annotated[
        float, Parameter(name="--poll-interval", help="Poll interval of the ledgers in seconds.")
    ] = 0.5,
    admin_port: AdminPort = None,
) -> None:
    """Run the built-in sender: send queued messages without an external system (SMTP, SMS).

    Runs until SIGTERM or Ctrl-C.
    """
    settings = Settings.from_environment()
    stop = stop_signal()
    async with open_command_application(settings) as application:
        dispatcher = _create_dispatcher(application, pause)
        async with serve_admin_port(dispatcher, settings, admin_port):
            await dispatcher.run(stop)


@asynccontextmanager
async def send_in_background(application: Application) -> AsyncIterator[None]:
    """Send in the background; at the end of the block, finish what is in flight."""
    stop = asyncio.Event()
    task = asyncio.create_task(_create_dispatcher(application, 0.5).run(stop))
    try:
        yield
    finally:
        stop.set()
        await task
