"""Verifiers of secrets and counts of guesses, which are stored beside the ledger."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from infra.postgres.pool import ConnectionPool
from services.ports import GuessCounter, GuessLimits, Secret

__all__ = ["CredentialStore"]

BY_OWNER = """
SELECT owner, key_id, verifier, expires_at <= clock_timestamp() AS expired
  FROM ledger.secrets WHERE organisation = $1 AND owner = $2 AND name = $3
"""
BY_VERIFIER = """
SELECT owner, key_id, verifier, expires_at <= clock_timestamp() AS expired
  FROM ledger.secrets
 WHERE organisation = $1 AND name = $2 AND verifier = ANY ($3) AND expires_at IS NOT NULL
 ORDER BY expires_at DESC LIMIT 1
"""
COUNT_GUESS = "SELECT ledger.count_guess($1, $2, $3, $4, $5, $6, $7)"
FORGIVE_GUESSES = "SELECT ledger.forgive_guesses($1, $2, $3)"


class CredentialStore:
    """Reads verifiers of secrets and counts guesses; no event may hold either."""

    def __init__(self, reads: ConnectionPool) -> None:
        self._reads = reads

    async def secret(self, organisation: str, owner: str, name: str) -> Secret | None:
        """Return the secret of an entity (``kind/id``) by its name; None if there is none."""
        row = await self._reads.read(
            lambda connection: connection.fetchrow(BY_OWNER, organisation, owner, name)
        )
        return _to_secret(row)

    async def secret_by_verifier(
        self, organisation: str, name: str, verifiers: Sequence[str]
    ) -> Secret | None:
        """Return the secret with this name and one of these verifiers, whoever owns it; None if there is none."""
        row = await self._reads.read(
            lambda connection: connection.fetchrow(BY_VERIFIER, organisation, name, verifiers)
        )
        return _to_secret(row)

    async def count_guess(
        self,
        organisation: str,
        counters: Sequence[GuessCounter],
        limits: GuessLimits,
        *,
        fits: bool | None,
    ) -> int:
        """Count a guess; return 0 if it may be made, else the seconds to wait first.

        If the connection is lost, a guess may be counted twice, but it is never left out.
        """
        values = (*_arrays(counters), limits.first_wait, limits.longest_wait, fits)
        wait: int = await self._reads.read(
            lambda connection: connection.fetchval(COUNT_GUESS, organisation, *values)
        )
        return wait

    async def forgive_guesses(self, organisation: str, counters: Sequence[GuessCounter]) -> None:
        """Forget the guesses of a source that has now succeeded, and record that it has."""
        secrets, sources, _ = _arrays(counters)
        await self._reads.read(
            lambda connection: connection.execute(FORGIVE_GUESSES, organisation, secrets, sources)
        )


def _arrays(
    counters: Sequence[GuessCounter],
) -> tuple[list[str | None], list[str], list[int]]:
    """Return the secrets, the sources and the free tries of counters."""
    return (
        [counter.secret for counter in counters],
        [counter.source for counter in counters],
        [counter.free for counter in counters],
    )


def _to_secret(row: asyncpg.Record | None) -> Secret | None:
    if row is None:
        return None
    return Secret(row["owner"], row["key_id"], row["verifier"], bool(row["expired"]))
