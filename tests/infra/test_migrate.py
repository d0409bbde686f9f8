"""Migrations on a real database: in order, once, whole or not at all, and never in the way for long."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from infra.schema import migrate as module
from infra.schema.migrate import (
    Connection,
    Migration,
    MigrationError,
    assert_current,
    available,
    is_current,
    migrate,
    status,
)
from infra.schema.repeatable import Repeatable

FIRST = Migration(
    1, "first", "CREATE TABLE letters (letter text);\r\nINSERT INTO letters VALUES ('a');\r\n"
)
SECOND = Migration(2, "second", "ALTER TABLE letters ADD number int;")
THIRD = Migration(3, "third", "INSERT INTO letters VALUES ('c', 3);")
THIRD_ALONE = Migration(3, "third", "SELECT 3")
ALL = [FIRST, SECOND, THIRD]
BEHIND = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1"
FUNCTIONS = Repeatable(
    "functions",
    {
        "count.sql": "CREATE OR REPLACE FUNCTION letter() RETURNS text"
        " LANGUAGE sql AS 'SELECT max(letter) FROM letters'"
    },
)
OTHERS = Repeatable(
    "functions",
    {
        "count.sql": "CREATE OR REPLACE FUNCTION letter() RETURNS text"
        " LANGUAGE sql AS 'SELECT min(letter) FROM letters'"
    },
)


@pytest.fixture
async def connection(empty_database: str) -> AsyncIterator[Connection]:
    opened = await asyncpg.connect(empty_database)
    yield opened
    await opened.close()


async def states(connection: Connection, migrations: list[Migration]) -> list[str]:
    return [state.state for state in await status(connection, migrations)]


async def test_applies_what_is_pending_and_records_it(connection: Connection) -> None:
    assert await states(connection, ALL) == ["pending"] * 3
    assert await migrate(connection, ALL[:2]) == ALL[:2]
    assert await migrate(connection, ALL) == [THIRD]
    assert await migrate(connection, ALL) == []
    assert [tuple(row) for row in await connection.fetch("SELECT * FROM letters")] == [
        ("a", None),
        ("c", 3),
    ]
    rows = await connection.fetch(
        "SELECT version, name, checksum FROM schema_migrations ORDER BY version"
    )
    assert [tuple(row) for row in rows] == [
        (each.version, each.name, each.checksum) for each in ALL
    ]
    for state in await status(connection, ALL):
        assert state.applied_at
        assert abs(datetime.now(UTC) - state.applied_at) < timedelta(minutes=1)


def test_the_checksum_is_of_the_text_and_not_of_the_platform() -> None:
    unix = FIRST.sql.replace("\r\n", "\n")
    assert (
        FIRST.checksum
        == Migration(1, "first", unix).checksum
        == hashlib.sha256(unix.encode()).hexdigest()
    )
    assert FIRST.checksum != Migration(1, "first", unix + " ").checksum


async def test_a_failing_migration_leaves_no_trace(connection: Connection) -> None:
    broken = Migration(2, "broken", "CREATE TABLE half ();\nSELECT 1;\nSELECT nothing;\n")
    with pytest.raises(
        MigrationError, match='0002_broken, line 3: column "nothing" does not exist'
    ):
        await migrate(connection, [FIRST, broken])
    assert await connection.fetchval("SELECT to_regclass('half')") is None
    assert await states(connection, [FIRST, broken]) == ["applied", "pending"]
    assert await migrate(connection, ALL) == [SECOND, THIRD]


async def test_a_changed_file_is_refused(connection: Connection) -> None:
    await migrate(connection, ALL[:2])
    changed = [FIRST, Migration(2, "second", SECOND.sql + "--"), THIRD]
    for refused in (migrate, assert_current):
        with pytest.raises(MigrationError, match="0002_second was changed after it was applied"):
            await refused(connection, changed)
    assert await states(connection, changed) == ["applied", "changed", "pending"]


async def test_a_newer_database_is_refused(connection: Connection) -> None:
    await migrate(connection, ALL)
    for refused in (migrate, assert_current):
        with pytest.raises(MigrationError, match="0003_third, which this code does not know"):
            await refused(connection, ALL[:2])
    assert await states(connection, ALL[:2]) == ["applied", "applied", "unknown"]


async def test_a_gap_is_refused(connection: Connection) -> None:
    await migrate(connection, [FIRST, THIRD_ALONE])
    with pytest.raises(MigrationError, match="0002_second was not applied before 0003_third"):
        await migrate(connection, [FIRST, SECOND, THIRD_ALONE])


async def test_assert_current(connection: Connection) -> None:
    with pytest.raises(
        MigrationError, match="not applied yet: 0001_first, 0002_second, 0003_third"
    ):
        await assert_current(connection, ALL)
    await migrate(connection, ALL)
    await assert_current(connection, ALL)


async def test_functions_are_put_up_with_the_first_file_and_with_the_last(
    connection: Connection,
) -> None:
    called = Migration(2, "called", "INSERT INTO letters SELECT 'of ' || letter()")
    assert await migrate(connection, [FIRST, called], FUNCTIONS) == [FIRST, FUNCTIONS, called]
    more = [FIRST, called, THIRD_ALONE, Migration(4, "fourth", "INSERT INTO letters VALUES ('d')")]
    assert await migrate(connection, more, OTHERS) == [*more[2:], OTHERS]
    assert await connection.fetchval("SELECT letter()") == "a"
    assert await migrate(connection, more, OTHERS) == []


async def test_other_functions_are_refused_until_they_are_replaced(connection: Connection) -> None:
    await migrate(connection, [FIRST], FUNCTIONS)
    await assert_current(connection, [FIRST], FUNCTIONS)
    with pytest.raises(MigrationError, match="the functions of the database are not this code's"):
        await assert_current(connection, [FIRST], OTHERS)
    assert await migrate(connection, [FIRST], OTHERS) == [OTHERS]
    await assert_current(connection, [FIRST], OTHERS)


async def test_a_failing_function_leaves_no_trace(connection: Connection) -> None:
    broken = Repeatable("functions", OTHERS.statements | {"half.sql": "\nCREATE FUNCTION half("})
    await migrate(connection, [FIRST], FUNCTIONS)
    with pytest.raises(MigrationError, match=r"half\.sql, line 2: syntax error"):
        await migrate(connection, ALL[:2], broken)
    assert await states(connection, ALL[:2]) == ["applied", "pending"]
    await assert_current(connection, [FIRST], FUNCTIONS)


async def test_a_database_from_before_the_baseline_is_refused(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        assert await is_current(connection)
        await connection.execute(
            "UPDATE schema_migrations SET name = 'ledger', checksum = 'former' WHERE version = 1;"
            " DROP TABLE schema_repeatables"
        )
        for refused in (migrate, assert_current):
            with pytest.raises(MigrationError, match=r"before the baseline .* create a new one"):
                await refused(connection)
        assert not await is_current(connection)
    finally:
        await connection.close()


async def test_programs_started_at_once_apply_each_once(empty_database: str) -> None:
    slow = [FIRST, Migration(2, "second", "SELECT pg_sleep(1.5);" + SECOND.sql), THIRD]
    connections = [await asyncpg.connect(empty_database) for _ in range(4)]
    try:
        applied = await asyncio.gather(*(migrate(each, slow, attempts=1) for each in connections))
        assert (
            sorted((each for some in applied for each in some), key=lambda each: each.version)
            == slow
        )
        assert await connections[0].fetchval("SELECT count(*) FROM letters") == 2
    finally:
        for each in connections:
            await each.close()


async def test_writers_never_wait_long_for_a_migration_that_waits(
    connection: Connection, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long transaction holds the table; the migration queues for it, and a writer behind the migration."""
    monkeypatch.setattr(module, "LOCK_TIMEOUT", "200ms")
    await migrate(connection, [FIRST])
    reader, writer, observer = [await asyncpg.connect(empty_database) for _ in range(3)]
    try:
        transaction = reader.transaction()
        await transaction.start()
        await reader.execute("SELECT * FROM letters")
        migrating = asyncio.create_task(migrate(connection, [FIRST, SECOND], attempts=1_000_000))
        queued = 0
        while queued < 3:
            writing = asyncio.create_task(writer.execute("INSERT INTO letters VALUES ('b')"))
            behind = False
            while not writing.done() and not behind:
                behind = await observer.fetchval(BEHIND, writer.get_server_pid())
            # It comes to its end though the reader holds the table all the time.
            await writing
            queued += bool(behind)
        assert not migrating.done()
        await transaction.rollback()
        assert await migrating == [SECOND]
    finally:
        for each in (reader, writer, observer):
            await each.close()


async def test_gives_up_in_the_end(
    connection: Connection, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_TIMEOUT", "50ms")
    await migrate(connection, [FIRST])
    reader = await asyncpg.connect(empty_database)
    try:
        async with reader.transaction():
            await reader.execute("SELECT * FROM letters")
            with pytest.raises(MigrationError, match="gave up after 2 attempts"):
                await migrate(connection, [FIRST, SECOND], attempts=2)
    finally:
        await reader.close()
    assert await states(connection, [FIRST, SECOND]) == ["applied", "pending"]


async def test_our_own_are_numbered_and_applied(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        await assert_current(connection)
        assert [state.version for state in await status(connection)] == list(
            range(1, len(available()) + 1)
        )
        assert await is_current(connection)
        await connection.execute(
            "UPDATE schema_repeatables SET checksum = '' WHERE name = 'functions'"
        )
        assert not await is_current(connection)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["1_first.sql"], "1_first.sql is not named like"),
        (["0001_First.sql"], "0001_First.sql is not named like"),
        (["0001_a.sql", "0003_c.sql"], "0003_c should have the number 0002"),
        (["0001_a.sql", "0001_b.sql"], "should have the number 0002"),
    ],
)
def test_misnamed_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], fault: str
) -> None:
    (tmp_path / "migrations").mkdir()
    for name in names:
        (tmp_path / "migrations" / name).write_text("SELECT 1")
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    with pytest.raises(MigrationError, match=fault):
        available()
