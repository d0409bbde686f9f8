"""The second port, for operators: liveness, readiness and metrics of the process."""

from __future__ import annotations

import asyncio
from typing import Protocol

import orjson
from aiohttp import web

from domain.errors import ServiceError
from infra.http.router import Exchange, Router, response
from infra.observability.metrics import READY, metrics

__all__ = ["Admin", "ReadinessSource"]

DATABASE_TIMEOUT = 2.0
"""Seconds that the database may take to answer before the process reports that it is not ready."""


class ReadinessSource(Protocol):
    """The work of a process, such as answering calls or running projections."""

    async def readiness_problems(self) -> list[str]:
        """Return the reasons why it cannot do its work. May raise `ServiceError` if they are unknown."""


class Admin:
    """Health and metrics. ``draining`` makes the process not ready, so that it gets no new calls."""

    def __init__(self, worker: ReadinessSource) -> None:
        self._worker = worker
        self.draining = False

    def router(self) -> Router:
        """Return the router of the second port."""
        router = Router()
        router.add("GET", "/health/live", self._live)
        router.add("GET", "/health/ready", self._ready)
        router.add("GET", "/metrics", self._metrics)
        return router

    async def _live(self, exchange: Exchange) -> web.StreamResponse:
        return response(b'{"live":true}')

    async def _ready(self, exchange: Exchange) -> web.StreamResponse:
        problems = [] if not self.draining else ["leaving"]
        try:
            async with asyncio.timeout(DATABASE_TIMEOUT):
                problems += await self._worker.readiness_problems()
        except (ServiceError, TimeoutError):
            problems.append("database")
        READY.set(not problems)
        body = orjson.dumps({"ready": not problems, "problems": problems})
        return response(body, status=503 if problems else 200)

    async def _metrics(self, exchange: Exchange) -> web.StreamResponse:
        return response(metrics(), mime_type="text/plain; version=0.0.4; charset=utf-8")
