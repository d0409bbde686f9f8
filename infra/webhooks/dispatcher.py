"""The deliverer: tells subscribers of webhooks what was recorded. Any number of processes may run.

Each looks at all subscriptions every now and then and works on those of which it gets the lease. The
lease only keeps two from sending the same; that nothing is left out is held by the statements.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from uuid import uuid4

import structlog

from domain.errors import ServiceUnavailable
from infra.ledger.feed import Feed, LedgerCorruptedError
from infra.observability.metrics import WEBHOOK_LAG_POSITIONS, WEBHOOK_LAG_SECONDS
from infra.postgres.notify import Listener
from infra.postgres.pool import ConnectionPool
from infra.schema.migrate import is_current
from infra.webhooks.message import entity_links
from infra.webhooks.subscription_worker import (
    DeliveryPolicy,
    SecretDecryptor,
    SubscriptionWorker,
    WebhookClient,
    WorkerDependencies,
)
from infra.webhooks.subscriptions import SubscriptionStatus, SubscriptionStore

__all__ = ["CONNECTIONS", "ROLE", "WebhookDispatcher"]

ROLE = "crmledger_deliverer"
CONNECTIONS = 4
"""Statements of one process at the same time."""
CLEANING = 1200
"""Looks between two at which old attempts are dropped."""

Key = tuple[str, str]

log = structlog.get_logger(__name__)


class WebhookDispatcher:
    """One process that delivers.

    :param lanes: connections as `ROLE`.
    :param bell: makes looks earlier than the pace does.
    :param unsealing: opens what subscriptions are signed with.
    :param base: the address of the API as consumers reach it, for links.
    """

    def __init__(
        self,
        lanes: ConnectionPool,
        bell: Listener,
        poster: WebhookClient,
        unsealing: SecretDecryptor,
        *,
        pace: DeliveryPolicy | None = None,
        base: str = "",
    ) -> None:
        pace = pace or DeliveryPolicy()
        self._pace = pace
        self._lanes = lanes
        self._bell = bell
        self._store = SubscriptionStore(lanes, uuid4())
        self._tools = WorkerDependencies(
            self._store,
            Feed(lanes),
            poster,
            unsealing,
            asyncio.Semaphore(pace.total_concurrency),
            pace,
            entity_links(),
            base.rstrip("/"),
        )
        self._couriers: dict[Key, SubscriptionWorker] = {}
        self._working: dict[Key, asyncio.Task[None]] = {}
        self._broken: dict[Key, tuple[int, str]] = {}
        self._problems: list[str] = ["starting"]
        self._looks = 0

    async def readiness_problems(self) -> list[str]:
        """What keeps it from delivering, as of its last look; a consumer that is away does not."""
        return [*self._problems, *(said for _, said in self._broken.values())]

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers until told to stop; then ends what is under way and gives the leases back.

        A database that is away is waited for.
        """
        while not stop.is_set():
            self._bell.notified.clear()
            try:
                await self.once(stop)
            except ServiceUnavailable as error:
                self._problems = [error.description]
            await self._bell.wait(self._pace.pause, stop)
        await self.close()

    async def once(self, stop: asyncio.Event) -> None:
        """Looks at all subscriptions once, and begins to work where there is something to do."""
        if not await self._lanes.read(is_current):
            self._problems = ["schema"]
            return
        standings = await self._store.standings()
        self._problems = []
        for now in standings:
            self._look(now, stop)
        self._forget({(now.organisation, now.webhook) for now in standings})
        self._looks += 1
        if self._looks % CLEANING == 1:
            for now in standings:
                await self._store.forget(now)

    async def idle(self) -> None:
        """Waits until all that was begun has come to its end."""
        while self._working:
            await asyncio.wait(list(self._working.values()))

    async def close(self) -> None:
        """Waits for the same, and gives the leases back, so that others need not wait."""
        await self.idle()
        for organisation in {organisation for organisation, _ in self._couriers}:
            with suppress(ServiceUnavailable):
                await self._store.release(organisation)
        await self._bell.close()

    def _look(self, now: SubscriptionStatus, stop: asyncio.Event) -> None:
        key = (now.organisation, now.webhook)
        WEBHOOK_LAG_POSITIONS.labels(*key).set(now.lag_positions)
        WEBHOOK_LAG_SECONDS.labels(*key).set(now.lag_seconds)
        courier = self._couriers.setdefault(key, SubscriptionWorker(now, self._tools))
        courier.now = now
        if now.display_state == "AHEAD":
            self._fail(key, "is ahead of the ledger")
        elif key in self._broken and self._broken[key][0] != now.epoch:
            del self._broken[key]  # an operator has done something about it
        if now.has_work and not courier.is_backing_off and key not in self._working:
            task = asyncio.create_task(self._work(key, courier, stop))
            self._working[key] = task
            task.add_done_callback(partial(self._done, key))

    async def _work(self, key: Key, courier: SubscriptionWorker, stop: asyncio.Event) -> None:
        """Lets a courier work; what is wrong with its ledger or secret stops it, and is a problem."""
        try:
            await courier.work(stop)
        except LedgerCorruptedError as error:
            self._fail(key, str(error))
        except ValueError as error:
            self._fail(key, f"cannot be signed for: {error}")
        except ServiceUnavailable as error:
            log.warning("webhook.database_away", error=error.description)
        else:
            self._broken.pop(key, None)

    def _fail(self, key: Key, why: str) -> None:
        found = self._couriers[key].now.epoch, f"webhook {key[1]} of {key[0]}: {why}"
        if self._broken.get(key) != found:
            log.error("webhook.broken", organisation=key[0], webhook=key[1], why=why)
        self._broken[key] = found

    def _done(self, key: Key, task: asyncio.Task[None]) -> None:
        del self._working[key]
        if not task.cancelled() and task.exception() is not None:
            log.error("webhook.worker_failed", webhook=key[1], exc_info=task.exception())
            self._fail(key, "its worker failed")

    def _forget(self, known: set[Key]) -> None:
        """Drops what is no subscription any more, as after a restore."""
        for key in self._couriers.keys() - known - self._working.keys():
            del self._couriers[key]
            self._broken.pop(key, None)
            WEBHOOK_LAG_POSITIONS.remove(*key)
            WEBHOOK_LAG_SECONDS.remove(*key)
