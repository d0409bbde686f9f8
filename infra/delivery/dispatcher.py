"""The dispatcher of e-mails and SMS: any number may run, in any number of processes.

The database decides which process sends what, and how fast (`delivery.lease_entries`). The dispatcher only
decides when to look, and keeps count of what is under way.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import suppress
from zoneinfo import ZoneInfo

import structlog
from prometheus_client import Counter, Gauge, Histogram

from domain.errors import ServiceUnavailable
from infra.delivery.leases import PostgresDeliveryLeases
from infra.delivery.sms import SmsGateway
from infra.delivery.smtp import EmailServer
from infra.delivery.transports import TransportRegistry, version_of
from infra.observability.metrics import REGISTRY
from infra.postgres.notify import Listener
from infra.postgres.pool import ConnectionPool
from infra.store.postgres_store import PostgresStore
from infra.worker import CircuitBreaker, LagGauges, Worker
from services.backoff import Backoff
from services.communications.delivery import (
    INTERNAL_ERROR,
    MEDIA,
    LeasedEntry,
    MessageDelivery,
)
from services.context import CallContext, ContextQuery
from services.secret_encryption import SecretCipher

__all__ = ["MessageDispatcher"]

CONCURRENCY = 256
"""Messages that one process sends at the same time."""
MEASURE_INTERVAL = 10.0
"""Seconds between two measurements of what waits; rows and connections out of use are dropped then."""
ORGANISATION_BACKOFF = Backoff(30.0, 30.0, jitter=0)
"""The pause of an organisation whose look failed."""
DRAIN_SECONDS = 60.0
"""Seconds for which a stopping process goes on trying to record what it has sent."""

SENT = Counter(
    "crmledger_sending_total",
    "Messages by outcome: sent, rejected, deferred, unavailable (the server), superseded (decided by"
    " others), lease_lost.",
    ["media", "outcome"],
    registry=REGISTRY,
)
SECONDS = Histogram(
    "crmledger_sending_seconds",
    "Time from the lease of an entry to its recorded outcome.",
    ["media"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
    registry=REGISTRY,
)
WAITING = Gauge(
    "crmledger_sending_waiting",
    "Queued messages of the built-in sender, at most 10,000.",
    ["organisation", "media"],
    registry=REGISTRY,
)
WAITING_SECONDS = Gauge(
    "crmledger_sending_waiting_seconds",
    "Age of the oldest queued message.",
    ["organisation", "media"],
    registry=REGISTRY,
)
PUT_OFF = Gauge(
    "crmledger_sending_deferred",
    "Queued messages that wait for their next attempt.",
    ["organisation", "media"],
    registry=REGISTRY,
)
RESTING = Gauge(
    "crmledger_sending_circuit_open_seconds",
    "Seconds until an unavailable server is tried again.",
    ["organisation", "media"],
    registry=REGISTRY,
)
GAUGES = LagGauges(WAITING, WAITING_SECONDS, PUT_OFF, RESTING)

log = structlog.get_logger(__name__)


class MessageDispatcher(Worker):
    """Sends what waits in the queues of all organisations that have configured a server.

    :param pause: seconds between two looks at the ledgers; a notification makes the next one earlier.
    """

    def __init__(
        self,
        url: str,
        ledger: PostgresStore,
        cipher: SecretCipher,
        zone: ZoneInfo,
        *,
        pause: float = 0.5,
    ) -> None:
        super().__init__(pause, Listener(url))
        self._ledger = ledger
        self._pool = ConnectionPool(url, 2)
        self._leases = PostgresDeliveryLeases(self._pool)
        self._delivery = MessageDelivery(ledger, self._leases, zone, _report)
        self._transports = TransportRegistry(ledger, cipher)
        self._heads: dict[str, int] = {}
        self._waiting: set[str] = set()
        self._breakers = defaultdict[str, CircuitBreaker](
            lambda: CircuitBreaker(1, ORGANISATION_BACKOFF)
        )
        self._measured: set[tuple[str, str]] = set()
        self._measured_at = 0.0

    async def _look(self, stop: asyncio.Event) -> list[str]:
        """Look at each ledger that has changed or has waiting entries, and start what may be sent."""
        problems = await self._ledger.readiness_problems()
        if problems:
            return problems
        for organisation, head in (await self._leases.heads()).items():
            if self._heads.get(organisation) != head or organisation in self._waiting:
                self._waiting.add(organisation)
                self._heads[organisation] = head
                if not await self._try_organisation(organisation):
                    self._waiting.discard(organisation)
        if time.monotonic() - self._measured_at > MEASURE_INTERVAL:
            await self._measure()
            await self._transports.close_idle()
            self._measured_at = time.monotonic()
        return []

    def _problem_of(self, error: Exception) -> str | None:
        problem = super()._problem_of(error)
        if problem is None:
            log.exception("sending.look")
        return problem or "internal"

    def _drain_seconds(self) -> float:
        """As `Worker`: long enough for every request to end and be recorded.

        If the database stays away for longer, the lease ends and the message is sent again under the
        same key.
        """
        transports = self._transports.all()
        return DRAIN_SECONDS + max(
            (transport.policy.timeout_seconds for transport in transports), default=0
        )

    async def _release(self) -> None:
        await self._transports.close()
        await self._pool.close()

    async def _try_organisation(self, organisation: str) -> bool:
        """As `_look_at`; a failure pauses this organisation and does not keep the others waiting."""
        breaker = self._breakers[organisation]
        if breaker.is_open:
            return True
        try:
            return await self._look_at(organisation)
        except ServiceUnavailable:
            raise
        except Exception:
            log.exception("sending.organisation", organisation=organisation)
            breaker.fail(organisation)
            return True

    async def _look_at(self, organisation: str) -> bool:
        """Start what may be sent of an organisation: True if anything waits."""
        context = await self._ledger.load_context(organisation, ContextQuery())
        waits = False
        for media in MEDIA:
            transport = await self._transports.get(context, media)
            if transport is None:
                continue
            self._measured.add((organisation, media))
            under_way = self._under_way.count((organisation, media))
            # Half of what is free: a slow server must not take all places from the others.
            free = (CONCURRENCY - len(self._under_way)) // 2
            room = min(transport.policy.connections - under_way, free)
            leased = (
                await self._leases.claim(
                    organisation, media, version_of(context), room, transport.policy
                )
                if room > 0
                else []
            )
            for entry in leased:
                self._under_way.start(
                    (organisation, media), self._deliver(context, media, transport, entry)
                )
            waits |= bool(leased) or await self._leases.has_waiting(organisation, media)
        return waits

    async def _deliver(
        self,
        context: CallContext,
        media: str,
        transport: EmailServer | SmsGateway,
        leased: LeasedEntry,
    ) -> None:
        organisation = context.directory.organisation
        with SECONDS.labels(media).time():
            try:
                outcome = await self._delivery.deliver(context, media, transport, leased)
            except Exception:
                # It is not known to be unsent, so it is not rejected, however often this happens.
                _report(organisation, leased.entry)
                outcome = "deferred"
                wait = transport.policy.wait(leased.tries + 1)
                with suppress(ServiceUnavailable):
                    await self._leases.defer(organisation, leased, 1, wait, INTERNAL_ERROR)
        SENT.labels(media, outcome).inc()
        if outcome in ("lease_lost", "unavailable"):
            log.warning(f"sending.{outcome}", organisation=organisation, media=media)

    async def _measure(self) -> None:
        for organisation in {organisation for organisation, _ in self._measured}:
            await self._leases.purge_decided(organisation)
            for backlog in await self._leases.backlogs(organisation):
                labels = (organisation, backlog.media)
                if labels in self._measured:
                    GAUGES.set(
                        labels,
                        backlog.entries,
                        backlog.seconds,
                        backlog.put_off,
                        backlog.paused_for,
                    )


def _report(organisation: str, entry: str) -> None:
    """Log the error that is being handled."""
    log.exception("sending.failed", organisation=organisation, entry=entry)
