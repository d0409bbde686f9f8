"""Builds the next seal of a ledger and adds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from infra.audit.merkle import root_of
from infra.audit.queries import Connection, last_seal, load_nodes, load_stream_heads
from infra.audit.seals import NO_PREVIOUS, Seal, SignedSeal, Signer
from infra.audit.stream_tree import BUCKET, EMPTY, GROUP, StreamHead, StreamTree
from infra.encryption import KeyRing
from infra.ledger.event_hash import event_hash
from infra.ledger.feed import (
    STORED_COLUMNS,
    GapError,
    LedgerCorruptedError,
    check_authentic,
    stored_event,
)

__all__ = ["MAX_EVENTS", "seal_next"]

MAX_EVENTS = 4096
"""The most events of a seal: a proof of inclusion then has at most 12 hashes."""
UNSEALED = f"""
SELECT event_hash, {STORED_COLUMNS}
  FROM ledger.events WHERE organisation = $1 AND position > $2 ORDER BY position LIMIT $3
"""  # noqa: S608 (names of columns)
ADD_SEAL = "SELECT ledger.add_seal($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"


@dataclass(frozen=True, slots=True)
class _SealInput:
    """The data from which the next seal is built, as of one snapshot."""

    organisation: str
    previous: Seal | None
    previous_hash: str
    events: Sequence[asyncpg.Record]
    streams: StreamTree
    now: datetime


@dataclass(frozen=True, slots=True)
class _Draft:
    """The next seal, and its changes to the stream tree."""

    signed: SignedSeal
    heads: list[StreamHead]
    nodes: list[tuple[bytes, bytes]]


async def seal_next(
    connection: Connection,
    organisation: str,
    signer: Signer,
    ring: KeyRing,
    max_events: int = MAX_EVENTS,
) -> SignedSeal | None:
    """Seal the events after the last seal, at most ``max_events``; return the seal.

    None if there are no such events, or if another process has sealed them. Raises `LedgerCorruptedError`
    if the ledger has gaps, or an event was changed or not written with the service key: such events are
    never sealed. Up to tens of thousands of rows are read and hashed, which blocks the event loop meanwhile.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        source = await _read_input(connection, organisation, max_events)
    if not source.events:
        return None
    _check_events(source, ring)
    draft = _build_seal(source, signer)
    added = await connection.fetchval(
        ADD_SEAL,
        organisation,
        draft.signed.statement,
        bytes.fromhex(draft.signed.signature),
        draft.signed.leaves,
        [head.key[:BUCKET] for head in draft.heads],
        [head.stream for head in draft.heads],
        [head.version for head in draft.heads],
        [head.chain for head in draft.heads],
        [prefix for prefix, _ in draft.nodes],
        [hash_ for _, hash_ in draft.nodes],
    )
    return draft.signed if added else None


async def _read_input(connection: Connection, organisation: str, max_events: int) -> _SealInput:
    signed = await last_seal(connection, organisation)
    previous = signed.seal() if signed else None
    events = await connection.fetch(
        UNSEALED, organisation, previous.last if previous else 0, max_events
    )
    buckets = {StreamHead(row["stream_id"]).key[:BUCKET] for row in events}
    streams = StreamTree()
    await load_stream_heads(connection, organisation, streams, buckets)
    await load_nodes(
        connection, organisation, streams, {b""} | {bucket[:GROUP] for bucket in buckets}
    )
    now = await connection.fetchval("SELECT clock_timestamp()")
    return _SealInput(
        organisation, previous, signed.hash() if signed else NO_PREVIOUS, events, streams, now
    )


def _check_events(source: _SealInput, ring: KeyRing) -> None:
    """Raise `LedgerCorruptedError` for an event that the service has not written as it is stored."""
    events = [stored_event(row) for row in source.events]
    check_authentic(ring, source.organisation, events)
    for event, row in zip(events, source.events, strict=True):
        if event_hash(source.organisation, event) != row["event_hash"]:
            raise LedgerCorruptedError(
                source.organisation, event.position, "an event that does not fit its hash stands"
            )


def _build_seal(source: _SealInput, signer: Signer) -> _Draft:
    first = source.previous.last + 1 if source.previous else 1
    streams, events = source.streams, source.events
    buckets = {StreamHead(row["stream_id"]).key[:BUCKET] for row in events}
    # The stored tree can be trusted if the part of it that is used yields the signed root.
    if streams.rehash(buckets).hex() != (
        source.previous.streams if source.previous else EMPTY.hex()
    ):
        reason = "the kept map of streams is not the sealed one"
        raise LedgerCorruptedError(source.organisation, first, reason)
    heads = _advance_streams(source.organisation, first, streams, events)
    hashes = [row["event_hash"] for row in events]
    seal = Seal(
        organisation=source.organisation,
        number=source.previous.number + 1 if source.previous else 1,
        first=first,
        last=events[-1]["position"],
        root=root_of(hashes).hex(),
        streams=streams.rehash(buckets).hex(),
        former=source.previous_hash,
        # The clock may have been set back, but seals must not precede each other in time.
        sealed_at=max(source.now, source.previous.sealed_at) if source.previous else source.now,
        key=signer.key,
    )
    return _Draft(signer.sign(seal, b"".join(hashes)), heads, _changed_nodes(streams, buckets))


def _advance_streams(
    organisation: str, first: int, streams: StreamTree, events: Sequence[asyncpg.Record]
) -> list[StreamHead]:
    """Advance the streams of the events; return their new heads. Raises `LedgerCorruptedError` for a gap."""
    heads = {}
    for position, row in enumerate(events, first):
        if row["position"] != position:
            raise GapError(organisation, position, f"{row['position']} stands")
        head = streams.head(row["stream_id"]).append(row["event_hash"])
        if row["version"] != head.version:
            reason = f"version {row['version']} of {head.stream} follows version {head.version - 1}"
            raise LedgerCorruptedError(organisation, position, reason)
        streams.put(head)
        heads[head.stream] = head
    return list(heads.values())


def _changed_nodes(streams: StreamTree, buckets: set[bytes]) -> list[tuple[bytes, bytes]]:
    """Return the hashes that were computed anew, by prefix."""
    groups = {bucket[:GROUP] for bucket in buckets}
    return [(prefix, streams.nodes[prefix[:-1]][prefix]) for prefix in sorted(buckets | groups)]
