"""The composition root: one process of the service, from settings to listening sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import asyncpg
import structlog

import services.registry  # noqa: F401 (fills the registries)
from domain.errors import ServiceError, TooManyRequests
from infra.audit.sealer import Sealer, signer_of
from infra.diagnostics.dashboard import Boards
from infra.diagnostics.refusals import Refusals
from infra.encryption import KeyRing
from infra.http.admin import Admin
from infra.http.api.routes import Api
from infra.http.audit.as_of import as_of_methods
from infra.http.audit.erasure import forgetting
from infra.http.audit.events import AuditEvents
from infra.http.audit.history import AuditHistory
from infra.http.audit.routes import Audit
from infra.http.browser.console import ConsolePages
from infra.http.browser.history import HistoryPages
from infra.http.images import inspect_image_off_loop
from infra.http.operators.reference import Reference
from infra.http.operators.sessions import Operating
from infra.http.operators.webhooks import Webhooks
from infra.http.request_outcomes import requests
from infra.http.router import Edge
from infra.http.server import serving
from infra.http.static_routes import pages
from infra.ledger.event_search import Search
from infra.observability.tracing import Tracing, exporting
from infra.password_hasher import Secrets
from infra.postgres.pool import Lanes
from infra.projections.temporal import History
from infra.settings import Settings
from infra.store.as_of import PostgresPast
from infra.store.entity_events import LedgerArchive
from infra.store.postgres_store import PostgresLedger
from infra.store.request_outcomes import Outcomes
from infra.views.replica import Replica
from infra.webhooks.admin import Desk as WebhookDesk
from services.audit.access import Auditing
from services.audit.as_of import AsOf
from services.audit.history_service import Historian
from services.authentication import Desk
from services.contacts.erasure import Forgetting
from services.operators import Operator
from services.pipeline.command_runner import Writer
from services.pipeline.dispatcher import Runner
from services.pipeline.session_tokens import Tokens
from services.pipeline.token_proofs import Authenticator
from services.reference.registrar import Registrar
from services.request_outcomes import Asking

log = structlog.get_logger(__name__)

__all__ = ["Application", "Limit", "listening", "opened", "sealing"]

CLEANING = 600.0
"""Seconds between two looks for answers that are too old."""

LONGEST_LINE = 16 * 1024
"""Bytes of a request line (contract common.md, section 1)."""


@dataclass(frozen=True, slots=True)
class Application:
    """The use cases of one process, wired to one database."""

    settings: Settings
    url: str
    zone: ZoneInfo
    ledger: PostgresLedger
    secrets: Secrets
    runner: Runner
    desk: Desk
    registrar: Registrar
    operator: Operator
    auditing: Auditing
    historian: Historian
    search: Search
    boards: Boards
    refusals: Refusals
    tracing: Tracing
    forgetting: Forgetting
    as_of: AsOf
    asking: Asking
    webhooks: WebhookDesk

    def edge(self) -> Edge:
        """Everything that is served on the first port."""
        edge = Edge(self.tracing)
        Api(self.runner, self.desk, self.refusals.note).routes(edge)
        key = self.settings.operator_key
        Reference(self.registrar, self.ledger, key, self.zone).routes(edge)
        Operating(self.operator, self.ledger, key).routes(edge)
        Webhooks(self.webhooks, self.operator, key).routes(edge)
        audit = Audit(self.auditing, self.ledger)
        audit.routes(edge)
        AuditHistory(audit, self.historian).routes(edge)
        AuditEvents(audit, self.historian, self.search).routes(edge)
        HistoryPages(self.historian, self.auditing, self.runner, self.desk).routes(edge)
        ConsolePages(self.boards, self.refusals, self.auditing, self.runner, self.desk).routes(edge)
        forgetting(audit, edge, self.forgetting, self.ledger)
        as_of_methods(audit, edge, self.as_of)
        requests(edge, self.asking)
        pages(edge)
        return edge


class Limit:
    """At most so many calls per second and session, in bursts of as many (common.md, section 1).

    Each process counts for itself.
    """

    def __init__(self, per_second: float) -> None:
        self._rate = per_second
        self._burst = max(per_second, 1.0)
        self._left: dict[str, tuple[float, float]] = {}

    def __call__(self, session: str) -> None:
        """Counts a call. Raises `TooManyRequests` with the seconds to wait."""
        now = time.monotonic()
        left, then = self._left.pop(session, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        self._left[session] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > 10_000:
            del self._left[next(iter(self._left))]
        if left < 1:
            raise TooManyRequests(retry_after=max(1, round((1 - left) / self._rate)))


def _unlimited(_: str) -> None:
    return None


@asynccontextmanager
async def opened(settings: Settings, url: str) -> AsyncIterator[Application]:
    """The application on the database at ``url``, closed again at the end."""
    zone = ZoneInfo(settings.time_zone)
    reads = Lanes(url, settings.connections)
    ring = KeyRing(settings.service_key)
    ledger = PostgresLedger(reads, Lanes(url, 3), ring, zone, replica=_replica(settings))
    secrets = Secrets(settings.service_key)
    tokens = Tokens(settings.token_secret)
    limit: Callable[[str], None] = Limit(settings.rate_limit) if settings.rate_limit else _unlimited
    authenticator = Authenticator(ledger, secrets)
    tracing = exporting(settings.traces_url)
    writer = Writer(ledger, secrets, authenticator, zone, tracing.stage)
    looks = (limit, inspect_image_off_loop, secrets.mac, tracing.stage)
    runner = Runner(ledger, tokens, authenticator, zone, writer, *looks)
    desk = Desk(ledger, tokens, secrets, authenticator, zone)
    auditing = Auditing(ledger, runner, zone)
    past = PostgresPast(reads, History(reads, ring, zone), ring, zone)
    cleaning = asyncio.create_task(_clean(ledger))
    try:
        yield Application(
            settings=settings,
            url=url,
            zone=zone,
            ledger=ledger,
            secrets=secrets,
            runner=runner,
            desk=desk,
            registrar=Registrar(ledger, secrets, zone),
            operator=Operator(ledger, zone),
            auditing=auditing,
            forgetting=Forgetting(ledger, zone),
            historian=Historian(ledger, LedgerArchive(reads, ring), auditing, zone),
            search=Search(reads),
            boards=Boards(reads),
            refusals=Refusals(tokens),
            tracing=tracing,
            as_of=AsOf(past, auditing, zone),
            asking=Asking(Outcomes(reads, ring), runner),
            webhooks=WebhookDesk(reads),
        )
    finally:
        cleaning.cancel()
        await ledger.drain()
        await ledger.close()
        secrets.close()
        await asyncio.to_thread(tracing.close)


def _replica(settings: Settings) -> Replica | None:
    """The replica, if there is one. Whoever may ask the primary instead does not wait for it."""
    if settings.replica_url is None:
        return None
    lanes = Lanes(settings.replica_url, settings.connections, patience=0.1)
    return Replica(lanes, settings.replica_staleness)


async def _clean(ledger: PostgresLedger) -> None:
    """Drops answers to idempotency keys that are too old to be asked for, every now and then."""
    while True:
        await asyncio.sleep(CLEANING)
        try:
            await ledger.forget_answers()
        except ServiceError as error:
            log.warning("cleaning", error=type(error).__name__)


@asynccontextmanager
async def sealing(settings: Settings, url: str) -> AsyncIterator[None]:
    """Seals what gets old enough, in the background, until left."""
    if not settings.seal_seconds:
        yield
        return
    sealer = Sealer(url, signer_of(settings.service_key), seconds=settings.seal_seconds)
    running = asyncio.create_task(sealer.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])
        await sealer.close()


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a process listens."""

    port: int
    admin_port: int


@asynccontextmanager
async def listening(application: Application) -> AsyncIterator[Ports]:
    """Serves until left; then answers the calls that have begun, and no others. Raises `Unlistening`."""
    settings = application.settings
    admin = Admin(application.ledger)
    handle = application.edge().handle
    bounds = {"auto_decompress": False, "max_line_size": LONGEST_LINE}
    # The second port is left last: it says that the process is leaving while calls still end.
    async with (
        serving(admin.edge().handle, settings.host, settings.admin_port) as admin_port,
        serving(handle, settings.host, settings.port, shared=settings.share_port, **bounds) as port,
    ):
        yield Ports(port, admin_port)
        admin.leaving = True
        # Whoever sends us calls must first learn that it should not.
        await asyncio.sleep(settings.leaving_seconds)


async def reachable(url: str, seconds: float = 30) -> None:
    """Waits until the database answers. Raises what it said last after so many seconds."""
    until = time.monotonic() + seconds
    while True:
        try:
            connection = await asyncpg.connect(url, timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.25)
        else:
            await connection.close()
            return
