"""Delivers one subscription: events in order for each entity, other entities meanwhile.

Whatever fails is sent again, later and later. When nothing gets through any more the consumer is away:
then one request at a time is tried, of an entity that has not failed yet if there is one, and no other
before a pause of its own has ended.
"""

from __future__ import annotations

import asyncio
import random
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
    Lease,
    Pending,
    SubscriptionStatus,
    SubscriptionStore,
)
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

    def wait(self, tries: int, longest: float) -> float:
        """The pause after so many failures."""
        pause = min(longest, self.first * 2.0 ** min(tries - 1, 30))
        return pause * random.uniform(0.5, 1)  # noqa: S311 (no secret)


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
        self._failures = 0
        self._failed: set[UUID] = set()
        self._not_before = 0.0
        self._held_until = 0.0
        self._secrets: list[str] = []
        self._ready: deque[Pending] = deque()
        self._busy: dict[asyncio.Task[Attempt], UUID] = {}

    @property
    def is_backing_off(self) -> bool:
        """Whether there is no use in working now: its consumer is away, and nothing can be taken in."""
        now = self.now
        known = now.epoch == self._round and (now.position >= now.head or now.pending >= MOST)
        return known and time.monotonic() < self._not_before

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

    async def _leased(self) -> Lease | None:
        """The right to deliver what is active, with all that it takes."""
        now, pace = self.now, self._tools.pace
        until = time.monotonic() + pace.lease
        lease = await self._tools.store.lease(now, pace.lease)
        if lease is None or lease.state != "ACTIVE":
            return None
        if not lease.position_matches:
            what = "another event than was told of stands"
            raise TruncatedLedgerError(now.organisation, lease.position, what)
        self._held_until = until
        if lease.epoch != self._round:
            # An operator wants it tried now.
            self._round, self._failures, self._not_before = lease.epoch, 0, 0.0
            self._failed.clear()
        place = f"{now.organisation}/webhook/{now.webhook}/secret"
        boxes = await self._tools.store.secrets(now)
        self._secrets = [self._tools.decryptor.decrypt(box, place) for box in boxes]
        if not self._secrets:
            raise ValueError("it has no secret to sign with")
        return lease

    async def _held(self) -> bool:
        """Whether it is still ours for as long as a request may take; renews the lease if need be."""
        pace = self._tools.pace
        if time.monotonic() + pace.timeout < self._held_until:
            return True
        until = time.monotonic() + pace.lease
        if not await self._tools.store.renew(self.now, pace.lease, self._round):
            return False
        self._held_until = until
        return True

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
        away, busy = len(self._failed) >= PATIENCE, self._busy.values()
        free = (1 if away else self._tools.pace.at_once) - len(busy)
        if free <= 0 or time.monotonic() < self._not_before:
            return
        if not self._ready:
            picked = await self._tools.store.claim_due(self.now, busy, PICKED, new_first=away)
            self._ready.extend(picked)
        for _ in range(min(free, len(self._ready))):
            event = self._ready.popleft()
            if event.topic is None:
                what = "an event that waits to be told is gone"
                raise TruncatedLedgerError(self.now.organisation, event.position, what)
            self._busy[asyncio.create_task(self._sent(event))] = event.stream_id

    async def _sent(self, event: Pending) -> Attempt:
        now, tools, failures = self.now, self._tools, self._failures
        content = message_body(now.organisation, event, tools.shows, tools.base)
        id_ = message_id(now.organisation, event.position)
        async with tools.gate:
            if time.monotonic() + tools.pace.timeout > self._held_until:
                return Attempt(event.position, "", None, 0)
            said = signed_headers(id_, int(time.time()), content, self._secrets)
            answer = await tools.poster.post(now.document["url"], said, content)
        DELIVERIES.labels(now.organisation, now.webhook, answer.outcome).inc()
        DELIVERY_SECONDS.observe(answer.milliseconds / 1000)
        if answer.outcome == DELIVERED:
            self._failures, wait = 0, 0.0
            self._failed.clear()
        else:
            # Those that were under way together fail together, and count once.
            self._failures = max(self._failures, failures + 1)
            self._failed.add(event.stream_id)
            wait = self._pauses(event, answer)
        return Attempt(event.position, answer.outcome, answer.status, answer.milliseconds, wait)

    def _pauses(self, event: Pending, answer: DeliveryResult) -> float:
        """Rests if the consumer is away: the seconds until the event is sent again."""
        pace, asked = self._tools.pace, answer.retry_after or 0.0
        pause = asked if answer.status in OVERLOADED else 0.0
        if len(self._failed) >= PATIENCE:
            pause = max(pause, pace.wait(self._failures, pace.max_backoff_when_down))
        self._not_before = max(self._not_before, time.monotonic() + pause)
        log.info(
            "webhook.failed",
            organisation=self.now.organisation,
            webhook=self.now.webhook,
            position=event.position,
            outcome=answer.outcome,
            status=answer.status,
        )
        return max(asked, pace.wait(event.tries + 1, pace.longest))

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
