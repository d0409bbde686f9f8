"""The certificate of an erased contact: where its data was, and what was done to it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from domain.errors import EntityNotFound
from domain.fields import JsonObject
from infra.postgres.pool import ConnectionPool
from services.ids import format_id

__all__ = ["read_certificate"]

ERASURE_EVENT = """
SELECT e.position, e.recorded_at, e.payload ->> 'reason' AS reason, e.metadata ->> 'user' AS user_id,
       coalesce(e.metadata ->> 'source', '') AS source, e.metadata ->> 'request' AS request,
       e.metadata ->> 'command' AS command, encode(e.event_hash, 'hex') AS event_hash
  FROM ledger.events e
 WHERE e.organisation = $1 AND e.stream_id = $2 AND e.topic = 'contact_information.forgotten'
"""
# The events of one command are adjacent, but those of a contact with many belongings are written in
# several parts of the same command, so the window is wide.
TOKENS = """
SELECT e.stream_id AS id FROM ledger.events e
 WHERE e.organisation = $1 AND e.position BETWEEN $2 - 100000 AND $2 + 100000
   AND e.topic = 'access_token.forgotten' AND e.metadata ->> 'command' = $3
"""
EVENTS = """
SELECT e.topic, count(*) AS events, min(e.position) AS first, max(e.position) AS last
  FROM ledger.events e
 WHERE e.organisation = $1
   AND e.stream_id = ANY (ARRAY[$2::uuid] || ledger.streams_of_subject($1, $2) || $3::uuid[])
   AND e.payload::jsonb ? 'personal'
 GROUP BY e.topic ORDER BY e.topic
"""
KEYS = """
SELECT count(*) FILTER (WHERE f.subject IS NOT NULL) AS destroyed, count(*) FILTER (WHERE k.subject IS NOT NULL) AS left
  FROM unnest($2::uuid[]) AS w (subject)
  LEFT JOIN ledger.forgotten f ON f.organisation = $1 AND f.subject = w.subject
  LEFT JOIN ledger.personal_keys k ON k.organisation = $1 AND k.subject = w.subject
"""
ACCOUNTS = """
SELECT r.kind || '/' || r.id AS ref FROM views.records r
 WHERE r.organisation = $1 AND NOT r.directory
   AND $2 IN (r.document ->> 'account_owner', r.document ->> 'contact_information') ORDER BY 1
"""
OUT_OF_REACH = (
    "Copies that left the service: exports, mails that were sent, what callers have stored.",
    "Backups taken before that moment: with the service key they still hold the key of the person "
    "until they expire. Whoever restores one must have the contact forgotten again.",
)
"""Copies that the service cannot reach."""


async def read_certificate(pool: ConnectionPool, organisation: str, contact: UUID) -> JsonObject:
    """Return what was erased of a contact, when, by whom and why, and what is left where.

    It is computed from the ledger each time. Raises `EntityNotFound` for a contact that was not erased.
    """

    async def read(connection: Any) -> JsonObject:
        event = await connection.fetchrow(ERASURE_EVENT, organisation, contact)
        if event is None:
            raise EntityNotFound("contact")
        certificate = await connection.fetch(
            TOKENS, organisation, event["position"], event["command"]
        )
        tokens = [row["id"] for row in certificate]
        events = await connection.fetch(EVENTS, organisation, contact, tokens)
        keys = await connection.fetchrow(KEYS, organisation, [contact, *tokens])
        records = await connection.fetch(ACCOUNTS, organisation, format_id(contact))
        return {
            "organisation": organisation,
            "contact": format_id(contact),
            "forgotten_at": event["recorded_at"],
            "position": event["position"],
            "event_hash": event["event_hash"],
            "reason": event["reason"],
            "by": event["user_id"] or event["source"],
            "request": event["request"],
            "keys": {"destroyed": keys["destroyed"], "left": keys["left"]},
            "unreadable_events": [dict(row) for row in events],
            "access_tokens": [format_id(UUID(bytes=token.bytes)) for token in tokens],
            "erased": [
                "documents and search columns of the views and of history",
                "names and numbers by which the contact could be found",
                "the profile photo",
                "answers kept for idempotency keys",
            ],
            "left": {"records": [row["ref"] for row in records], "outside": list(OUT_OF_REACH)},
        }

    certificate: JsonObject = await pool.read(read)
    return certificate
