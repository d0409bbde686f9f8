"""The Merkle tree of RFC 6962 against its definition, and against proofs that were tampered with."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.audit.merkle import check_inclusion, inclusion_proof, root_of

HASHES = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40)


def defined(hashes: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word by word."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return sha256(b"\x00" + hashes[0]).digest()
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return sha256(b"\x01" + defined(hashes[:k]) + defined(hashes[k:])).digest()


def path(m: int, hashes: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1, word by word."""
    if len(hashes) == 1:
        return []
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    if m < k:
        return [*path(m, hashes[:k]), defined(hashes[k:])]
    return [*path(m - k, hashes[k:]), defined(hashes[:k])]


@given(HASHES)
def test_root_and_proofs_are_those_of_the_definition(hashes: list[bytes]) -> None:
    root = root_of(hashes)
    assert root == defined(hashes)
    for index, each in enumerate(hashes):
        proof = inclusion_proof(hashes, index)
        assert proof == path(index, hashes)
        assert check_inclusion(root, each, index, len(hashes), proof)


@given(HASHES, st.data())
def test_a_proof_proves_nothing_else(hashes: list[bytes], data: st.DataObject) -> None:
    size = len(hashes)
    index = data.draw(st.integers(0, size - 1))
    root, proof = root_of(hashes), inclusion_proof(hashes, index)
    assert not check_inclusion(root, bytes(31) + b"\x07", index, size, proof)
    assert not check_inclusion(root_of([*hashes, root]), hashes[index], index, size, proof)
    assert not check_inclusion(root, hashes[index], index, size, [*proof, root])
    for other in {-1, *range(size + 1)} - {index}:
        if other not in range(size) or hashes[other] != hashes[index]:
            assert not check_inclusion(root, hashes[index], other, size, proof)
    if proof:
        assert not check_inclusion(root, hashes[index], index, size, proof[1:])
        assert not check_inclusion(root, hashes[index], index, size, proof[:-1])
        at = data.draw(st.integers(0, len(proof) - 1))
        proof[at] = bytes(b ^ 1 for b in proof[at])
        assert not check_inclusion(root, hashes[index], index, size, proof)


def test_the_root_of_nothing() -> None:
    assert root_of([]) == defined([])
    assert not check_inclusion(root_of([]), b"", 0, 0, [])
    with pytest.raises(IndexError, match="1 events"):
        inclusion_proof([b""], 1)
