"""Objects of the database that are replaced as a whole whenever the text that makes them is another one.

A numbered migration changes what is there. Functions, and the views of analysts, hold no data: the code
says what they are, the database notes the checksum of the text that made them, and whoever migrates runs
that text again when the two differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import resources
from typing import TypeAlias

import asyncpg
import msgspec

__all__ = [
    "REPEATABLES",
    "Connection",
    "MigrationError",
    "Repeatable",
    "functions",
    "run",
]

REPEATABLES = """
CREATE TABLE IF NOT EXISTS schema_repeatables (
    name text PRIMARY KEY,
    checksum text NOT NULL,
    installed_at timestamptz NOT NULL DEFAULT now()
)
"""
STATE = "SELECT checksum, installed_at FROM schema_repeatables WHERE name = $1"
INSTALLED = """
INSERT INTO schema_repeatables (name, checksum) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, installed_at = excluded.installed_at
"""
LATE_BOUND = "SET LOCAL check_function_bodies = off"
"""Functions are put up before the tables that they read, and in no order of their own."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class MigrationError(RuntimeError):
    """The database and the code do not fit, or a migration could not be applied; and was rolled back."""


class Repeatable(msgspec.Struct, frozen=True):
    """One set of such objects: its name in the database, and its statements by where they stand."""

    name: str
    statements: Mapping[str, str]

    @property
    def checksum(self) -> str:
        """SHA-256 of the texts, the same on every platform's line endings; hexadecimal."""
        digest = hashlib.sha256()
        for place, sql in self.statements.items():
            digest.update(f"{place}\n{sql}\n".replace("\r\n", "\n").encode())
        return digest.hexdigest()

    def __str__(self) -> str:
        return self.name

    async def installed_at(self, connection: Connection) -> datetime | None:
        """When the database got these objects; None if it has other ones, or none."""
        row = await connection.fetchrow(STATE, self.name)
        return row["installed_at"] if row and row["checksum"] == self.checksum else None

    async def is_installed(self, connection: Connection) -> bool:
        """True if the database has these objects."""
        return await self.installed_at(connection) is not None

    async def install(self, connection: Connection) -> bool:
        """Replace the objects if the database has other ones; return whether it had.

        Runs in the caller's transaction, as the owner of the schema.

        :raises MigrationError: a statement failed.
        """
        if await self.is_installed(connection):
            return False
        for place, sql in self.statements.items():
            await run(connection, place, sql)
        await connection.execute(INSTALLED, self.name, self.checksum)
        return True


async def run(connection: Connection, place: str, sql: str) -> None:
    """Run statements.

    :param place: where they stand, for the message of an error.
    :raises MigrationError: a statement failed, other than by a lock that others hold.
    """
    try:
        await connection.execute(sql)
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        raise
    except asyncpg.PostgresError as error:
        line = sql.count("\n", 0, int(error.position or 0)) + 1
        raise MigrationError(f"{place}, line {line}: {error}") from error


@cache
def functions() -> Repeatable:
    """The functions of this code: every file of `functions/`, by schema and name."""
    folder = resources.files("infra.schema") / "functions"
    files = {
        f"functions/{schema.name}/{file.name}": file.read_text(encoding="utf-8")
        for schema in folder.iterdir()
        if schema.is_dir()
        for file in schema.iterdir()
        if file.name.endswith(".sql")
    }
    return Repeatable("functions", {"functions": LATE_BOUND} | dict(sorted(files.items())))
