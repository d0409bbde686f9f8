"""The views' tables as the catalogue knows them: making new ones like them, and changing places.

``views`` holds the live tables. ``views_next`` are new ones that are being filled, ``views_former``
those that were live before the last switch; each of the two has a table ``heads``: up to which
position of every ledger the others hold the facts.
"""

from __future__ import annotations

from infra.ledger.heads import Heads
from infra.views.folding import Connection

__all__ = [
    "FORMER",
    "NEXT",
    "VERSIONS",
    "exists",
    "index",
    "keep_heads",
    "kept_heads",
    "make_next",
    "switch",
    "views",
]

NEXT, FORMER = "views_next", "views_former"

VERSIONS = {
    "access_tokens": 1,
    "communications": 1,
    "contacts": 1,
    "entities": 2,
    "names": 1,
    "queue_entries": 1,
    "records": 1,
    "service_requests": 1,
    "sessions": 2,
}
"""The version of each view's definition in this code; whoever changes what it holds raises it."""

TABLES = """
SELECT relname FROM pg_catalog.pg_class
 WHERE relnamespace = to_regnamespace($1::text) AND relkind = 'r' AND relname <> 'heads' ORDER BY relname
"""
# LIKE copies neither the options of a table nor the names of its constraints and indexes. Those of
# `names` are there from the start, because each write of an entity looks its names up.
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
 ORDER BY 1
"""
# What belongs to the live tables and is not copied by LIKE, from schema $1 to schema $2.
DRESS = """
WITH t AS (
    SELECT oid, relname, relowner, relacl, obj_description(oid, 'pg_class') AS comment
      FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relkind = 'r' AND relname <> 'heads'
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
BOUND = """
SELECT DISTINCT format('CREATE OR REPLACE VIEW %I.%I%s AS %s', n.nspname, v.relname,
                       ' WITH (' || array_to_string(v.reloptions, ', ') || ')', pg_get_viewdef(v.oid)) AS ddl
  FROM pg_depend d
  JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
  JOIN pg_class v ON v.oid = r.ev_class AND v.relkind = 'v'
  JOIN pg_namespace n ON n.oid = v.relnamespace
  JOIN pg_class t ON t.oid = d.refobjid AND t.relkind = 'r' AND t.relnamespace = 'views'::regnamespace
 WHERE d.refclassid = 'pg_class'::regclass
"""
VERSION = """
INSERT INTO ledger.view_versions AS v (view, version, written_at)
SELECT 'views.' || w.view, w.version, clock_timestamp() FROM unnest($1::text[], $2::integer[]) AS w (view, version)
ON CONFLICT (view) DO UPDATE SET version = excluded.version, written_at = excluded.written_at
"""


async def views(connection: Connection, schema: str = "views") -> list[str]:
    """The names of the views, in alphabetical order."""
    return [row["relname"] for row in await connection.fetch(TABLES, schema)]


async def exists(connection: Connection, schema: str) -> bool:
    """Whether there is such a schema."""
    found: bool = await connection.fetchval("SELECT to_regnamespace($1::text) IS NOT NULL", schema)
    return found


async def make_next(connection: Connection) -> None:
    """Makes ``views_next``: the views' tables, empty. What was left of an earlier try is dropped."""
    async with connection.transaction():
        await connection.execute(f"DROP SCHEMA IF EXISTS {NEXT} CASCADE; CREATE SCHEMA {NEXT}")
        await _run(connection, LIKE)
        await _run(connection, INDEXES, ["names"])


async def index(connection: Connection) -> None:
    """Adds the indexes by which calls search, now that the tables are full, and their statistics."""
    names = await views(connection, NEXT)
    await _run(connection, INDEXES, [name for name in names if name != "names"])
    for view in names:
        await connection.execute(f"VACUUM (ANALYZE) {NEXT}.{view}")


async def keep_heads(connection: Connection, schema: str, at: Heads) -> None:
    """Notes how far the tables of ``schema`` are."""
    async with connection.transaction():
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {schema}.heads (organisation text PRIMARY KEY, position bigint NOT NULL);"
            f"TRUNCATE {schema}.heads"
        )
        await connection.execute(
            f"INSERT INTO {schema}.heads SELECT * FROM unnest($1::text[], $2::bigint[])",  # noqa: S608
            list(at),
            list(at.values()),
        )


async def kept_heads(connection: Connection, schema: str) -> Heads:
    """How far the tables of ``schema`` are."""
    rows = await connection.fetch(f"SELECT organisation, position FROM {schema}.heads")  # noqa: S608
    return {row["organisation"]: row["position"] for row in rows}


async def switch(connection: Connection, incoming: str, at: Heads) -> None:
    """Lets the tables of ``incoming`` change places with the live ones, which become ``views_former``.

    Runs in a transaction of the caller's that holds all tables. Names, privileges, comments, owners
    and the SQL views over the tables stay as they were.

    :param at: the heads that both sets of tables are at.
    """
    await connection.execute("SET LOCAL search_path = pg_catalog")
    bound = [row["ddl"] for row in await connection.fetch(BOUND)]
    await _run(connection, DRESS, "views", incoming)
    if incoming == FORMER:
        await connection.execute(
            f"DROP SCHEMA IF EXISTS {NEXT} CASCADE; ALTER SCHEMA {FORMER} RENAME TO {NEXT}"
        )
    await connection.execute(f"DROP SCHEMA IF EXISTS {FORMER} CASCADE; CREATE SCHEMA {FORMER}")
    names = await views(connection)
    for schema, other in (("views", FORMER), (NEXT, "views")):
        for name in names:
            await connection.execute(f"ALTER TABLE {schema}.{name} SET SCHEMA {other}")
    await connection.execute(f"DROP SCHEMA {NEXT} CASCADE")
    for ddl in bound:
        await connection.execute(ddl)
    await keep_heads(connection, FORMER, at)
    await connection.execute(VERSION, list(VERSIONS), list(VERSIONS.values()))


async def _run(connection: Connection, question: str, *values: object) -> None:
    for row in await connection.fetch(question, *values):
        await connection.execute(row["ddl"])
