"""Delivers one subscription: events in order for each entity, other entities meanwhile.

Whatever fails is sent again, later and later. When nothing gets through any more the consumer is away:
then one request at a time is tried, of an entity that has not failed yet if there is one, and no other
before a pause of its own has ended.
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
from infra.webhooks.http_client import DELIVERED, DeliveryResult
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

PAGE = 500
"""Events that are read at once."""
MOST = 1_000
"""Events of a subscription that may wait; while as many do, no further ones are taken in."""
PICKED = 64
"""Events that are chosen at once to be sent, each of another entity."""
PATIENCE = 3
"""Entities of which an event failed, without a success in between, after which a consumer counts as
away: fewer may be its trouble with these."""
OVERLOADED = (429, 503)
"""Statuses whose Retry-After is about the consumer as a whole."""

log = structlog.get_logger(__name__)


class WebhookClient(Protocol):
    """Sends requests."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> DeliveryResult:
        """What a consumer answers; never raises for what a consumer or the network does."""


class SecretDecryptor(Protocol):
    """Opens what is sealed."""

    def decrypt(self, box: str, place: str) -> str:
        """The secret. Raises ``ValueError`` if another service key or place sealed it."""


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How fast and how long: seconds, but for the two numbers of requests at the same time.

    A request ends within ``timeout``, which is shorter than the ``lease``. The first pause after a
    failure is ``first``; it doubles up to ``longest``, or to ``max_backoff_when_down`` between tries of a consumer that
    is away, less up to a half by chance. An event that is not acknowledged for ``max_age`` pauses the
    subscription.
    """

    lease: float = 30.0
    timeout: float = 10.0
    pause: float = 0.5
    first: float = 5.0
    longest: float = 3600.0
    max_backoff_when_down: float = 60.0
    max_age: float = 3 * 86_400.0
    at_once: int = 8
    total_concurrency: int = 64

    @property
    def retries(self) -> Backoff:
        """The pauses between two tries of an event."""
        return Backoff(self.first, self.longest)

    @property
    def probes(self) -> Backoff:
        """The pauses between two tries of a consumer that is away."""
        return Backoff(self.first, self.max_backoff_when_down)


@dataclass(frozen=True, slots=True)
class WorkerDependencies:
    """What the couriers of a process share; ``shows`` and ``base`` make links."""

    store: SubscriptionStore
    feed: Feed
    poster: WebhookClient
    decryptor: SecretDecryptor
    gate: asyncio.Semaphore
    pace: DeliveryPolicy
    shows: Mapping[str, str] = field(default_factory=dict)
    base: str = ""


class SubscriptionWorker:
    """One subscription in one process. ``now`` is how it stands, brought up to date from outside."""

    def __init__(self, now: SubscriptionStatus, tools: WorkerDependencies) -> None:
        self.now = now
        self._tools = tools
        self._round = -1
        self._breaker = CircuitBreaker(PATIENCE, tools.pace.probes)
        self._lease = Lease(tools.pace.lease)
        self._secrets: list[str] = []
        self._ready: deque[Pending] = deque()
        self._busy: dict[asyncio.Task[Attempt], UUID] = {}

    @property
    def is_backing_off(self) -> bool:
        """Whether there is no use in working now: its consumer is away, and nothing can be taken in."""
        now = self.now
        known = now.epoch == self._round and (now.position >= now.head or now.pending >= MOST)
        return known and self._breaker.is_open

    async def work(self, stop: asyncio.Event) -> None:
        """Delivers until nothing is left to do now, another process has it, or told to stop.

        Raises `LedgerCorruptedError`, ``ValueError`` if a secret cannot be opened, and
        `ServiceUnavailable`. Requests that are under way are always ended, and noted.
        """
        lease = await self._leased()
        if lease is None:
            return
        at = lease.position
        try:
            while not stop.is_set() and self.now.is_active and await self._held():
                upto = await self._taken_in(at)
                if upto is None:
                    return
                await self._begin()
                if self._busy:
                    if not await self._ended(self._tools.pace.pause):
                        return
                elif upto == at:
                    return
                at = upto
        finally:
            self._ready.clear()
            while self._busy:
                await self._ended(None)

    async def _leased(self) -> LeasedSubscription | None:
        """The right to deliver what is active, with all that it takes."""
        now, store = self.now, self._tools.store
        lease = await self._lease.take(lambda seconds: store.lease(now, seconds))
        if lease is None or lease.state != "ACTIVE":
            return None
        if not lease.position_matches:
            what = "another event than was told of stands"
            raise TruncatedLedgerError(now.organisation, lease.position, what)
        if lease.epoch != self._round:
            # An operator wants it tried now.
            self._round = lease.epoch
            self._breaker.reset()
        place = f"{now.organisation}/webhook/{now.webhook}/secret"
        boxes = await store.secrets(now)
        self._secrets = [self._tools.decryptor.decrypt(box, place) for box in boxes]
        if not self._secrets:
            raise ValueError("it has no secret to sign with")
        return lease

    async def _held(self) -> bool:
        """Whether it is still ours for as long as a request may take; renews the lease if need be."""
        store = self._tools.store
        return self._lease.covers(self._tools.pace.timeout) or await self._lease.take(
            lambda seconds: store.renew(self.now, seconds, self._round)
        )

    async def _taken_in(self, at: int) -> int | None:
        """Makes events after a position pending that are subscribed to: the new position; None if
        another process or an operator has moved it."""
        now, store = self.now, self._tools.store
        if at >= now.head or await store.waiting(now) >= MOST:
            return at
        events = await self._tools.feed.read(now.organisation, at, PAGE)
        if not events:
            return at
        upto = events[-1].position
        moved = await store.enqueue(now, self._round, at, upto, await self._wanted(events))
        return upto if moved else None

    async def _wanted(self, events: Sequence[StoredEvent]) -> list[tuple[int, UUID, str]]:
        """The events that both lists of the subscription name, with what they are about."""
        entities, topics = (frozenset(self.now.document[name]) for name in ("entities", "topics"))
        chosen = [event for event in events if not topics or event.topic in topics]
        records = {event.stream for event in chosen if event.topic.startswith("record.")}
        known = await self._tools.store.records(self.now.organisation, records)
        found = []
        for event in chosen:
            own = f"{event.topic.partition('.')[0]}/{format_id(event.stream)}"
            entity = known.get(event.stream, own)
            if not entities or entity.partition("/")[0] in entities:
                found.append((event.position, event.stream, entity))
        return found

    async def _begin(self) -> None:
        """Sends what may be sent now."""
        busy = self._busy.values()
        free = self._breaker.free(self._tools.pace.at_once, len(busy))
        if not free:
            return
        if not self._ready:
            picked = await self._tools.store.claim_due(
                self.now, busy, PICKED, new_first=self._breaker.is_tripped
            )
            self._ready.extend(picked)
        for _ in range(min(free, len(self._ready))):
            event = self._ready.popleft()
            if event.topic is None:
                what = "an event that waits to be told is gone"
                raise TruncatedLedgerError(self.now.organisation, event.position, what)
            self._busy[asyncio.create_task(self._sent(event))] = event.stream_id

    async def _sent(self, event: Pending) -> Attempt:
        now, tools, failures = self.now, self._tools, self._breaker.failures
        content = message_body(now.organisation, event, tools.shows, tools.base)
        id_ = message_id(now.organisation, event.position)
        async with tools.gate:
            if not self._lease.covers(tools.pace.timeout):
                return Attempt(event.position, "", None, 0)
            said = signed_headers(id_, int(time.time()), content, self._secrets)
            answer = await tools.poster.post(now.document["url"], said, content)
        DELIVERIES.labels(now.organisation, now.webhook, answer.outcome).inc()
        DELIVERY_SECONDS.observe(answer.milliseconds / 1000)
        if answer.outcome == DELIVERED:
            self._breaker.succeed()
            wait = 0.0
        else:
            wait = self._fail(event, answer, failures)
        return Attempt(event.position, answer.outcome, answer.status, answer.milliseconds, wait)

    def _fail(self, event: Pending, answer: DeliveryResult, failures: int) -> float:
        """Count a failure of the consumer, which had ``failures`` when the request began.

        Returns the seconds until the event is sent again.
        """
        retry_after = answer.retry_after or 0.0
        pause = retry_after if answer.status in OVERLOADED else 0.0
        self._breaker.fail(event.stream_id, failures, pause)
        log.info(
            "webhook.failed",
            organisation=self.now.organisation,
            webhook=self.now.webhook,
            position=event.position,
            outcome=answer.outcome,
            status=answer.status,
        )
        return max(retry_after, self._tools.pace.retries.pause(event.tries + 1))

    async def _ended(self, patience: float | None) -> bool:
        """Notes the requests that have ended, after waiting for one; False if all is stopped."""
        done, _ = await asyncio.wait(
            self._busy, timeout=patience, return_when=asyncio.FIRST_COMPLETED
        )
        attempts = [attempt for task in done if (attempt := self._end(task)).outcome]
        if not attempts:
            return True
        store, age = self._tools.store, self._tools.pace.max_age
        state = await store.record_attempts(self.now, self._round, age, attempts)
        if state not in (None, "ACTIVE"):
            log.error("webhook.stopped", webhook=self.now.webhook, state=state)
        return state == "ACTIVE"

    def _end(self, task: asyncio.Task[Attempt]) -> Attempt:
        del self._busy[task]
        return task.result()
