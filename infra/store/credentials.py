"""What is kept beside the ledger: verifiers of secrets, counted guesses, photos."""

from __future__ import annotations

import asyncpg

from infra.postgres.pool import ConnectionPool
from services.context import ConsumerScope
from services.ports import GuessLimits, Secret

__all__ = ["CredentialStore"]

OF_OWNER = """
SELECT owner, key_id, verifier, expires_at <= clock_timestamp() AS expired
  FROM ledger.secrets WHERE organisation = $1 AND owner = $2 AND name = $3
"""
BY_VERIFIER = """
SELECT owner, key_id, verifier, expires_at <= clock_timestamp() AS expired
  FROM ledger.secrets
 WHERE organisation = $1 AND name = $2 AND verifier = $3 AND expires_at IS NOT NULL
 ORDER BY expires_at DESC LIMIT 1
"""
COUNT_GUESS = "SELECT ledger.count_guess($1, $2, $3, $4, $5, $6, $7)"
FORGIVE = "SELECT ledger.reset_guesses($1, $2, $3)"
PHOTO = """
SELECT content, mime_type FROM ledger.photos
 WHERE organisation = $1 AND id = $2 AND ($3::text IS NULL OR contact = $3)
"""


class CredentialStore:
    """Reads and counts what no event may hold."""

    def __init__(self, reads: ConnectionPool) -> None:
        self._reads = reads

    async def secret(self, organisation: str, owner: str, name: str) -> Secret | None:
        """The secret of that name of an entity (``kind/id``)."""
        return _secret(
            await self._reads.read(
                lambda connection: connection.fetchrow(OF_OWNER, organisation, owner, name)
            )
        )

    async def secret_by_verifier(
        self, organisation: str, name: str, verifier: str
    ) -> Secret | None:
        """The secret of that name with that verifier, whoever has it."""
        return _secret(
            await self._reads.read(
                lambda connection: connection.fetchrow(BY_VERIFIER, organisation, name, verifier)
            )
        )

    async def count_guess(
        self, organisation: str, secret: str, source: str, limits: GuessLimits
    ) -> int:
        """Counts a try before it is made: 0 if it may be, else the seconds to wait first.

        A lost answer may count it twice, never not at all.
        """
        bounds = (limits.per_source, limits.per_secret, limits.first_wait, limits.longest_wait)
        wait: int = await self._reads.read(
            lambda connection: connection.fetchval(
                COUNT_GUESS, organisation, secret, source, *bounds
            )
        )
        return wait

    async def reset_guesses(self, organisation: str, secret: str, source: str) -> None:
        """Forgets the tries of a source that has now succeeded, and remembers that it has."""
        await self._reads.read(
            lambda connection: connection.execute(FORGIVE, organisation, secret, source)
        )

    async def photo(
        self, organisation: str, photo_id: str, customer: ConsumerScope | None = None
    ) -> tuple[bytes, str] | None:
        """The bytes and mime type of a current profile photo, of a customer's where there is one."""
        contact = customer.contact if customer else None
        row = await self._reads.read(
            lambda connection: connection.fetchrow(PHOTO, organisation, photo_id, contact)
        )
        return (row["content"], row["mime_type"]) if row else None


def _secret(row: asyncpg.Record | None) -> Secret | None:
    return (
        Secret(row["owner"], row["key_id"], row["verifier"], bool(row["expired"])) if row else None
    )
