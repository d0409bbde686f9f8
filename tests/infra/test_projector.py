"""The projector: every event counted once, whoever dies, sleeps or competes."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AbstractAsyncContextManager

import asyncpg
import pytest

from infra.postgres import notify as bell
from infra.projections.projector import Projector, lags
from tests.fixtures.communications import CommunicationsClient
from tests.fixtures.programs import Program, run_worker
from tests.fixtures.read_models import connection
from tests.fixtures.service import RING, environment

TRUTH = """
SELECT organisation, (recorded_at AT TIME ZONE 'UTC')::date AS day, topic, count(*) AS events
  FROM ledger.events GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
VIEW = "SELECT organisation, day, topic, events FROM analytics.daily_events ORDER BY 1, 2, 3"


@pytest.fixture
def client(populated_client: CommunicationsClient) -> CommunicationsClient:
    return populated_client


async def is_true(url: str) -> bool:
    """Whether the view says what the ledger says."""
    async with connection(url) as asked:
        return bool(await asked.fetch(TRUTH) == await asked.fetch(VIEW))


def program(url: str, **settings: str) -> AbstractAsyncContextManager[Program]:
    """A running ``crmledger project``."""
    words = ("project", "--lease", "1", "--poll-interval", "0.05")
    return run_worker(environment(url, **settings), *words)


async def caught_up(url: str) -> None:
    """Returns once the view lacks nothing."""
    async with asyncio.timeout(60), connection(url) as asked:
        while any(lag.positions for lag in await lags(asked, "daily_events")):
            await asyncio.sleep(0.02)


async def test_it_counts_every_event_once(client: CommunicationsClient, database: str) -> None:
    for most in (1_000_000, 7):
        projector = Projector(database, RING, batch_size=most)
        await projector.once()
        assert await is_true(database)
        await projector.once()
        assert await is_true(database)
        assert await projector.readiness_problems() == []
        await projector.close()
        await client.new_contact()


async def test_two_at_once_count_once(client: CommunicationsClient, database: str) -> None:
    # A lease that has ended before it began leaves only the compare-and-swap between the two.
    rivals = [Projector(database, RING, batch_size=3, lease=lease) for lease in (-1, -1, 5)]
    for _ in range(3):
        await client.new_contact()
        await asyncio.gather(*(rival.once() for rival in rivals))
    while not await is_true(database):
        await asyncio.gather(*(rival.once() for rival in rivals))
    async with connection(database) as asked:
        assert not any(lag.positions for lag in await lags(asked, "daily_events"))
    for rival in rivals:
        await rival.close()


async def test_a_lease_keeps_others_away_until_it_is_given_back(
    client: CommunicationsClient, database: str
) -> None:
    first, second = Projector(database, RING, lease=600), Projector(database, RING)
    await first.once()
    await client.new_contact()
    await second.once()
    assert not await is_true(database)
    await first.close()
    await second.once()
    assert await is_true(database)
    await second.close()


async def test_a_view_ahead_of_its_ledger_is_a_problem(
    client: CommunicationsClient, database: str
) -> None:
    projector = Projector(database, RING)
    await projector.once()
    async with connection(database) as owner:
        await owner.execute(
            "UPDATE projection.checkpoints SET position = position + 1 WHERE view = 'daily_events'"
        )
        await owner.execute(
            "INSERT INTO projection.checkpoints (organisation, view, position) VALUES ('GONE', 'daily_events', 3)"
        )
    await projector.once()
    name = client.api.organisation
    assert sorted(await projector.readiness_problems()) == [
        "daily_events of GONE is ahead of the ledger",
        f"daily_events of {name} is ahead of the ledger",
        f"daily_events of {name}~access is ahead of the ledger",
    ]
    await projector.close()


@pytest.mark.slow
async def test_killed_again_and_again_it_counts_once(
    client: CommunicationsClient, database: str
) -> None:
    done = asyncio.Event()

    async def write() -> None:
        while not done.is_set():
            await client.new_contact()

    writing = asyncio.create_task(write())
    for _ in range(2):
        async with program(database) as running, asyncio.timeout(60):
            async with connection(database) as asked:
                before = await asked.fetchval(
                    "SELECT coalesce(sum(events), 0) FROM analytics.daily_events"
                )
                now = "SELECT coalesce(sum(events), 0) FROM analytics.daily_events"
                while await asked.fetchval(now) == before:
                    await asyncio.sleep(0.01)
            running.child.send_signal(signal.SIGKILL)
            await running.child.wait()
    done.set()
    await writing
    async with program(database):
        await caught_up(database)
    assert await is_true(database)


async def test_it_serves_health_and_metrics_and_stops_gracefully(
    client: CommunicationsClient, database: str
) -> None:
    async with program(database) as running:
        await caught_up(database)
        assert (await running.ask("/health/live"))[0] == 200
        async with asyncio.timeout(60):
            while (await running.ask("/health/ready"))[0] != 200:
                await asyncio.sleep(0.02)
        _, metrics = await running.ask("/metrics")
        labels = f'{{organisation="{client.api.organisation}",view="daily_events"}} 0.0'
        assert f"crmledger_projection_lag_positions{labels}" in metrics
        assert f"crmledger_projection_lag_seconds{labels}" in metrics
        async with connection(database) as owner:
            await owner.execute("UPDATE projection.checkpoints SET position = position + 1000")
        async with asyncio.timeout(60):
            while (await running.ask("/health/ready"))[0] == 200:
                await asyncio.sleep(0.02)
        assert "ahead of the ledger" in (await running.ask("/health/ready"))[1]
        running.child.send_signal(signal.SIGTERM)
        assert await running.child.wait() == 0
    async with connection(database) as owner:
        assert (
            await owner.fetchval(
                "SELECT count(*) FROM projection.checkpoints WHERE lease_holder IS NOT NULL"
            )
            == 0
        )


async def test_a_lost_connection_is_opened_anew(
    client: CommunicationsClient, database: str
) -> None:
    projector, stop = Projector(database, RING, pause=0.02), asyncio.Event()
    running = asyncio.create_task(projector.run(stop))
    await caught_up(database)
    async with connection(database) as owner:
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'crmledger project' AND datname = current_database()"
        )
    await client.new_contact()
    await caught_up(database)
    assert await is_true(database)
    stop.set()
    await running


async def test_the_bell_makes_looks_earlier_and_nobody_needs_it(
    client: CommunicationsClient, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 27: with the longest of pauses only the bell wakes it; deaf, it looks at every pause."""
    hearing, stop = Projector(database, RING, pause=600), asyncio.Event()
    running = asyncio.create_task(hearing.run(stop))
    await caught_up(database)
    await client.new_contact()
    await caught_up(database)
    stop.set()
    await running

    monkeypatch.setattr(bell, "NOTIFY", "SELECT 1 / 0")
    deaf, stop = Projector(database, RING, pause=0.02), asyncio.Event()
    running = asyncio.create_task(deaf.run(stop))
    await caught_up(database)
    await client.new_contact()
    await caught_up(database)
    assert await is_true(database)
    stop.set()
    await running


@pytest.mark.parametrize("role", ["crmledger_service", "crmledger_analyst"])
async def test_others_may_only_read(client: CommunicationsClient, database: str, role: str) -> None:
    async with connection(database) as owner:
        await owner.execute(f"SET ROLE {role}")
        await owner.fetch(VIEW)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await owner.execute("UPDATE analytics.daily_events SET events = 1")
