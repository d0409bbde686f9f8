"""Queries for events, seals and stream heads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias
from uuid import UUID

import asyncpg

from domain.identifiers import normalised
from infra.audit.seals import SignedSeal
from infra.audit.stream_tree import BUCKET, EMPTY, StreamHead, StreamTree, lookup_path
from infra.ledger.feed import STORED_COLUMNS, stored_event
from infra.ledger.stored_event import StoredEvent
from infra.postgres import pool as postgres

__all__ = [
    "Connection",
    "events",
    "last_seal",
    "load_nodes",
    "load_stream_heads",
    "organisation_id",
    "path_to",
    "sealed_bounds",
    "sealed_organisations",
    "seals",
    "snapshot",
    "stream_events",
]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

EVENTS = f"""
SELECT event_hash, {STORED_COLUMNS}
  FROM ledger.events
 WHERE organisation = $1 AND ($2::bigint IS NULL OR position >= $2) AND ($3::bigint IS NULL OR position <= $3)
 ORDER BY position
"""  # noqa: S608 (names of columns)
STREAM_EVENTS = f"""
SELECT {STORED_COLUMNS}
  FROM ledger.events WHERE organisation = $1 AND stream_id = $2 AND position <= $3 ORDER BY version
"""  # noqa: S608 (names of columns)
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
LAST_SEAL = """
SELECT statement::text AS statement, signature, ''::bytea AS leaves
  FROM ledger.seals WHERE organisation = $1 ORDER BY number DESC LIMIT 1
"""
SEALED_ORGANISATIONS = "SELECT DISTINCT organisation FROM ledger.seals ORDER BY organisation"
ORGANISATION_ID = (
    "SELECT organisation FROM ledger.global_claims WHERE claim = 'organisation=' || $1"
)
# A join with the buckets: `= ANY` is planned as a scan if the plan was made while the table was small.
STREAM_HEADS = """
SELECT s.stream_id, s.version, s.chain
  FROM unnest($2::bytea[]) AS w (bucket)
  JOIN ledger.seal_tree_heads s ON s.organisation = $1 AND s.bucket = w.bucket
"""
# The hashes below one prefix in one row: there are tens of thousands of them.
NODES = """
SELECT s.parent, string_agg(s.prefix || s.hash, ''::bytea) AS below
  FROM unnest($2::bytea[]) AS w (parent)
  JOIN ledger.seal_tree_nodes s ON s.organisation = $1 AND s.parent = w.parent
 GROUP BY s.parent
"""
PAGE = 500
"""Events that are in memory at once."""
SETTINGS = {
    "role": postgres.SERVICE_ROLE,
    "application_name": "crmledger audit",
    "TimeZone": "UTC",
    # Events are read in the order of their key; the planner may believe that sorting them all is cheaper.
    "enable_sort": "off",
}


def snapshot(url: str) -> AbstractAsyncContextManager[Connection]:
    """Open a connection of the service's role that sees one snapshot of the database."""
    return postgres.snapshot(url, SETTINGS)


async def organisation_id(connection: Connection, name: str) -> str:
    """Return the id of the organisation with this name; without one, the name, which is then taken for an id."""
    id_: str | None = await connection.fetchval(ORGANISATION_ID, normalised("name", name))
    return id_ or name


async def sealed_organisations(connection: Connection) -> list[str]:
    """Return the organisations that have seals, including those whose events are missing."""
    return [row["organisation"] for row in await connection.fetch(SEALED_ORGANISATIONS)]


async def events(
    connection: Connection, organisation: str, first: int | None = None, last: int | None = None
) -> AsyncIterator[tuple[StoredEvent, bytes]]:
    """Yield the events in the order of their positions, each with its stored hash.

    Few of them are in memory at a time. Without bounds all are read, whatever their positions.
    """
    async for row in connection.cursor(EVENTS, organisation, first, last, prefetch=PAGE):
        yield stored_event(row), row["event_hash"]


async def stream_events(
    connection: Connection, organisation: str, stream: UUID, last: int
) -> list[StoredEvent]:
    """Return the events of one entity up to a position, in the order of their versions."""
    rows = await connection.fetch(STREAM_EVENTS, organisation, stream, last)
    return [stored_event(row) for row in rows]


async def seals(
    connection: Connection, organisation: str, first: int = 0, last: int | None = None
) -> AsyncIterator[SignedSeal]:
    """Yield the seals, in order, that cover any position within the bounds; all of them without bounds."""
    async for row in connection.cursor(SEALS, organisation, first, last, prefetch=4):
        yield _to_signed_seal(row)


async def sealed_bounds(
    connection: Connection, organisation: str, first: int, last: int | None
) -> tuple[int, int] | None:
    """Return the first and last position of the seals between two positions; None if there are none."""
    row = await connection.fetchrow(BOUNDS, organisation, first, last)
    return (row["first"], row["last"]) if row and row["first"] is not None else None


async def last_seal(connection: Connection, organisation: str) -> SignedSeal | None:
    """Return the last seal of a ledger, without its leaves; None if there is none."""
    row = await connection.fetchrow(LAST_SEAL, organisation)
    return _to_signed_seal(row) if row else None


def _to_signed_seal(row: asyncpg.Record) -> SignedSeal:
    return SignedSeal(row["statement"], row["signature"].hex(), row["leaves"])


async def load_stream_heads(
    connection: Connection, organisation: str, tree: StreamTree, buckets: Iterable[bytes]
) -> None:
    """Load the heads that the streams of some buckets had at the last seal."""
    for row in await connection.fetch(STREAM_HEADS, organisation, list(buckets)):
        tree.put(StreamHead(UUID(bytes=row["stream_id"].bytes), row["version"], row["chain"]))


async def load_nodes(
    connection: Connection, organisation: str, tree: StreamTree, parents: Iterable[bytes]
) -> None:
    """Load the stored hashes below some prefixes."""
    for parent, entries in await connection.fetch(NODES, organisation, list(parents)):
        prefix = len(parent) + 1
        entry = prefix + len(EMPTY)
        tree.nodes[parent].update(
            (entries[at : at + prefix], entries[at + prefix : at + entry])
            for at in range(0, len(entries), entry)
        )


async def path_to(connection: Connection, organisation: str, head: StreamHead) -> StreamTree:
    """Return the part of the stream tree, as of the last seal, that the look-up of one stream passes."""
    tree, prefix = StreamTree(), b""
    while len(prefix) < BUCKET:
        await load_nodes(connection, organisation, tree, [prefix])
        if not tree.nodes[prefix]:
            return tree
        prefix, _ = lookup_path(sorted(tree.nodes[prefix].items()), head.key)
    await load_stream_heads(connection, organisation, tree, [prefix])
    return tree
