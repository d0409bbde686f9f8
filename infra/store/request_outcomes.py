"""The outcomes of calls with an idempotency key, for their callers."""

from __future__ import annotations

import asyncpg

from domain.errors import TooManyRequests
from infra.encryption import KeyRing
from infra.postgres.pool import ConnectionPool
from services.request_outcomes import RequestOutcome

__all__ = ["PostgresRequestOutcomes"]

OUTCOME = """
SELECT clock_timestamp() AS now, o.position, o.recorded_at, a.response, s.revoked_at IS NOT NULL AS settled
  FROM (VALUES ($1::text, $2::text, $3::text)) AS w (organisation, caller, key)
  LEFT JOIN ledger.request_outcomes o ON o.organisation = w.organisation AND o.caller = w.caller AND o.key = w.key
  LEFT JOIN ledger.stored_responses a ON a.organisation = w.organisation AND a.key = w.key AND a.command = o.command
                            AND a.recorded_at > clock_timestamp() - interval '24 hours'
  LEFT JOIN ledger.revoked_keys s ON s.organisation = w.organisation AND s.caller = w.caller AND s.key = w.key
"""
REVOKE_KEY = "SELECT ledger.revoke_key($1, $2, $3, $4)"
REVOKED_PER_HOUR = 100
"""Keys that a caller may revoke in an hour: each is kept for days."""
RETRY_AFTER = 60
"""Seconds after which it may be tried again."""


class PostgresRequestOutcomes:
    """Looks up idempotency keys, and revokes those with which nothing was written."""

    def __init__(self, reads: ConnectionPool, ring: KeyRing) -> None:
        self._reads = reads
        self._ring = ring

    async def outcome(self, organisation: str, caller: str, key: str) -> RequestOutcome:
        """Return the outcome of the call that a caller made with a key."""
        row = await self._reads.read(
            lambda connection: connection.fetchrow(OUTCOME, organisation, caller, key)
        )
        assert row is not None  # the row of the values is always there
        return self._to_outcome(row, key)

    async def revoke_key(self, organisation: str, caller: str, key: str) -> None:
        """Revoke a key of a caller, unless a call with it was written. Raises `TooManyRequests`.

        Waits for appends that have begun. It is idempotent, and so repeated after a lost connection.
        """
        done = await self._reads.read(
            lambda connection: connection.fetchval(
                REVOKE_KEY, organisation, caller, key, REVOKED_PER_HOUR
            )
        )
        if not done:
            raise TooManyRequests("too many keys were revoked", retry_after=RETRY_AFTER)

    def _to_outcome(self, row: asyncpg.Record, key: str) -> RequestOutcome:
        stored = row["response"]
        data = self._ring.decrypt_response(stored, key) if stored is not None else None
        return RequestOutcome(row["now"], row["position"], row["recorded_at"], data, row["settled"])
