"""A change in the form in which it is sent to ``ledger.append``, and which may share a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from domain.fields import Values
from infra.ledger.mapper import to_payload
from services.ports import Change

__all__ = ["Parcel", "apart", "append_arguments", "packed", "settle_arguments"]

COUNTED = ("limit_tokens", "expect_tokens")
"""Effects that are compared with how many tokens an entity has."""

CLAIMS = ("take", "release", "take_worldwide", "release_worldwide")


@dataclass(frozen=True, slots=True)
class Parcel:
    """One command, encoded.

    ``writes`` and ``reads`` are the entities, claims and idempotency keys that it changes, and
    those that must still be as it found them.
    """

    command: str
    metadata: str
    effects: str
    answer: bytes | None
    facts: list[tuple[Any, ...]]
    rows: list[tuple[Any, ...]]
    key: str | None
    writes: frozenset[Any]
    reads: frozenset[Any]


def packed(change: Change) -> Parcel:
    """Raises ``ValueError`` or ``TypeError`` for what cannot be stored: only this one suffers."""
    effects = change.effects
    writes: set[Any] = {str(written.facts[0].originator_id) for written in change.written}
    writes |= {("claim", item["claim"]) for name in CLAIMS for item in effects.get(name, ())}
    writes |= {("key", effects["key"])} if "key" in effects else set()
    writes |= {("key", item["subject"]) for item in effects.get("forget", ())}
    counted = (item for name in COUNTED for item in effects.get(name, ()))
    writes |= {("tokens", item["column"], item["id"]) for item in counted}
    writes |= {("secret", row["verifier"]) for row in effects.get("secrets", ())}
    return Parcel(
        command=change.command,
        metadata=orjson.dumps(change.metadata).decode(),
        effects=orjson.dumps(effects).decode(),
        answer=change.answer,
        facts=_facts(change),
        rows=_rows(change),
        key=effects.get("key"),
        writes=frozenset(writes),
        reads=_reads(effects),
    )


def _reads(effects: Values) -> frozenset[Any]:
    return frozenset(
        [item["stream"] for item in effects.get("expect", ())]
        + [("key", subject) for subject in effects.get("expect_keys", ())]
    )


def apart(parcels: list[Parcel]) -> Iterator[list[Parcel]]:
    """The parcels in batches in which none writes what another one writes or reads.

    The function compares each command with what is stored, so those of one batch must not depend on
    each other; of two that do, the second is compared with what the first has written.
    """
    batch: list[Parcel] = []
    written: set[Any] = set()
    read: set[Any] = set()
    for parcel in parcels:
        if parcel.writes & written or parcel.writes & read or parcel.reads & written:
            yield batch
            batch, written, read = [], set(), set()
        batch.append(parcel)
        written |= parcel.writes
        read |= parcel.reads
    yield batch


def append_arguments(batch: list[Parcel]) -> list[Any]:
    """The batch as the arrays of ``ledger.append``, in the order of its parameters."""
    facts = [(n, *fact) for n, parcel in enumerate(batch, start=1) for fact in parcel.facts]
    rows = [(n, *row) for n, parcel in enumerate(batch, start=1) for row in parcel.rows]
    return [
        [parcel.metadata for parcel in batch],
        [parcel.effects for parcel in batch],
        [parcel.answer for parcel in batch],
        *(list(column) for column in zip(*facts, strict=True)),
        *([] for _ in range(0 if facts else 7)),
        *(list(column) for column in zip(*rows, strict=True)),
        *([] for _ in range(0 if rows else 7)),
    ]


def settle_arguments(batch: list[Parcel]) -> list[Any]:
    """The batch as the arrays of ``ledger.settle``: each command by its first fact, or its key."""
    return [
        [parcel.command for parcel in batch],
        [parcel.facts[0][0] if parcel.facts else None for parcel in batch],
        [parcel.facts[0][1] if parcel.facts else None for parcel in batch],
        [parcel.key for parcel in batch],
    ]


def _facts(change: Change) -> list[tuple[Any, ...]]:
    return [
        (
            fact.originator_id,
            fact.originator_version,
            fact.TOPIC,
            fact.SCHEMA,
            written.subject,
            to_payload(fact, written.key).decode(),
        )
        for written in change.written
        for fact in written.facts
    ]


def _rows(change: Change) -> list[tuple[Any, ...]]:
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
