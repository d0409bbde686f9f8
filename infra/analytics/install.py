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

__all__ = ["CHECKSUM", "current", "install"]

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
