"""A replay to compare the past with: the service's own reads, on a database that holds only the
events up to a position."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from msgspec import structs

from domain.composite_fields import Reference
from domain.errors import Refusal
from domain.fields import Field, Level
from domain.reference.catalogue import ENTITIES
from domain.scalar_fields import Boolean, Enumeration, Integer, NonNegativeInteger
from infra.encryption import KeyRing
from infra.postgres.pool import ConnectionPool
from infra.replay.pipeline import Reprojector, connect_as_owner
from infra.replay.worker import workers
from infra.store.postgres_store import PostgresStore
from services.audit.access import AuthorizedReader
from services.audit.as_of import AsOf, LedgerPosition
from services.context import CallContext, ContextQuery, QueryResult, SessionRow, ViewQuery
from services.pipeline.method import Method
from services.pipeline.request import Request
from tests.service import Api
from tests.views_world import TABLES, connection, keys_of
from tests.world import UNIT, USER, rows

__all__ = ["Pool", "Replay", "pool", "replay"]

Json = dict[str, Any]
Parameters = dict[str, str]

COPIED = ("personal_keys", "forgotten", "events")


@dataclass
class Frozen:
    """A ledger whose clock stands still."""

    ledger: PostgresStore
    now: datetime

    async def load_context(self, organisation: str, question: ContextQuery) -> CallContext:
        return structs.replace(await self.ledger.load_context(organisation, question), now=self.now)

    async def select(self, organisation: str, select: ViewQuery) -> QueryResult:
        return await self.ledger.select(organisation, select)

    async def compact(self, organisation: str, ref: str) -> bytes | None:
        return await self.ledger.compact(organisation, ref)


class Unrecorded:
    """Records nothing."""

    async def record(self, admitted: AuthorizedReader, method: str, about: Json) -> None:
        pass


@dataclass
class Replay:
    """A database of its own, filled anew for each position."""

    source: str
    url: str
    organisation: str
    ring: KeyRing
    zone: ZoneInfo
    moment: LedgerPosition = field(default_factory=lambda: LedgerPosition(0))

    def __post_init__(self) -> None:
        self.ledger = self._opened()

    def _opened(self) -> PostgresStore:
        return PostgresStore(
            ConnectionPool(self.url, 2), ConnectionPool(self.url, 1), self.ring, self.zone
        )

    async def stand_at(self, position: int) -> None:
        """Forgets everything, takes the events up to a position in and folds them."""
        async with connection(self.url) as owner, connection(self.source) as source:
            # Triggers keep events for ever; here they have to go.
            await owner.execute("SET session_replication_role = replica")
            tables = [f"ledger.{t}" for t in COPIED] + [f"views.{t}" for t in TABLES]
            await owner.execute(f"TRUNCATE {', '.join(tables)}")
            for table in COPIED:
                await self._copy(source, owner, table, position)
            recorded = await owner.fetchval("SELECT max(recorded_at) FROM ledger.events")
        self.moment = LedgerPosition(position, recorded) if recorded else LedgerPosition(0)
        reader = await connect_as_owner(self.url, by_key=True)
        writer = await connect_as_owner(self.url, "views, pg_catalog, pg_temp")
        try:
            async with workers(self.ring, self.zone, position) as working:
                folder = Reprojector(reader, writer, working, lambda _: None)
                await folder.replay_organisation(self.organisation)
        finally:
            await reader.close()
            await writer.close()
        # No process has ever seen a ledger become shorter: what this one remembers must go.
        await self.ledger.close()
        self.ledger = self._opened()

    async def _copy(self, source: Any, owner: Any, table: str, position: int) -> None:
        which = f" AND position <= {position}" if table == "events" else ""
        sql = f"SELECT * FROM ledger.{table} WHERE organisation = '{self.organisation}'{which}"
        copied = BytesIO()
        await source.copy_from_query(sql, output=copied, format="binary")
        copied.seek(0)
        await owner.copy_to_table(table, schema_name="ledger", source=copied, format="binary")

    async def answer(self, method: Method, given: Mapping[str, str]) -> tuple[str, Any]:
        """What the method answers there: code, and data or description."""
        told = await self.ledger.load_context(self.organisation, ContextQuery())
        request = Request(
            {n: [v] for n, v in given.items()} | {"as_of": ["0"]}, from_query_or_form=True
        )
        session = SessionRow("S", USER, UNIT, 0, released=False)
        admitted = AuthorizedReader(self.organisation, session, told, request)
        as_of = AsOf(_Here(self), Unrecorded(), self.zone)  # type: ignore[arg-type]
        try:
            return "OK", orjson.loads((await as_of.answer(method, admitted))[1])
        except Refusal as error:
            return error.code, error.description


@dataclass
class _Here:
    """The only past that a replay has."""

    replay: Replay

    async def moment(self, organisation: str, when: int | datetime) -> LedgerPosition:
        return self.replay.moment

    async def at(self, organisation: str, moment: LedgerPosition) -> Frozen:
        return Frozen(self.replay.ledger, moment.recorded_at)


@asynccontextmanager
async def replay(source: str, url: str, organisation: str) -> AsyncIterator[Replay]:
    """A replay of an organisation of the database ``source`` in the database ``url``."""
    made = Replay(source, url, organisation, *keys_of(source))
    try:
        yield made
    finally:
        await made.ledger.close()


@dataclass
class Pool:
    """What calls may name: identifiers by entity, as texts, and other values by parameter."""

    identifiers: dict[str, list[str]]
    values: dict[str, list[str]]

    def parameters(self, method: Method, chance: random.Random) -> Parameters:
        """Parameters of a call that is mostly accepted."""
        must = {row.name for row, rule in method.parameters if rule is Level.MANDATORY}
        group = method.parameters.exactly_one or method.parameters.at_least_one
        if group:
            must.add(chance.choice(sorted(group)))
        given: Parameters = {}
        for row, _ in method.parameters:
            if row.name in must or (row.name not in group and chance.random() < 0.15):
                given[row.parameter] = self.value(row, chance)
        return given | ({"fields_set": "id,number,name"} if chance.random() < 0.2 else {})

    def value(self, row: Field, chance: random.Random) -> str:
        """A value of one parameter as a query has it."""
        if isinstance(row, Reference):
            return chance.choice(self.identifiers.get(row.target.entity) or ["id=0"])
        if row.name in self.values and chance.random() < 0.8:
            return chance.choice(self.values[row.name])
        if isinstance(row, Enumeration):
            return chance.choice(row.allowed.split())
        if isinstance(row, Integer | NonNegativeInteger):
            return str(chance.choice([1, 2, 50]))
        return "true" if isinstance(row, Boolean) else "nobody"


IDENTIFIERS = """
SELECT DISTINCT split_part(ref, '/', 1) AS kind, 'id' AS field, split_part(ref, '/', 2) AS value
  FROM history.entities WHERE organisation = $1
UNION SELECT kind, field, value FROM history.names WHERE organisation = $1
UNION SELECT kind, 'id', id FROM history.records WHERE organisation = $1 ORDER BY 1, 2, 3
"""
VALUES = """
SELECT DISTINCT field, value FROM history.names WHERE organisation = $1
UNION SELECT 'email_address', unnest(emails) FROM history.contacts WHERE organisation = $1
UNION SELECT 'phone_number', unnest(phones) FROM history.contacts WHERE organisation = $1
UNION SELECT 'media', media FROM history.queue_entries WHERE organisation = $1 ORDER BY 1, 2
"""


async def pool(api: Api) -> Pool:
    """Everything that anything in an organisation was ever called."""
    identifiers: dict[str, list[str]] = {}
    for row in await rows(api, IDENTIFIERS):
        entity = ENTITIES.get(row["kind"])
        if entity and row["field"] in entity.fields:
            identifiers.setdefault(row["kind"], []).append(f"{row['field']}={row['value']}")
    values: dict[str, list[str]] = {}
    for row in await rows(api, VALUES):
        if row["field"] != "number":
            values.setdefault(row["field"], []).append(row["value"])
    return Pool(identifiers, values)
