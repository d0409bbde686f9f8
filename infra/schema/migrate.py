"""Numbered SQL files, applied in order and recorded in the database.

Each file of `migrations/` runs in its own transaction. Before it starts, the transaction takes the one advisory lock of
all migrating programs, so any number of them may be started at once. A statement that waits for a table's lock holds
up every later reader and writer of that table; so it gives up after LOCK_TIMEOUT, lets them pass, and the file is tried
anew.

Functions are no migrations: each is a file of `functions/`, and all of them are put up as one `Repeatable` when they are
other ones. That happens in the transaction of the first file, since the triggers of the later ones need them, and of the
last one that is pending. A later file that needs a new function before that creates it itself; one that changes a
function's signature drops the former.

What follows from the code alone, the views of analysts, no file spells out: `infra.analytics.install` puts it up after
the last of our own migrations, and anew whenever it is another one.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cache, partial
from importlib import resources
from typing import Literal, TypeVar

import asyncpg
import msgspec

from infra.schema.repeatable import (
    REPEATABLES,
    Connection,
    MigrationError,
    Repeatable,
    functions,
    run,
)

__all__ = [
    "LOCK_TIMEOUT",
    "Connection",
    "Migration",
    "MigrationError",
    "MigrationState",
    "alone",
    "assert_current",
    "available",
    "is_current",
    "migrate",
    "patiently",
    "status",
]

T = TypeVar("T")
FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
ADVISORY_LOCK = 0x63726D6C  # "crml"
LOCK_TIMEOUT = "1s"
ATTEMPTS = 100
LONGEST_PAUSE = 5.0
"""Seconds between two attempts."""
RECORDS = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version int PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
FORMER_FIRST = "ledger"
"""The name of the first migration of databases that were made before the baseline."""


class Migration(msgspec.Struct, frozen=True):
    """One SQL file."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, the same on every platform's line endings; hexadecimal."""
        return hashlib.sha256(self.sql.replace("\r\n", "\n").encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.version:04}_{self.name}"


class MigrationState(msgspec.Struct, frozen=True):
    """The state of one migration in a database."""

    version: int
    name: str
    state: Literal["applied", "pending", "changed", "unknown"]
    """changed: the file is not what was applied; unknown: applied by other code, there is no such file."""
    applied_at: datetime | None


def available() -> list[Migration]:
    """The migrations of this code, in order.

    :raises MigrationError: a file is misnamed or the numbers are not 1, 2, 3, ...
    """
    migrations = []
    for file in resources.files("infra.schema").joinpath("migrations").iterdir():
        if file.name.endswith(".sql"):
            match = FILE_NAME.fullmatch(file.name)
            if not match:
                raise MigrationError(f"{file.name} is not named like 0001_some_name.sql")
            migrations.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    migrations.sort(key=lambda migration: migration.version)
    for number, migration in enumerate(migrations, 1):
        if migration.version != number:
            raise MigrationError(f"{migration} should have the number {number:04}")
    return migrations


async def migrate(
    connection: Connection,
    migrations: Sequence[Migration] | None = None,
    repeatable: Repeatable | None = None,
    *,
    attempts: int = ATTEMPTS,
) -> list[Migration | Repeatable]:
    """Apply what is pending.

    :param connection: outside a transaction, of a role that owns the schema.
    :param migrations: by default the code's own.
    :param repeatable: functions; by default the code's own if the migrations are.
    :param attempts: how often one migration is tried while others hold locks it needs.
    :return: those that this call applied.
    :raises MigrationError: the database does not fit the code, or a migration failed; earlier ones stay applied.
    """
    if migrations is None:
        migrations, repeatable = available(), repeatable or functions()
    step = partial(_apply_next, wanted=migrations, repeatable=repeatable)
    applied: list[Migration | Repeatable] = []
    while some := await patiently(connection, step, attempts):
        applied += some
    return applied


async def status(
    connection: Connection, migrations: Sequence[Migration] | None = None
) -> list[MigrationState]:
    """Return the state of every migration, of the code and of the database, by number.

    :param migrations: by default the code's own.
    """
    pending = {
        migration.version: migration
        for migration in (available() if migrations is None else migrations)
    }
    exists = await connection.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL")
    rows = await connection.fetch("SELECT * FROM schema_migrations") if exists else []
    states = [_recorded(row, pending.pop(row["version"], None)) for row in rows]
    states += [
        MigrationState(migration.version, migration.name, "pending", None)
        for migration in pending.values()
    ]
    return sorted(states, key=lambda state: state.version)


async def is_current(connection: Connection) -> bool:
    """True if the database records exactly this code's migrations and functions. Cheap enough to ask often."""
    rows = await connection.fetch("SELECT version, checksum FROM schema_migrations")
    return {tuple(row) for row in rows} == _own() and await functions().is_installed(connection)


@cache
def _own() -> frozenset[tuple[int, str]]:
    """This code's migrations, which do not change while it runs."""
    return frozenset((migration.version, migration.checksum) for migration in available())


async def assert_current(
    connection: Connection,
    migrations: Sequence[Migration] | None = None,
    repeatable: Repeatable | None = None,
) -> None:
    """Check that the database is exactly at this code's schema.

    :param migrations: by default the code's own.
    :param repeatable: functions; by default the code's own if the migrations are.
    :raises MigrationError: it is not; the message says in what and what to do.
    """
    if migrations is None:
        migrations, repeatable = available(), repeatable or functions()
    states = await status(connection, migrations)
    _check(states)
    pending = [f"{state.version:04}_{state.name}" for state in states if state.state == "pending"]
    if pending:
        raise MigrationError(f"not applied yet: {', '.join(pending)}; run `crmledger db migrate`")
    if repeatable and not await repeatable.is_installed(connection):
        raise MigrationError(
            f"the {repeatable} of the database are not this code's; run `crmledger db migrate`"
        )


def _recorded(row: asyncpg.Record, migration: Migration | None) -> MigrationState:
    fits = migration is not None and migration.checksum == row["checksum"]
    state: Literal["applied", "changed", "unknown"] = (
        "applied" if fits else "changed" if migration else "unknown"
    )
    return MigrationState(row["version"], row["name"], state, row["applied_at"])


def _check(states: Sequence[MigrationState]) -> None:
    """Refuse what no migration can mend."""
    seen_pending: MigrationState | None = None
    for state in states:
        label = f"{state.version:04}_{state.name}"
        if (state.version, state.name) == (1, FORMER_FIRST):
            raise MigrationError(
                "this database was made by a development version before the baseline of 2026-11;"
                " create a new one"
            )
        if state.state == "unknown":
            raise MigrationError(
                f"the database has {label}, which this code does not know; run the newer code"
            )
        if state.state == "changed":
            raise MigrationError(
                f"{label} was changed after it was applied; undo that and write a new migration"
            )
        if state.state == "pending":
            seen_pending = seen_pending or state
        elif seen_pending:
            missing = f"{seen_pending.version:04}_{seen_pending.name}"
            raise MigrationError(
                f"{missing} was not applied before {label}; the numbers of two branches were mixed"
            )


async def patiently(
    connection: Connection, step: Callable[[Connection], Awaitable[T | None]], attempts: int
) -> T | None:
    """Return the result of a step, retried while others hold its locks; `MigrationError` after the last attempt."""
    pause = 0.05
    for left in reversed(range(attempts)):
        try:
            return await step(connection)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            if not left:
                raise MigrationError(f"gave up after {attempts} attempts: {error}") from error
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(pause * 2, LONGEST_PAUSE)
    return None


@asynccontextmanager
async def alone(connection: Connection) -> AsyncIterator[None]:
    """A transaction that no other migrating program has at the same time."""
    async with connection.transaction(isolation="read_committed"):
        # Another program's migrations may take any time: wait for them without a limit.
        await connection.execute("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", ADVISORY_LOCK)
        yield


async def _apply_next(
    connection: Connection, wanted: Sequence[Migration], repeatable: Repeatable | None
) -> list[Migration | Repeatable]:
    """Apply the first pending migration, if any, and the functions where they are due, in one transaction."""
    async with alone(connection):
        await connection.execute(RECORDS)
        await connection.execute(REPEATABLES)
        states = await status(connection, wanted)
        _check(states)
        pending = {state.version for state in states if state.state == "pending"}
        applied: list[Migration | Repeatable] = []
        await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        migration = next((migration for migration in wanted if migration.version in pending), None)
        if migration:
            await _apply(connection, migration)
            applied.append(migration)
        is_due = len(pending) <= 1 or 1 in pending
        if repeatable and is_due and await repeatable.install(connection):
            applied.append(repeatable)
        return applied


async def _apply(connection: Connection, migration: Migration) -> None:
    # First, since the file may change the search path.
    await connection.execute(
        "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
        migration.version,
        migration.name,
        migration.checksum,
    )
    await run(connection, str(migration), migration.sql)
