"""The worker of one subscription: sends the events of each entity in order, of several at a time.

What fails is sent again after growing pauses. When nothing gets through any more the consumer counts
as away. Then one request at a time is tried, if possible of an entity that has not failed yet, and none
before a pause has ended.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

import structlog

from infra.ledger.feed import Feed, TruncatedLedgerError
from infra.ledger.mapper import StoredEvent
from infra.observability.metrics import DELIVERIES, DELIVERY_SECONDS
from infra.webhooks.http_client import DELIVERED, FAILED, DeliveryResult
from infra.webhooks.message import message_body, message_id, signed_headers
from infra.webhooks.subscriptions import (
    Attempt,
    LeasedSubscription,
    Pending,
    SubscriptionStatus,
    SubscriptionStore,
)
from infra.worker import CircuitBreaker, Lease
from services.backoff import Backoff
from services.ids import format_id

__all__ = ["DeliveryPolicy", "SecretDecryptor", "SubscriptionWorker", "WorkerDependencies"]

READ_SIZE = 500
"""Number of events that are read at once."""
MAX_PENDING = 1_000
"""Number of pending events of a subscription at which no further ones are enqueued."""
CLAIM_SIZE = 64
"""Number of due events that are claimed at once, each of another entity."""
BREAKER_THRESHOLD = 3
"""Number of entities that fail without a success in between before the consumer counts as away."""
OVERLOADED = (429, 503)
"""Statuses whose Retry-After concerns the consumer as a whole."""

log = structlog.get_logger(__name__)


class WebhookClient(Protocol):
    """Sends requests."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> DeliveryResult:
        """Send a request. Whatever the consumer or the network does is a result, never an exception."""


class SecretDecryptor(Protocol):
    """Decrypts secrets."""

    def decrypt(self, box: str, place: str) -> str:
        """Return the secret.

        Raises ``ValueError`` if it was encrypted with another key or for another place.
        """


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """The limits of sending. All are seconds except the numbers of requests at the same time.

    A request ends within ``timeout``, which is shorter than the ``lease``. The pause after a failure
    begins with ``first_backoff`` and doubles up to ``max_backoff``, or up to ``max_backoff_when_down``
    while the consumer is away; up to half of it is taken off at random. An event that is not
    acknowledged for ``max_age`` pauses the subscription. ``concurrency`` limits the requests to one
    consumer, ``total_concurrency`` those of the process.
    """

    lease: float = 30.0
    timeout: float = 10.0
    pause: float = 0.5
    first_backoff: float = 5.0
    max_backoff: float = 3600.0
    max_backoff_when_down: float = 60.0
    max_age: float = 3 * 86_400.0
    concurrency: int = 8
    total_concurrency: int = 64

    @property
    def retries(self) -> Backoff:
        """The pauses between two tries of an event."""
        return Backoff(self.first_backoff, self.max_backoff)

    @property
    def probes(self) -> Backoff:
        """The pauses between two tries of a consumer that is away."""
        return Backoff(self.first_backoff, self.max_backoff_when_down)


@dataclass(frozen=True, slots=True)
class WorkerDependencies:
    """Shared by the workers of a process; ``links`` and ``base_url`` make the links of messages."""

    store: SubscriptionStore
    feed: Feed
    client: WebhookClient
    decryptor: SecretDecryptor
    semaphore: asyncio.Semaphore
    policy: DeliveryPolicy
    links: Mapping[str, str] = field(default_factory=dict)
    base_url: str = ""


class SubscriptionWorker:
    """Works on one subscription in one process; ``status`` is updated by the dispatcher."""

    def __init__(self, status: SubscriptionStatus, dependencies: WorkerDependencies) -> None:
        self.status = status
        self._dependencies = dependencies
        self._epoch = -1
        self._breaker = CircuitBreaker(BREAKER_THRESHOLD, dependencies.policy.probes)
        self._lease = Lease(dependencies.policy.lease)
        self._secrets: list[str] = []
        self._ready: deque[Pending] = deque()
        self._requests: dict[asyncio.Task[Attempt], UUID] = {}

    @property
    def is_backing_off(self) -> bool:
        """True while there is nothing to do: the consumer is away and no event can be enqueued."""
        status = self.status
        has_nothing_new = status.epoch == self._epoch and (
            status.position >= status.head or status.pending >= MAX_PENDING
        )
        return has_nothing_new and self._breaker.is_open

    async def work(self, stop: asyncio.Event) -> None:
        """Send until nothing is left to do now, the lease is lost, or ``stop`` is set.

        Requests that are under way are always finished and recorded.

        :raises LedgerCorruptedError: the ledger lacks an event that was sent or is pending.
        :raises ValueError: there is no secret, or it cannot be decrypted.
        :raises ServiceUnavailable: the database cannot be reached.
        """
        lease = await self._take_lease()
        if lease is None:
            return
        position = lease.position
        try:
            while not stop.is_set() and self.status.is_active and await self._hold_lease():
                moved_to = await self._enqueue_new(position)
                if moved_to is None:
                    return
                await self._start_requests()
                if self._requests:
                    if not await self._record_ended(self._dependencies.policy.pause):
                        return
                elif moved_to == position:
                    return
                position = moved_to
        finally:
            self._ready.clear()
            while self._requests:
                await self._record_ended(None)

    async def _take_lease(self) -> LeasedSubscription | None:
        """Lease the subscription and load its secrets; None if it is not to be worked on."""
        status, store = self.status, self._dependencies.store
        lease = await self._lease.take(lambda seconds: store.lease(status, seconds))
        if lease is None or lease.state != "ACTIVE":
            return None
        if not lease.position_matches:
            problem = "another event than was told of stands"
            raise TruncatedLedgerError(status.organisation, lease.position, problem)
        if lease.epoch != self._epoch:
            # An operator has asked for a new try.
            self._epoch = lease.epoch
            self._breaker.reset()
        owner = f"{status.organisation}/webhook/{status.webhook}/secret"
        ciphertexts = await store.secrets(status)
        decrypt = self._dependencies.decryptor.decrypt
        self._secrets = [decrypt(ciphertext, owner) for ciphertext in ciphertexts]
        if not self._secrets:
            raise ValueError("it has no secret to sign with")
        return lease

    async def _hold_lease(self) -> bool:
        """Renew the lease unless it covers a request: False if it is lost."""
        store = self._dependencies.store
        return self._lease.covers(self._dependencies.policy.timeout) or await self._lease.take(
            lambda seconds: store.renew(self.status, seconds, self._epoch)
        )

    async def _enqueue_new(self, position: int) -> int | None:
        """Make the subscribed events after a position pending.

        Returns the new position; None if another process or an operator has moved it.
        """
        status, store = self.status, self._dependencies.store
        if position >= status.head or await store.count_pending(status) >= MAX_PENDING:
            return position
        events = await self._dependencies.feed.read(status.organisation, position, READ_SIZE)
        if not events:
            return position
        upto = events[-1].position
        moved = await store.enqueue(
            status, self._epoch, position, upto, await self._select_subscribed(events)
        )
        return upto if moved else None

    async def _select_subscribed(
        self, events: Sequence[StoredEvent]
    ) -> list[tuple[int, UUID, str]]:
        """Return position, stream and entity of the events that the subscription selects."""
        entities, topics = (
            frozenset(self.status.document[name]) for name in ("entities", "topics")
        )
        chosen = [event for event in events if not topics or event.topic in topics]
        streams = {event.stream for event in chosen if event.topic.startswith("record.")}
        record_keys = await self._dependencies.store.records(self.status.organisation, streams)
        rows = []
        for event in chosen:
            key = f"{event.topic.partition('.')[0]}/{format_id(event.stream)}"
            entity = record_keys.get(event.stream, key)
            if not entities or entity.partition("/")[0] in entities:
                rows.append((event.position, event.stream, entity))
        return rows

    async def _start_requests(self) -> None:
        """Start the requests that may be sent now."""
        busy = self._requests.values()
        free = self._breaker.free(self._dependencies.policy.concurrency, len(busy))
        if not free:
            return
        if not self._ready:
            due = await self._dependencies.store.claim_due(
                self.status, busy, CLAIM_SIZE, new_first=self._breaker.is_tripped
            )
            self._ready.extend(due)
        for _ in range(min(free, len(self._ready))):
            event = self._ready.popleft()
            if event.topic is None:
                problem = "an event that waits to be told is gone"
                raise TruncatedLedgerError(self.status.organisation, event.position, problem)
            self._requests[asyncio.create_task(self._send(event))] = event.stream_id

    async def _send(self, event: Pending) -> Attempt:
        """Send an event. Whatever fails meanwhile is an attempt that has failed."""
        failures = self._breaker.failures
        try:
            result = await self._request(event)
            if result is None:
                return Attempt(event.position, "", None, 0)
        except Exception:
            log.exception("webhook.request", webhook=self.status.webhook, position=event.position)
            result = DeliveryResult(FAILED, None, 0)
        wait = 0.0
        if result.outcome == DELIVERED:
            self._breaker.succeed()
        else:
            wait = self._fail(event, result, failures)
        return Attempt(event.position, result.outcome, result.status, result.milliseconds, wait)

    async def _request(self, event: Pending) -> DeliveryResult | None:
        """Send a request; None if the lease does not cover it."""
        status, dependencies = self.status, self._dependencies
        body = message_body(status.organisation, event, dependencies.links, dependencies.base_url)
        id_ = message_id(status.organisation, event.position)
        async with dependencies.semaphore:
            if not self._lease.covers(dependencies.policy.timeout):
                return None
            headers = signed_headers(id_, int(time.time()), body, self._secrets)
            result = await dependencies.client.post(status.document["url"], headers, body)
        DELIVERIES.labels(status.organisation, status.webhook, result.outcome).inc()
        DELIVERY_SECONDS.observe(result.milliseconds / 1000)
        return result

    def _fail(self, event: Pending, result: DeliveryResult, failures: int) -> float:
        """Count a failure of the consumer, which had ``failures`` when the request began.

        Returns the seconds until the event is sent again.
        """
        retry_after = result.retry_after or 0.0
        pause = retry_after if result.status in OVERLOADED else 0.0
        self._breaker.fail(event.stream_id, failures, pause)
        log.info(
            "webhook.failed",
            organisation=self.status.organisation,
            webhook=self.status.webhook,
            position=event.position,
            outcome=result.outcome,
            status=result.status,
        )
        return max(retry_after, self._dependencies.policy.retries.pause(event.tries + 1))

    async def _record_ended(self, timeout: float | None) -> bool:
        """Wait for a request to end and record what has ended: False if the subscription has stopped."""
        done, _ = await asyncio.wait(
            self._requests, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        attempts = [attempt for task in done if (attempt := self._take_attempt(task)).outcome]
        if not attempts:
            return True
        store, max_age = self._dependencies.store, self._dependencies.policy.max_age
        state = await store.record_attempts(self.status, self._epoch, max_age, attempts)
        if state not in (None, "ACTIVE"):
            log.error("webhook.stopped", webhook=self.status.webhook, state=state)
        return state == "ACTIVE"

    def _take_attempt(self, task: asyncio.Task[Attempt]) -> Attempt:
        del self._requests[task]
        return task.result()
