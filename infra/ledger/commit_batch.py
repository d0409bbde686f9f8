"""A change in the form in which it is sent to ``ledger.append``, and which may share a batch."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import msgspec
import orjson

from infra.encryption import KeyRing
from infra.ledger.event_mac import event_mac
from infra.ledger.mapper import to_payload
from infra.ledger.stored_event import StoredEvent
from services.ports import Commit
from services.side_effects import DropPhoto, ExpectKey, ResetGuesses, SideEffect, StoreResponse

__all__ = [
    "EncodedCommit",
    "append_arguments",
    "encode_commit",
    "settle_arguments",
    "split_conflicting",
]


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


def encode_commit(ring: KeyRing, organisation: str, commit: Commit) -> EncodedCommit:
    """Raises ``ValueError`` or ``TypeError`` for what cannot be stored: only this one suffers."""
    writes: set[Hashable] = {stream.events[0].originator_id.int for stream in commit.written}
    reads: set[Hashable] = set()
    for effect in commit.side_effects:
        writes.update(effect.writes())
        reads.update(effect.reads())
    metadata = orjson.dumps(commit.metadata)
    return EncodedCommit(
        command=commit.command,
        metadata=metadata.decode(),
        effects=_encode_side_effects(commit.side_effects),
        answer=commit.answer,
        events=list(_events(ring, organisation, commit, metadata)),
        rows=_rows(commit),
        key=commit.key,
        writes=writes,
        reads=reads,
    )


def _encode_side_effects(side_effects: Iterable[SideEffect]) -> str:
    """Return the object that ``ledger.append`` reads: the list of each kind, under its name."""
    kinds: dict[str, Any] = {}
    for effect in side_effects:
        match effect:
            case StoreResponse():
                kinds |= msgspec.structs.asdict(effect)
            case DropPhoto():
                kinds[effect.KIND] = effect.contact
            case ExpectKey():
                kinds.setdefault(effect.KIND, []).append(effect.subject)
            case ResetGuesses():
                kinds.setdefault(effect.KIND, []).append(effect.secret)
            case _:
                kinds.setdefault(effect.KIND, []).append(effect)
    return msgspec.json.encode(kinds).decode()


def split_conflicting(commits: list[EncodedCommit]) -> Iterator[list[EncodedCommit]]:
    """The parcels in batches in which none writes what another one writes or reads.

    The function compares each command with what is stored, so those of one batch must not depend on
    each other; of two that do, the second is compared with what the first has written.
    """
    batch: list[EncodedCommit] = []
    written_keys: set[Hashable] = set()
    read: set[Hashable] = set()
    for parcel in commits:
        fits = parcel.writes.isdisjoint(written_keys) and parcel.writes.isdisjoint(read)
        if not (fits and parcel.reads.isdisjoint(written_keys)):
            yield batch
            batch, written_keys, read = [], set(), set()
        batch.append(parcel)
        written_keys |= parcel.writes
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


def _events(
    ring: KeyRing, organisation: str, change: Commit, metadata: bytes
) -> Iterator[tuple[Any, ...]]:
    for written in change.written:
        for event in written.events:
            stored = StoredEvent(
                event.originator_id,
                event.originator_version,
                event.TOPIC,
                event.SCHEMA,
                written.subject,
                to_payload(event, written.key),
                metadata,
            )
            mac = event_mac(ring, organisation, stored)
            yield (*stored[:5], stored.payload.decode(), mac)


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
