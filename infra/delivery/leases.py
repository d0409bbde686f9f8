"""Leases of queue entries, in the schema ``outward``: who sends which, by the database's clock."""

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

    Each statement may reach the server twice, when an answer was lost: none does harm then. What a
    lost `claim` has leased is free again after the lease.
    """

    def __init__(self, lanes: ConnectionPool) -> None:
        self._lanes = lanes

    async def heads(self) -> Heads:
        """How long each organisation's ledger is."""
        return await self._lanes.read(head_positions)

    async def claim(
        self, organisation: str, media: str, version: int, most: int, limits: SendPolicy
    ) -> list[LeasedEntry]:
        """Leases at most so many entries that may be sent now, the oldest first.

        :param version: of the settings; a server that failed with older ones is tried at once.
        """
        bounds = (most, limits.connections, float(limits.messages_per_second), limits.lease)
        rows = await self._lanes.read(
            lambda connection: connection.fetch(CLAIM, organisation, media, version, *bounds)
        )
        return [LeasedEntry(*row) for row in rows]

    async def renew(
        self, organisation: str, leased: LeasedEntry, seconds: float, *, sent: bool
    ) -> bool:
        """Whether the lease still stands; then it is prolonged, and noted what was sent."""
        held: bool = await self._lanes.read(
            lambda connection: connection.fetchval(
                HOLD, organisation, leased.entry, leased.fence, sent, seconds
            )
        )
        return held

    async def defer(
        self, organisation: str, leased: LeasedEntry, tries: int, seconds: float, error: str
    ) -> bool:
        """Gives the lease back; the entry is not tried again within so many seconds."""
        values = (leased.entry, leased.fence, tries, seconds, error)
        held: bool = await self._lanes.read(
            lambda connection: connection.fetchval(PUT_OFF, organisation, *values)
        )
        return held

    async def open_circuit(
        self, organisation: str, media: str, failures: int, seconds: float, error: str
    ) -> None:
        """Leaves a server alone for a while."""
        await self._lanes.read(
            lambda connection: connection.execute(
                REST, organisation, media, failures, seconds, error
            )
        )

    async def complete(self, organisation: str, entry: str) -> None:
        """Drops what is kept of an entry that is decided."""
        await self._lanes.read(lambda connection: connection.execute(DONE, organisation, entry))

    async def purge_decided(self, organisation: str) -> None:
        """Drops what is kept of entries that others have decided."""
        await self._lanes.read(lambda connection: connection.execute(SWEEP, organisation))

    async def has_waiting(self, organisation: str, media: str) -> bool:
        """Whether anything waits, be it its turn or not."""
        found: bool = await self._lanes.read(
            lambda connection: connection.fetchval(WAITING, organisation, media)
        )
        return found

    async def backlogs(self, organisation: str) -> list[Backlog]:
        """What waits of each media."""
        return await self._lanes.read(lambda connection: backlogs(connection, organisation))
