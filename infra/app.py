"""The composition root: one process of the service, from settings to listening sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import structlog

import services.registry  # noqa: F401 (fills the registries)
from domain.errors import ServiceError, TooManyRequests
from infra.audit.sealer import Sealer, signer_of
from infra.diagnostics.dashboard import DashboardReader
from infra.diagnostics.refusals import Refusals
from infra.encryption import KeyRing
from infra.http.admin import Admin
from infra.http.api.body import BodyBudget
from infra.http.api.routes import Api
from infra.http.audit.as_of import add_as_of_routes
from infra.http.audit.erasure import add_erasure_routes
from infra.http.audit.events import AuditEvents
from infra.http.audit.history import AuditHistory
from infra.http.audit.routes import AuditRoutes
from infra.http.browser.console import ConsolePages
from infra.http.browser.history import HistoryPages
from infra.http.client_address import TrustedProxies
from infra.http.images import inspect_image_off_loop
from infra.http.operators.authorization import OperatorGate
from infra.http.operators.reference import ReferenceRoutes
from infra.http.operators.sessions import OperatorRoutes
from infra.http.operators.webhooks import WebhookRoutes
from infra.http.request_outcomes import add_outcome_routes
from infra.http.router import Router
from infra.http.server import connection_limit, listen
from infra.http.static_routes import add_static_routes
from infra.ledger.event_search import Search
from infra.observability.tracing import Tracing, create_tracing
from infra.password_hasher import SecretHasher
from infra.postgres.pool import ConnectionPool
from infra.projections.temporal import TemporalViews
from infra.settings import Settings
from infra.store.as_of import PostgresTemporalStore
from infra.store.entity_events import PostgresEntityEvents
from infra.store.postgres_store import PostgresStore
from infra.store.request_outcomes import PostgresRequestOutcomes
from infra.views.replica import Replica
from infra.webhooks.admin import WebhookAdmin as WebhookDesk
from services.audit.access import AuditAccess
from services.audit.as_of import AsOf
from services.audit.history_service import HistoryService
from services.authentication import LoginServices
from services.contacts.erasure import ContactErasure
from services.operators import Operator
from services.pipeline.command_runner import CommandRunner
from services.pipeline.dispatcher import Dispatcher
from services.pipeline.guard import SecretGuard
from services.pipeline.session_tokens import Tokens
from services.pipeline.token_proofs import Authenticator
from services.reference.registrar import Registrar
from services.request_outcomes import RequestOutcomes

log = structlog.get_logger(__name__)

__all__ = ["Application", "RateLimiter", "open_application", "run_sealer", "serve_http"]

PURGE_INTERVAL = 600.0
"""Seconds between two purges of expired responses."""

STREAMS = 4
"""Connections for long lists: the number of clients that can read one at a time."""

LONGEST_LINE = 16 * 1024
"""Bytes of a request line (contract common.md, section 1)."""


@dataclass(frozen=True, slots=True)
class Application:
    """The use cases of one process, wired to one database."""

    settings: Settings
    url: str
    zone: ZoneInfo
    ledger: PostgresStore
    secrets: SecretHasher
    runner: Dispatcher
    desk: LoginServices
    registrar: Registrar
    operator: Operator
    auditing: AuditAccess
    historian: HistoryService
    search: Search
    boards: DashboardReader
    refusals: Refusals
    tracing: Tracing
    forgetting: ContactErasure
    as_of: AsOf
    request_outcomes: RequestOutcomes
    webhook_admin: WebhookDesk

    def edge(self) -> Router:
        """The routes of the first port."""
        edge = Router(self.tracing, TrustedProxies(self.settings.proxy_networks))
        Api(
            self.runner,
            self.desk,
            self.ledger,
            self.refusals.note,
            BodyBudget(self.settings.body_megabytes * 1024 * 1024),
        ).routes(edge)
        gate = OperatorGate(self.settings.operator_keys, self.desk.guard)
        ReferenceRoutes(self.registrar, self.ledger, gate, self.zone).routes(edge)
        OperatorRoutes(self.operator, self.ledger, gate).routes(edge)
        WebhookRoutes(self.webhook_admin, self.operator, gate).routes(edge)
        audit = AuditRoutes(self.auditing, self.ledger)
        audit.routes(edge)
        AuditHistory(audit, self.historian).routes(edge)
        AuditEvents(audit, self.historian, self.search).routes(edge)
        HistoryPages(self.historian, self.auditing, self.runner, self.desk).routes(edge)
        ConsolePages(self.boards, self.refusals, self.auditing, self.runner, self.desk).routes(edge)
        add_erasure_routes(audit, edge, self.forgetting, self.ledger)
        add_as_of_routes(audit, edge, self.as_of)
        add_outcome_routes(edge, self.request_outcomes)
        add_static_routes(edge)
        return edge


class RateLimiter:
    """Limits calls per second and session, with bursts of the same size (common.md, section 1).

    Each process counts separately.
    """

    def __init__(self, per_second: float) -> None:
        self._rate = per_second
        self._burst = max(per_second, 1.0)
        self._left: dict[str, tuple[float, float]] = {}

    def __call__(self, session: str) -> None:
        """Count a call. Raises `TooManyRequests` with the seconds to wait."""
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
async def open_application(settings: Settings, url: str) -> AsyncIterator[Application]:
    """The application on the database at ``url``, closed again at the end."""
    zone = ZoneInfo(settings.time_zone)
    reads = ConnectionPool(url, settings.connections)
    ring = KeyRing(*settings.service_keys)
    writes, streams = ConnectionPool(url, 3), ConnectionPool(url, STREAMS)
    ledger = PostgresStore(reads, writes, streams, ring, zone, replica=_replica(settings))
    secrets = SecretHasher(*settings.service_keys)
    tokens = Tokens(*settings.token_secrets)
    limit: Callable[[str], None] = (
        RateLimiter(settings.rate_limit) if settings.rate_limit else _unlimited
    )
    guard = SecretGuard(ledger, secrets)
    authenticator = Authenticator(ledger, secrets, guard)
    tracing = create_tracing(settings.traces_url)
    writer = CommandRunner(ledger, secrets, authenticator, zone, tracing.stage)
    hooks = (limit, inspect_image_off_loop, secrets.macs, tracing.stage)
    runner = Dispatcher(ledger, tokens, authenticator, zone, writer, *hooks)
    desk = LoginServices(ledger, tokens, secrets, authenticator, guard, zone)
    auditing = AuditAccess(ledger, runner, zone)
    past = PostgresTemporalStore(reads, streams, TemporalViews(reads, ring, zone), ring, zone)
    purging = asyncio.create_task(_purge(ledger))
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
            forgetting=ContactErasure(ledger, zone),
            historian=HistoryService(ledger, PostgresEntityEvents(reads, ring), auditing, zone),
            search=Search(reads, ring),
            boards=DashboardReader(reads),
            refusals=Refusals(tokens),
            tracing=tracing,
            as_of=AsOf(past, auditing, zone),
            request_outcomes=RequestOutcomes(PostgresRequestOutcomes(reads, ring), runner),
            webhook_admin=WebhookDesk(reads),
        )
    finally:
        purging.cancel()
        await ledger.drain()
        await ledger.close()
        secrets.close()
        await asyncio.to_thread(tracing.close)


def _replica(settings: Settings) -> Replica | None:
    """The replica, if one is configured. Reads fall back to the primary instead of waiting for it."""
    if settings.replica_url is None:
        return None
    pool, streams = (
        ConnectionPool(settings.replica_url, count, acquire_timeout=0.1)
        for count in (settings.connections, STREAMS)
    )
    return Replica(pool, streams, settings.replica_staleness)


async def _purge(ledger: PostgresStore) -> None:
    """Purge expired responses of idempotency keys periodically."""
    while True:
        await asyncio.sleep(PURGE_INTERVAL)
        try:
            await ledger.purge_responses()
        except ServiceError as error:
            log.warning("purge.failed", error=type(error).__name__)


@asynccontextmanager
async def run_sealer(settings: Settings, url: str) -> AsyncIterator[None]:
    """Seal events that are old enough, in the background, until the end of the block."""
    if not settings.seal_seconds:
        yield
        return
    signer, ring = signer_of(settings.service_key), KeyRing(*settings.service_keys)
    sealer = Sealer(url, signer, ring, seconds=settings.seal_seconds)
    running = asyncio.create_task(sealer.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])
        await sealer.close()


@dataclass(frozen=True, slots=True)
class ListeningPorts:
    """The ports on which a process listens."""

    port: int
    admin_port: int


@asynccontextmanager
async def serve_http(application: Application) -> AsyncIterator[ListeningPorts]:
    """Serve until the end of the block, then finish the calls in flight. Raises `ListenError`."""
    settings = application.settings
    admin = Admin(application.ledger)
    handle = application.edge().handle
    bounds: dict[str, Any] = {
        "auto_decompress": False,
        "max_line_size": LONGEST_LINE,
        "most_connections": settings.client_connections or connection_limit(),
        "most_per_address": settings.client_connections_per_address,
        "is_proxy": TrustedProxies(settings.proxy_networks).trusts,
        "header_timeout": settings.header_timeout,
        "idle_timeout": settings.idle_timeout,
    }
    # The admin port is closed last: it reports not ready while calls are finished.
    async with (
        listen(admin.router().handle, settings.host, settings.admin_port) as admin_port,
        listen(handle, settings.host, settings.port, shared=settings.share_port, **bounds) as port,
    ):
        yield ListeningPorts(port, admin_port)
        admin.draining = True
        # Load balancers must first notice that this process is not ready.
        await asyncio.sleep(settings.drain_seconds)
