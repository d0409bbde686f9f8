"""The admin port of the worker processes, and metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from infra.cli.terminal import out
from infra.http.admin import Admin
from infra.http.server import listen
from infra.settings import Settings
from infra.worker import Worker

__all__ = ["AdminPort", "serve_admin_port"]

AdminPort: TypeAlias = Annotated[
    int | None, Parameter(help="Port of health and metrics; CRMLEDGER_ADMIN_PORT by default.")
]


@asynccontextmanager
async def serve_admin_port(
    worker: Worker, settings: Settings, port: int | None
) -> AsyncIterator[None]:
    """Serve the health and metrics of a worker until the context is left, and print the address.

    :param port: instead of the port of the settings.
    """
    listen_on = settings.admin_port if port is None else port
    admin = Admin(worker)
    async with listen(admin.router().handle, settings.host, listen_on) as bound_port:
        address = f"{settings.host}:{bound_port}"
        out.print_line(f"Health and metrics     http://{address}/health/ready")
        out.file.flush()
        yield
        admin.draining = True
