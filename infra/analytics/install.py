"""Puts the objects up that analysts query, as the field table has them now.

They are derived, and so no migration spells them out: they are a `Repeatable`, which whoever migrates
replaces as a whole when the database has another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import asyncpg

from infra.analytics.relations import OBJECTS
from infra.schema.migrate import (
    LOCK_TIMEOUT,
    Migration,
    alone,
    assert_current,
    migrate,
    patiently,
)
from infra.schema.repeatable import Connection, MigrationError, Repeatable, functions

__all__ = ["VIEWS", "assert_deployed", "deploy", "repeatables"]


def _statements() -> Iterator[str]:
    """The statements that make all objects, in order; the views need nothing of each other."""
    for relation in OBJECTS.values():
        yield from relation.statements()


VIEWS = Repeatable(
    "views of analysts",
    {"views of analysts": ";\n".join(("SELECT analytics.drop_relations()", *_statements()))},
)


async def deploy(connection: Connection, *, attempts: int = 100) -> list[Migration | Repeatable]:
    """Apply the code's pending migrations and then put up what is derived; return what was applied."""
    applied = await migrate(connection, attempts=attempts)
    if await patiently(connection, _derive, attempts):
        applied.append(VIEWS)
    return applied


async def assert_deployed(connection: Connection) -> None:
    """Raise ``MigrationError`` unless the database has exactly this code's schema and objects."""
    await assert_current(connection)
    if not await VIEWS.is_installed(connection):
        raise MigrationError(f"the {VIEWS} are not this code's; run `crmledger db migrate`")


async def repeatables(connection: Connection) -> list[tuple[Repeatable, datetime | None]]:
    """Return what is put up as a whole, and since when the database has it as this code does; else None."""
    known = await connection.fetchval("SELECT to_regclass('schema_repeatables') IS NOT NULL")
    return [
        (repeatable, await repeatable.installed_at(connection) if known else None)
        for repeatable in (functions(), VIEWS)
    ]


async def _derive(connection: Connection) -> bool:
    """Put up what follows from the code; return whether there was another one."""
    async with alone(connection):
        await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        try:
            return await VIEWS.install(connection)
        except MigrationError as error:
            if isinstance(error.__cause__, asyncpg.DependentObjectsStillExistError):
                raise MigrationError(
                    f"drop what was built on the {VIEWS} first: {error.__cause__.detail}"
                ) from error
            raise
