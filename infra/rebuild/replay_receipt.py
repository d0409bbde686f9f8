"""The receipt of a replay: which events were replayed by which program, and checksums of the rows.

It holds nothing of the machine, of the server, or of the time at which it was made. Wherever the
same program replays the same events, with the same people forgotten, it is the same to the last
byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from functools import cache
from importlib import metadata
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

from domain.fields import JsonObject
from infra.rebuild.table_sets import view_names
from infra.replay.pipeline import Connection
from infra.views.tables import TABLES
from services.audit.as_of import LedgerPosition
from services.projection_versions import VERSIONS

__all__ = ["CANONICAL", "canonical", "ordered_rows", "replay_receipt"]

PACKAGES = ("domain", "services", "infra")
ROOT = Path(__file__).parents[2]
CANONICAL = orjson.OPT_SORT_KEYS
"""Gives JSON one spelling: keys sorted, UTF-8, numbers as short as they can be."""

EVENT_HASHES = """
SELECT position, event_hash FROM ledger.events
 WHERE organisation = $1 AND position <= $2 AND ($3::uuid IS NULL OR stream_id = $3) ORDER BY position
"""
COUNT_FORGOTTEN = "SELECT count(*) FROM ledger.forgotten WHERE organisation = $1"
HAS_SEALS = "SELECT to_regclass('ledger.seals') IS NOT NULL"
SEAL = """
SELECT number, statement, encode(signature, 'hex') AS signature FROM ledger.seals
 WHERE organisation = $1 AND last_position >= $2 ORDER BY last_position LIMIT 1
"""


def canonical(value: object) -> bytes:
    """Return the canonical form over which checksums are taken: JSON with sorted keys, without blanks."""
    return orjson.dumps(value, option=CANONICAL)


async def replay_receipt(
    connection: Connection,
    schema: str,
    organisation: str,
    moment: LedgerPosition,
    zone: ZoneInfo,
    stream: UUID | None = None,
) -> JsonObject:
    """Return the receipt of a replay into a schema.

    :param stream: the entity, if only one was replayed.
    Raises ``ValueError`` if a position is missing.
    """
    async with connection.transaction(readonly=True):
        receipt: JsonObject = {
            "program": {"version": metadata.version("crmledger"), "build": _program_digest()},
            "views": VERSIONS,
            "time_zone": zone.key,
            "organisation": organisation,
            "range": {"first": min(1, moment.position), "last": moment.position},
            "recorded_at": moment.recorded_at.isoformat() if moment.position else None,
            "forgotten": await connection.fetchval(COUNT_FORGOTTEN, organisation),
            "events": await _hash_events(connection, organisation, moment.position, stream),
            "seal": await _load_seal(connection, organisation, moment.position),
            "rows": {
                view: await _checksum(ordered_rows(connection, schema, view))
                for view in await view_names(connection)
            },
        }
    return receipt | {"sha256": hashlib.sha256(canonical(receipt)).hexdigest()}


async def ordered_rows(connection: Connection, schema: str, view: str) -> AsyncIterator[JsonObject]:
    """Yield the rows of a view in the order of their keys, compared byte by byte; in a transaction.

    Each is a JSON object of its columns, in which documents are objects, too.
    """
    key = ", ".join(f'{name}::text COLLATE "C"' for name in TABLES[view].key)
    # The names are declared, and the schema was checked.
    sql = f"SELECT row_to_json(t) AS row FROM {schema}.{view} t ORDER BY {key}"  # noqa: S608
    async for row in connection.cursor(sql, prefetch=1000):
        yield orjson.loads(row["row"])


async def _checksum(rows: AsyncIterator[JsonObject]) -> JsonObject:
    """Return the number of rows, and SHA-256 over their canonical forms, each ended by a new line."""
    count, digest = 0, hashlib.sha256()
    async for row in rows:
        count += 1
        digest.update(canonical(row) + b"\n")
    return {"rows": count, "sha256": digest.hexdigest()}


async def _hash_events(
    connection: Connection, organisation: str, position: int, stream: UUID | None
) -> JsonObject:
    """Return the number of events, and SHA-256 over their hashes, 32 bytes each, in the order of positions."""
    count, digest = 0, hashlib.sha256()
    values = (organisation, position, stream.bytes if stream else None)
    async for row in connection.cursor(EVENT_HASHES, *values, prefetch=1000):
        count += 1
        if stream is None and row["position"] != count:
            raise ValueError(f"position {count} is missing: {row['position']} follows")
        digest.update(row["event_hash"])
    return {"count": count, "sha256": digest.hexdigest()}


async def _load_seal(connection: Connection, organisation: str, position: int) -> JsonObject | None:
    """Return the seal over the range that holds the last position, or None if there is none."""
    if not await connection.fetchval(HAS_SEALS):
        return None
    row = await connection.fetchrow(SEAL, organisation, position)
    if row is None:
        return None
    return dict(row) | {"statement": row["statement"].decode()}


@cache
def _program_digest() -> str:
    """Return SHA-256 over the names and contents of the program's files, whatever ends their lines."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in (".py", ".sql"):
                content = path.read_bytes().replace(b"\r\n", b"\n")
                name = path.relative_to(ROOT).as_posix()
                digest.update(f"{name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()
