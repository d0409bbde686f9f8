"""What operators see of subscriptions, and do to them."""

from __future__ import annotations

from datetime import UTC

import asyncpg

from domain.errors import EntityNotFound, InvalidParameterValue
from domain.fields import JsonObject
from domain.identifiers import normalised
from infra.postgres.pool import ConnectionPool
from infra.webhooks.subscriptions import ATTEMPTS, STANDING, SubscriptionStatus, subscription_status

__all__ = ["WebhookAdmin"]

REPLAY = "SELECT webhooks.replay($1, $2, $3)"
RESUME = "SELECT webhooks.resume($1, $2)"
EXISTS = """
SELECT EXISTS (SELECT FROM views.records WHERE organisation = $1 AND kind = 'webhook' AND id = $2)
"""


class WebhookAdmin:
    """Reads and sets right, for one organisation at a time. Raises `ServiceUnavailable`."""

    def __init__(self, lanes: ConnectionPool) -> None:
        self._lanes = lanes

    async def statuses(self, organisation: str, limit: int, offset: int) -> list[JsonObject]:
        """How the subscriptions of an organisation stand, by their ids."""
        rows = await self._lanes.read(lambda c: c.fetch(STANDING, organisation, offset, limit))
        return [_said(subscription_status(row)) for row in rows]

    async def deliveries(
        self, organisation: str, webhook: str, limit: int, offset: int
    ) -> list[JsonObject]:
        """The delivery log of a subscription, the last request first. Raises `EntityNotFound`."""

        async def work(connection: asyncpg.Connection[asyncpg.Record]) -> list[asyncpg.Record]:
            id_ = await _found(connection, organisation, webhook)
            return await connection.fetch(ATTEMPTS, organisation, id_, offset, limit)

        rows = await self._lanes.read(work)
        return [dict(row) | {"made_at": row["made_at"].astimezone(UTC).isoformat()} for row in rows]

    async def replay(self, organisation: str, webhook: str, position: int) -> None:
        """Has everything from a position on told again.

        Raises `EntityNotFound`, and `InvalidParameterValue` for a position that would pass over what
        was not told yet, or that the ledger does not have.
        """

        async def work(connection: asyncpg.Connection[asyncpg.Record]) -> bool:
            id_ = await _found(connection, organisation, webhook)
            return bool(await connection.fetchval(REPLAY, organisation, id_, position))

        if not await self._lanes.read(work):
            raise InvalidParameterValue("from")

    async def resume(self, organisation: str, webhook: str) -> None:
        """Has what waits sent now, whatever the state was. Raises `EntityNotFound`."""

        async def work(connection: asyncpg.Connection[asyncpg.Record]) -> None:
            id_ = await _found(connection, organisation, webhook)
            await connection.execute(RESUME, organisation, id_)

        await self._lanes.read(work)


async def _found(
    connection: asyncpg.Connection[asyncpg.Record], organisation: str, webhook: str
) -> str:
    """The id of a subscription as it is kept."""
    id_ = normalised("id", webhook)
    if not await connection.fetchval(EXISTS, organisation, id_):
        raise EntityNotFound("webhook")
    return id_


def _said(one: SubscriptionStatus) -> JsonObject:
    said = one.delivered_at, one.failing_since, one.state_at
    delivered, failing, stopped = (m.astimezone(UTC).isoformat() if m else None for m in said)
    return {
        "id": one.webhook,
        "name": one.document["name"],
        "url": one.document["url"],
        "state": one.display_state,
        "position": one.position,
        "head": one.head,
        "pending": one.pending,
        "lag_positions": one.lag_positions,
        "lag_seconds": round(one.lag_seconds, 3),
        "delivered_at": delivered,
        "failing_since": failing,
        "stopped_at": stopped if one.state != "ACTIVE" else None,
    }
