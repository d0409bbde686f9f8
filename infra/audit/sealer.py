"""The background sealer of a process. Any number may run: if two seal the same events, one finds it done."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass

import asyncpg
import structlog
from prometheus_client import Counter, Gauge

from domain.errors import ServiceUnavailable
from infra.audit.queries import Connection
from infra.audit.seal_builder import MAX_EVENTS, seal_next
from infra.audit.seals import Signer
from infra.background_pool import low_priority_pool
from infra.encryption import KeyRing, derive_key
from infra.ledger.feed import LedgerCorruptedError
from infra.ledger.positions import HEADS
from infra.observability.metrics import REGISTRY
from infra.postgres.pool import ConnectionPool
from infra.settings import Settings

__all__ = ["INLINE_LIMIT", "Sealer", "UnsealedBacklog", "backlogs", "signer_of", "trusted_keys"]

_BACKLOGS = """
WITH heads AS ({heads})
SELECT h.organisation, h.head, coalesce(s.last, 0) AS sealed,
       coalesce(extract(epoch FROM clock_timestamp() - e.recorded_at)::float8, 0) AS seconds
  FROM heads h
  LEFT JOIN LATERAL (SELECT max(l.last_position) AS last FROM ledger.seals l
                      WHERE l.organisation = h.organisation) s ON true
  LEFT JOIN LATERAL (SELECT f.recorded_at FROM ledger.events f
                      WHERE f.organisation = h.organisation AND f.position > coalesce(s.last, 0)
                      ORDER BY f.position LIMIT 1) e ON true
"""
BACKLOGS = _BACKLOGS.format(heads=HEADS)

LOOKS_PER_INTERVAL = 4
"""The number of looks within the time after which events are to be sealed."""
INLINE_LIMIT = 8
"""The most events that are sealed in this process, in some milliseconds; 4,096 take up to a second."""
MIN_PAUSE = 0.05
"""The fewest seconds between two looks."""
TIMEOUT = 60
"""Seconds that a statement may take."""

SEALS = Counter("crmledger_seals_total", "Seals that this process has added.", registry=REGISTRY)
SEALED_POSITION = Gauge(
    "crmledger_sealed_position", "The last sealed position.", ["organisation"], registry=REGISTRY
)
UNSEALED_EVENTS = Gauge(
    "crmledger_unsealed_events",
    "Events that no seal covers; negative: the ledger ends before its last seal.",
    ["organisation"],
    registry=REGISTRY,
)
UNSEALED_SECONDS = Gauge(
    "crmledger_unsealed_seconds",
    "Age of the first event that no seal covers.",
    ["organisation"],
    registry=REGISTRY,
)

log = structlog.get_logger(__name__)


def signer_of(service_key: str) -> Signer:
    """Return the signer of all processes that share a service key."""
    return Signer(derive_key(service_key, "seals"))


def trusted_keys(settings: Settings) -> set[str]:
    """Return the public keys whose seals are trusted: of the service keys, and those that are listed."""
    own = {signer_of(service_key).key for service_key in settings.service_keys}
    return own | {*settings.trusted_seal_keys}


@dataclass(frozen=True, slots=True)
class UnsealedBacklog:
    """The unsealed events of a ledger: their number, and the age of the first in seconds."""

    organisation: str
    sealed: int
    events: int
    seconds: float


async def backlogs(connection: Connection) -> list[UnsealedBacklog]:
    """Return the unsealed backlog of every ledger."""
    return [
        UnsealedBacklog(
            row["organisation"], row["sealed"], row["head"] - row["sealed"], row["seconds"]
        )
        for row in await connection.fetch(BACKLOGS)
    ]


class Sealer:
    """Seals every ledger as soon as its first unsealed event has reached an age.

    So the number of seals depends on the events and not on the number of processes. More than a few events
    are sealed in a process of low priority, so that no call waits for the hashing or for the interpreter.

    :param ring: what authenticates events; no other is sealed.
    :param seconds: the age in seconds; 0: never seal.
    :param max_events: the most events of a seal; that many are sealed at once, however young.
    """

    def __init__(
        self,
        url: str,
        signer: Signer,
        ring: KeyRing,
        *,
        seconds: float,
        max_events: int = MAX_EVENTS,
    ) -> None:
        self._url = url
        self._pool = ConnectionPool(url, 1, timeout=TIMEOUT)
        self._processes: ProcessPoolExecutor | None = None
        self._signer = signer
        self._ring = ring
        self._seconds = seconds
        self._max_events = max_events

    async def run(self) -> None:
        """Seal until cancelled. An unreachable database is waited for."""
        while self._seconds:
            await asyncio.sleep(max(self._seconds / LOOKS_PER_INTERVAL, MIN_PAUSE))
            try:
                await self.once()
            except ServiceUnavailable:
                log.warning("sealer.database_away")
            except Exception:
                # If this task died, nobody would notice until a seal is missing.
                log.exception("sealer.failed")

    async def once(self) -> None:
        """Look at every ledger once. Raises `ServiceUnavailable` if the database is unreachable."""
        for backlog in await self._pool.read(backlogs):
            _observe(backlog)
            if backlog.events < 0:
                log.error("sealer.ahead", organisation=backlog.organisation, sealed=backlog.sealed)
            elif backlog.events >= self._max_events or (
                backlog.events and backlog.seconds >= self._seconds
            ):
                await self._seal(backlog)

    async def close(self) -> None:
        """Close the connection after a seal that is being made."""
        await self._pool.close()
        if self._processes is not None:
            await asyncio.to_thread(self._processes.shutdown, cancel_futures=True)

    async def _seal(self, backlog: UnsealedBacklog) -> None:
        """Seal the events that the look found, and no more: a busy ledger would be sealed without end."""
        remaining = backlog.events
        try:
            while remaining > 0 and (
                sealed := await self._seal_batch(backlog.organisation, remaining)
            ):
                SEALS.inc()
                remaining -= sealed
        except (LedgerCorruptedError, asyncpg.PostgresError) as error:
            position = getattr(error, "position", None)
            kind = type(error).__name__
            log.error(
                "sealer.broken", organisation=backlog.organisation, position=position, error=kind
            )

    async def _seal_batch(self, organisation: str, events: int) -> int:
        """Make one seal of at most ``events`` events; return their number, 0 if another process was faster."""
        arguments = (organisation, self._signer, self._ring, self._max_events)
        if min(events, self._max_events) <= INLINE_LIMIT:
            return await _seal_next(self._pool, *arguments)
        if self._processes is None:
            # Freeze what is imported: the garbage collector need not scan it again.
            self._processes = low_priority_pool(1, gc.freeze)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._processes, _seal_in_process, self._url, *arguments
            )
        except BrokenExecutor:
            # It was killed; the next seal starts another one.
            self._processes = None
            raise


async def _seal_next(
    pool: ConnectionPool, organisation: str, signer: Signer, ring: KeyRing, max_events: int
) -> int:
    signed = await pool.read(
        lambda connection: seal_next(connection, organisation, signer, ring, max_events)
    )
    return signed.seal().count if signed else 0


def _seal_in_process(
    url: str, organisation: str, signer: Signer, ring: KeyRing, max_events: int
) -> int:
    async def work() -> int:
        pool = ConnectionPool(url, 1, timeout=TIMEOUT)
        try:
            return await _seal_next(pool, organisation, signer, ring, max_events)
        finally:
            await pool.close()

    return asyncio.run(work())


def _observe(backlog: UnsealedBacklog) -> None:
    SEALED_POSITION.labels(backlog.organisation).set(backlog.sealed)
    UNSEALED_EVENTS.labels(backlog.organisation).set(backlog.events)
    UNSEALED_SECONDS.labels(backlog.organisation).set(backlog.seconds)
