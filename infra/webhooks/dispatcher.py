"""The webhook dispatcher: sends events to the subscribers of webhooks. Any number of processes may run.

Each looks at all subscriptions from time to time and works on those whose lease it gets. The lease
only keeps two processes from sending the same event; the statements guarantee that none is left out.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from uuid import uuid4

import structlog

from domain.errors import ServiceUnavailable
from infra.encryption import KeyRing
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
from infra.worker import CircuitBreaker, LagGauges, Worker

__all__ = ["CONNECTIONS", "ROLE", "WebhookDispatcher"]

ROLE = "crmledger_deliverer"
CONNECTIONS = 4
"""Database connections of one process."""
LOOKS_PER_PURGE = 1200
"""Number of looks after which old attempts are deleted again."""

Key = tuple[str, str]
GAUGES = LagGauges(WEBHOOK_LAG_POSITIONS, WEBHOOK_LAG_SECONDS)

log = structlog.get_logger(__name__)


class WebhookDispatcher(Worker):
    """Sends events to all active subscriptions.

    :param pool: connections as `ROLE`.
    :param listener: makes the next look earlier than the policy's pause does.
    :param decryptor: decrypts the secrets that sign messages.
    :param base_url: the address of the API as consumers reach it, for links.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        listener: Listener,
        client: WebhookClient,
        decryptor: SecretDecryptor,
        ring: KeyRing,
        *,
        policy: DeliveryPolicy | None = None,
        base_url: str = "",
    ) -> None:
        policy = policy or DeliveryPolicy()
        super().__init__(policy.pause, listener)
        self._pool = pool
        self._store = SubscriptionStore(pool, uuid4())
        self._dependencies = WorkerDependencies(
            self._store,
            Feed(pool, ring),
            client,
            decryptor,
            asyncio.Semaphore(policy.total_concurrency),
            policy,
            entity_links(),
            base_url.rstrip("/"),
        )
        self._workers: dict[Key, SubscriptionWorker] = {}
        self._failures: dict[Key, tuple[int, str]] = {}
        self._breakers = defaultdict[Key, CircuitBreaker](lambda: CircuitBreaker(1, policy.probes))
        self._looks = 0

    async def readiness_problems(self) -> list[str]:
        """As `Worker`, and the subscriptions that cannot be served; a consumer that is away is no problem."""
        problems = await super().readiness_problems()
        return [*problems, *(problem for _, problem in self._failures.values())]

    async def _look(self, stop: asyncio.Event) -> list[str]:
        """Look at all subscriptions, and start a worker where there is something to do."""
        if not await self._pool.read(is_current):
            return ["schema"]
        statuses = await self._store.statuses()
        for status in statuses:
            self._look_at(status, stop)
        self._drop_unknown({status.key for status in statuses})
        self._looks += 1
        if self._looks % LOOKS_PER_PURGE == 1:
            for status in statuses:
                await self._store.purge_attempts(status)
        return []

    async def _release(self) -> None:
        """Give the leases back, so that others need not wait for their end."""
        for organisation in {organisation for organisation, _ in self._workers}:
            with suppress(ServiceUnavailable):
                await self._store.release(organisation)

    def _look_at(self, status: SubscriptionStatus, stop: asyncio.Event) -> None:
        key = status.key
        GAUGES.set(key, status.lag_positions, status.lag_seconds)
        worker = self._workers.setdefault(key, SubscriptionWorker(status, self._dependencies))
        worker.status = status
        if status.display_state == "AHEAD":
            self._fail(key, "is ahead of the ledger")
        elif key in self._failures and self._failures[key][0] != status.epoch:
            del self._failures[key]  # an operator has replayed or resumed it
            self._breakers[key].reset()
        is_resting = worker.is_backing_off or self._breakers[key].is_open
        if status.has_work and not is_resting and not self._under_way.count(key):
            self._under_way.start(key, self._work(key, worker, stop))

    async def _work(self, key: Key, worker: SubscriptionWorker, stop: asyncio.Event) -> None:
        """Let a worker work. A corrupted ledger or a wrong secret ends it and is a problem of readiness."""
        try:
            await worker.work(stop)
        except LedgerCorruptedError as error:
            self._fail(key, str(error))
        except ValueError as error:
            self._fail(key, f"cannot be signed for: {error}")
        except ServiceUnavailable as error:
            log.warning("webhook.database_away", error=error.description)
        else:
            self._failures.pop(key, None)
            self._breakers[key].succeed()

    def _fail(self, key: Key, why: str) -> None:
        failure = self._workers[key].status.epoch, f"webhook {key[1]} of {key[0]}: {why}"
        if self._failures.get(key) != failure:
            log.error("webhook.broken", organisation=key[0], webhook=key[1], why=why)
        self._failures[key] = failure

    def _task_ended(self, key: Key, task: asyncio.Task[None]) -> None:
        """Report a failure, and let the subscription rest: the next try might fail as well."""
        if not task.cancelled() and task.exception() is not None:
            log.error("webhook.worker_failed", webhook=key[1], exc_info=task.exception())
            self._fail(key, "its worker failed")
            self._breakers[key].fail(key)

    def _drop_unknown(self, known: set[Key]) -> None:
        """Forget the workers of subscriptions that no longer exist, as after a restore."""
        for key in self._workers.keys() - known - self._under_way.keys():
            del self._workers[key]
            self._failures.pop(key, None)
            self._breakers.pop(key, None)
            GAUGES.remove(key)
