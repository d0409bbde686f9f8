"""The deliverer: tells subscribers of webhooks what was recorded. Any number of processes may run.

Each looks at all subscriptions every now and then and works on those of which it gets the lease. The
lease only keeps two from sending the same; that nothing is left out is held by the statements.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
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
from infra.worker import LagGauges, Worker

__all__ = ["CONNECTIONS", "ROLE", "WebhookDispatcher"]

ROLE = "crmledger_deliverer"
CONNECTIONS = 4
"""Statements of one process at the same time."""
CLEANING = 1200
"""Looks between two at which old attempts are dropped."""

Key = tuple[str, str]
GAUGES = LagGauges(WEBHOOK_LAG_POSITIONS, WEBHOOK_LAG_SECONDS)

log = structlog.get_logger(__name__)


class WebhookDispatcher(Worker):
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
        super().__init__(pace.pause, bell)
        self._lanes = lanes
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
        self._broken: dict[Key, tuple[int, str]] = {}
        self._looks = 0

    async def readiness_problems(self) -> list[str]:
        """As `Worker.readiness_problems`; a consumer that is away keeps it from nothing."""
        problems = await super().readiness_problems()
        return [*problems, *(problem for _, problem in self._broken.values())]

    async def _look(self, stop: asyncio.Event) -> list[str]:
        """Look at all subscriptions, and begin to work where there is something to do."""
        if not await self._lanes.read(is_current):
            return ["schema"]
        standings = await self._store.standings()
        for now in standings:
            self._look_at(now, stop)
        self._forget({(now.organisation, now.webhook) for now in standings})
        self._looks += 1
        if self._looks % CLEANING == 1:
            for now in standings:
                await self._store.forget(now)
        return []

    async def _release(self) -> None:
        """Give the leases back, so that others need not wait for their end."""
        for organisation in {organisation for organisation, _ in self._couriers}:
            with suppress(ServiceUnavailable):
                await self._store.release(organisation)

    def _look_at(self, now: SubscriptionStatus, stop: asyncio.Event) -> None:
        key = (now.organisation, now.webhook)
        GAUGES.set(key, now.lag_positions, now.lag_seconds)
        courier = self._couriers.setdefault(key, SubscriptionWorker(now, self._tools))
        courier.now = now
        if now.display_state == "AHEAD":
            self._fail(key, "is ahead of the ledger")
        elif key in self._broken and self._broken[key][0] != now.epoch:
            del self._broken[key]  # an operator has done something about it
        if now.has_work and not courier.is_backing_off and not self._under_way.count(key):
            self._under_way.start(key, self._work(key, courier, stop))

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

    def _task_ended(self, key: Key, task: asyncio.Task[None]) -> None:
        """Take note of a failure. The next look comes in its time: it may be the same failure again."""
        if not task.cancelled() and task.exception() is not None:
            log.error("webhook.worker_failed", webhook=key[1], exc_info=task.exception())
            self._fail(key, "its worker failed")

    def _forget(self, known: set[Key]) -> None:
        """Drops what is no subscription any more, as after a restore."""
        for key in self._couriers.keys() - known - self._under_way.keys():
            del self._couriers[key]
            self._broken.pop(key, None)
            GAUGES.remove(key)
