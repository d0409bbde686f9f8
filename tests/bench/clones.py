"""A ledger that has grown: very many copies of one communication, put into its tables by SQL.

Each copy has the events and the rows of its model under ids of its own, with dense positions, honest
hashes and MACs. Appending them one by one would take hours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import asyncpg

from infra.encryption import derive_key, key_id
from services.ids import format_id, new_id
from tests.bench.examples import numbered
from tests.fixtures.service import SERVICE_KEY

__all__ = ["Payloads", "cloned"]

Payloads = Callable[[UUID, int], list[str]]
"""The payloads of a copy's events, in order. The encrypted part of an event can be opened in its own place only."""

FIRST = 100_000_000
"""The number of the first copy: no other communication has come so far."""
STEP = 10_000
"""Copies of one transaction. It is vacuumed while it is in the server's memory, so that each page is written once, and
neither sorts nor the write-ahead log take more of the disk in a larger ledger."""
STAGE = """
CREATE TEMPORARY TABLE cloned (position bigint, stream uuid, id text, number text, code text, version integer,
       payload text) ON COMMIT DELETE ROWS
"""
HEAD = """
SELECT max(position), count(*) FILTER (WHERE stream_id = $2) FROM ledger.events WHERE organisation = $1
"""


def _own(text: str) -> str:
    """SQL: the text of the model ``m`` with what is the copy's own."""
    for name in ("number", "code"):
        said = (f"""'"{name}":"' || {of}.{name} || '"'""" for of in ("o", "c"))
        text = f"replace({text}, {', '.join(said)})"
    return f"replace({text}, $2, c.id)"


# Materialized, or else the document would be parsed for every copy.
MODEL = """
WITH o AS MATERIALIZED (
    SELECT document->>'number' AS number, code FROM views.communications WHERE organisation = $1 AND id = $2)
"""
# With OFFSET 0 what an event says is computed once, and not also for its hash.
EVENTS = f"""
{MODEL}
INSERT INTO ledger.events (organisation, position, stream_id, version, topic, schema_version, subject,
       payload, metadata, recorded_at, event_hash, mac)
SELECT organisation, position, stream, version, topic, schema_version, subject, said::json, metadata, now(),
       ledger.event_hash(organisation, position, stream, version, topic, schema_version, subject, said,
           metadata::text, now()),
       $3::bytea || sha256($5::bytea || sha256($4::bytea || convert_to(
           'crmledger.event-mac.1' || E'\n' || organisation || E'\n' || stream || E'\n' || version || E'\n'
           || topic || E'\n' || schema_version || E'\n' || coalesce(subject::text, '') || E'\n'
           || octet_length(metadata::text) || E'\n' || metadata || E'\n' || said, 'UTF8')))
  FROM (SELECT m.organisation, c.position, c.stream, m.version, m.topic, m.schema_version, m.subject, m.metadata,
               coalesce(c.payload, {_own("m.payload::text")}) AS said
          FROM o, cloned c
          JOIN ledger.events m ON m.organisation = $1 AND m.stream_id = $2::uuid AND m.version = c.version
        OFFSET 0)
"""
VIEWS = (
    f"""
{MODEL}
INSERT INTO views.communications (organisation, id, created, version, document, refs, code, contact_information,
       category, direction, media, life_cycle_state)
SELECT m.organisation, c.id, c.position, m.version, {_own("m.document::text")}::json, m.refs, c.code,
       m.contact_information, m.category, m.direction, m.media, m.life_cycle_state
  FROM o, cloned c, views.communications m
 WHERE m.organisation = $1 AND m.id = $2 AND c.version = 1
""",
    f"""
{MODEL}
INSERT INTO views.entities (organisation, ref, stream_id, retired, document, refs, owners)
SELECT m.organisation, 'communication/' || c.id, c.stream, m.retired, {_own("m.document::text")}::json,
       m.refs, m.owners
  FROM o, cloned c, views.entities m
 WHERE m.organisation = $1 AND m.ref = 'communication/' || $2 AND c.version = 1
""",
    """
INSERT INTO views.identifiers (organisation, kind, field, value, id, retired)
SELECT m.organisation, m.kind, m.field, c.number, c.id, m.retired
  FROM cloned c, views.identifiers m
 WHERE m.organisation = $1 AND m.kind = 'communication' AND m.id = $2 AND m.field = 'number' AND c.version = 1
""",
)
VACUUM = "VACUUM ledger.events, views.communications, views.entities, views.identifiers"


async def cloned(
    url: str, organisation: str, model: UUID, count: int, payloads: Payloads | None = None
) -> list[str]:
    """Adds so many copies of a communication.

    :param payloads: those of a copy's events; None if nobody will open what is encrypted in them.
    :return: the ids of the copies.
    """
    ids: list[str] = []
    connection = await asyncpg.connect(url, command_timeout=None)
    try:
        position, versions = await connection.fetchrow(HEAD, organisation, model)
        await connection.execute(STAGE)
        while len(ids) < count:
            streams = [new_id() for _ in range(min(STEP, count - len(ids)))]
            rows = list(_rows(streams, FIRST + len(ids), position, versions, payloads))
            async with connection.transaction():
                await connection.copy_records_to_table("cloned", records=rows)
                await connection.execute(EVENTS, organisation, format_id(model), *_hmac_blocks())
                for statement in VIEWS:
                    await connection.execute(statement, organisation, format_id(model))
            await connection.execute(VACUUM)
            position += len(rows)
            ids += map(format_id, streams)
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
    return ids


def _hmac_blocks() -> list[bytes]:
    """The id of the service key, and the inner and the outer block of HMAC (RFC 2104): SQL has SHA-256 alone."""
    key = derive_key(SERVICE_KEY, "events").ljust(64, b"\0")
    return [
        bytes.fromhex(key_id(SERVICE_KEY)),
        *(bytes(byte ^ pad for byte in key) for pad in (0x36, 0x5C)),
    ]


def _rows(
    streams: list[UUID], first: int, position: int, versions: int, payloads: Payloads | None
) -> Iterator[tuple[int, UUID, str, str, str, int, str | None]]:
    """One for each event, in the order of the positions after one: the first event of every copy, then the second."""
    for nth, stream in enumerate(streams, start=1):
        said: list[str | None] = (
            [*payloads(stream, first + nth - 1)] if payloads else [None] * versions
        )
        assert len(said) == versions
        called = numbered(first + nth - 1)
        for version, payload in enumerate(said, start=1):
            at = position + (version - 1) * len(streams) + nth
            yield at, stream, format_id(stream), called["number"], called["code"], version, payload
