"""Events and seals as the database has them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias
from uuid import UUID

import asyncpg

from infra.audit.seals import SignedSeal
from infra.audit.stream_tree import BUCKET, EMPTY, StreamHead, StreamTree, lookup_path
from infra.ledger.feed import stored_event
from infra.ledger.stored_event import StoredEvent
from infra.postgres import pool as postgres

__all__ = [
    "Connection",
    "events",
    "events_of",
    "last_seal",
    "load_nodes",
    "load_tips",
    "organisation_id",
    "path_to",
    "sealed_bounds",
    "sealed_organisations",
    "seals",
    "snapshot",
]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

# As text and then as bytes: what was hashed, whatever codec the connection has for json.
EVENTS = """
SELECT position, stream_id, version, topic, schema_version, subject, recorded_at, event_hash,
       convert_to(payload::text, 'UTF8') AS payload, convert_to(metadata::text, 'UTF8') AS metadata
  FROM ledger.events
 WHERE organisation = $1 AND ($2::bigint IS NULL OR position >= $2) AND ($3::bigint IS NULL OR position <= $3)
 ORDER BY position
"""
OF_STREAM = """
SELECT position, stream_id, version, topic, schema_version, subject, recorded_at,
       convert_to(payload::text, 'UTF8') AS payload, convert_to(metadata::text, 'UTF8') AS metadata
  FROM ledger.events WHERE organisation = $1 AND stream_id = $2 AND position <= $3 ORDER BY version
"""
SEALS = """
SELECT statement::text AS statement, signature, leaves
  FROM ledger.seals
 WHERE organisation = $1 AND last_position >= $2 AND ($3::bigint IS NULL OR first_position <= $3)
 ORDER BY number
"""
BOUNDS = """
SELECT min(first_position) AS first, max(last_position) AS last
  FROM ledger.seals
 WHERE organisation = $1 AND last_position >= $2 AND ($3::bigint IS NULL OR first_position <= $3)
"""
LAST = """
SELECT statement::text AS statement, signature, ''::bytea AS leaves
  FROM ledger.seals WHERE organisation = $1 ORDER BY number DESC LIMIT 1
"""
SEALED = "SELECT DISTINCT organisation FROM ledger.seals ORDER BY organisation"
NAMED = "SELECT organisation FROM ledger.global_claims WHERE claim = 'organisation=' || $1"
# Joined with what is wanted: `= ANY` is planned as a scan where a plan was made while the table was small.
TIPS = """
SELECT s.stream_id, s.version, s.chain
  FROM unnest($2::bytea[]) AS w (bucket)
  JOIN ledger.seal_tree_heads s ON s.organisation = $1 AND s.bucket = w.bucket
"""
# Those below one prefix in one row: they are tens of thousands.
NODES = """
SELECT s.parent, string_agg(s.prefix || s.hash, ''::bytea) AS below
  FROM unnest($2::bytea[]) AS w (parent)
  JOIN ledger.seal_tree_nodes s ON s.organisation = $1 AND s.parent = w.parent
 GROUP BY s.parent
"""
PAGE = 500
"""Events that are held at once."""
SETTINGS = {
    "role": postgres.SERVICE_ROLE,
    "application_name": "crmledger audit",
    "TimeZone": "UTC",
    # Events are read in the order of their key; a server may think that sorting them all is cheaper.
    "enable_sort": "off",
}


def snapshot(url: str) -> AbstractAsyncContextManager[Connection]:
    """A connection of the service's role that sees one moment of the database."""
    return postgres.snapshot(url, SETTINGS)


async def organisation_id(connection: Connection, name: str) -> str:
    """The id of the organisation that has this name, else the name: it is taken for an id."""
    found: str | None = await connection.fetchval(NAMED, name.strip())
    return found or name


async def sealed_organisations(connection: Connection) -> list[str]:
    """The organisations that have seals, also those whose events are gone."""
    return [row["organisation"] for row in await connection.fetch(SEALED)]


async def events(
    connection: Connection, organisation: str, first: int | None = None, last: int | None = None
) -> AsyncIterator[tuple[StoredEvent, bytes]]:
    """Events in the order of their positions, each with the hash that is stored with it.

    A snapshot holds few of them in memory at a time. Without bounds it is all, whatever their positions.
    """
    async for row in connection.cursor(EVENTS, organisation, first, last, prefetch=PAGE):
        yield stored_event(row), row["event_hash"]


async def events_of(
    connection: Connection, organisation: str, stream: UUID, last: int
) -> list[StoredEvent]:
    """The events of one entity up to a position, in the order of their versions."""
    rows = await connection.fetch(OF_STREAM, organisation, stream, last)
    return [stored_event(row) for row in rows]


async def seals(
    connection: Connection, organisation: str, first: int = 0, last: int | None = None
) -> AsyncIterator[SignedSeal]:
    """The seals, in order, of which any position lies in these bounds; all without them."""
    async for row in connection.cursor(SEALS, organisation, first, last, prefetch=4):
        yield _signed(row)


async def sealed_bounds(
    connection: Connection, organisation: str, first: int, last: int | None
) -> tuple[int, int] | None:
    """The first and the last position of the seals between two positions; None if there are none."""
    row = await connection.fetchrow(BOUNDS, organisation, first, last)
    return (row["first"], row["last"]) if row and row["first"] is not None else None


async def last_seal(connection: Connection, organisation: str) -> SignedSeal | None:
    """The last seal of a ledger, without its leaves."""
    row = await connection.fetchrow(LAST, organisation)
    return _signed(row) if row else None


def _signed(row: asyncpg.Record) -> SignedSeal:
    return SignedSeal(row["statement"], row["signature"].hex(), row["leaves"])


async def load_tips(
    connection: Connection, organisation: str, into: StreamTree, buckets: Iterable[bytes]
) -> None:
    """Reads how far the streams of some buckets had come at the last seal."""
    for row in await connection.fetch(TIPS, organisation, list(buckets)):
        into.put(StreamHead(UUID(bytes=row["stream_id"].bytes), row["version"], row["chain"]))


async def load_nodes(
    connection: Connection, organisation: str, into: StreamTree, parents: Iterable[bytes]
) -> None:
    """Reads the kept hashes below some prefixes."""
    for parent, below in await connection.fetch(NODES, organisation, list(parents)):
        prefix = len(parent) + 1
        each = prefix + len(EMPTY)
        into.nodes[parent].update(
            (below[at : at + prefix], below[at + prefix : at + each])
            for at in range(0, len(below), each)
        )


async def path_to(connection: Connection, organisation: str, tip: StreamHead) -> StreamTree:
    """The part of the map of streams that the look-up of one passes, at the last seal."""
    found, prefix = StreamTree(), b""
    while len(prefix) < BUCKET:
        await load_nodes(connection, organisation, found, [prefix])
        if not found.nodes[prefix]:
            return found
        prefix, _ = lookup_path(sorted(found.nodes[prefix].items()), tip.key)
    await load_tips(connection, organisation, found, [prefix])
    return found
