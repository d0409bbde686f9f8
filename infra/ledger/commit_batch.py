"""A change in the form in which it is sent to ``ledger.append``, and which may share a batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
import orjson

from infra.ledger.mapper import to_payload
from services.ports import Commit

__all__ = [
    "EncodedCommit",
    "append_arguments",
    "encode_commit",
    "settle_arguments",
    "split_conflicting",
]

ConflictKeys: TypeAlias = Callable[[Any], Iterable[Hashable]]
"""What the effects of one kind touch: entities by the number that is their id, all else by what it is and its name."""


def _claims(items: Any) -> Iterable[Hashable]:
    return [("claim", item["claim"]) for item in items]


def _tokens(items: Any) -> Iterable[Hashable]:
    return [("tokens", item["column"], item["id"]) for item in items]


WRITE_KEYS: Mapping[str, ConflictKeys] = {
    "take": _claims,
    "release": _claims,
    "take_worldwide": _claims,
    "release_worldwide": _claims,
    "key": lambda key: [("key", key)],
    "forget": lambda items: [("subject", item["subject"]) for item in items],
    # What is compared with how many tokens an entity has comes with another one.
    "limit_tokens": _tokens,
    "expect_tokens": _tokens,
    "secrets": lambda items: [("secret", item["verifier"]) for item in items],
}
READ_KEYS: Mapping[str, ConflictKeys] = {
    "expect": lambda items: [UUID(item["stream"]).int for item in items],
    "expect_keys": lambda subjects: [("subject", subject) for subject in subjects],
}


class EncodedCommit(msgspec.Struct, frozen=True):
    """One command, encoded.

    ``writes`` and ``reads`` are the entities, claims and keys that it changes, and those that must
    still be as it found them.
    """

    command: str
    metadata: str
    effects: str
    answer: bytes | None
    events: list[tuple[Any, ...]]
    rows: list[tuple[Any, ...]]
    key: str | None
    writes: set[Hashable]
    reads: set[Hashable]


def encode_commit(change: Commit) -> EncodedCommit:
    """Raises ``ValueError`` or ``TypeError`` for what cannot be stored: only this one suffers."""
    effects = change.effects
    writes: set[Hashable] = {written.events[0].originator_id.int for written in change.written}
    reads: set[Hashable] = set()
    for kind, wanted in effects.items():
        if kind in WRITE_KEYS:
            writes.update(WRITE_KEYS[kind](wanted))
        elif kind in READ_KEYS:
            reads.update(READ_KEYS[kind](wanted))
    return EncodedCommit(
        command=change.command,
        metadata=orjson.dumps(change.metadata).decode(),
        effects=orjson.dumps(effects).decode(),
        answer=change.answer,
        events=_events(change),
        rows=_rows(change),
        key=effects.get("key"),
        writes=writes,
        reads=reads,
    )


def split_conflicting(parcels: list[EncodedCommit]) -> Iterator[list[EncodedCommit]]:
    """The parcels in batches in which none writes what another one writes or reads.

    The function compares each command with what is stored, so those of one batch must not depend on
    each other; of two that do, the second is compared with what the first has written.
    """
    batch: list[EncodedCommit] = []
    written: set[Hashable] = set()
    read: set[Hashable] = set()
    for parcel in parcels:
        fits = parcel.writes.isdisjoint(written) and parcel.writes.isdisjoint(read)
        if not (fits and parcel.reads.isdisjoint(written)):
            yield batch
            batch, written, read = [], set(), set()
        batch.append(parcel)
        written |= parcel.writes
        read |= parcel.reads
    yield batch


def append_arguments(batch: list[EncodedCommit]) -> list[Any]:
    """The commands, events and rows of ``ledger.append``, tuples of its types."""
    return [
        [(parcel.metadata, parcel.effects, parcel.answer) for parcel in batch],
        [(n, *event) for n, parcel in enumerate(batch, start=1) for event in parcel.events],
        [(n, *row) for n, parcel in enumerate(batch, start=1) for row in parcel.rows],
    ]


def settle_arguments(batch: list[EncodedCommit]) -> list[Any]:
    """The batch as the arrays of ``ledger.resolve_commands``: each command by its first event, or its key."""
    return [
        [parcel.command for parcel in batch],
        [parcel.events[0][0] if parcel.events else None for parcel in batch],
        [parcel.events[0][1] if parcel.events else None for parcel in batch],
        [parcel.key for parcel in batch],
    ]


def _events(change: Commit) -> list[tuple[Any, ...]]:
    return [
        (
            event.originator_id,
            event.originator_version,
            event.TOPIC,
            event.SCHEMA,
            written.subject,
            to_payload(event, written.key).decode(),
        )
        for written in change.written
        for event in written.events
    ]


def _rows(change: Commit) -> list[tuple[Any, ...]]:
    return [
        (
            row.view,
            row.stream,
            row.version,
            orjson.dumps(row.columns).decode(),
            row.document.decode() if row.document is not None else None,
            " ".join(row.refs),
        )
        for row in change.rows
    ]
