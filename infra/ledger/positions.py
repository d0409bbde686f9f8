"""The head of one ledger, and those of all, for programs that work on every organisation; no call does."""

from __future__ import annotations

from typing import TypeAlias

import asyncpg

__all__ = ["HEAD", "HEADS", "Heads", "head_positions"]

Heads: TypeAlias = dict[str, int]
"""The last position of each organisation's ledger."""

HEAD = "SELECT coalesce(max(position), 0) FROM ledger.events WHERE organisation = $1"
"""The last position of the ledger of ``$1``; 0 if it is empty."""

# One index probe for each organisation: the ledger may be too long to be read for their names.
HEADS = """
WITH RECURSIVE o (organisation) AS (
    (SELECT organisation FROM ledger.events ORDER BY organisation LIMIT 1)
    UNION ALL
    SELECT (SELECT e.organisation FROM ledger.events e WHERE e.organisation > o.organisation
             ORDER BY e.organisation LIMIT 1)
      FROM o WHERE o.organisation IS NOT NULL
)
SELECT organisation,
       (SELECT max(position) FROM ledger.events e WHERE e.organisation = o.organisation) AS head
  FROM o WHERE organisation IS NOT NULL
"""


async def head_positions(connection: asyncpg.Connection[asyncpg.Record]) -> Heads:
    """Return the number of events of each organisation that has any."""
    return {row["organisation"]: row["head"] for row in await connection.fetch(HEADS)}
