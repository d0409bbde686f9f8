"""Rebuilding the state of an organisation, or of one entity, as it was at a position.

The events up to it are replayed by the code that writes the views: into a schema of their own, or for
one entity into temporary tables. Nothing that the service reads is changed.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.fields import JsonObject
from domain.identifiers import normalised
from domain.reference.catalogue import ENTITIES, KINDS
from infra.encryption import KeyRing
from infra.ledger.positions import HEAD
from infra.rebuild.replay_receipt import ordered_rows, replay_receipt
from infra.rebuild.table_sets import (
    drop_schema,
    schema_comment,
    schema_exists,
    set_schema_comment,
    view_names,
)
from infra.replay.pipeline import Connection, Reprojector, connect_as_owner
from infra.replay.worker import open_replay_pool
from infra.store.as_of import resolve_position
from services.audit.as_of import LedgerPosition
from services.ids import record_stream_id

__all__ = ["LedgerReplayer", "schema_name"]

ORGANISATION = "SELECT organisation FROM ledger.global_claims WHERE claim = 'organisation=' || $1"

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_NOT_IN_SLUG = re.compile(r"[^a-z0-9]+")
TEMPORARY = "pg_temp"


def schema_name(organisation: str, position: int) -> str:
    """Return the schema into which a replay goes unless another one is named."""
    return f"replay_{_NOT_IN_SLUG.sub('_', organisation.lower())[:36]}_{position}"


def _ignore(_: int) -> None:
    return None


class LedgerReplayer:
    """Replays the ledger of one organisation.

    Raises ``ValueError`` for an unknown organisation, position, schema or entity, and one naming an event that this build or key cannot read.
    """

    def __init__(self, url: str, ring: KeyRing, zone: ZoneInfo, name: str) -> None:
        """:param url: the database, for a role that owns the schema.
        :param name: the organisation's name or id.
        """
        self._url = url
        self._ring = ring
        self._zone = zone
        self._name = name

    async def replay_organisation(
        self,
        when: int | datetime | None = None,
        schema: str | None = None,
        *,
        total: Callable[[int], None] = _ignore,
        advance: Callable[[int], None] = _ignore,
    ) -> JsonObject:
        """Replay everything up to a position or time, by default the end; return the receipt.

        :param schema: the schema to create; one that exists already must be a replay of the
            organisation, and is replaced.
        """
        async with self._open_reader() as reader:
            organisation, moment = await self._resolve(reader, when)
            schema = schema or schema_name(organisation, moment.position)
            total(moment.position)
            async with self._open_tables(schema, organisation) as writer:
                async with open_replay_pool(self._ring, self._zone, moment.position) as pool:
                    reprojector = Reprojector(reader, writer, pool, advance, moment.position)
                    await reprojector.replay_organisation(organisation)
                receipt = await replay_receipt(writer, schema, organisation, moment, self._zone)
        return receipt

    async def replay_entity(self, ref: str, when: int | datetime | None = None) -> JsonObject:
        """Return the rows of one entity (``kind/id``) by view, as they were then, and their receipt."""
        async with self._open_reader() as reader:
            organisation, moment = await self._resolve(reader, when)
            stream = _stream_id(organisation, ref)
            async with (
                self._open_tables(TEMPORARY, organisation) as writer,
                open_replay_pool(self._ring, self._zone, 0) as pool,
            ):
                reprojector = Reprojector(reader, writer, pool, _ignore, moment.position)
                await reprojector.replay_streams(organisation, [stream.bytes])
                receipt = await replay_receipt(
                    writer, TEMPORARY, organisation, moment, self._zone, stream
                )
                if not receipt["events"]["count"]:
                    raise ValueError(f"there is no {ref} at position {moment.position}")
                return {"entity": ref, "rows": await _load_rows(writer), "receipt": receipt}

    async def _resolve(
        self, connection: Connection, when: int | datetime | None
    ) -> tuple[str, LedgerPosition]:
        """Return the organisation's id and the position."""
        organisation = (
            await connection.fetchval(ORGANISATION, normalised("name", self._name)) or self._name
        )
        head: int = await connection.fetchval(HEAD, organisation)
        if not head:
            raise ValueError(f"there is no organisation {self._name}")
        target = head if when is None else when
        moment = await resolve_position(connection.fetchval, organisation, target)
        if moment is None:
            raise ValueError(f"the ledger of {organisation} ends at position {head}")
        return organisation, moment

    @asynccontextmanager
    async def _open_reader(self) -> AsyncIterator[Connection]:
        connection = await connect_as_owner(self._url, by_key=True)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def _open_tables(self, schema: str, organisation: str) -> AsyncIterator[Connection]:
        """Open a connection whose search path begins with new, empty tables like those of the views."""
        if not _SCHEMA.fullmatch(schema):
            raise ValueError(f"{schema!r} is no name of a schema: small letters, digits and _")
        connection = await connect_as_owner(self._url, f"{schema}, pg_catalog, pg_temp")
        try:
            if schema != TEMPORARY:
                await _create_schema(connection, schema, organisation)
            for view in await view_names(connection):
                await connection.execute(
                    f"CREATE TABLE {schema}.{view} (LIKE views.{view} INCLUDING ALL)"
                )
            yield connection
        finally:
            await connection.close()


async def _create_schema(connection: Connection, schema: str, organisation: str) -> None:
    """Create the schema. It may replace an earlier replay of the organisation, but nothing else."""
    comment = f"crmledger replay of {organisation}"
    if await schema_exists(connection, schema):
        if await schema_comment(connection, schema) != comment:
            raise ValueError(f"the schema {schema} is no replay of {organisation}; name another")
        await drop_schema(connection, schema)
    await connection.execute(f"CREATE SCHEMA {schema}")
    await set_schema_comment(connection, schema, comment)


def _stream_id(organisation: str, ref: str) -> UUID:
    """Return the id of an entity's stream."""
    kind, _, id_ = ref.partition("/")
    if kind in KINDS:
        return record_stream_id(organisation, kind, id_)
    try:
        if kind in ENTITIES:
            return UUID(id_)
    except ValueError:
        pass
    raise ValueError(f"{ref!r} is no entity: KIND/ID, as contact_information/0198...")


async def _load_rows(connection: Connection) -> JsonObject:
    """Return all rows by view, without the views that have none."""
    async with connection.transaction(readonly=True):
        rows_by_view = {
            view: [row async for row in ordered_rows(connection, TEMPORARY, view)]
            for view in await view_names(connection)
        }
    return {view: view_rows for view, view_rows in rows_by_view.items() if view_rows}
