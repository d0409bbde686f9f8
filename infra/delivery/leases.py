"""Leases of queue entries, in the schema ``outward``. Their time is counted by the database's clock."""

from __future__ import annotations

from infra.delivery.backlog import Backlog, backlogs
from infra.ledger.positions import Heads, head_positions
from infra.postgres.pool import ConnectionPool
from services.communications.delivery import LeasedEntry, SendPolicy

__all__ = ["PostgresDeliveryLeases"]

CLAIM = """
SELECT entry, fence, tries, sent, failures FROM delivery.lease_entries($1, $2, $3, $4, $5, $6, $7) AS c ORDER BY fence
"""
HOLD = "SELECT delivery.renew_lease($1, $2, $3, $4, $5)"
PUT_OFF = "SELECT delivery.defer($1, $2, $3, $4, $5, $6)"
REST = "SELECT delivery.open_circuit($1, $2, $3, $4, $5)"
DONE = "SELECT delivery.complete($1, $2)"
SWEEP = "SELECT delivery.purge_decided($1)"
WAITING = """
SELECT EXISTS (SELECT FROM views.queue_entries WHERE organisation = $1 AND media = $2
                  AND life_cycle_state = 'PENDING' AND external_system IS NULL)
"""


class PostgresDeliveryLeases:
    """Takes leases and gives them back. Every method raises `ServiceUnavailable`.

    Every statement may be executed twice, in case its result was lost. The entries that a lost `claim`
    has leased are free again when the lease ends.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    async def heads(self) -> Heads:
        """Return the last position of each organisation's ledger."""
        return await self._pool.read(head_positions)

    async def claim(
        self, organisation: str, media: str, version: int, limit: int, limits: SendPolicy
    ) -> list[LeasedEntry]:
        """Lease at most ``limit`` entries that may be sent now, the oldest first.

        :param version: of the settings; a server that failed with an older version is tried at once.
        """
        bounds = (limit, limits.connections, float(limits.messages_per_second), limits.lease)
        rows = await self._pool.read(
            lambda connection: connection.fetch(CLAIM, organisation, media, version, *bounds)
        )
        return [LeasedEntry(*row) for row in rows]

    async def renew(
        self, organisation: str, leased: LeasedEntry, seconds: float, *, sent: bool
    ) -> bool:
        """Prolong the lease and record whether the message was sent: False if the lease has ended."""
        held: bool = await self._pool.read(
            lambda connection: connection.fetchval(
                HOLD, organisation, leased.entry, leased.fence, sent, seconds
            )
        )
        return held

    async def defer(
        self, organisation: str, leased: LeasedEntry, tries: int, seconds: float, error: str
    ) -> bool:
        """Give the lease back; the entry is not tried again for ``seconds``. False if it has ended."""
        values = (leased.entry, leased.fence, tries, seconds, error)
        held: bool = await self._pool.read(
            lambda connection: connection.fetchval(PUT_OFF, organisation, *values)
        )
        return held

    async def open_circuit(
        self, organisation: str, media: str, failures: int, seconds: float, error: str
    ) -> None:
        """Send nothing to a server for ``seconds``."""
        await self._pool.read(
            lambda connection: connection.execute(
                REST, organisation, media, failures, seconds, error
            )
        )

    async def complete(self, organisation: str, entry: str) -> None:
        """Delete the row of an entry that is decided."""
        await self._pool.read(lambda connection: connection.execute(DONE, organisation, entry))

    async def purge_decided(self, organisation: str) -> None:
        """Delete the rows of entries that others have decided."""
        await self._pool.read(lambda connection: connection.execute(SWEEP, organisation))

    async def has_waiting(self, organisation: str, media: str) -> bool:
        """Return True if any entry waits, due or not."""
        exists: bool = await self._pool.read(
            lambda connection: connection.fetchval(WAITING, organisation, media)
        )
        return exists

    async def backlogs(self, organisation: str) -> list[Backlog]:
        """Return what waits, by media."""
        return await self._pool.read(lambda connection: backlogs(connection, organisation))
