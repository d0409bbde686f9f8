"""The Merkle tree over the heads of all streams of a ledger, and proofs that a history is complete.

The root covers one `StreamHead` for each stream: its last version and a chain over the hashes of its
events. So a head and about ``log2(streams)`` hashes prove that the events of an entity are complete,
unchanged and in order, or that it has none.

The tree is a Merkle crit-bit tree: streams are sorted by SHA-256 of their ids, and a fork stands at
the first bit in which those below it differ. The fork's hash covers that bit's number, so a look-up
has only one path and cannot be led past a stream. The shape of the tree depends only on the set of
streams, and below any prefix is a tree of the same kind: hashes of prefixes can be stored, and only the
paths from changed streams are hashed anew. No input or output: the stand-alone verifier uses it, too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from uuid import UUID

import msgspec

__all__ = [
    "BUCKET",
    "EMPTY",
    "GROUP",
    "Completeness",
    "StreamHead",
    "StreamTree",
    "check_completeness",
    "completeness_proof",
    "lookup_path",
    "root_hash",
]

Item = tuple[bytes, bytes]
"""A key or a prefix of keys, and the hash of the tree below it."""

EMPTY = sha256().digest()
"""The root of a tree without streams."""
BUCKET, GROUP = 2, 1
"""Bytes of the prefixes whose hashes are stored."""
_FORKS = [b"\x03" + bit.to_bytes(2, "big") for bit in range(256)]
"""The first bytes of what is hashed for a fork, by its bit."""


class StreamHead(msgspec.Struct, frozen=True):
    """The head of a stream: its last version, and a chain over the hashes of its events."""

    stream: UUID
    version: int = 0
    chain: bytes = bytes(32)

    def append(self, event_hash: bytes) -> StreamHead:
        """Return the head after one more event."""
        chain = sha256(b"\x04" + self.chain + event_hash).digest()
        return StreamHead(self.stream, self.version + 1, chain)

    @property
    def key(self) -> bytes:
        """The key of the stream in the tree: evenly distributed, whatever the ids have in common."""
        return sha256(self.stream.bytes).digest()

    @property
    def hash(self) -> bytes:
        """The hash of the head, which is a leaf of the tree."""
        version = self.version.to_bytes(8, "big")
        return sha256(b"\x02" + self.stream.bytes + version + self.chain).digest()


class Completeness(msgspec.Struct, frozen=True):
    """The proof that a history is complete: the head at which the look-up of its stream ends, and the path.

    ``tip`` is the stream's head or, if it has no events, the head at which its look-up ends; None if there
    are no streams. ``path`` holds the bit of each fork and the hash of its other side, the lowest first.
    """

    tip: StreamHead | None
    path: list[tuple[int, bytes]]


def root_hash(items: Sequence[Item]) -> bytes:
    """Return the hash of the tree over items sorted by their keys, which are all of one length."""
    if not items:
        return EMPTY
    # Between two neighbours stands the fork of the first bit in which they differ; the lower the bit, the
    # higher the fork. So one pass builds the tree: open are the forks whose right side is incomplete.
    bits = 8 * len(items[0][0])
    previous, node = int.from_bytes(items[0][0], "big"), items[0][1]
    open_forks: list[tuple[int, bytes]] = []
    for key, hash_ in items[1:]:
        current = int.from_bytes(key, "big")
        bit = bits - (previous ^ current).bit_length()
        while open_forks and open_forks[-1][0] > bit:
            node = _node(*open_forks.pop(), node)
        open_forks.append((bit, node))
        previous, node = current, hash_
    for fork, low in reversed(open_forks):
        node = _node(fork, low, node)
    return node


def lookup_path(items: Sequence[Item], key: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Look up a key among sorted items (at least one); return where it ends and the forks on its path.

    The key may be longer than those of the items. Of each fork the bit and the hash of the other side are
    returned, the lowest first.
    """
    path = []
    while len(items) > 1:
        bit, middle = _fork(items)
        low, high = items[:middle], items[middle:]
        items, other = (high, low) if _bit_of(key, bit) else (low, high)
        path.append((bit, root_hash(other)))
    return items[0][0], path[::-1]


def completeness_proof(tree: StreamTree, stream: UUID) -> Completeness:
    """Return the proof for a stream, whether it has events or not.

    All hashes of ``tree`` are current. It may be partial, but holds what the stream's look-up passes.
    """
    key, prefix = StreamHead(stream).key, b""
    path: list[tuple[int, bytes]] = []
    while len(prefix) < BUCKET:
        if not tree.nodes[prefix]:
            return Completeness(None, [])
        prefix, passed = lookup_path(sorted(tree.nodes[prefix].items()), key)
        path = passed + path
    heads = tree.heads[prefix]
    leaf, passed = lookup_path(_sorted_heads(heads), key)
    return Completeness(heads[leaf], passed + path)


def check_completeness(
    root: bytes, stream: UUID, hashes: Iterable[bytes], proof: Completeness
) -> bool:
    """Return True if these are the hashes of all events of a stream, in their order, under this root."""
    expected = StreamHead(stream)
    for event_hash in hashes:
        expected = expected.append(event_hash)
    proved = proof.tip
    if proved is None:
        return not expected.version and not proof.path and root == EMPTY
    if proved != expected and (proved.stream == stream or expected.version):
        return False
    hash_, below = proved.hash, 256
    for bit, other in proof.path:
        # The look-up must lead here: bits decrease from fork to fork, and each agrees with the stream's key.
        if not 0 <= bit < below or _bit_of(proved.key, bit) != _bit_of(expected.key, bit):
            return False
        hash_ = _node(bit, other, hash_) if _bit_of(expected.key, bit) else _node(bit, hash_, other)
        below = bit
    return hash_ == root


class StreamTree:
    """The heads of streams and the hashes above them: all, or those on the paths of some streams.

    ``heads`` are by bucket (the first two bytes of the key) and key, ``nodes`` by parent prefix and prefix.
    """

    def __init__(self) -> None:
        self.heads: defaultdict[bytes, dict[bytes, StreamHead]] = defaultdict(dict)
        self.nodes: defaultdict[bytes, dict[bytes, bytes]] = defaultdict(dict)

    def head(self, stream: UUID) -> StreamHead:
        """Return the head of a stream; version 0 if it has no events."""
        new = StreamHead(stream)
        return self.heads[new.key[:BUCKET]].get(new.key, new)

    def put(self, head: StreamHead) -> None:
        """Set the head of a stream; the hashes above it change with `rehash`."""
        key = head.key
        self.heads[key[:BUCKET]][key] = head

    def rehash(self, buckets: Iterable[bytes]) -> bytes:
        """Compute the hashes above these buckets, the only ones that have changed; return the root."""
        changed = set(buckets)
        for bucket in changed:
            self._store_hash(bucket, _sorted_heads(self.heads[bucket]))
        for group in {bucket[:GROUP] for bucket in changed}:
            self._store_hash(group, sorted(self.nodes[group].items()))
        return root_hash(sorted(self.nodes[b""].items()))

    def _store_hash(self, prefix: bytes, items: Sequence[Item]) -> None:
        if items:
            self.nodes[prefix[:-1]][prefix] = root_hash(items)


def _sorted_heads(heads: Mapping[bytes, StreamHead]) -> list[Item]:
    return sorted((key, head.hash) for key, head in heads.items())


def _fork(items: Sequence[Item]) -> tuple[int, int]:
    """Return the first bit in which sorted keys differ, and the number of keys in which it is unset."""
    first, last = items[0][0], items[-1][0]
    differing = int.from_bytes(first, "big") ^ int.from_bytes(last, "big")
    bit = 8 * len(first) - differing.bit_length()
    return bit, bisect_left(items, 1, key=lambda item: _bit_of(item[0], bit))


def _bit_of(key: bytes, bit: int) -> int:
    return key[bit >> 3] >> (7 - (bit & 7)) & 1


def _node(bit: int, low: bytes, high: bytes) -> bytes:
    return sha256(_FORKS[bit] + low + high).digest()
