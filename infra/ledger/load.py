"""Loading what commands decide on: facts, contacts' keys, compact objects, in one statement."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from infra.batching import Batcher
from infra.ledger.cipher import KeyRing
from infra.ledger.mapper import ERASED, StoredFact, replayed
from infra.postgres import Lanes
from infra.views.reading import COLUMNS, closure, customer_refs
from services.ids import id_text
from services.ports import Customer, Loaded

__all__ = ["Loader"]

log = structlog.get_logger(__name__)

OWN = " UNION ALL ".join(
    f"(SELECT refs FROM views.{view} v WHERE v.organisation = $1 AND v.id = s.id LIMIT 1)"  # noqa: S608
    for view in COLUMNS
)
LOAD = f"""
WITH RECURSIVE facts AS (
    SELECT * FROM ledger.events WHERE organisation = $1 AND stream_id = ANY ($3::uuid[])
), streams (id) AS (
    SELECT upper(replace(w.stream::text, '-', '')) FROM unnest($3::uuid[]) AS w (stream)
), page (refs) AS (
    SELECT $5::text[]
    UNION ALL
    SELECT o.refs FROM streams s, LATERAL ({OWN}) AS o
), followed (id, code, created) AS (
    SELECT c.*
      FROM (SELECT id FROM streams UNION
            SELECT substr(w.ref, 12) FROM unnest($5::text[]) AS w (ref) WHERE starts_with(w.ref, 'follow_ups/')) AS w,
           LATERAL (SELECT id, code, created FROM views.communications c
                     WHERE c.organisation = $1 AND c.id = w.id LIMIT 1) AS c
), {closure("followed")}
SELECT 'fact' AS what, stream_id AS stream, version, topic AS ref, schema_version AS schema, subject,
       payload AS document, metadata, NULL::bytea AS key
  FROM facts
UNION ALL
SELECT 'key', NULL, NULL, NULL, NULL, w.subject, NULL, NULL,
       CASE WHEN f.subject IS NULL THEN k.wrapped ELSE '' END
  FROM unnest($4::uuid[] || ARRAY(SELECT DISTINCT subject FROM facts WHERE subject IS NOT NULL)) AS w (subject)
  LEFT JOIN LATERAL (SELECT wrapped FROM ledger.personal_keys k
                      WHERE k.organisation = $1 AND k.subject = w.subject LIMIT 1) AS k ON true
  LEFT JOIN LATERAL (SELECT subject FROM ledger.forgotten f
                      WHERE f.organisation = $1 AND f.subject = w.subject LIMIT 1) AS f ON true
UNION ALL
SELECT 'shown', NULL, NULL, ref, NULL, NULL, document, NULL, NULL FROM shown
"""  # noqa: S608 (constants only)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one command wants loaded."""

    streams: tuple[UUID, ...]
    subjects: tuple[UUID, ...]
    refs: tuple[str, ...]
    forgotten: frozenset[UUID] = frozenset()


class Loader:
    """Loads aggregates by replaying their facts, and what belongs to them."""

    def __init__(self, lanes: Lanes, ring: KeyRing) -> None:
        self._lanes = lanes
        self._ring = ring
        self._batcher: Batcher[Wanted, Loaded] = Batcher(self._load, places=lanes.count, most=64)

    async def load(
        self,
        organisation: str,
        streams: Sequence[UUID],
        subjects: Sequence[UUID],
        refs: Sequence[str],
        customer: Customer | None = None,
        forgotten: Collection[UUID] = (),
    ) -> Loaded:
        """Aggregates with their contacts' keys, and the compact objects that they and ``refs`` show.

        Raises ``ValueError`` if a fact cannot be read: this build or key is not the right one.
        """
        wanted = Wanted(tuple(streams), tuple(subjects), tuple(refs), frozenset(forgotten))
        return await self._batcher.submit((organisation, customer), wanted)

    async def _load(self, key: Any, wanted: list[Wanted]) -> list[Loaded | BaseException]:
        organisation, customer = key
        streams = list({stream for w in wanted for stream in w.streams})
        subjects = list({subject for w in wanted for subject in w.subjects})
        refs = list({ref for w in wanted for ref in w.refs})
        rows = await self._lanes.read(
            lambda connection: connection.fetch(
                LOAD, organisation, customer_refs(customer), streams, subjects, refs
            )
        )
        facts: dict[UUID, list[StoredFact]] = {}
        keys: dict[UUID, bytes] = {}
        shown = {ref: b"[]" for ref in refs if ref.startswith("follow_ups/")}
        shown |= {f"follow_ups/{id_text(stream)}": b"[]" for stream in streams}
        for row in rows:
            if row["what"] == "fact":
                facts.setdefault(UUID(bytes=row["stream"].bytes), []).append(_stored(row))
            elif row["what"] == "key":
                keys |= self._unwrapped(row)
            else:
                shown[row["ref"]] = row["document"]
        for stored in facts.values():
            stored.sort(key=lambda fact: fact.version)
        return [_loaded(w, facts, keys, shown) for w in wanted]

    def _unwrapped(self, row: asyncpg.Record) -> dict[UUID, bytes]:
        """One contact's key; nothing where there is none, or another service key has wrapped it."""
        if not row["key"]:
            return {} if row["key"] is None else {UUID(bytes=row["subject"].bytes): ERASED}
        try:
            return {UUID(bytes=row["subject"].bytes): self._ring.unwrap(row["key"])}
        except ValueError:
            log.exception("load.key", subject=str(row["subject"]))
            return {}


def _loaded(
    wanted: Wanted,
    facts: dict[UUID, list[StoredFact]],
    keys: dict[UUID, bytes],
    shown: dict[str, bytes],
) -> Loaded | BaseException:
    """Each command has aggregates of its own, which it may change, and its own failure."""
    keys = keys | dict.fromkeys(wanted.forgotten, ERASED)
    try:
        found = {s: replayed(facts[s], keys) for s in wanted.streams if s in facts}
    except Exception as error:
        return error
    return Loaded(found, dict(keys), dict(shown))


def _stored(row: asyncpg.Record) -> StoredFact:
    subject = row["subject"]
    return StoredFact(
        stream=UUID(bytes=row["stream"].bytes),
        version=row["version"],
        topic=row["ref"],
        schema=row["schema"],
        subject=UUID(bytes=subject.bytes) if subject else None,
        payload=row["document"],
        metadata=row["metadata"],
    )
