"""The sender of a process: any number may run, here and elsewhere.

What is sent by whom, and how fast, is settled in the database (`outward.claim`); what stands here is
only when to look, and what is under way.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from zoneinfo import ZoneInfo

import structlog
from prometheus_client import Counter as Count
from prometheus_client import Gauge, Histogram

from domain.errors import ServiceUnavailable
from infra.delivery.leases import PostgresDeliveryLeases
from infra.delivery.sms import SmsGateway
from infra.delivery.smtp import EmailServer
from infra.delivery.transports import TransportRegistry, version_of
from infra.observability.metrics import REGISTRY
from infra.postgres.notify import Listener
from infra.postgres.pool import ConnectionPool
from infra.store.postgres_store import PostgresStore
from services.communications.delivery import MEDIA, LeasedEntry, MessageDelivery
from services.context import CallContext, ContextQuery
from services.secret_encryption import SecretCipher

__all__ = ["MessageDispatcher"]

AT_ONCE = 256
"""Messages that one process has under way."""
MEASURING = 10.0
"""Seconds between two looks at what waits, for the metrics, and at what nobody needs any more."""
PASSING_OVER = 30.0
"""Seconds for which an organisation is passed over that could not be dealt with."""
OWN_FAULT = "INTERNAL"
"""The code with which a message is put off that we could not deal with."""
PATIENCE = 60.0
"""Seconds that a process which was told to stop goes on trying to record what it has sent."""

SENT = Count(
    "crmledger_sending_total",
    "Messages that this process has dealt with, by outcome: SENT, REFUSED, LATER (put off), AWAY (the"
    " server could not be used), DECIDED (somebody else had), LOST (the lease had ended).",
    ["media", "outcome"],
    registry=REGISTRY,
)
SECONDS = Histogram(
    "crmledger_sending_seconds",
    "Time from an entry's lease to its outcome's being recorded.",
    ["media"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
    registry=REGISTRY,
)
WAITING = Gauge(
    "crmledger_sending_waiting",
    "Entries that wait to be sent by the service itself, up to 10,000.",
    ["organisation", "media"],
    registry=REGISTRY,
)
WAITING_SECONDS = Gauge(
    "crmledger_sending_waiting_seconds",
    "Age of the first of them.",
    ["organisation", "media"],
    registry=REGISTRY,
)
PUT_OFF = Gauge(
    "crmledger_sending_put_off",
    "Those of them that were tried in vain and wait for their next try.",
    ["organisation", "media"],
    registry=REGISTRY,
)
RESTING = Gauge(
    "crmledger_sending_rest_seconds",
    "How long a server is still left alone that could not be used.",
    ["organisation", "media"],
    registry=REGISTRY,
)

log = structlog.get_logger(__name__)


class MessageDispatcher:
    """Sends what waits in the queues of all organisations that have set servers.

    :param pause: seconds between two looks at the ledgers; the bell only makes them earlier.
    """

    def __init__(
        self,
        url: str,
        ledger: PostgresStore,
        keeper: SecretCipher,
        zone: ZoneInfo,
        *,
        pause: float = 0.5,
    ) -> None:
        self._ledger = ledger
        self._lanes = ConnectionPool(url, 2)
        self._bell = Listener(url)
        self._leases = PostgresDeliveryLeases(self._lanes)
        self._courier = MessageDelivery(ledger, self._leases, zone)
        self._servers = TransportRegistry(ledger, keeper)
        self._pause = pause
        self._heads: dict[str, int] = {}
        self._waiting: set[str] = set()
        self._passed_over: dict[str, float] = {}
        self._measured: set[tuple[str, str]] = set()
        self._measured_at = 0.0
        self._under_way: dict[asyncio.Task[None], tuple[str, str]] = {}
        self._ended = asyncio.Event()
        self._problems: list[str] = ["starting"]

    async def readiness_problems(self) -> list[str]:
        """What keeps it from sending at all, as of its last look at the ledgers."""
        return list(self._problems)

    async def run(self, stop: asyncio.Event) -> None:
        """Sends until told to stop; then finishes what is under way.

        A database that is away is waited for.
        """
        try:
            while not stop.is_set():
                self._bell.notified.clear()
                try:
                    self._problems = await self._ledger.readiness_problems()
                    if not self._problems:
                        await self.once()
                except ServiceUnavailable as error:
                    self._problems = [error.description]
                except Exception:
                    log.exception("sending.look")
                    self._problems = ["internal"]
                await self._bell.rest(self._pause, stop, self._ended)
        finally:
            await self.close()

    async def once(self) -> None:
        """Looks at every ledger that has changed or in which something waits, and starts what it may."""
        self._ended.clear()
        for organisation, head in (await self._leases.heads()).items():
            if self._heads.get(organisation) != head or organisation in self._waiting:
                self._waiting.add(organisation)
                self._heads[organisation] = head
                if not await self._looked(organisation):
                    self._waiting.discard(organisation)
        if time.monotonic() - self._measured_at > MEASURING:
            await self._measure()
            await self._servers.tidy()
            self._measured_at = time.monotonic()

    async def idle(self) -> None:
        """Waits until nothing is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def close(self) -> None:
        """Finishes what is under way and closes all connections."""
        if self._under_way:
            longest = max(
                (server.policy.timeout_seconds for server in self._servers.all()), default=0
            )
            await asyncio.wait(self._under_way, timeout=longest + PATIENCE)
        for task in list(self._under_way):
            # The database stayed away: the lease ends, and the message is sent again under its key.
            task.cancel()
        await self._servers.close()
        await self._bell.close()
        await self._lanes.close()

    async def _looked(self, organisation: str) -> bool:
        """The same as `_look`: what is wrong with one organisation must not keep others waiting."""
        if self._passed_over.get(organisation, 0.0) > time.monotonic():
            return True
        try:
            return await self._look(organisation)
        except ServiceUnavailable:
            raise
        except Exception:
            log.exception("sending.organisation", organisation=organisation)
            self._passed_over[organisation] = time.monotonic() + PASSING_OVER
            return True

    async def _look(self, organisation: str) -> bool:
        """Starts what may be sent of an organisation; whether anything waits."""
        told = await self._ledger.load_context(organisation, ContextQuery())
        waits = False
        for media in MEDIA:
            server = await self._servers.of(told, media)
            if server is None:
                continue
            self._measured.add((organisation, media))
            busy = Counter(self._under_way.values())[organisation, media]
            # Half of what is free: a server that is slow must not take the last place of others.
            free = (AT_ONCE - len(self._under_way)) // 2
            room = min(server.policy.connections - busy, free)
            leased = (
                await self._leases.claim(organisation, media, version_of(told), room, server.policy)
                if room > 0
                else []
            )
            for one in leased:
                self._start(told, media, server, one)
            waits |= bool(leased) or await self._leases.has_waiting(organisation, media)
        return waits

    def _start(
        self, told: CallContext, media: str, server: EmailServer | SmsGateway, leased: LeasedEntry
    ) -> None:
        task = asyncio.create_task(self._deliver(told, media, server, leased))
        self._under_way[task] = (told.directory.organisation, media)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._ended.set()

    async def _deliver(
        self, told: CallContext, media: str, server: EmailServer | SmsGateway, leased: LeasedEntry
    ) -> None:
        organisation = told.directory.organisation
        with SECONDS.labels(media).time():
            try:
                outcome = await self._courier.deliver(told, media, server, leased)
            except Exception:
                log.exception("sending.failed", organisation=organisation, entry=leased.entry)
                outcome = "LATER"
                wait = server.policy.wait(leased.tries + 1)
                with suppress(ServiceUnavailable):
                    await self._leases.defer(organisation, leased, 1, wait, OWN_FAULT)
        SENT.labels(media, outcome).inc()
        if outcome in ("LOST", "AWAY"):
            log.warning(f"sending.{outcome.lower()}", organisation=organisation, media=media)

    async def _measure(self) -> None:
        for organisation in {organisation for organisation, _ in self._measured}:
            await self._leases.purge_decided(organisation)
            for backlog in await self._leases.backlogs(organisation):
                labels = (organisation, backlog.media)
                if labels in self._measured:
                    WAITING.labels(*labels).set(backlog.entries)
                    WAITING_SECONDS.labels(*labels).set(backlog.seconds)
                    PUT_OFF.labels(*labels).set(backlog.put_off)
                    RESTING.labels(*labels).set(backlog.paused_for)
