"""Fault 10: the connection is cut while an append is on its way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import pytest

from infra.ledger.commit_batch import EncodedCommit
from infra.ledger.group_commit import GroupCommitter, Outcome
from infra.postgres.pool import ConnectionPool
from tests.faults.acknowledged_log import ACKNOWLEDGED, REFUSED, UNKNOWN, Journal, begun
from tests.faults.failpoints import LOCK, failpoints, patched
from tests.faults.invariants import sound, violations
from tests.faults.proxy import Proxy, proxied
from tests.fixtures.service import run_in_process
from tests.fixtures.waits import wait_until_blocked

GIVEN_UP = "moment > in_deadline OR ledger.is_abandoned(in_organisation, in_commands)"


@asynccontextmanager
async def reached(url: str) -> AsyncIterator[tuple[Journal, Proxy]]:
    """A service that reaches its database through a proxy."""
    async with proxied(url) as proxy, run_in_process(proxy.url) as service:
        yield await begun(service), proxy


@pytest.mark.parametrize("fault", ["lose answer", "lose request"])
async def test_a_lost_message_does_not_lose_the_outcome(database: str, fault: str) -> None:
    async with reached(database) as (journal, proxy):
        for key in (None, "key"):
            proxy.arm(fault)
            attempt = await journal.update(journal.contacts[0], key)
            assert proxy.struck.is_set()
            assert attempt.outcome == (ACKNOWLEDGED if fault == "lose answer" else REFUSED)
            if key:
                assert (await journal.settle(attempt)).outcome == ACKNOWLEDGED
        await sound(journal, database)


async def test_a_whole_batch_whose_answer_was_lost(database: str) -> None:
    async with reached(database) as (journal, proxy), failpoints(database) as points:
        await points.arm("locked")
        first = asyncio.create_task(journal.create())
        await points.stopped()
        # All of these are sent together and wait at the server while the first one is stopped.
        proxy.arm("lose answer")
        others = [asyncio.create_task(journal.create()) for _ in range(20)]
        await wait_until_blocked(points.connection, 2, "advisory")
        await points.release()
        attempts = await asyncio.gather(first, *others)
        assert {attempt.outcome for attempt in attempts} == {ACKNOWLEDGED}
        assert proxy.struck.is_set()
        await sound(journal, database)


async def test_a_request_that_arrives_late_is_not_written(database: str) -> None:
    async with reached(database) as (journal, proxy):
        for key in (None, "key"):
            proxy.arm("delay request")
            attempt = await journal.create(key)
            assert attempt.outcome == REFUSED
            assert b"LATE" in await proxy.deliver()
            if key:
                assert (await journal.settle(attempt)).outcome == ACKNOWLEDGED
        await sound(journal, database)


async def test_revert_a_request_that_arrives_late_is_written(database: str) -> None:
    connection = await asyncpg.connect(database)
    await patched(connection, "append", GIVEN_UP, "false")
    await connection.close()
    async with reached(database) as (journal, proxy):
        proxy.arm("delay request")
        assert (await journal.create()).outcome == REFUSED
        await proxy.deliver()
        assert any("was REFUSED" in found for found in await violations(journal, database))


async def test_an_outcome_is_not_looked_up_while_it_is_being_decided(database: str) -> None:
    async with reached(database) as (journal, proxy), failpoints(database) as points:
        await points.arm("committing")
        sent = asyncio.create_task(journal.create())
        await points.stopped()
        proxy.leave()
        proxy.come_back()
        await wait_until_blocked(points.connection, 2, "advisory")
        await points.release()
        assert (await sent).outcome == ACKNOWLEDGED
        await sound(journal, database)


async def test_revert_an_outcome_that_is_looked_up_too_early(database: str) -> None:
    connection = await asyncpg.connect(database)
    await patched(connection, "resolve_commands", LOCK, "")
    await connection.close()
    async with reached(database) as (journal, proxy), failpoints(database) as points:
        await points.arm("committing")
        sent = asyncio.create_task(journal.create())
        await points.stopped()
        proxy.leave()
        proxy.come_back()
        assert (await sent).outcome == REFUSED
        await points.release()
        assert (await journal.create()).outcome == ACKNOWLEDGED
        assert any("was REFUSED" in found for found in await violations(journal, database))


async def test_a_database_that_stays_away_is_never_guessed_about(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "infra.store.postgres_store.GroupCommitter", partial(GroupCommitter, settle_timeout=0.1)
    )
    monkeypatch.setattr("infra.app.ConnectionPool", partial(ConnectionPool, acquire_timeout=0.2))
    async with reached(database) as (journal, proxy):
        proxy.arm("lose answer")
        sent = asyncio.create_task(journal.create("key"))
        await proxy.struck.wait()
        proxy.leave()
        attempt = await sent
        assert attempt.outcome == UNKNOWN
        assert attempt.answer
        assert "not known" in attempt.answer["status"]["description"]
        refused = await journal.create()
        assert refused.outcome == REFUSED
        proxy.come_back()
        assert (await journal.settle(attempt)).outcome == ACKNOWLEDGED
        await sound(journal, database)


class Blind(GroupCommitter):
    """As many do it: what went wrong is sent again."""

    async def _resolve_unknown(
        self, organisation: str, batch: list[EncodedCommit], error: Exception
    ) -> list[Outcome]:
        return await self._append_batch(organisation, batch)


async def test_revert_an_append_that_is_sent_again_is_stored_twice(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.store.postgres_store.GroupCommitter", Blind)
    async with reached(database) as (journal, proxy):
        proxy.arm("lose answer")
        assert (await journal.create()).outcome == ACKNOWLEDGED
        assert any("stored 2 times" in found for found in await violations(journal, database))


async def test_a_random_bad_network_under_load(database: str) -> None:
    async with reached(database) as (journal, proxy):
        clients = [asyncio.create_task(journal.work()) for _ in range(12)]
        for fault in ["lose answer", "lose request", "lose answer", "lose request"] * 3:
            proxy.arm(fault)
            await proxy.struck.wait()
            await journal.acknowledged(1)
        for _ in range(3):
            proxy.leave()
            proxy.come_back()
            await journal.acknowledged(5)
        journal.stopped = True
        await asyncio.gather(*clients)
        await sound(journal, database)
