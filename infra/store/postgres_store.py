"""The ledger on PostgreSQL: the implementation of `services.ports.Store`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import orjson
import structlog

from domain.fields import JsonObject
from domain.identifiers import normalised
from domain.reference.catalogue import KINDS
from infra.batcher import QUEUE_LIMIT
from infra.encryption import KeyRing
from infra.ledger.group_commit import GroupCommitter
from infra.ledger.sequences import SequenceAllocator
from infra.postgres.notify import AppendNotifier
from infra.postgres.pool import ConnectionPool
from infra.schema.migrate import is_current
from infra.store.aggregate_loader import AggregateLoader
from infra.store.context_loader import ContextLoader
from infra.store.credentials import CredentialStore
from infra.store.erasure_certificate import read_certificate
from infra.store.photos import PostgresPhotos
from infra.store.related_entities import RelatedEntities
from infra.views.queries import ViewReader
from infra.views.replica import Replica
from services.context import (
    CallContext,
    ConsumerScope,
    ContextQuery,
    LoadResult,
    QueryResult,
    ViewQuery,
)
from services.ports import AppendResult, Commit
from services.projection_versions import VERSION
from services.reference_cache import ReferenceCache
from services.side_effects import CountNotices

__all__ = ["PostgresStore"]

log = structlog.get_logger(__name__)

HOLDER = """
SELECT organisation, entity FROM ledger.global_claims
 WHERE claim = ANY ($1) ORDER BY array_position($1, claim) LIMIT 1
"""
HEAD = """
SELECT position, recorded_at FROM ledger.events
 WHERE organisation = $1 ORDER BY position DESC LIMIT 1
"""
FIRST = "SELECT event_hash FROM ledger.events WHERE organisation = $1 AND position = 1"
FORGET = "SELECT ledger.purge_expired($1)"
VIEW_VERSION = (
    "SELECT sum(version)::integer FROM ledger.view_versions WHERE starts_with(view, 'views.')"
)
SESSIONS = """
SELECT id, user_id, unit_id, expires_at, access_token, account, contact FROM views.sessions
 WHERE organisation = $1 AND NOT released AND expires_at > extract(epoch FROM clock_timestamp())
   AND ($2::text IS NULL OR user_id = $2)
   AND NOT views.has_epoch_passed($1, json_build_object('user/' || user_id, user_epoch))
   AND (customer_epochs IS NULL OR NOT views.has_epoch_passed($1, customer_epochs))
 ORDER BY created DESC LIMIT $3 OFFSET $4
"""
RECORD = """
SELECT id, retired, document FROM views.records WHERE organisation = $1 AND kind = $2 AND id = $3
"""
RECORDS = """
SELECT id, retired, document FROM views.records
 WHERE organisation = $1 AND kind = $2 ORDER BY id LIMIT $3 OFFSET $4
"""
ROWS_HELD = 250
"""Rows of a list that are in memory at once."""


def _record_json(kind: str, row: asyncpg.Record) -> JsonObject:
    document = KINDS[kind].to_input(orjson.loads(row["document"]))
    return {"id": row["id"], "retired": row["retired"]} | document


async def _forget(connection: asyncpg.Connection, *, organisation: str) -> None:
    await connection.execute(FORGET, organisation)


class PostgresStore(CredentialStore, PostgresPhotos, RelatedEntities):
    """One process's way to the database: ``reads`` for questions, ``writes`` for appends."""

    def __init__(
        self,
        reads: ConnectionPool,
        writes: ConnectionPool,
        streams: ConnectionPool,
        ring: KeyRing,
        zone: ZoneInfo,
        *,
        replica: Replica | None = None,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        """:param streams: connections for long lists.
        :param replica: is asked for what may be a little old.
        :param queue_limit: how many calls may wait; those beyond are turned away at once.
        """
        super().__init__(reads)
        self._writes = writes
        self._streams = streams
        self._replica = replica
        self._ring = ring
        self.zone = zone
        self._context_loader = ContextLoader(reads, ring, zone, queue_limit=queue_limit)
        self._loader = AggregateLoader(reads, ring)
        self._reader = ViewReader(reads, streams)
        self._numbers = SequenceAllocator(reads)
        self._committer = GroupCommitter(writes, ring, queue_limit=queue_limit)
        self._notifier = AppendNotifier(reads)
        self._names: dict[str, str] = {}

    async def organisation(self, name: str, *, fresh: bool = False) -> str | None:
        """The id of the organisation that has that name, or had it when it was last looked up."""
        # Whoever adds blanks to a name must not add an entry.
        name = normalised("name", name)
        if fresh or name not in self._names:
            holder = await self.claim_holder(f"organisation={name}")
            if holder is None:
                self._names.pop(name, None)
                return None
            self._names[name] = holder[0]
        return self._names[name]

    async def claim_holder(self, *claims: str) -> tuple[str, str] | None:
        """Return the holder of one of these claims over all organisations: organisation and ``kind/id``."""
        row = await self._reads.read(lambda connection: connection.fetchrow(HOLDER, claims))
        return (row["organisation"], row["entity"]) if row else None

    async def load_context(self, organisation: str, question: ContextQuery) -> CallContext:
        """Answers what a call must know."""
        return await self._context_loader.load(organisation, question)

    async def load(
        self,
        organisation: str,
        streams: Sequence[UUID],
        data_subjects: Sequence[UUID] = (),
        refs: Sequence[str] = (),
        customer: ConsumerScope | None = None,
        erased: Collection[UUID] = (),
    ) -> LoadResult:
        """Loads aggregates with their contacts' keys, further contacts' keys, and compacts."""
        return await self._loader.load(organisation, streams, data_subjects, refs, customer, erased)

    async def allocate_numbers(
        self, organisation: str, names: Sequence[str]
    ) -> dict[str, list[int]]:
        """Unused numbers: for each time that a sequence is named, one of it."""
        return await self._numbers.allocate(organisation, names)

    def release_numbers(self, organisation: str, numbers: Mapping[str, Sequence[int]]) -> None:
        """Takes back numbers that no event has used."""
        self._numbers.release(organisation, numbers)

    async def append(self, organisation: str, change: Commit) -> AppendResult:
        """Writes one command; it is durable when this returns ``WRITTEN``."""
        if change.answer is not None and change.key is not None:
            change.answer = self._ring.encrypt_response(change.answer, change.key)
        verdict = await self._committer.append(organisation, change)
        if verdict.name == "WRITTEN":
            self._notifier.notify()
        elif verdict.detail == CountNotices.KIND:
            log.warning("notices.limited", organisation=organisation)
        return verdict

    async def select(self, organisation: str, select: ViewQuery) -> QueryResult:
        """Reads documents of a view."""
        if self._replica is not None and select.staleness is not None:
            result = await self._replica.select(organisation, select)
            if result is not None:
                return result
        return await self._reader.select(organisation, select)

    def stream(
        self, organisation: str, query: ViewQuery, page_size: int
    ) -> AsyncGenerator[QueryResult, None]:
        """Yield the documents of a list, page by page, from where its beginning was read."""
        from_replica = query.staleness is not None and query.staleness.seconds is not None
        source = self._replica if self._replica is not None and from_replica else self._reader
        return source.stream(organisation, query, page_size)

    async def compact(self, organisation: str, ref: str) -> bytes | None:
        """One stored compact object."""
        return await self._reader.compact(organisation, ref)

    async def record(self, organisation: str, kind: str, id_: str) -> JsonObject | None:
        """Return a registered record as it is registered; None if there is none."""
        row = await self._reads.read(
            lambda connection: connection.fetchrow(RECORD, organisation, kind, id_)
        )
        return _record_json(kind, row) if row else None

    def records(
        self, organisation: str, kind: str, limit: int | None = None, offset: int = 0
    ) -> AsyncGenerator[JsonObject, None]:
        """Yield the registered records of a kind in the order of their ids."""
        render = partial(_record_json, kind)
        return self._stream_rows(render, RECORDS, organisation, kind, limit, offset)

    def sessions(
        self,
        directory: ReferenceCache,
        limit: int | None = None,
        offset: int = 0,
        *,
        user: str | None = None,
    ) -> AsyncGenerator[JsonObject, None]:
        """Yield the sessions of an organisation, or of its user with an id, that can still be used, newest first."""

        def render(row: asyncpg.Record) -> JsonObject:
            username = directory.fields("user", row["user_id"]).get("username")
            return dict(row) | {"username": username}

        return self._stream_rows(render, SESSIONS, directory.organisation, user, limit, offset)

    async def _stream_rows(
        self, render: Callable[[asyncpg.Record], JsonObject], sql: str, *values: Any
    ) -> AsyncGenerator[JsonObject, None]:
        """Yield the rows of one snapshot, of which few are held in memory."""
        async with self._streams.snapshot() as connection:
            async for row in connection.cursor(sql, *values, prefetch=ROWS_HELD):
                yield render(row)

    async def head(self, organisation: str) -> tuple[int, datetime | None]:
        """The last position of a ledger and when it was recorded; 0 and None if it is empty."""
        row = await self._reads.read(lambda connection: connection.fetchrow(HEAD, organisation))
        return (row["position"], row["recorded_at"]) if row else (0, None)

    async def certificate(self, organisation: str, contact: UUID) -> JsonObject:
        """Return the certificate of an erased contact. Raises `EntityNotFound` for another one."""
        return await read_certificate(self._reads, organisation, contact)

    async def first_hash(self, organisation: str) -> str:
        """The hash of an organisation's first event, in hex: no other ledger has it."""
        event_hash: bytes | None = await self._reads.read(
            lambda connection: connection.fetchval(FIRST, organisation)
        )
        return event_hash.hex() if event_hash else ""

    async def readiness_problems(self) -> list[str]:
        """Return the reasons why this process cannot answer: another build's schema, newer views."""
        current = await self._reads.read(is_current)
        written = await self._reads.read(lambda connection: connection.fetchval(VIEW_VERSION))
        return ["schema"] * (not current) + ["views"] * (written > VERSION)

    def new_key(self) -> tuple[bytes, str]:
        """A new contact's key: itself, and wrapped for storage as base64 text."""
        return self._ring.new()

    async def purge_responses(self) -> None:
        """Drops answers older than 24 hours, in the organisations that this process has served."""
        for organisation in ("", *self._context_loader.organisations()):
            await self._reads.read(partial(_forget, organisation=organisation))

    async def drain(self) -> None:
        """Waits until all changes are decided."""
        await self._committer.drain()

    async def close(self) -> None:
        """Close the connections."""
        await self._notifier.close()
        for pool in (self._reads, self._writes, self._streams):
            await pool.close()
        if self._replica is not None:
            await self._replica.close()
