"""Drawing up the next seal of a ledger, and adding it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from infra.audit.merkle import root_of
from infra.audit.queries import Connection, last_seal, load_nodes, load_tips
from infra.audit.seals import FIRST, Seal, SignedSeal, Signer
from infra.audit.stream_tree import BUCKET, EMPTY, GROUP, StreamHead, StreamTree
from infra.ledger.feed import GapError, LedgerCorruptedError

__all__ = ["MOST", "seal_next"]

MOST = 4096
"""Events in one seal: a proof of inclusion has at most 12 hashes."""
UNSEALED = """
SELECT position, stream_id, version, event_hash
  FROM ledger.events WHERE organisation = $1 AND position > $2 ORDER BY position LIMIT $3
"""
ADD = "SELECT ledger.add_seal($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"


@dataclass(frozen=True, slots=True)
class _SealInput:
    """What the next seal is drawn up from, as of one moment."""

    organisation: str
    former: Seal | None
    former_hash: str
    events: Sequence[asyncpg.Record]
    streams: StreamTree
    now: datetime


@dataclass(frozen=True, slots=True)
class _Draft:
    """The next seal, and what it changes in the map of streams."""

    signed: SignedSeal
    tips: list[StreamHead]
    nodes: list[tuple[bytes, bytes]]


async def seal_next(
    connection: Connection, organisation: str, signer: Signer, most: int = MOST
) -> SignedSeal | None:
    """Seals the events after the last seal, at most so many.

    None if there are none, or if another process has sealed them. Raises `LedgerCorruptedError` where the
    ledger is not whole: that is never sealed. Tens of thousands of rows are read and hashed, during which
    the loop that this runs on does nothing else.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        ground = await _ground(connection, organisation, most)
    if not ground.events:
        return None
    draft = _drawn_up(ground, signer)
    added = await connection.fetchval(
        ADD,
        organisation,
        draft.signed.statement,
        bytes.fromhex(draft.signed.signature),
        draft.signed.leaves,
        [tip.key[:BUCKET] for tip in draft.tips],
        [tip.stream for tip in draft.tips],
        [tip.version for tip in draft.tips],
        [tip.chain for tip in draft.tips],
        [prefix for prefix, _ in draft.nodes],
        [hash_ for _, hash_ in draft.nodes],
    )
    return draft.signed if added else None


async def _ground(connection: Connection, organisation: str, most: int) -> _SealInput:
    former = await last_seal(connection, organisation)
    said = former.seal() if former else None
    events = await connection.fetch(UNSEALED, organisation, said.last if said else 0, most)
    buckets = {StreamHead(row["stream_id"]).key[:BUCKET] for row in events}
    streams = StreamTree()
    await load_tips(connection, organisation, streams, buckets)
    await load_nodes(connection, organisation, streams, {b""} | {each[:GROUP] for each in buckets})
    now = await connection.fetchval("SELECT clock_timestamp()")
    return _SealInput(organisation, said, former.hash() if former else FIRST, events, streams, now)


def _drawn_up(ground: _SealInput, signer: Signer) -> _Draft:
    first = ground.former.last + 1 if ground.former else 1
    streams, events = ground.streams, ground.events
    buckets = {StreamHead(row["stream_id"]).key[:BUCKET] for row in events}
    # The kept map is believed because the part of it that is used gives the root that was signed.
    if streams.rehash(buckets).hex() != (ground.former.streams if ground.former else EMPTY.hex()):
        what = "the kept map of streams is not the sealed one"
        raise LedgerCorruptedError(ground.organisation, first, what)
    tips = _moved(ground.organisation, first, streams, events)
    hashes = [row["event_hash"] for row in events]
    seal = Seal(
        organisation=ground.organisation,
        number=ground.former.number + 1 if ground.former else 1,
        first=first,
        last=events[-1]["position"],
        root=root_of(hashes).hex(),
        streams=streams.rehash(buckets).hex(),
        former=ground.former_hash,
        # The clock may have been set back; the order of the seals is told by their numbers.
        sealed_at=max(ground.now, ground.former.sealed_at) if ground.former else ground.now,
        key=signer.key,
    )
    return _Draft(signer.sign(seal, b"".join(hashes)), tips, _nodes(streams, buckets))


def _moved(
    organisation: str, first: int, streams: StreamTree, events: Sequence[asyncpg.Record]
) -> list[StreamHead]:
    """Moves the events' streams; their new tips. Raises `LedgerCorruptedError` for what is not dense."""
    tips = {}
    for position, row in enumerate(events, first):
        if row["position"] != position:
            raise GapError(organisation, position, f"{row['position']} stands")
        tip = streams.tip(row["stream_id"]).append(row["event_hash"])
        if row["version"] != tip.version:
            what = f"version {row['version']} of {tip.stream} follows version {tip.version - 1}"
            raise LedgerCorruptedError(organisation, position, what)
        streams.put(tip)
        tips[tip.stream] = tip
    return list(tips.values())


def _nodes(streams: StreamTree, buckets: set[bytes]) -> list[tuple[bytes, bytes]]:
    """The hashes that were folded anew, by prefix."""
    groups = {bucket[:GROUP] for bucket in buckets}
    return [(prefix, streams.nodes[prefix[:-1]][prefix]) for prefix in sorted(buckets | groups)]
