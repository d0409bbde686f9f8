"""Rotation of the service key: what a former key has encrypted passes to the current one.

Batches of one organisation, each in a transaction of its own that no append interleaves with. So it
may be interrupted, repeated and run beside the service.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg

from infra.encryption import KeyRing, key_id
from infra.ledger.event_mac import event_mac, is_authentic
from infra.ledger.feed import STORED_COLUMNS, stored_event
from infra.ledger.positions import HEADS
from infra.password_hasher import SecretHasher
from infra.replay.worker import FOREVER
from services.reference.signing_secrets import FORMER

__all__ = ["KeyUse", "Rewrapper", "count_key_uses"]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

BATCH = 200
"""Rows of one transaction: some ten milliseconds, for which appends wait."""
EVENT_BATCH = 2_000
"""Events of one transaction, for which nothing waits."""
LEDGERS = "ledgers"
"""Ledgers whose first event needs a key."""

KEY_USES = f"""
WITH heads AS ({HEADS})
SELECT item, service_key, count(*) AS count FROM (
    SELECT 'personal keys' AS item, organisation, encode(substr(wrapped, 2, 8), 'hex') AS service_key
      FROM ledger.personal_keys
    UNION ALL
    SELECT 'secrets', organisation, ledger.service_key_id(verifier) FROM ledger.secrets
    UNION ALL
    SELECT 'web API keys', organisation, split_part(split_part(claim, '=', 2), ':', 1)
      FROM ledger.global_claims WHERE claim LIKE 'web\\_api\\_key=%'
    UNION ALL
    SELECT 'stored responses', organisation, split_part(request_hash, ':', 1)
      FROM ledger.stored_responses
    UNION ALL
    -- All events would be many; the first is the last whose MAC is renewed.
    SELECT '{LEDGERS}', e.organisation, encode(substr(e.mac, 1, 8), 'hex')
      FROM heads AS h,
           LATERAL (SELECT e.organisation, e.mac FROM ledger.events e
                     WHERE e.organisation = h.organisation AND e.position = 1 LIMIT 1) AS e
) AS u
 WHERE service_key IS NOT NULL AND ($1::text IS NULL OR organisation = $1)
 GROUP BY item, service_key ORDER BY item, service_key
"""  # noqa: S608 (a constant)
ORGANISATIONS = f"""
SELECT organisation FROM ({HEADS}) AS h
UNION SELECT organisation FROM ledger.personal_keys
UNION SELECT organisation FROM ledger.secrets
UNION SELECT organisation FROM ledger.stored_responses
 ORDER BY 1
"""  # noqa: S608 (a constant)
LOCK = "SELECT pg_advisory_xact_lock(ledger.append_lock($1))"

# Nothing but a purge of responses locks these rows outside of an append: what it holds is skipped.
PERSONAL_KEYS = """
SELECT subject AS id, wrapped FROM ledger.personal_keys
 WHERE organisation = $1 AND ($2::uuid IS NULL OR subject > $2)
   AND encode(substr(wrapped, 2, 8), 'hex') <> $3
 ORDER BY subject LIMIT $4 FOR UPDATE SKIP LOCKED
"""
WRITE_PERSONAL_KEY = (
    "UPDATE ledger.personal_keys SET wrapped = $3 WHERE organisation = $1 AND subject = $2"
)
SECRETS = """
SELECT key_id AS id, verifier, owner, name FROM ledger.secrets
 WHERE organisation = $1 AND ($2::text IS NULL OR key_id > $2)
   AND ledger.service_key_id(verifier) <> $3
 ORDER BY key_id LIMIT $4 FOR UPDATE SKIP LOCKED
"""
WRITE_VERIFIER = """
WITH claim AS (
    UPDATE ledger.global_claims SET claim = $5
     WHERE organisation = $1 AND claim = $4 AND NOT EXISTS (SELECT FROM ledger.global_claims WHERE claim = $5))
UPDATE ledger.secrets SET verifier = $3 WHERE organisation = $1 AND key_id = $2
"""
RESPONSES = """
SELECT key AS id, request_hash, response FROM ledger.stored_responses
 WHERE organisation = $1 AND ($2::text IS NULL OR key > $2)
   AND split_part(request_hash, ':', 1) <> $3
 ORDER BY key LIMIT $4 FOR UPDATE SKIP LOCKED
"""
WRITE_RESPONSE = """
UPDATE ledger.stored_responses SET request_hash = $3, response = $4
 WHERE organisation = $1 AND key = $2
"""


# From the end to the beginning: while a former key is in use, it is that of the first event.
EVENTS = f"""
SELECT {STORED_COLUMNS} FROM ledger.events
 WHERE organisation = $1 AND position < $2 AND substr(mac, 1, 8) <> decode($3, 'hex')
 ORDER BY position DESC LIMIT $4
"""  # noqa: S608 (names of columns)
WRITE_MACS = """
UPDATE ledger.events e SET mac = u.mac FROM unnest($2::bigint[], $3::bytea[]) AS u (position, mac)
 WHERE e.organisation = $1 AND e.position = u.position
"""
COUNT_EVENTS = """
SELECT encode(substr(mac, 1, 8), 'hex') AS service_key, count(*) AS count FROM ledger.events
 WHERE $1::text IS NULL OR organisation = $1 GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """The number of items of one sort that need a service key, by its id."""

    item: str
    service_key: str
    count: int


async def count_key_uses(connection: Connection, organisation: str | None = None) -> list[KeyUse]:
    """Return what needs which service key, in all organisations or one."""
    rows = await connection.fetch(KEY_USES, organisation)
    return [KeyUse(row["item"], row["service_key"], row["count"]) for row in rows]


class Rewrapper:
    """Encrypts with the current service key what its fallbacks have encrypted.

    :param connection: of the owner of the database: the service may not change these rows.
    """

    def __init__(self, connection: Connection, service_key: str, *fallbacks: str) -> None:
        self._connection = connection
        self._ring = KeyRing(service_key, *fallbacks)
        self._hasher = SecretHasher(service_key, *fallbacks)
        self._current = key_id(service_key)
        self._known = {key_id(fallback) for fallback in fallbacks}

    async def count(self, organisation: str | None = None) -> int:
        """Return how many items a fallback has encrypted."""
        uses = await count_key_uses(self._connection, organisation)
        events = await self._connection.fetch(COUNT_EVENTS, organisation)
        counts = [(use.service_key, use.count) for use in uses if use.item != LEDGERS]
        counts += [(row["service_key"], row["count"]) for row in events]
        former = self._known - {self._current}
        return sum(count for service_key, count in counts if service_key in former)

    async def organisations(self) -> list[str]:
        """Return the organisations that have something encrypted."""
        return [row["organisation"] for row in await self._connection.fetch(ORGANISATIONS)]

    async def run(self, organisation: str | None, advance: Callable[[int], None]) -> int:
        """Rewrap one organisation or all; return the number of rows that no listed key decrypts."""
        lost = 0
        for id_ in [organisation] if organisation else await self.organisations():
            for select, update, renew in (
                (PERSONAL_KEYS, WRITE_PERSONAL_KEY, self._personal_key),
                (SECRETS, WRITE_VERIFIER, self._secret),
                (RESPONSES, WRITE_RESPONSE, self._response),
            ):
                lost += await self._rewrap(id_, select, update, renew, advance)
            lost += await self._renew_macs(id_, advance)
        return lost

    def close(self) -> None:
        """End the threads of the hasher."""
        self._hasher.close()

    async def _rewrap(
        self,
        organisation: str,
        select: str,
        update: str,
        renew: Callable[[str, asyncpg.Record], Sequence[Any]],
        advance: Callable[[int], None],
    ) -> int:
        last, lost = None, 0
        while True:
            async with self._connection.transaction():
                await self._connection.execute(LOCK, organisation)
                rows = await self._connection.fetch(
                    select, organisation, last, self._current, BATCH
                )
                renewed = []
                for row in rows:
                    try:
                        renewed.append((organisation, row["id"], *renew(organisation, row)))
                    except ValueError:
                        lost += 1
                await self._connection.executemany(update, renewed)
            advance(len(rows))
            if not rows:
                return lost
            last = rows[-1]["id"]

    async def _renew_macs(self, organisation: str, advance: Callable[[int], None]) -> int:
        """Renew the MACs of an organisation's events; return the number of those that are not authentic."""
        last, lost = FOREVER, 0
        while rows := await self._connection.fetch(
            EVENTS, organisation, last, self._current, EVENT_BATCH
        ):
            events = [stored_event(row) for row in rows]
            good = [event for event in events if is_authentic(self._ring, organisation, event)]
            macs = [event_mac(self._ring, organisation, event) for event in good]
            positions = [event.position for event in good]
            await self._connection.execute(WRITE_MACS, organisation, positions, macs)
            lost += len(events) - len(good)
            advance(len(events))
            last = events[-1].position
        return lost

    def _personal_key(self, _: str, row: asyncpg.Record) -> Sequence[Any]:
        return (self._ring.rewrap(row["wrapped"]),)

    def _secret(self, organisation: str, row: asyncpg.Record) -> Sequence[Any]:
        """Return the new verifier, and the former and the new claim if it is that of a web API key."""
        owner, verifier = row["owner"], row["verifier"]
        place = f"{organisation}/{owner}/{row['name'].removeprefix(FORMER)}"
        renewed, kind = self._hasher.renew(verifier, place), owner.partition("/")[0]
        return renewed, f"{kind}={verifier}", f"{kind}={renewed}"

    def _response(self, _: str, row: asyncpg.Record) -> Sequence[Any]:
        response = self._ring.renew_response(row["response"], row["id"])
        return self._hasher.renew(row["request_hash"], ""), response
