"""Profile photos of contacts, which are stored beside the ledger."""

from __future__ import annotations

from infra.postgres.pool import ConnectionPool
from services.context import ConsumerScope

__all__ = ["PostgresPhotos"]

PHOTO = """
SELECT content, mime_type FROM ledger.photos
 WHERE organisation = $1 AND id = $2 AND ($3::text IS NULL OR contact = $3)
"""


class PostgresPhotos:
    """Reads profile photos."""

    def __init__(self, reads: ConnectionPool) -> None:
        self._reads = reads

    async def photo(
        self, organisation: str, photo_id: str, customer: ConsumerScope | None = None
    ) -> tuple[bytes, str] | None:
        """Return the bytes and the mime type of a current photo; None if there is none.

        :param customer: the scope of a consumer session, which reaches its own photo only.
        """
        contact = customer.contact if customer else None
        row = await self._reads.read(
            lambda connection: connection.fetchrow(PHOTO, organisation, photo_id, contact)
        )
        return (row["content"], row["mime_type"]) if row else None
