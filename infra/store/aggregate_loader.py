"""Loading what commands decide on: events, contacts' keys, compact objects, in one statement."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from infra.batcher import Batcher
from infra.encryption import KeyRing
from infra.ledger.mapper import DESTROYED_KEY, StoredEvent, replay
from infra.postgres.pool import ConnectionPool
from infra.views.queries import COLUMNS, customer_refs, reference_closure
from services.context import ConsumerScope, LoadRequest, LoadResult
from services.ids import format_id

__all__ = ["SHOWN", "UNION", "AggregateLoader", "load_expressions", "split_by_request"]

log = structlog.get_logger(__name__)

UNION = " UNION ALL "
OWN = UNION.join(
    f"(SELECT refs FROM views.{view} v WHERE v.organisation = $1 AND v.id = s.id LIMIT 1)"  # noqa: S608
    for view in COLUMNS
)
LOADING = f"""
events AS (
    SELECT * FROM ledger.events WHERE organisation = $1 AND stream_id = ANY ({{streams}})
), streams (id) AS (
    SELECT upper(replace(w.stream::text, '-', '')) FROM unnest({{streams}}) AS w (stream)
), page (refs) AS (
    SELECT {{refs}}
    UNION ALL
    SELECT o.refs FROM streams s, LATERAL ({OWN}) AS o
), followed (id, code, created) AS (
    SELECT c.*
      FROM (SELECT id FROM streams UNION
            SELECT substr(w.ref, 12) FROM unnest({{refs}}) AS w (ref) WHERE starts_with(w.ref, 'follow_ups/')) AS w,
           LATERAL (SELECT id, code, created FROM views.communications c
                     WHERE c.organisation = $1 AND c.id = w.id LIMIT 1) AS c
), {{closure}}"""  # noqa: S608 (constants only)
SHOWN = """
SELECT 'shown', NULL, ref, NULL, NULL, NULL, convert_to(document::text, 'UTF8'), NULL, NULL, NULL FROM shown
"""
LOADED = """
SELECT 'event' AS what, version::bigint AS n, topic AS a, stream_id::text AS b, schema_version::bigint AS c,
       NULL::boolean AS d, convert_to(payload::text, 'UTF8') AS e, NULL::timestamptz AS moment,
       subject::text AS f, metadata::text AS g
  FROM events
UNION ALL
SELECT 'key', NULL, w.subject::text, NULL, NULL, NULL, CASE WHEN f.subject IS NULL THEN k.wrapped ELSE '' END,
       NULL, NULL, NULL
  FROM unnest({subjects} || ARRAY(SELECT DISTINCT subject FROM events WHERE subject IS NOT NULL)) AS w (subject)
  LEFT JOIN LATERAL (SELECT wrapped FROM ledger.personal_keys k
                      WHERE k.organisation = $1 AND k.subject = w.subject LIMIT 1) AS k ON true
  LEFT JOIN LATERAL (SELECT subject FROM ledger.forgotten f
                      WHERE f.organisation = $1 AND f.subject = w.subject LIMIT 1) AS f ON true
"""


def load_expressions(streams: str, subjects: str, refs: str, customer: str) -> tuple[str, str]:
    """Common table expressions that load what commands want, and selects of the rows in which it comes.

    Each is given by an expression that is an array; the rows have the columns of `infra.ledger.asking`.
    """
    tables = LOADING.format(
        streams=streams, refs=refs, closure=reference_closure("followed", customer)
    )
    return tables, UNION.join((LOADED.format(subjects=subjects), SHOWN))


LOAD = "WITH RECURSIVE {}{}".format(
    *load_expressions("$3::uuid[]", "$4::uuid[]", "$5::text[]", "$2")
)


class AggregateLoader:
    """Loads aggregates by replaying their events, and what belongs to them."""

    def __init__(self, lanes: ConnectionPool, ring: KeyRing) -> None:
        self._lanes = lanes
        self._ring = ring
        self._batcher: Batcher[LoadRequest, LoadResult] = Batcher(
            self._load, concurrency=lanes.size, max_batch=64
        )

    async def load(
        self,
        organisation: str,
        streams: Sequence[UUID],
        data_subjects: Sequence[UUID],
        refs: Sequence[str],
        customer: ConsumerScope | None = None,
        erased: Collection[UUID] = (),
    ) -> LoadResult:
        """Aggregates with their contacts' keys, and the compact objects that they and ``refs`` show.

        Raises ``ValueError`` if an event cannot be read: this build or key is not the right one.
        """
        wanted = LoadRequest(tuple(streams), tuple(data_subjects), tuple(refs), frozenset(erased))
        return await self._batcher.submit((organisation, customer), wanted)

    async def _load(self, key: Any, wanted: list[LoadRequest]) -> list[LoadResult | BaseException]:
        organisation, customer = key
        rows = await self._lanes.read(
            lambda connection: connection.fetch(
                LOAD, organisation, customer_refs(customer), *_arrays(wanted)
            )
        )
        return split_by_request(self._ring, wanted, rows)


def _arrays(wanted: Sequence[LoadRequest]) -> list[list[Any]]:
    """The streams, contacts and references that commands want, each once."""
    return [
        list({stream for w in wanted for stream in w.streams}),
        list({subject for w in wanted for subject in w.data_subjects}),
        list({ref for w in wanted for ref in w.refs}),
    ]


def split_by_request(
    ring: KeyRing, wanted: Sequence[LoadRequest], rows: Iterable[asyncpg.Record]
) -> list[LoadResult | BaseException]:
    """What was loaded for each command: aggregates of its own, which it may change, or its own failure."""
    events: dict[UUID, list[StoredEvent]] = {}
    keys: dict[UUID, bytes] = {}
    shown = {f"follow_ups/{format_id(stream)}": b"[]" for w in wanted for stream in w.streams}
    shown |= {ref: b"[]" for w in wanted for ref in w.refs if ref.startswith("follow_ups/")}
    for row in rows:
        if row["what"] == "event":
            events.setdefault(UUID(row["b"]), []).append(_stored(row))
        elif row["what"] == "key":
            keys |= _unwrapped(ring, row)
        elif row["what"] == "shown":
            shown[row["a"]] = row["e"]
    for stored in events.values():
        stored.sort(key=lambda event: event.version)
    return [_loaded(w, events, keys, shown) for w in wanted]


def _unwrapped(ring: KeyRing, row: asyncpg.Record) -> dict[UUID, bytes]:
    """One contact's key; nothing where there is none, or another service key has wrapped it."""
    subject, wrapped = UUID(row["a"]), row["e"]
    if not wrapped:
        return {} if wrapped is None else {subject: DESTROYED_KEY}
    try:
        return {subject: ring.unwrap(wrapped)}
    except ValueError:
        log.exception("load.key", subject=str(subject))
        return {}


def _loaded(
    wanted: LoadRequest,
    events: dict[UUID, list[StoredEvent]],
    keys: dict[UUID, bytes],
    shown: dict[str, bytes],
) -> LoadResult | BaseException:
    keys = keys | dict.fromkeys(wanted.erased, DESTROYED_KEY)
    try:
        found = {s: replay(events[s], keys) for s in wanted.streams if s in events}
    except Exception as error:
        return error
    return LoadResult(found, dict(keys), dict(shown), wanted)


def _stored(row: asyncpg.Record) -> StoredEvent:
    return StoredEvent(
        stream=UUID(row["b"]),
        version=row["n"],
        topic=row["a"],
        schema=row["c"],
        subject=UUID(row["f"]) if row["f"] else None,
        payload=row["e"],
        metadata=row["g"].encode(),
    )
