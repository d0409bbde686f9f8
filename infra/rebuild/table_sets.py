"""The sets of the views' tables: creating new ones like the live ones, and switching between them.

The schema ``views`` holds the live tables. ``views_next`` holds new ones that are being filled,
``views_previous`` those that were live before the last switch. Each of the latter two has a table
``heads`` with the position of every ledger up to which its tables hold the events. While ``views_next``
is being filled, ``heads`` also holds the last entity that is written, and the schema's comment the
digest of the definitions.
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
    "drop_schema",
    "load_heads",
    "load_progress",
    "load_unreadable",
    "save_heads",
    "save_progress",
    "save_unreadable",
    "schema_comment",
    "schema_exists",
    "set_schema_comment",
    "switch",
    "view_names",
]

NEXT, PREVIOUS = "views_next", "views_previous"
DISCARDED = "views_gone"
"""Within a switch only: the schema that is in its way."""

TABLES = """
SELECT relname FROM pg_catalog.pg_class
 WHERE relnamespace = to_regnamespace($1::text) AND relkind = 'r' AND relname NOT IN ('heads', 'unreadable') ORDER BY relname
"""
# LIKE copies neither the options of a table nor the names of its constraints and indexes. The indexes
# of `identifiers` are needed from the start, because each write of an entity looks its names up.
CREATE_TABLES = """
SELECT format('CREATE TABLE views_next.%I (LIKE views.%I INCLUDING ALL EXCLUDING INDEXES)%s', c.relname, c.relname,
              ' WITH (' || array_to_string(c.reloptions, ', ') || ')') AS ddl
  FROM pg_class c WHERE c.relnamespace = 'views'::regnamespace AND c.relkind = 'r'
UNION ALL
SELECT format('ALTER TABLE views_next.%I ADD CONSTRAINT %I %s', c.relname, k.conname, pg_get_constraintdef(k.oid))
  FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype IN ('p', 'u')
 WHERE c.relnamespace = 'views'::regnamespace AND c.relkind = 'r'
"""
CREATE_INDEXES = """
SELECT replace(pg_get_indexdef(i.indexrelid), ' ON views.', ' ON views_next.') AS ddl
  FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid
 WHERE c.relnamespace = 'views'::regnamespace AND c.relkind = 'r' AND c.relname = ANY ($1::text[])
   AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
   AND NOT EXISTS (SELECT FROM pg_class n JOIN pg_class l ON l.relname = n.relname
                    WHERE n.relnamespace = to_regnamespace('views_next') AND l.oid = i.indexrelid)
 ORDER BY 1
"""
# The properties of the tables of schema $1 that LIKE does not copy, for those of schema $2.
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
# An SQL view follows its table into another schema. It is created again, over the table that now has the name.
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
SCHEMA_COMMENT = "SELECT obj_description(to_regnamespace($1), 'pg_namespace')"
SET_SCHEMA_COMMENT = "SELECT format('COMMENT ON SCHEMA %I IS %L', $1::text, $2::text)"
UNREADABLE_TABLE = """
CREATE TABLE views_next.unreadable (organisation text, stream_id uuid, reason text NOT NULL,
                                    PRIMARY KEY (organisation, stream_id))
"""
SAVE_UNREADABLE = """
INSERT INTO views_next.unreadable SELECT $1, * FROM unnest($2::uuid[], $3::text[])
ON CONFLICT (organisation, stream_id) DO UPDATE SET reason = excluded.reason
"""
CLEAR_UNREADABLE = "DELETE FROM views_next.unreadable WHERE organisation = $1 AND stream_id = $2"
UNREADABLE = "SELECT organisation, stream_id, reason FROM views_next.unreadable ORDER BY 1, 2"
SAVE_PROGRESS = (
    "UPDATE views_next.heads SET folded = $2, events = events + $3 WHERE organisation = $1"
)
SAVE_VERSIONS = """
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

    ``position`` was the head of the ledger at the start: the rebuild catches up with later events.
    """

    organisation: str
    position: int
    folded: bytes
    events: int


async def view_names(connection: Connection, schema: str = "views") -> list[str]:
    """Return the names of the views, in alphabetical order."""
    return [row["relname"] for row in await connection.fetch(TABLES, schema)]


async def schema_exists(connection: Connection, schema: str) -> bool:
    """True if the schema exists."""
    result: bool = await connection.fetchval("SELECT to_regnamespace($1::text) IS NOT NULL", schema)
    return result


async def schema_comment(connection: Connection, schema: str) -> str | None:
    """Return the comment of a schema; None if it has none or does not exist."""
    comment: str | None = await connection.fetchval(SCHEMA_COMMENT, schema)
    return comment


async def set_schema_comment(connection: Connection, schema: str, comment: str) -> None:
    """Set the comment of a schema."""
    await connection.execute(await connection.fetchval(SET_SCHEMA_COMMENT, schema, comment))


async def load_progress(connection: Connection, definition: str) -> list[RebuildProgress] | None:
    """Return the progress of an interrupted rebuild by the same definition; None if there is none."""
    if await schema_comment(connection, NEXT) != definition:
        return None
    rows = await connection.fetch(
        f"SELECT organisation, position, folded, events FROM {NEXT}.heads ORDER BY organisation"  # noqa: S608
    )
    return [RebuildProgress(*row) for row in rows]


async def create_shadow_tables(
    connection: Connection, definition: str, heads: Heads
) -> list[RebuildProgress]:
    """Create ``views_next``: the views' tables, empty. The remains of an earlier try are dropped."""
    async with connection.transaction():
        await drop_schema(connection, NEXT)
        await connection.execute(f"CREATE SCHEMA {NEXT}")
        await _run_generated(connection, CREATE_TABLES)
        await _run_generated(connection, CREATE_INDEXES, ["identifiers"])
        await save_heads(connection, NEXT, heads)
        await connection.execute(UNREADABLE_TABLE)
        await set_schema_comment(connection, NEXT, definition)
    return [
        RebuildProgress(organisation, position, bytes(16), 0)
        for organisation, position in heads.items()
    ]


async def save_progress(
    connection: Connection, organisation: str, stream: bytes, events: int
) -> None:
    """Save the last entity that ``views_next`` holds; in the transaction that writes it."""
    await connection.execute(SAVE_PROGRESS, organisation, stream, events)


async def save_unreadable(
    connection: Connection, organisation: str, unreadable: Mapping[bytes, str]
) -> None:
    """Save the entities that ``views_next`` lacks because an event cannot be read, and the reasons."""
    streams, reasons = list(unreadable), list(unreadable.values())
    await connection.execute(SAVE_UNREADABLE, organisation, streams, reasons)


async def clear_unreadable(connection: Connection, entity: Unreadable) -> None:
    """Delete an entity from those that ``views_next`` lacks, so that it can be tried again."""
    await connection.execute(CLEAR_UNREADABLE, entity.organisation, entity.stream)


async def load_unreadable(connection: Connection) -> list[Unreadable]:
    """Return the entities that ``views_next`` lacks."""
    return [Unreadable(*row) for row in await connection.fetch(UNREADABLE)]


async def drop_schema(connection: Connection, schema: str) -> None:
    """Drop a set of tables that is not live."""
    await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


async def build_indexes(connection: Connection) -> None:
    """Create the indexes by which calls search, now that the tables are full, and refresh the statistics.

    Indexes that an interrupted rebuild has created are kept.
    """
    names = await view_names(connection, NEXT)
    await _run_generated(
        connection, CREATE_INDEXES, [name for name in names if name != "identifiers"]
    )
    for view in names:
        await connection.execute(f"VACUUM (ANALYZE) {NEXT}.{view}")


async def save_heads(connection: Connection, schema: str, heads: Heads) -> None:
    """Save the heads up to which the tables of ``schema`` hold the events."""
    async with connection.transaction():
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {schema}.heads (organisation text PRIMARY KEY, position bigint NOT NULL,"
            " folded uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000', events bigint NOT NULL DEFAULT 0)"
        )
        await connection.execute(
            f"INSERT INTO {schema}.heads SELECT * FROM unnest($1::text[], $2::bigint[])"  # noqa: S608
            " ON CONFLICT (organisation) DO UPDATE SET position = excluded.position",
            list(heads),
            list(heads.values()),
        )


async def load_heads(connection: Connection, schema: str) -> Heads:
    """Return the heads up to which the tables of ``schema`` hold the events."""
    rows = await connection.fetch(f"SELECT organisation, position FROM {schema}.heads")  # noqa: S608
    return {row["organisation"]: row["position"] for row in rows}


async def switch(connection: Connection, incoming: str, heads: Heads) -> None:
    """Exchange the tables of ``incoming`` with the live ones, which become ``views_previous``.

    Runs in a transaction of the caller that has locked all tables. Names, privileges, comments, owners
    and the SQL views over the tables stay as they were. Tables in the way are left as ``views_next``, like
    an interrupted rebuild: the caller drops them when nobody waits.

    :param heads: up to which both sets of tables hold the events.
    """
    await connection.execute("SET LOCAL search_path = pg_catalog")
    statements = [row["ddl"] for row in await connection.fetch(DEPENDENT_VIEWS)]
    await _run_generated(connection, COPY_PRIVILEGES, "views", incoming)
    in_the_way = await _move_away(connection, PREVIOUS if incoming == NEXT else NEXT)
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
    for ddl in statements:
        await connection.execute(ddl)
    await save_heads(connection, PREVIOUS, heads)
    await connection.execute(SAVE_VERSIONS, list(VERSIONS), list(VERSIONS.values()))


async def _move_away(connection: Connection, schema: str) -> bool:
    """Rename a set of tables, if there is one, because dropping a large one takes long; True if there was."""
    in_the_way = await schema_exists(connection, schema)
    if in_the_way:
        await connection.execute(f"ALTER SCHEMA {schema} RENAME TO {DISCARDED}")
    return in_the_way


async def _run_generated(connection: Connection, query: str, *values: object) -> None:
    for row in await connection.fetch(query, *values):
        await connection.execute(row["ddl"])
