"""The map of streams: its root depends on the set alone, and proofs of completeness cannot be bent."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.audit import stream_tree as module
from infra.audit.stream_tree import (
    EMPTY,
    Completeness,
    StreamHead,
    StreamTree,
    check_completeness,
    completeness_proof,
    root_hash,
)

Histories = dict[UUID, list[bytes]]

HISTORIES = st.dictionaries(
    st.integers(0, 2**16).map(lambda n: UUID(int=n)),
    st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=3),
    max_size=24,
)
STRANGER = UUID(int=2**17)


def tips_of(histories: Histories) -> list[StreamHead]:
    tips = []
    for stream, hashes in histories.items():
        tip = StreamHead(stream)
        for event_hash in hashes:
            tip = tip.append(event_hash)
        tips.append(tip)
    return tips


def mapped(tips: list[StreamHead]) -> tuple[StreamTree, bytes]:
    streams = StreamTree()
    for tip in tips:
        streams.put(tip)
    return streams, streams.rehash({tip.key[:2] for tip in tips})


def defined(items: dict[str, bytes], bit: int = 0) -> bytes:
    """The root by the definition: keys as texts of bits, split at the first one that tells them apart."""
    if len(items) <= 1:
        return next(iter(items.values()), sha256(b"").digest())
    sides = [{k: v for k, v in items.items() if k[bit] == side} for side in "01"]
    if not all(sides):
        return defined(items, bit + 1)
    halves = [defined(side, bit + 1) for side in sides]
    return sha256(b"\x03" + bit.to_bytes(2, "big") + b"".join(halves)).digest()


@given(HISTORIES)
def test_the_root_is_that_of_the_definition(histories: Histories) -> None:
    tips = tips_of(histories)
    assert mapped(tips)[1] == defined({f"{int.from_bytes(t.key):0256b}": t.hash for t in tips})


@given(st.lists(st.binary(min_size=1, max_size=1), unique=True, max_size=30))
def test_prefixes_fold_like_what_is_below_them(keys: list[bytes]) -> None:
    """That hashes of prefixes may be kept: folding in two steps is folding at once."""
    below = sorted(
        (key + end, sha256(key + end).digest()) for key in keys for end in (b"\0", b"\x81")
    )
    prefixes = sorted((key, root_hash([i for i in below if i[0][:1] == key])) for key in keys)
    assert root_hash(prefixes) == root_hash(below)


@given(HISTORIES, HISTORIES)
def test_moving_some_is_folding_all(first: Histories, second: Histories) -> None:
    streams, _ = mapped(tips_of(first))
    moved = tips_of(second)
    for tip in moved:
        streams.put(tip)
    assert streams.rehash({t.key[:2] for t in moved}) == mapped(tips_of(first | second))[1]


@given(HISTORIES)
def test_every_history_is_proved_and_no_other(histories: Histories) -> None:
    streams, root = mapped(tips_of(histories))
    for stream, hashes in histories.items():
        proof = completeness_proof(streams, stream)
        assert check_completeness(root, stream, hashes, proof)
        wrong = [hashes[:-1], [*hashes, hashes[0]], [bytes(32), *hashes[1:]], hashes[::-1], []]
        for each in wrong:
            assert each == hashes or not check_completeness(root, stream, each, proof)
        assert not check_completeness(EMPTY, stream, hashes, proof)
        assert not check_completeness(root, STRANGER, hashes, proof)
        others = [completeness_proof(streams, other) for other in histories if other != stream]
        assert not any(check_completeness(root, stream, hashes, other) for other in others)
        # That it has no events cannot be shown with anybody's proof.
        assert not any(check_completeness(root, stream, [], other) for other in [proof, *others])
        assert not check_completeness(root, stream, [], Completeness(None, []))


@given(HISTORIES)
def test_that_there_are_no_events_is_proved(histories: Histories) -> None:
    streams, root = mapped(tips_of(histories))
    proof = completeness_proof(streams, STRANGER)
    assert check_completeness(root, STRANGER, [], proof)
    assert not check_completeness(root, STRANGER, [bytes(32)], proof)
    assert (proof.tip is None) == (not histories)


@given(HISTORIES.filter(lambda h: len(h) > 1), st.data())
def test_a_bent_proof_is_refused(histories: Histories, data: st.DataObject) -> None:
    streams, root = mapped(tips_of(histories))
    stream = data.draw(st.sampled_from(sorted(histories)))
    proof = completeness_proof(streams, stream)
    assert all(low > high for (low, _), (high, _) in pairwise(proof.path))
    at = data.draw(st.integers(0, len(proof.path) - 1))
    bit, other = proof.path[at]
    bent = [
        proof.path[:at] + proof.path[at + 1 :],
        [*proof.path[:at], (bit, bytes(32)), *proof.path[at + 1 :]],
        [*proof.path[:at], (bit ^ 1, other), *proof.path[at + 1 :]],
        [*proof.path[:at], (bit + 256, other), *proof.path[at + 1 :]],
        [*proof.path[:at], (-bit - 1, other), *proof.path[at + 1 :]],
        [*proof.path, proof.path[-1]],
    ]
    for path in bent:
        changed = Completeness(proof.tip, path)
        assert not check_completeness(root, stream, histories[stream], changed)
    assert proof.tip
    for tip in (
        msgspec.structs.replace(proof.tip, version=proof.tip.version + 1),
        msgspec.structs.replace(proof.tip, chain=bytes(32)),
        msgspec.structs.replace(proof.tip, stream=STRANGER),
    ):
        assert not check_completeness(
            root, stream, histories[stream], Completeness(tip, proof.path)
        )


def test_a_seal_folds_only_the_ways_of_what_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    streams, _ = mapped([StreamHead(UUID(int=n)).append(bytes(32)) for n in range(20_000)])
    nodes = 0
    counted = module._node

    def node(*arguments: object) -> bytes:
        nonlocal nodes
        nodes += 1
        return counted(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_node", node)
    moved = streams.head(UUID(int=7)).append(bytes(32))
    streams.put(moved)
    streams.rehash([moved.key[:2]])
    assert nodes < 2 * 256 + 8
