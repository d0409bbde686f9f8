"""The ledger on PostgreSQL: the implementation of `services.ports.Ledger`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import orjson

from domain.fields import Values
from domain.reference_entities import KINDS
from infra.batching import WAITING
from infra.ledger.append import Appender
from infra.ledger.cipher import KeyRing
from infra.ledger.load import Loader
from infra.ledger.numbers import Numbers
from infra.ledger.questions import Questions
from infra.postgres import Lanes
from infra.schema.migrate import available
from infra.views.reading import Reader
from services.ports import Change, Found, Loaded, Question, Select, Told, Verdict

__all__ = ["PostgresLedger"]

HOLDER = "SELECT organisation, entity FROM ledger.world_claims WHERE claim = $1"
VERIFIER = """
SELECT verifier FROM ledger.secrets WHERE organisation = $1 AND owner = $2 AND name = $3
"""
COMPACT = "SELECT document FROM views.entities WHERE organisation = $1 AND ref = $2"
PHOTO = "SELECT content, mime_type FROM ledger.photos WHERE organisation = $1 AND id = $2"
FIRST = "SELECT event_hash FROM ledger.events WHERE organisation = $1 AND position = 1"
FORGET = "SELECT ledger.forget_answers($1)"
VERSIONS = "SELECT version, checksum FROM schema_migrations"
RECORDS = """
SELECT id, retired, document FROM views.records
 WHERE organisation = $1 AND kind = $2 AND ($3::text IS NULL OR id = $3)
 ORDER BY id LIMIT $4 OFFSET $5
"""


async def _forget(connection: asyncpg.Connection, *, organisation: str) -> None:
    await connection.execute(FORGET, organisation)


class PostgresLedger:
    """One process's way to the database: ``reads`` for questions, ``writes`` for appends."""

    def __init__(
        self, reads: Lanes, writes: Lanes, ring: KeyRing, zone: ZoneInfo, *, waiting: int = WAITING
    ) -> None:
        """:param waiting: how many calls may wait; those beyond are turned away at once."""
        self._reads = reads
        self._writes = writes
        self._ring = ring
        self._questions = Questions(reads, zone, waiting=waiting)
        self._loader = Loader(reads, ring)
        self._reader = Reader(reads)
        self._numbers = Numbers(reads)
        self._appender = Appender(writes, waiting=waiting)
        self._names: dict[str, str] = {}

    async def organisation(self, name: str, *, fresh: bool = False) -> str | None:
        """The id of the organisation that has that name, or had it when it was last looked up."""
        if fresh or name not in self._names:
            holder = await self.holder(f"organisation={name.strip()}")
            if holder is None:
                self._names.pop(name, None)
                return None
            self._names[name] = holder[0]
        return self._names[name]

    async def holder(self, claim: str) -> tuple[str, str] | None:
        """Who holds a claim over all organisations: organisation and ``kind/id``."""
        row = await self._reads.read(lambda connection: connection.fetchrow(HOLDER, claim))
        return (row["organisation"], row["entity"]) if row else None

    async def ask(self, organisation: str, question: Question) -> Told:
        """Answers what a call must know."""
        return await self._questions.ask(organisation, question)

    async def load(
        self,
        organisation: str,
        streams: Sequence[UUID],
        subjects: Sequence[UUID] = (),
        refs: Sequence[str] = (),
    ) -> Loaded:
        """Loads aggregates with their contacts' keys, further contacts' keys, and compacts."""
        return await self._loader.load(organisation, streams, subjects, refs)

    async def numbers(self, organisation: str, names: Sequence[str]) -> dict[str, int]:
        """One unused number of each sequence."""
        return await self._numbers.take(organisation, names)

    def return_numbers(self, organisation: str, numbers: Mapping[str, int]) -> None:
        """Takes back numbers that no fact has used."""
        self._numbers.give_back(organisation, numbers)

    async def append(self, organisation: str, change: Change) -> Verdict:
        """Writes one command; it is durable when this returns ``WRITTEN``."""
        return await self._appender.append(organisation, change)

    async def select(self, organisation: str, select: Select) -> Found:
        """Reads documents of a view."""
        return await self._reader.select(organisation, select)

    async def compact(self, organisation: str, ref: str) -> bytes | None:
        """One stored compact object."""
        found: bytes | None = await self._reads.read(
            lambda connection: connection.fetchval(COMPACT, organisation, ref)
        )
        return found

    async def records(
        self, organisation: str, kind: str, id_: str | None, limit: int, offset: int
    ) -> list[Values]:
        """Registered records of a kind in the order of their ids, as they are registered."""
        rows = await self._reads.read(
            lambda connection: connection.fetch(RECORDS, organisation, kind, id_, limit, offset)
        )
        return [
            {"id": row["id"], "retired": row["retired"]}
            | KINDS[kind].written(orjson.loads(row["document"]))
            for row in rows
        ]

    async def first_hash(self, organisation: str) -> str:
        """The hash of an organisation's first fact, in hex: no other ledger has it."""
        found: bytes | None = await self._reads.read(
            lambda connection: connection.fetchval(FIRST, organisation)
        )
        return found.hex() if found else ""

    async def secret(self, organisation: str, owner: str, name: str) -> str | None:
        """The verifier of a secret."""
        found: str | None = await self._reads.read(
            lambda connection: connection.fetchval(VERIFIER, organisation, owner, name)
        )
        return found

    async def photo(self, organisation: str, photo_id: str) -> tuple[bytes, str] | None:
        """The bytes and mime type of a current profile photo."""
        row = await self._reads.read(
            lambda connection: connection.fetchrow(PHOTO, organisation, photo_id)
        )
        return (row["content"], row["mime_type"]) if row else None

    async def problems(self) -> list[str]:
        """What keeps this process from answering: a schema that is not this build's."""
        rows = await self._reads.read(lambda connection: connection.fetch(VERSIONS))
        applied = {(row["version"], row["checksum"]) for row in rows}
        wanted = {(migration.version, migration.checksum) for migration in available()}
        return ["schema"] if applied != wanted else []

    def new_key(self) -> tuple[bytes, str]:
        """A new contact's key: itself, and wrapped for storage as base64 text."""
        return self._ring.new()

    async def forget_answers(self) -> None:
        """Drops answers older than 24 hours, in the organisations that this process has served."""
        for organisation in self._questions.organisations():
            await self._reads.read(partial(_forget, organisation=organisation))

    async def drain(self) -> None:
        """Waits until all changes are decided."""
        await self._appender.drain()

    async def close(self) -> None:
        """Closes the connections."""
        await self._reads.close()
        await self._writes.close()
