"""Fault 28: more callers than connections, and no database at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import aiohttp
import pytest

from infra.store.postgres_store import PostgresStore
from tests.faults.acknowledged_log import ACKNOWLEDGED, REFUSED, begun
from tests.faults.failpoints import failpoints
from tests.faults.invariants import sound
from tests.faults.proxy import proxied
from tests.fixtures.read_models import connection
from tests.fixtures.service import Service, run_in_process


async def ready(service: Service) -> bool:
    async with service.http.get(service.admin_url + "/health/ready") as answer:
        assert (answer.status == 200) is (await answer.json())["ready"]
        return answer.status == 200


@pytest.mark.slow
async def test_five_hundred_clients_of_one_connection(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.app.PostgresStore", partial(PostgresStore, queue_limit=50))
    async with (
        run_in_process(database, CRMLEDGER_CONNECTIONS="1") as service,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        journal = await begun(replace(service, http=http))
        async with connection(database) as owner, owner.transaction():
            # What every call asks for first is kept back until somebody was turned away.
            await owner.execute("LOCK TABLE views.sessions")
            calls = [asyncio.create_task(journal.create()) for _ in range(500)]
            async with asyncio.timeout(60):
                while not any(call.done() for call in calls):
                    await asyncio.sleep(0.01)
        attempts = await asyncio.gather(*calls)
        turned_away = [attempt for attempt in attempts if attempt.outcome == REFUSED]
        assert turned_away
        assert {(attempt.status, attempt.retry_after) for attempt in turned_away} == {(503, "1")}
        assert len(journal.contacts) >= 50
        assert all(attempt.outcome in (ACKNOWLEDGED, REFUSED) for attempt in attempts)
        assert await ready(service)
        assert (await journal.create()).outcome == ACKNOWLEDGED
        await sound(journal, database)


async def test_a_database_that_is_away_shows_and_comes_back(database: str) -> None:
    async with proxied(database) as proxy, run_in_process(proxy.url) as service:
        journal = await begun(service)
        clients = [asyncio.create_task(journal.work()) for _ in range(8)]
        await journal.acknowledged(10)
        assert await ready(service)
        proxy.leave()
        async with asyncio.timeout(60):
            while await ready(service):
                await asyncio.sleep(0.01)
        async with service.http.get(service.admin_url + "/health/live") as answer:
            assert answer.status == 200
        proxy.come_back()
        async with asyncio.timeout(60):
            while not await ready(service):
                await asyncio.sleep(0.01)
        await journal.acknowledged(10)
        journal.stopped = True
        await asyncio.gather(*clients)
        await sound(journal, database)


async def test_an_organisation_that_is_stuck_does_not_stop_another(database: str) -> None:
    async with failpoints(database) as points, run_in_process(database) as service:
        stuck, free = await begun(service), await begun(service)
        sql = "SELECT pg_advisory_lock(ledger.append_lock($1))"
        await points.connection.execute(sql, stuck.organisation)
        waiting = [asyncio.create_task(stuck.create()) for _ in range(20)]
        assert (await free.create()).outcome == ACKNOWLEDGED
        assert not any(task.done() for task in waiting)
        sql = "SELECT pg_advisory_unlock(ledger.append_lock($1))"
        await points.connection.execute(sql, stuck.organisation)
        outcomes = {(await task).outcome for task in waiting}
        assert outcomes == {ACKNOWLEDGED}
        await sound(stuck, database)
        await sound(free, database)


async def test_a_lock_that_is_never_free_ends_in_a_refusal(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.postgres.pool.LOCK_TIMEOUT", 2)
    async with failpoints(database) as points, run_in_process(database) as service:
        journal = await begun(service)
        sql = "SELECT pg_advisory_lock(ledger.append_lock($1))"
        await points.connection.execute(sql, journal.organisation)
        attempt = await journal.create("key")
        assert (attempt.status, attempt.outcome) == (503, REFUSED)
        sql = "SELECT pg_advisory_unlock(ledger.append_lock($1))"
        await points.connection.execute(sql, journal.organisation)
        assert (await journal.settle(attempt)).outcome == ACKNOWLEDGED
        await sound(journal, database)
