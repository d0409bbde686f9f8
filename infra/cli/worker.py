"""The admin port of the worker processes, and how it is announced."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from infra.cli.runtime import out
from infra.http.admin import Admin, Worker
from infra.http.server import listen
from infra.settings import Settings

__all__ = ["AdminPort", "serve_admin_port"]

AdminPort: TypeAlias = Annotated[
    int | None, Parameter(help="Port of health and metrics; CRMLEDGER_ADMIN_PORT by default.")
]


@asynccontextmanager
async def serve_admin_port(
    worker: Worker, settings: Settings, port: int | None
) -> AsyncIterator[None]:
    """Serves a worker's health and metrics until left, and says where.

    :param port: if not that of the settings.
    """
    wanted = settings.admin_port if port is None else port
    admin = Admin(worker)
    async with listen(admin.edge().handle, settings.host, wanted) as served:
        address = f"{settings.host}:{served}"
        out.print(f"Health and metrics     http://{address}/health/ready", highlight=False)
        out.file.flush()
        yield
        admin.draining = True
