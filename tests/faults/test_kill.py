"""Fault 1: the service is killed at every step of a write; fault 2: the server's processes are."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from infra.postgres.embedded.server import EmbeddedPostgres
from tests.faults.acknowledged_log import ACKNOWLEDGED, REFUSED, Journal, begun
from tests.faults.failpoints import PLACES, Failpoints, failpoints
from tests.faults.invariants import following, sound
from tests.faults.proxy import Proxy, proxied
from tests.fixtures import databases
from tests.fixtures.service import Service, run_as_process, run_in_process

pytestmark = pytest.mark.slow


class RestartedService:
    """A service as a process of its own, started anew whenever it was killed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._stack = contextlib.AsyncExitStack()
        self._service: Service | None = None

    async def service(self) -> Service:
        if self._service is None:
            self._service = await self._stack.enter_async_context(run_as_process(self.url))
        return self._service

    async def kill(self) -> None:
        assert self._service
        assert self._service.process
        os.kill(self._service.pid, signal.SIGKILL)
        await self._service.process.wait()
        self._service = None

    async def close(self) -> None:
        await self._stack.aclose()


class CrashSite:
    """A database with places to stop at, and a service that reaches it through a proxy."""

    def __init__(
        self, url: str, points: Failpoints, proxy: Proxy, phoenix: RestartedService
    ) -> None:
        self.url, self.points, self.proxy, self.phoenix = url, points, proxy, phoenix


@pytest_asyncio.fixture(scope="module")
async def site(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[CrashSite]:
    async with (
        databases.database(postgres, template) as url,
        failpoints(url) as points,
        proxied(url) as proxy,
    ):
        phoenix = RestartedService(proxy.url)
        yield CrashSite(url, points, proxy, phoenix)
        await phoenix.close()


@pytest.mark.parametrize("place", [*PLACES, "answering"])
async def test_a_killed_service_leaves_a_write_whole_or_absent(site: CrashSite, place: str) -> None:
    journal = await begun(await site.phoenix.service())
    contact = journal.contacts[0]
    async with following(site.url, journal.organisation) as follower:
        if place == "answering":
            site.proxy.arm("hold answer")
        else:
            await site.points.arm(place)
        sent = [
            asyncio.create_task(journal.create("create")),
            asyncio.create_task(journal.update(contact, "update")),
            asyncio.create_task(journal.say(contact)),
        ]
        await (site.proxy.struck.wait() if place == "answering" else site.points.stopped())
        await site.phoenix.kill()
        attempts = await asyncio.gather(*sent)
        if place != "answering":
            await site.points.release()

        journal.service = await site.phoenix.service()
        for attempt in attempts:
            if attempt.key:
                settled = await journal.settle(attempt)
                assert settled.outcome == ACKNOWLEDGED
        assert (await journal.update(contact)).outcome == ACKNOWLEDGED
        await sound(journal, site.url, follower)


@pytest.mark.parametrize("place", PLACES)
async def test_a_server_process_that_ends_in_an_append_leaves_nothing(
    database: str, place: str
) -> None:
    async with failpoints(database) as points, run_in_process(database) as service:
        journal = await begun(service)
        await points.arm(place)
        sent = [asyncio.create_task(journal.create()), asyncio.create_task(journal.create("key"))]
        pid = await points.stopped()
        await points.connection.execute("SELECT pg_terminate_backend($1)", pid)
        await points.release()
        outcomes = {(await task).outcome for task in sent}
        assert outcomes <= {ACKNOWLEDGED, REFUSED}
        assert (await journal.settle(await journal.create("key 2"))).outcome == ACKNOWLEDGED
        await sound(journal, database)


async def _terminate(url: str, journal: Journal, times: int) -> None:
    """Ends processes of the service's connections, a new one whenever the last was survived."""
    connection = await asyncpg.connect(url)
    try:
        for _ in range(times):
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'crmledger' AND datname = current_database()"
                " ORDER BY random() LIMIT 1"
            )
            await journal.acknowledged(2)
    finally:
        await connection.close()


async def test_a_stream_of_ended_server_processes(database: str) -> None:
    async with run_in_process(database) as service:
        journal = await begun(service)
        async with following(database, journal.organisation) as follower:
            clients = [asyncio.create_task(journal.work()) for _ in range(16)]
            await _terminate(database, journal, times=25)
            journal.stopped = True
            await asyncio.gather(*clients)
            await sound(journal, database, follower)
