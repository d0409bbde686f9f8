"""Group commit: commands that arrive together are written in one transaction.

The server's ``ledger.append`` does everything in one statement outside any other transaction, so
its commit needs no message of its own. The outcome of a batch whose response was lost is neither
guessed nor waited for: ``ledger.resolve_commands`` says what is written and forbids the rest for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from datetime import timedelta

import asyncpg
import structlog

from domain.errors import OUTCOME_UNKNOWN, ServiceUnavailable
from infra.batcher import QUEUE_LIMIT, Batcher
from infra.encryption import KeyRing
from infra.ledger.commit_batch import (
    EncodedCommit,
    append_arguments,
    encode_commit,
    settle_arguments,
    split_conflicting,
)
from infra.observability.metrics import APPEND_SECONDS, BATCH, REFUSED
from infra.postgres.pool import CONNECTION_ERRORS, ConnectionPool
from services.ports import AppendResult, Commit

__all__ = ["GroupCommitter"]

APPEND = "SELECT command, verdict, detail FROM ledger.append($1, $2, $3, $4, $5)"
SETTLE = "SELECT ledger.resolve_commands($1, $2, $3, $4, $5)"

CONCURRENT_BATCHES = 2
"""Batches of one organisation that are under way: one is written, one waits at the server for its end."""
DEADLINE = timedelta(seconds=5)
"""How long after it was sent a batch may still be written."""
SETTLE_TIMEOUT = 30.0
"""Seconds after which an outcome that cannot be looked up is reported as unknown."""
ATTEMPTS = 3
"""How often a batch is sent that the server rolled back for another one's sake."""
PAUSE = 0.1
"""Seconds between two attempts to settle an outcome."""

WRITTEN = AppendResult("WRITTEN")
RETRIABLE_ERRORS = (asyncpg.TransactionRollbackError, asyncpg.UniqueViolationError)
"""A deadlock, or a claim over all organisations that another one took at the same moment."""
UNAVAILABLE_ERRORS = (asyncpg.LockNotAvailableError, asyncpg.ObjectNotInPrerequisiteStateError)
"""Others have the lock for too long, or the views were written by a newer program than this one."""

Outcome = AppendResult | BaseException

log = structlog.get_logger(__name__)


class GroupCommitter:
    """Writes changes, in batches of at most ``most``."""

    def __init__(
        self,
        pool: ConnectionPool,
        ring: KeyRing,
        *,
        max_batch: int = 256,
        queue_limit: int = QUEUE_LIMIT,
        deadline: timedelta = DEADLINE,
        settle_timeout: float = SETTLE_TIMEOUT,
    ) -> None:
        self._pool = pool
        self._ring = ring
        self._deadline = deadline
        self._settle_timeout = settle_timeout
        self._batcher: Batcher[EncodedCommit, AppendResult] = Batcher(
            self._write,
            concurrency=pool.size,
            max_batch=max_batch,
            queue_limit=queue_limit,
            concurrency_per_key=CONCURRENT_BATCHES,
        )

    async def append(self, organisation: str, commit: Commit) -> AppendResult:
        """Return the result of appending one commit; it is durable if that is ``WRITTEN``.

        Raises `ServiceUnavailable` if nothing was written, or if the outcome cannot be found out
        (then, and only then, without ``retry_after``); ``ValueError`` or an error of PostgreSQL if
        the commit itself cannot be stored. The commit of a caller that is cancelled is still
        written.
        """
        return await self._batcher.submit(
            organisation, encode_commit(self._ring, organisation, commit)
        )

    async def drain(self) -> None:
        """Wait until all commits are decided."""
        await self._batcher.drain()

    async def _write(self, key: Hashable, commits: list[EncodedCommit]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for batch in split_conflicting(commits):
            outcomes += await self._append_batch(str(key), batch)
        return outcomes

    async def _append_batch(self, organisation: str, batch: list[EncodedCommit]) -> list[Outcome]:
        """Send a batch until the server decides it; if the outcome is lost, look it up."""
        last: Exception | None = None
        for _ in range(ATTEMPTS):
            try:
                verdicts = await self._send(organisation, batch)
            except (ServiceUnavailable, *UNAVAILABLE_ERRORS):
                return [_nothing_written() for _ in batch]
            except RETRIABLE_ERRORS as error:
                last = error
            except Exception as error:
                if not _is_refusal(error):
                    return await self._resolve_unknown(organisation, batch, error)
                return await self._append_halves(organisation, batch, error)
            else:
                if verdicts[0].name != "LATE":
                    return list(verdicts)
                last = None
        if isinstance(last, asyncpg.UniqueViolationError):
            return await self._append_halves(organisation, batch, last)
        return [_nothing_written() for _ in batch]

    async def _send(self, organisation: str, batch: list[EncodedCommit]) -> list[AppendResult]:
        """Return the results. Raises `ServiceUnavailable` only if nothing was sent."""
        arguments = append_arguments(batch)
        async with self._pool.acquire() as pooled:
            started = time.perf_counter()
            deadline = pooled.now() + self._deadline
            rows = await pooled.connection.fetch(APPEND, organisation, deadline, *arguments)
            if rows and rows[0]["verdict"] == "LATE":
                # The server's clock may have been set; the next connection reads it anew.
                pooled.connection.terminate()
        APPEND_SECONDS.observe(time.perf_counter() - started)
        BATCH.observe(len(batch))
        for row in rows:
            REFUSED.labels(row["verdict"]).inc()
        rejected = {
            row["command"]: AppendResult(row["verdict"], row["detail"] or "") for row in rows
        }
        return [rejected.get(n, WRITTEN) for n in range(1, len(batch) + 1)]

    async def _append_halves(
        self, organisation: str, batch: list[EncodedCommit], error: BaseException
    ) -> list[Outcome]:
        """Append the halves of a batch that was refused as a whole; a single command gets the error."""
        if len(batch) == 1:
            return [error]
        half = len(batch) // 2
        former = await self._append_batch(organisation, batch[:half])
        return former + await self._append_batch(organisation, batch[half:])

    async def _resolve_unknown(
        self, organisation: str, batch: list[EncodedCommit], error: Exception
    ) -> list[Outcome]:
        """Return the outcomes of a batch whose response was lost."""
        log.warning("append.unknown", commands=len(batch), error=type(error).__name__)
        arguments = settle_arguments(batch)
        until = time.monotonic() + self._settle_timeout
        while time.monotonic() < until:
            try:
                async with self._pool.acquire() as pooled:
                    outcomes = await pooled.connection.fetchval(SETTLE, organisation, *arguments)
                return [WRITTEN if written else _nothing_written() for written in outcomes]
            except Exception as another:
                log.warning("append.outcome_unknown", error=type(another).__name__)
                await asyncio.sleep(PAUSE)
        unknown = ServiceUnavailable(OUTCOME_UNKNOWN)
        return [unknown] * len(batch)


def _is_refusal(error: Exception) -> bool:
    """True if the server has said that it rolled the batch back, and goes on running."""
    if not isinstance(error, asyncpg.PostgresError) or isinstance(error, CONNECTION_ERRORS):
        return False
    return getattr(error, "severity_en", None) not in ("FATAL", "PANIC")


def _nothing_written() -> ServiceUnavailable:
    return ServiceUnavailable("nothing was written", retry_after=1)
