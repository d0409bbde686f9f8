"""The views' tables as the catalogue knows them: making new ones like them, and changing places.

``view_names`` holds the live tables. ``views_next`` are new ones that are being filled, ``views_previous``
those that were live before the last switch; each of the two has a table ``heads``: up to which
position of every ledger the others hold the events. While ``views_next`` is being filled, it also says
up to which entity that is done; the schema's comment says by which definitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from infra.ledger.positions import Heads
from infra.replay.pipeline import Connection
from services.projection_versions import VERSIONS

__all__ = [
    "NEXT",
    "PREVIOUS",
    "RebuildProgress",
    "Unreadable",
    "build_indexes",
    "clear_unreadable",
    "create_shadow_tables",
    "discard",
    "exists",
    "load_heads",
    "load_progress",
    "save_heads",
    "save_progress",
    "save_unreadable",
    "schema_comment",
    "set_schema_comment",
    "switch",
    "unreadable",
    "view_names",
]

NEXT, PREVIOUS = "views_next", "views_previous"
DISCARDED = "views_gone"
"""Only within a switch: what is in the way of it."""

TABLES = """
SELECT relname FROM pg_catalog.pg_class
 WHERE relnamespace = to_regnamespace($1::text) AND relkind = 'r' AND relname NOT IN ('heads', 'unreadable') ORDER BY relname
"""
# LIKE copies neither the options of a table nor the names of its constraints and indexes. Those of
# `identifiers` are there from the start, because each write of an entity looks its names up.
LIKE = """
SELECT format('CREATE TABLE views_next.%I (LIKE views.%I INCLUDING ALL EXCLUDING INDEXES)%s', c.relname, c.relname,
              ' WITH (' || array_to_string(c.reloptions, ', ') || ')') AS ddl
  FROM pg_class c WHERE c.relnamespace = 'views'::regnamespace AND c.relkind = 'r'
UNION ALL
SELECT format('ALTER TABLE views_next.%I ADD CONSTRAINT %I %s', c.relname, k.conname, pg_get_constraintdef(k.oid))
  FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype IN ('p', 'u')
 WHERE c.relnamespace = 'views'::regnamespace AND c.relkind = 'r'
"""
INDEXES = """
SELECT replace(pg_get_indexdef(i.indexrelid), ' ON views.', ' ON views_next.') AS ddl
  FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid
 WHERE c.relnamespace = 'views'::regnamespace AND c.relkind = 'r' AND c.relname = ANY ($1::text[])
   AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
   AND NOT EXISTS (SELECT FROM pg_class n JOIN pg_class l ON l.relname = n.relname
                    WHERE n.relnamespace = to_regnamespace('views_next') AND l.oid = i.indexrelid)
 ORDER BY 1
"""
# What belongs to the live tables and is not copied by LIKE, from schema $1 to schema $2.
COPY_PRIVILEGES = """
WITH t AS (
    SELECT oid, relname, relowner, relacl, obj_description(oid, 'pg_class') AS comment
      FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relkind = 'r' AND relname NOT IN ('heads', 'unreadable')
), grants AS (
    SELECT t.relname, '' AS columns, a.* FROM t, aclexplode(t.relacl) a
    UNION ALL
    SELECT t.relname, format(' (%I)', c.attname), a.*
      FROM t JOIN pg_attribute c ON c.attrelid = t.oid AND c.attnum > 0, aclexplode(c.attacl) a
)
SELECT 1 AS n, format('ALTER TABLE %I.%I OWNER TO %I', $2::text, relname, pg_get_userbyid(relowner)) AS ddl
  FROM t WHERE pg_get_userbyid(relowner) <> current_user
UNION ALL
SELECT 2, format('COMMENT ON TABLE %I.%I IS %L', $2, relname, comment) FROM t WHERE comment IS NOT NULL
UNION ALL
SELECT 3, format('GRANT %s%s ON %I.%I TO %s%s', privilege_type, columns, $2, relname,
                 CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
                 CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM grants
 ORDER BY 1
"""
# SQL views follow a table to whichever schema it goes; they are bound anew to its name.
DEPENDENT_VIEWS = """
SELECT DISTINCT format('CREATE OR REPLACE VIEW %I.%I%s AS %s', n.nspname, v.relname,
                       ' WITH (' || array_to_string(v.reloptions, ', ') || ')', pg_get_viewdef(v.oid)) AS ddl
  FROM pg_depend d
  JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
  JOIN pg_class v ON v.oid = r.ev_class AND v.relkind = 'v'
  JOIN pg_namespace n ON n.oid = v.relnamespace
  JOIN pg_class t ON t.oid = d.refobjid AND t.relkind = 'r' AND t.relnamespace = 'views'::regnamespace
 WHERE d.refclassid = 'pg_class'::regclass
"""
SAYS = "SELECT obj_description(to_regnamespace($1), 'pg_namespace')"
SAY = "SELECT format('COMMENT ON SCHEMA %I IS %L', $1::text, $2::text)"
UNREADABLE_TABLE = """
CREATE TABLE views_next.unreadable (organisation text, stream_id uuid, reason text NOT NULL,
                                    PRIMARY KEY (organisation, stream_id))
"""
LACKS = """
INSERT INTO views_next.unreadable SELECT $1, * FROM unnest($2::uuid[], $3::text[])
ON CONFLICT (organisation, stream_id) DO UPDATE SET reason = excluded.reason
"""
RETRIED = "DELETE FROM views_next.unreadable WHERE organisation = $1 AND stream_id = $2"
LACKED = "SELECT organisation, stream_id, reason FROM views_next.unreadable ORDER BY 1, 2"
FOLDED = "UPDATE views_next.heads SET folded = $2, events = events + $3 WHERE organisation = $1"
VERSION = """
INSERT INTO ledger.view_versions AS v (view, version, written_at)
SELECT 'views.' || w.view, w.version, clock_timestamp() FROM unnest($1::text[], $2::integer[]) AS w (view, version)
ON CONFLICT (view) DO UPDATE SET version = excluded.version, written_at = excluded.written_at
"""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An entity that cannot be replayed, and the reason."""

    organisation: str
    stream: bytes
    reason: str

    def __str__(self) -> str:
        return f"{self.organisation}, entity {self.stream.hex()}: {self.reason}"


@dataclass(frozen=True, slots=True)
class RebuildProgress:
    """An organisation in a rebuild: its ``events`` of all streams up to ``folded`` are written.

    ``position`` is the head of the ledger when that began: later events are caught up with.
    """

    organisation: str
    position: int
    folded: bytes
    events: int


async def view_names(connection: Connection, schema: str = "views") -> list[str]:
    """The names of the views, in alphabetical order."""
    return [row["relname"] for row in await connection.fetch(TABLES, schema)]


async def exists(connection: Connection, schema: str) -> bool:
    """Whether there is such a schema."""
    found: bool = await connection.fetchval("SELECT to_regnamespace($1::text) IS NOT NULL", schema)
    return found


async def schema_comment(connection: Connection, schema: str) -> str | None:
    """The comment of a schema; None if it has none, or there is no such schema."""
    said: str | None = await connection.fetchval(SAYS, schema)
    return said


async def set_schema_comment(connection: Connection, schema: str, said: str) -> None:
    """Comments a schema."""
    await connection.execute(await connection.fetchval(SAY, schema, said))


async def load_progress(connection: Connection, definition: str) -> list[RebuildProgress] | None:
    """How far an interrupted rebuild by the same definition has come; None if there is none."""
    if await schema_comment(connection, NEXT) != definition:
        return None
    rows = await connection.fetch(
        f"SELECT organisation, position, folded, events FROM {NEXT}.heads ORDER BY organisation"  # noqa: S608
    )
    return [RebuildProgress(*row) for row in rows]


async def create_shadow_tables(
    connection: Connection, definition: str, at: Heads
) -> list[RebuildProgress]:
    """Makes ``views_next``: the views' tables, empty. What was left of an earlier try is dropped."""
    async with connection.transaction():
        await discard(connection, NEXT)
        await connection.execute(f"CREATE SCHEMA {NEXT}")
        await _run(connection, LIKE)
        await _run(connection, INDEXES, ["identifiers"])
        await save_heads(connection, NEXT, at)
        await connection.execute(UNREADABLE_TABLE)
        await set_schema_comment(connection, NEXT, definition)
    return [
        RebuildProgress(organisation, position, bytes(16), 0)
        for organisation, position in at.items()
    ]


async def save_progress(
    connection: Connection, organisation: str, stream: bytes, events: int
) -> None:
    """Notes the last entity that ``views_next`` holds; in the transaction that writes it."""
    await connection.execute(FOLDED, organisation, stream, events)


async def save_unreadable(
    connection: Connection, organisation: str, unreadable: Mapping[bytes, str]
) -> None:
    """Notes the entities that ``views_next`` lacks, because an event cannot be read, and why."""
    streams, reasons = list(unreadable), list(unreadable.values())
    await connection.execute(LACKS, organisation, streams, reasons)


async def clear_unreadable(connection: Connection, one: Unreadable) -> None:
    """Takes an entity off them, which is then tried again."""
    await connection.execute(RETRIED, one.organisation, one.stream)


async def unreadable(connection: Connection) -> list[Unreadable]:
    """The entities that ``views_next`` lacks."""
    return [Unreadable(*row) for row in await connection.fetch(LACKED)]


async def discard(connection: Connection, schema: str) -> None:
    """Drops a set of tables that is not live."""
    await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


async def build_indexes(connection: Connection) -> None:
    """Adds the indexes by which calls search, now that the tables are full, and their statistics.

    Those that an interrupted rebuild has added are there already.
    """
    names = await view_names(connection, NEXT)
    await _run(connection, INDEXES, [name for name in names if name != "identifiers"])
    for view in names:
        await connection.execute(f"VACUUM (ANALYZE) {NEXT}.{view}")


async def save_heads(connection: Connection, schema: str, at: Heads) -> None:
    """Notes how far the tables of ``schema`` are."""
    async with connection.transaction():
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {schema}.heads (organisation text PRIMARY KEY, position bigint NOT NULL,"
            " folded uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000', events bigint NOT NULL DEFAULT 0)"
        )
        await connection.execute(
            f"INSERT INTO {schema}.heads SELECT * FROM unnest($1::text[], $2::bigint[])"  # noqa: S608
            " ON CONFLICT (organisation) DO UPDATE SET position = excluded.position",
            list(at),
            list(at.values()),
        )


async def load_heads(connection: Connection, schema: str) -> Heads:
    """How far the tables of ``schema`` are."""
    rows = await connection.fetch(f"SELECT organisation, position FROM {schema}.heads")  # noqa: S608
    return {row["organisation"]: row["position"] for row in rows}


async def switch(connection: Connection, incoming: str, at: Heads) -> None:
    """Lets the tables of ``incoming`` change places with the live ones, which become ``views_previous``.

    Runs in a transaction of the caller's that holds all tables. Names, privileges, comments, owners
    and the SQL views over the tables stay as they were. What was in the way is left as ``views_next``, like
    a rebuild that was given up: for the caller to drop when nobody waits.

    :param at: the heads that both sets of tables are at.
    """
    await connection.execute("SET LOCAL search_path = pg_catalog")
    bound = [row["ddl"] for row in await connection.fetch(DEPENDENT_VIEWS)]
    await _run(connection, COPY_PRIVILEGES, "views", incoming)
    in_the_way = await _put_away(connection, PREVIOUS if incoming == NEXT else NEXT)
    if incoming == PREVIOUS:
        await connection.execute(f"ALTER SCHEMA {PREVIOUS} RENAME TO {NEXT}")
    await connection.execute(f"CREATE SCHEMA {PREVIOUS}")
    names = await view_names(connection)
    for schema, other in (("views", PREVIOUS), (NEXT, "views")):
        for name in names:
            await connection.execute(f"ALTER TABLE {schema}.{name} SET SCHEMA {other}")
    await connection.execute(f"DROP SCHEMA {NEXT} CASCADE")
    if in_the_way:
        await connection.execute(f"ALTER SCHEMA {DISCARDED} RENAME TO {NEXT}")
    for ddl in bound:
        await connection.execute(ddl)
    await save_heads(connection, PREVIOUS, at)
    await connection.execute(VERSION, list(VERSIONS), list(VERSIONS.values()))


async def _put_away(connection: Connection, schema: str) -> bool:
    """Gives another name to a set of tables, if there is one: to drop it takes long where it is large."""
    found = await exists(connection, schema)
    if found:
        await connection.execute(f"ALTER SCHEMA {schema} RENAME TO {DISCARDED}")
    return found


async def _run(connection: Connection, question: str, *values: object) -> None:
    for row in await connection.fetch(question, *values):
        await connection.execute(row["ddl"])
