"""The Merkle tree of RFC 6962 over the events of a closed range, and proofs that an event is in it.

A leaf is SHA-256 of 0x00 and the event's hash, a node SHA-256 of 0x01 and its two children; a last
node without a sibling moves up unchanged. No input or output: the stand-alone verifier uses it, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

__all__ = ["check_inclusion", "inclusion_proof", "root_of"]


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root over the hashes of events, in their order; without any, SHA-256 of nothing."""
    level = _leaves(hashes)
    while len(level) > 1:
        level = _parents(level)
    return level[0] if level else sha256().digest()


def inclusion_proof(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the siblings on the path from the hash at ``index`` up to the root, the lowest first.

    There are at most ``log2(len(hashes))``, rounded up. Raises ``IndexError`` for an index out of range.
    """
    if not 0 <= index < len(hashes):
        raise IndexError(f"{index} is not among {len(hashes)} events")
    level, proof = _leaves(hashes), []
    while len(level) > 1:
        if index ^ 1 < len(level):
            proof.append(level[index ^ 1])
        level, index = _parents(level), index >> 1
    return proof


def check_inclusion(
    root: bytes, event_hash: bytes, index: int, size: int, proof: Sequence[bytes]
) -> bool:
    """Return True if an event's hash is at ``index`` of the ``size`` hashes that have this root."""
    if not 0 <= index < size:
        return False
    remaining = list(reversed(proof))
    node, last = _leaf(event_hash), size - 1
    while last:
        if index & 1 or index < last:
            if not remaining:
                return False
            other = remaining.pop()
            node = _node(other, node) if index & 1 else _node(node, other)
        index, last = index >> 1, last >> 1
    return not remaining and node == root


def _leaf(event_hash: bytes) -> bytes:
    return sha256(b"\x00" + event_hash).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _leaves(hashes: Sequence[bytes]) -> list[bytes]:
    return [_leaf(event_hash) for event_hash in hashes]


def _parents(level: list[bytes]) -> list[bytes]:
    pairs = zip(level[::2], level[1::2], strict=False)
    return [_node(left, right) for left, right in pairs] + level[len(level) & ~1 :]
