"""A ledger that has grown: very many copies of one communication, put into its tables by SQL.

Each copy has the facts and the rows of its model under ids of its own, with dense positions and honest
hashes. Appending them one by one would take hours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import asyncpg

from services.ids import id_text, new_id
from tests.bench.examples import numbered

__all__ = ["Payloads", "cloned"]

Payloads = Callable[[UUID, int], list[str]]
"""The payloads of a copy's facts, in order. The encrypted part of a fact can be opened in its own place only."""

FIRST = 100_000_000
"""The number of the first copy: no other communication has come so far."""
STAGE = """
CREATE UNLOGGED TABLE public.cloned (stream uuid, id text, number text, code text, version integer, payload text)
"""


def _own(text: str) -> str:
    """SQL: the text of the model ``m`` with what is the copy's own."""
    for name in ("number", "code"):
        said = (f"""'"{name}":"' || {of}.{name} || '"'""" for of in ("o", "c"))
        text = f"replace({text}, {', '.join(said)})"
    return f"replace({text}, $2, c.id)"


MODEL = """
(SELECT document->>'number' AS number, code FROM views.communications WHERE organisation = $1 AND id = $2) AS o
"""
FACTS = f"""
INSERT INTO ledger.events (organisation, position, stream_id, version, topic, schema_version, subject,
       payload, metadata, recorded_at, event_hash)
SELECT e.organisation, n.position, n.stream, e.version, e.topic, e.schema_version, e.subject, n.said::json,
       e.metadata, n.at, ledger.event_hash(e.organisation, n.position, n.stream, e.version, e.topic,
           e.schema_version, e.subject, n.said, e.metadata::text, n.at)
  FROM (SELECT c.stream, c.version, coalesce(c.payload, {_own("m.payload::text")}) AS said, now() AS at,
               (SELECT max(position) FROM ledger.events WHERE organisation = $1)
               + row_number() OVER (ORDER BY c.version, c.stream) AS position
          FROM {MODEL}, public.cloned c
          JOIN ledger.events m ON m.organisation = $1 AND m.stream_id = $2::uuid AND m.version = c.version) AS n
  JOIN ledger.events e ON e.organisation = $1 AND e.stream_id = $2::uuid AND e.version = n.version
"""
VIEWS = (
    f"""
INSERT INTO views.communications (organisation, id, created, version, document, refs, code, contact_information,
       category, direction, media, life_cycle_state)
SELECT m.organisation, c.id, f.position, m.version, {_own("m.document::text")}::json, m.refs, c.code,
       m.contact_information, m.category, m.direction, m.media, m.life_cycle_state
  FROM {MODEL}, views.communications m, public.cloned c
  JOIN ledger.events f ON f.organisation = $1 AND f.stream_id = c.stream AND f.version = 1
 WHERE m.organisation = $1 AND m.id = $2 AND c.version = 1
""",
    f"""
INSERT INTO views.entities (organisation, ref, stream_id, retired, document, refs, owners)
SELECT m.organisation, 'communication/' || c.id, c.stream, m.retired, {_own("m.document::text")}::json,
       m.refs, m.owners
  FROM {MODEL}, public.cloned c, views.entities m
 WHERE m.organisation = $1 AND m.ref = 'communication/' || $2 AND c.version = 1
""",
    """
INSERT INTO views.names (organisation, kind, field, value, id, retired)
SELECT m.organisation, m.kind, m.field, c.number, c.id, m.retired
  FROM public.cloned c, views.names m
 WHERE m.organisation = $1 AND m.kind = 'communication' AND m.id = $2 AND m.field = 'number' AND c.version = 1
""",
)


async def cloned(
    url: str, organisation: str, model: UUID, count: int, payloads: Payloads | None = None
) -> list[str]:
    """Adds so many copies of a communication.

    :param payloads: those of a copy's facts; None if nobody will open what is encrypted in them.
    :return: the ids of the copies.
    """
    streams = [new_id() for _ in range(count)]
    connection = await asyncpg.connect(url, command_timeout=None)
    try:
        versions: int = await connection.fetchval(
            "SELECT count(*) FROM ledger.events WHERE organisation = $1 AND stream_id = $2",
            *(organisation, model),
        )
        await connection.execute(STAGE)
        rows = _rows(streams, versions, payloads)
        await connection.copy_records_to_table("cloned", schema_name="public", records=rows)
        await connection.execute("ANALYZE public.cloned")
        for statement in (FACTS, *VIEWS):
            await connection.execute(statement, organisation, id_text(model))
        await connection.execute("DROP TABLE public.cloned")
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
    return [id_text(stream) for stream in streams]


def _rows(
    streams: list[UUID], versions: int, payloads: Payloads | None
) -> Iterator[tuple[UUID, str, str, str, int, str | None]]:
    for number, stream in enumerate(streams, start=FIRST):
        said: list[str | None] = [*payloads(stream, number)] if payloads else [None] * versions
        assert len(said) == versions
        called = numbered(number)
        for version, payload in enumerate(said, start=1):
            yield stream, id_text(stream), called["number"], called["code"], version, payload
