"""Puts the objects up that analysts query, as the field table has them now.

They are derived, and so no migration spells them out: whoever migrates compares the definition in
the database with this code's and replaces all of them if it is another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TypeAlias

import asyncpg

from infra.analytics.relations import OBJECTS
from infra.schema.migrate import (
    LOCK_TIMEOUT,
    Migration,
    MigrationError,
    alone,
    assert_current,
    migrate,
    patiently,
)

__all__ = ["CHECKSUM", "assert_deployed", "current", "deploy", "install"]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

INSTALLED = "INSERT INTO analytics.definition (checksum) VALUES ($1)"


def _statements() -> Iterator[str]:
    """What makes all objects, in order; the views need nothing of each other."""
    for relation in OBJECTS.values():
        yield from relation.statements()


SCHEMA = ";\n".join(_statements())
CHECKSUM = hashlib.sha256(SCHEMA.encode()).hexdigest()
"""Of the definition of all objects."""


async def current(connection: Connection) -> bool:
    """Whether the database has the objects as this code defines them."""
    checksum = await connection.fetchval("SELECT checksum FROM analytics.definition")
    return bool(checksum == CHECKSUM)


async def install(connection: Connection) -> bool:
    """Replaces the objects if their definition is another one: whether it did.

    Runs in the caller's transaction, as the owner of the schema. Raises ``asyncpg.PostgresError``
    where something else has been built on them: that has to be dropped first.
    """
    if await current(connection):
        return False
    await connection.execute(f"SELECT analytics.take_down();\n{SCHEMA}")
    await connection.execute(INSTALLED, CHECKSUM)
    return True


async def deploy(connection: Connection, *, attempts: int = 100) -> list[Migration]:
    """Applies the code's pending migrations and then puts up what is derived: what it applied."""
    applied = await migrate(connection, attempts=attempts)
    await patiently(connection, _derive, attempts)
    return applied


async def assert_deployed(connection: Connection) -> None:
    """Raises ``MigrationError`` unless the database has exactly this code's schema and objects."""
    await assert_current(connection)
    if not await current(connection):
        raise MigrationError(
            "the views of analysts are not this code's; run `crmledger db migrate`"
        )


async def _derive(connection: Connection) -> None:
    """Put up what follows from the code."""
    async with alone(connection):
        await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        try:
            await install(connection)
        except asyncpg.DependentObjectsStillExistError as error:
            raise MigrationError(
                f"drop what was built on the views of analysts first: {error.detail}"
            ) from error
