"""Fault 31: a process is told to stop while clients write. It says so first, and loses nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter

import aiohttp
import pytest

from tests.faults.acknowledged_log import ACKNOWLEDGED, Journal, begun
from tests.faults.invariants import following, sound
from tests.fixtures.service import Service, run_as_process

pytestmark = pytest.mark.slow

CLIENTS = 24
LEAVING = 20.0
"""Seconds for which a process only says that it will leave: enough for a call on a machine that is busy."""


async def readiness(service: Service) -> tuple[int, list[str]]:
    async with service.http.get(f"{service.admin_url}/health/ready") as answer:
        return answer.status, json.loads(await answer.read())["problems"]


async def told_to_stop(service: Service, journal: Journal) -> float:
    """Seconds from the signal to the end; meanwhile it must say that it leaves, and answer."""
    assert service.process is not None
    assert await readiness(service) == (200, [])
    started = time.monotonic()
    service.process.terminate()
    async with asyncio.timeout(60):
        while await readiness(service) != (503, ["leaving"]):
            await asyncio.sleep(0.01)
    attempt = await journal.create()
    assert attempt.outcome == ACKNOWLEDGED
    async with asyncio.timeout(LEAVING + 60):
        assert await service.process.wait() == 0
    return time.monotonic() - started


async def refuses_connections(service: Service) -> bool:
    try:
        async with service.http.get(f"{service.url}/docs"):
            return False
    except aiohttp.ClientConnectorError:
        return True


async def test_it_stops_under_load(lively: str) -> None:
    async with run_as_process(lively, CRMLEDGER_DRAIN_SECONDS=str(LEAVING)) as former:
        journal = await begun(former)
        async with following(lively, journal.organisation) as follower:
            clients = [asyncio.create_task(journal.work()) for _ in range(CLIENTS)]
            await journal.acknowledged(100)
            seconds = await told_to_stop(former, journal)
            outcomes = Counter(attempt.outcome for attempt in journal.attempts)
            print(f"left after {seconds:.2f} s under {CLIENTS} clients: {dict(outcomes)}")
            assert await refuses_connections(former)
            async with run_as_process(lively) as latter:
                journal.service = latter
                await journal.acknowledged(CLIENTS)
                journal.stopped = True
                await asyncio.gather(*clients)
                assert all(
                    ACKNOWLEDGED in {attempt.outcome for attempt in attempts}
                    for attempts in journal.keyed().values()
                    if attempts[0].path.endswith("create")
                )
                await sound(journal, lively, follower)
