"""Administration of subscriptions: what operators see and do."""

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
    """Shows and repairs the subscriptions of an organisation. Every method raises `ServiceUnavailable`."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    async def statuses(self, organisation: str, limit: int | None, offset: int) -> list[JsonObject]:
        """Return the status of each subscription of an organisation, by id."""
        rows = await self._pool.read(lambda c: c.fetch(STANDING, organisation, offset, limit))
        return [_status_json(subscription_status(row)) for row in rows]

    async def deliveries(
        self, organisation: str, webhook: str, limit: int | None, offset: int
    ) -> list[JsonObject]:
        """Return the delivery log of a subscription, the latest first. Raises `EntityNotFound`."""

        async def work(connection: asyncpg.Connection[asyncpg.Record]) -> list[asyncpg.Record]:
            id_ = await _require_webhook(connection, organisation, webhook)
            return await connection.fetch(ATTEMPTS, organisation, id_, offset, limit)

        rows = await self._pool.read(work)
        return [dict(row) | {"made_at": row["made_at"].astimezone(UTC).isoformat()} for row in rows]

    async def replay(self, organisation: str, webhook: str, position: int) -> None:
        """Send everything from a position on again.

        :raises EntityNotFound: there is no such subscription.
        :raises InvalidParameterValue: the position would skip events that were not sent yet, or the
            ledger does not have it.
        """

        async def work(connection: asyncpg.Connection[asyncpg.Record]) -> bool:
            id_ = await _require_webhook(connection, organisation, webhook)
            return bool(await connection.fetchval(REPLAY, organisation, id_, position))

        if not await self._pool.read(work):
            raise InvalidParameterValue("from")

    async def resume(self, organisation: str, webhook: str) -> None:
        """Send what waits now, whatever the state is. Raises `EntityNotFound`."""

        async def work(connection: asyncpg.Connection[asyncpg.Record]) -> None:
            id_ = await _require_webhook(connection, organisation, webhook)
            await connection.execute(RESUME, organisation, id_)

        await self._pool.read(work)


async def _require_webhook(
    connection: asyncpg.Connection[asyncpg.Record], organisation: str, webhook: str
) -> str:
    """Return the id of a subscription as it is stored. Raises `EntityNotFound`."""
    id_ = normalised("id", webhook)
    if not await connection.fetchval(EXISTS, organisation, id_):
        raise EntityNotFound("webhook")
    return id_


def _status_json(status: SubscriptionStatus) -> JsonObject:
    moments = status.delivered_at, status.failing_since, status.state_at
    delivered, failing, stopped = (m.astimezone(UTC).isoformat() if m else None for m in moments)
    return {
        "id": status.webhook,
        "name": status.document["name"],
        "url": status.document["url"],
        "state": status.display_state,
        "position": status.position,
        "head": status.head,
        "pending": status.pending,
        "lag_positions": status.lag_positions,
        "lag_seconds": round(status.lag_seconds, 3),
        "delivered_at": delivered,
        "failing_since": failing,
        "stopped_at": stopped if status.state != "ACTIVE" else None,
    }
