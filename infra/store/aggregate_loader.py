"""Loading what commands decide on: events, contacts' keys, compact objects, in one statement."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from infra.batcher import Batcher
from infra.encryption import KeyRing
from infra.ledger.event_mac import UnauthenticEventError, require_authentic
from infra.ledger.mapper import DESTROYED_KEY, replay
from infra.ledger.stored_event import StoredEvent
from infra.observability.metrics import UNAUTHENTIC
from infra.postgres.pool import ConnectionPool
from infra.views.queries import COLUMNS, LIVE_SCHEMA, customer_refs, reference_closure
from services.context import ConsumerScope, LoadRequest, LoadResult
from services.ids import format_id

__all__ = ["COMPACTS", "AggregateLoader", "load_expressions", "split_by_request"]

log = structlog.get_logger(__name__)

OWN = " UNION ALL ".join(
    f"(SELECT refs FROM {{schema}}.{view} v WHERE v.organisation = $1 AND v.id = s.id LIMIT 1)"  # noqa: S608
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
           LATERAL (SELECT id, code, created FROM {{schema}}.communications c
                     WHERE c.organisation = $1 AND c.id = w.id LIMIT 1) AS c
), {{closure}}"""  # noqa: S608 (constants only)
COMPACTS = "ARRAY(SELECT ROW (ref, document)::ledger.document_row FROM shown) AS compacts"
LOADED = """
ARRAY(SELECT ROW (stream_id, version, topic, schema_version, subject, payload, metadata, mac)::ledger.event_row
        FROM events) AS events,
ARRAY(SELECT ROW (w.subject, CASE WHEN f.subject IS NULL THEN k.wrapped ELSE '' END)::ledger.key_row
        FROM unnest({subjects} || ARRAY(SELECT DISTINCT subject FROM events WHERE subject IS NOT NULL)) AS w (subject)
        LEFT JOIN LATERAL (SELECT wrapped FROM ledger.personal_keys k
                            WHERE k.organisation = $1 AND k.subject = w.subject LIMIT 1) AS k ON true
        LEFT JOIN LATERAL (SELECT subject FROM ledger.forgotten f
                            WHERE f.organisation = $1 AND f.subject = w.subject LIMIT 1) AS f ON true) AS keys,
"""


def load_expressions(
    streams: str, subjects: str, refs: str, customer: str, schema: str = LIVE_SCHEMA
) -> tuple[str, str]:
    """Common table expressions that load what commands decide on, and the columns that return it.

    These are ``events``, ``keys`` and ``compacts``, arrays of ``ledger.event_row``, ``ledger.key_row``
    and ``ledger.document_row``.

    :param streams: expression of an array: the aggregates. Likewise ``subjects``, contacts whose keys
        are wanted; ``refs``, compact objects; ``customer``, as of `reference_closure`.
    :param schema: where the views are read.
    """
    tables = LOADING.format(
        streams=streams,
        refs=refs,
        schema=schema,
        closure=reference_closure("followed", customer, schema),
    )
    return tables, LOADED.format(subjects=subjects) + COMPACTS


LOAD = "WITH RECURSIVE {} SELECT {}".format(
    *load_expressions("$3::uuid[]", "$4::uuid[]", "$5::text[]", "$2")
)


class AggregateLoader:
    """Loads aggregates by replaying their events, and what belongs to them."""

    def __init__(self, pool: ConnectionPool, ring: KeyRing) -> None:
        self._pool = pool
        self._ring = ring
        self._batcher: Batcher[LoadRequest, LoadResult] = Batcher(
            self._load, concurrency=pool.size, max_batch=64
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

        Raises ``ValueError`` if an event cannot be read or was not written with the service key.
        """
        request = LoadRequest(tuple(streams), tuple(data_subjects), tuple(refs), frozenset(erased))
        return await self._batcher.submit((organisation, customer), request)

    async def _load(
        self, key: Any, requests: list[LoadRequest]
    ) -> list[LoadResult | BaseException]:
        organisation, customer = key
        (row,) = await self._pool.read(
            lambda connection: connection.fetch(
                LOAD, organisation, customer_refs(customer), *_arrays(requests)
            )
        )
        return split_by_request(self._ring, organisation, requests, row)


def _arrays(requests: Sequence[LoadRequest]) -> list[list[Any]]:
    """The streams, contacts and references that commands want, each once."""
    return [
        list({stream for request in requests for stream in request.streams}),
        list({subject for request in requests for subject in request.data_subjects}),
        list({ref for request in requests for ref in request.refs}),
    ]


def split_by_request(
    ring: KeyRing, organisation: str, requests: Sequence[LoadRequest], row: asyncpg.Record
) -> list[LoadResult | BaseException]:
    """Return for each request what was loaded, or the failure of its own.

    Each gets aggregates of its own, which it may change.

    :param row: the columns of `load_expressions`.
    """
    events: dict[UUID, list[StoredEvent]] = {}
    keys: dict[UUID, bytes] = {}
    compacts = {f"follow_ups/{format_id(stream)}": b"[]" for r in requests for stream in r.streams}
    compacts |= {ref: b"[]" for r in requests for ref in r.refs if ref.startswith("follow_ups/")}
    for event in map(_stored_event, row["events"]):
        events.setdefault(event.stream, []).append(event)
    for key_row in row["keys"]:
        keys |= _unwrapped(ring, key_row)
    compacts.update(row["compacts"])
    for stored in events.values():
        stored.sort(key=lambda event: event.version)
    verify = partial(require_authentic, ring, organisation)
    return [_load_result(request, events, keys, compacts, verify) for request in requests]


def _unwrapped(ring: KeyRing, row: asyncpg.Record) -> dict[UUID, bytes]:
    """One contact's key; nothing if there is none, or another service key has wrapped it."""
    subject, wrapped = _uuid(row["subject"]), row["wrapped"]
    if not wrapped:
        return {} if wrapped is None else {subject: DESTROYED_KEY}
    try:
        return {subject: ring.unwrap(wrapped)}
    except ValueError:
        log.exception("load.key", subject=str(subject))
        return {}


def _load_result(
    request: LoadRequest,
    events: dict[UUID, list[StoredEvent]],
    keys: dict[UUID, bytes],
    compacts: dict[str, bytes],
    verify: Callable[[list[StoredEvent]], None],
) -> LoadResult | BaseException:
    keys = keys | dict.fromkeys(request.erased, DESTROYED_KEY)
    aggregates = {}
    try:
        for stream in request.streams:
            if stream in events:
                verify(events[stream])
                aggregates[stream] = replay(events[stream], keys)
    except UnauthenticEventError as error:
        UNAUTHENTIC.inc()
        return error
    except Exception as error:
        return error
    return LoadResult(aggregates, dict(keys), dict(compacts), request)


def _stored_event(row: asyncpg.Record) -> StoredEvent:
    return StoredEvent(
        stream=_uuid(row["stream"]),
        version=row["version"],
        topic=row["topic"],
        schema=row["schema"],
        subject=_uuid(row["subject"]) if row["subject"] else None,
        payload=row["payload"],
        metadata=row["metadata"],
        mac=row["mac"],
    )


def _uuid(value: UUID) -> UUID:
    """The same as Python's own class, which encoders of JSON know; asyncpg has a subclass of it."""
    return UUID(int=value.int)
