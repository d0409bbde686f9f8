"""Finds what belongs to a contact or an account, to be changed together with it."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from infra.postgres.pool import ConnectionPool

__all__ = ["RelatedEntities"]

RELATED_TOKENS = {
    "accounts_receivable": """
SELECT id FROM views.access_tokens
 WHERE organisation = $1 AND accounts_receivable = $2 ORDER BY created
""",
    "rewards_participant": """
SELECT id FROM views.access_tokens
 WHERE organisation = $1 AND rewards_participant = $2 ORDER BY created
""",
}
STREAMS_OF_CONTACT = "SELECT ledger.streams_of_subject($1, $2)"
TOKENS_OF_ACCOUNTS = """
SELECT id FROM views.access_tokens WHERE organisation = $1 AND accounts_receivable = ANY ($2::text[])
UNION
SELECT t.id
  FROM views.records r,
       LATERAL (SELECT t.id FROM views.access_tokens t
                 WHERE t.organisation = $1 AND t.rewards_participant = r.id) AS t
 WHERE r.organisation = $1 AND r.kind = 'rewards_participant'
   AND r.document ->> 'accounts_receivable' = ANY ($2::text[])
"""


class RelatedEntities:
    """Finds the entities that a change of another one affects."""

    def __init__(self, reads: ConnectionPool) -> None:
        self._reads = reads

    async def related_tokens(self, organisation: str, kind: str, id_: str) -> list[UUID]:
        """Return the access tokens of an account or rewards participant, in the order of creation."""
        rows = await self._reads.read(
            lambda connection: connection.fetch(RELATED_TOKENS[kind], organisation, id_)
        )
        return [UUID(row["id"]) for row in rows]

    async def streams_of_contact(self, organisation: str, contact: UUID) -> list[UUID]:
        """Return the streams other than the contact's own that have events encrypted with its key."""
        streams: list[UUID] = await self._reads.read(
            lambda connection: connection.fetchval(STREAMS_OF_CONTACT, organisation, contact)
        )
        return streams

    async def tokens_of_accounts(self, organisation: str, accounts: Collection[str]) -> list[UUID]:
        """Return the access tokens of accounts and of their rewards participants."""
        rows = await self._reads.read(
            lambda connection: connection.fetch(TOKENS_OF_ACCOUNTS, organisation, list(accounts))
        )
        return [UUID(row["id"]) for row in rows]
