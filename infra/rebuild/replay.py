"""Rebuilding the state of an organisation, or of one entity, as it was at a position.

The events up to it are folded by the code that writes the views: into a schema of their own to be
looked at, or for one entity into temporary tables. Nothing that the service reads is touched.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.fields import JsonObject
from domain.reference.catalogue import ENTITIES, KINDS
from infra.encryption import KeyRing
from infra.ledger.positions import HEAD
from infra.rebuild.replay_receipt import replay_receipt, rows
from infra.rebuild.table_sets import discard, exists, schema_comment, set_schema_comment, view_names
from infra.replay.pipeline import Connection, Reprojector, connect_as_owner
from infra.replay.worker import workers
from infra.store.as_of import resolve_position
from services.audit.as_of import LedgerPosition
from services.ids import record_stream_id

__all__ = ["LedgerReplayer", "schema_name"]

ORGANISATION = "SELECT organisation FROM ledger.global_claims WHERE claim = 'organisation=' || $1"

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_NO_SLUG = re.compile(r"[^a-z0-9]+")
TEMPORARY = "pg_temp"


def schema_name(organisation: str, position: int) -> str:
    """The schema into which a replay goes unless another one is named."""
    return f"replay_{_NO_SLUG.sub('_', organisation.lower())[:36]}_{position}"


def _ignore(_: int) -> None:
    return None


class LedgerReplayer:
    """Replays the ledger of one organisation.

    Raises ``ValueError`` for an organisation, position, schema or entity that there is not, and
    naming an event that this build or key cannot read.
    """

    def __init__(self, url: str, ring: KeyRing, zone: ZoneInfo, name: str) -> None:
        """:param url: the database, for a role that owns the schema.
        :param name: the organisation's name or id.
        """
        self._url = url
        self._ring = ring
        self._zone = zone
        self._name = name

    async def whole(
        self,
        when: int | datetime | None = None,
        schema: str | None = None,
        *,
        total: Callable[[int], None] = _ignore,
        advance: Callable[[int], None] = _ignore,
    ) -> JsonObject:
        """Folds everything up to a position or time, the end unless it is given; the receipt.

        :param schema: where to; if it is there already it must be a replay of the organisation, and
            is made anew.
        """
        async with self._reader() as reader:
            organisation, moment = await self._moment(reader, when)
            schema = schema or schema_name(organisation, moment.position)
            total(moment.position)
            async with self._tables(schema, organisation) as writer:
                async with workers(self._ring, self._zone, moment.position) as working:
                    folder = Reprojector(reader, writer, working, advance, moment.position)
                    await folder.replay_organisation(organisation)
                found = await replay_receipt(writer, schema, organisation, moment, self._zone)
        return found

    async def entity(self, ref: str, when: int | datetime | None = None) -> JsonObject:
        """The rows of one entity (``kind/id``) by view, as they were then, and their receipt."""
        async with self._reader() as reader:
            organisation, moment = await self._moment(reader, when)
            stream = _stream(organisation, ref)
            async with (
                self._tables(TEMPORARY, organisation) as writer,
                workers(self._ring, self._zone, 0) as working,
            ):
                folder = Reprojector(reader, writer, working, _ignore, moment.position)
                await folder.replay_streams(organisation, [stream.bytes])
                proof = await replay_receipt(
                    writer, TEMPORARY, organisation, moment, self._zone, stream
                )
                if not proof["events"]["count"]:
                    raise ValueError(f"there is no {ref} at position {moment.position}")
                return {"entity": ref, "rows": await _rows(writer), "receipt": proof}

    async def _moment(
        self, connection: Connection, when: int | datetime | None
    ) -> tuple[str, LedgerPosition]:
        """The organisation's id, and the moment."""
        organisation = await connection.fetchval(ORGANISATION, self._name) or self._name
        head: int = await connection.fetchval(HEAD, organisation)
        if not head:
            raise ValueError(f"there is no organisation {self._name}")
        wanted = head if when is None else when
        moment = await resolve_position(connection.fetchval, organisation, wanted)
        if moment is None:
            raise ValueError(f"the ledger of {organisation} ends at position {head}")
        return organisation, moment

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[Connection]:
        connection = await connect_as_owner(self._url, by_key=True)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def _tables(self, schema: str, organisation: str) -> AsyncIterator[Connection]:
        """A connection whose search path begins with new, empty tables like those of the views."""
        if not _SCHEMA.fullmatch(schema):
            raise ValueError(f"{schema!r} is no name of a schema: small letters, digits and _")
        connection = await connect_as_owner(self._url, f"{schema}, pg_catalog, pg_temp")
        try:
            if schema != TEMPORARY:
                await _make(connection, schema, organisation)
            for view in await view_names(connection):
                await connection.execute(
                    f"CREATE TABLE {schema}.{view} (LIKE views.{view} INCLUDING ALL)"
                )
            yield connection
        finally:
            await connection.close()


async def _make(connection: Connection, schema: str, organisation: str) -> None:
    """Makes the schema, in place of an earlier replay of the organisation but of nothing else."""
    says = f"crmledger replay of {organisation}"
    if await exists(connection, schema):
        if await schema_comment(connection, schema) != says:
            raise ValueError(f"the schema {schema} is no replay of {organisation}; name another")
        await discard(connection, schema)
    await connection.execute(f"CREATE SCHEMA {schema}")
    await set_schema_comment(connection, schema, says)


def _stream(organisation: str, ref: str) -> UUID:
    """The stream of an entity."""
    kind, _, id_ = ref.partition("/")
    if kind in KINDS:
        return record_stream_id(organisation, kind, id_)
    try:
        if kind in ENTITIES:
            return UUID(id_)
    except ValueError:
        pass
    raise ValueError(f"{ref!r} is no entity: KIND/ID, as contact_information/0198...")


async def _rows(connection: Connection) -> JsonObject:
    """All rows, by view, of views that have any."""
    async with connection.transaction(readonly=True):
        found = {
            view: [row async for row in rows(connection, TEMPORARY, view)]
            for view in await view_names(connection)
        }
    return {view: held for view, held in found.items() if held}
