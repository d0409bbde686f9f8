"""The append: batches in which every command has its own fate, and outcomes that are looked up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from domain.errors import ServiceUnavailable
from infra.encryption import KeyRing
from infra.ledger import commit_batch as parcels
from infra.ledger.commit_batch import encode_commit, split_conflicting
from infra.ledger.group_commit import GroupCommitter
from infra.postgres.pool import PooledConnection
from services.ports import AppendResult, Commit
from tests.fixtures.ledgers import (
    ORGANISATION,
    call_append,
    call_settle,
    commit_of,
    connection_pool,
    group_committer,
    ledger_problems,
    record,
    rename,
)
from tests.fixtures.service import RING


async def together(one: GroupCommitter, *changes: Commit) -> list[Any]:
    """What becomes of changes that are appended at the same moment; what is raised counts, too."""
    sent = (one.append(ORGANISATION, change) for change in changes)
    outcomes = await asyncio.gather(*sent, return_exceptions=True)
    return [o.name if isinstance(o, AppendResult) else type(o) for o in outcomes]


def claim(text: str, holder: str) -> list[dict[str, str]]:
    return [{"claim": text, "stream": str(record(holder).id), "at": "name", "entity": holder}]


async def test_a_loser_does_not_fail_the_others(database: str) -> None:
    async with group_committer(database) as one:
        kept = record("A")
        await together(one, commit_of(kept, take=claim("name", "A")))
        outcomes = await together(
            one,
            commit_of(record("B")),
            commit_of(record("A")),
            commit_of(record("C"), take=claim("name", "C")),
            commit_of(rename(kept)),
        )
    assert outcomes == ["WRITTEN", "CONFLICT", "CLAIMED", "WRITTEN"]
    assert await ledger_problems(database) == []


async def test_a_poisoned_change_fails_alone(database: str) -> None:
    unsayable, unreadable = commit_of(record()), commit_of(record(), take=claim("\0", "X"))
    unsayable.metadata["at"] = object()
    huge = record()
    object.__setattr__(huge.pending_events[0], "originator_version", 2**40)
    good = [commit_of(record()) for _ in range(20)]
    async with group_committer(database) as one:
        mixed = [*good[:10], unsayable, unreadable, commit_of(huge), *good[10:]]
        outcomes = await together(one, *mixed)
    assert outcomes[:10] == outcomes[13:] == ["WRITTEN"] * 10
    assert all(issubclass(error, (TypeError, asyncpg.PostgresError)) for error in outcomes[10:13])
    assert await ledger_problems(database) == []


async def test_commands_that_depend_on_each_other_are_compared_one_after_the_other(
    database: str,
) -> None:
    key = {"key": "K", "request_hash": "H"}
    async with group_committer(database) as one:
        outcomes = await together(
            one,
            commit_of(record("A")),
            commit_of(record("A")),
            commit_of(record("B"), take=claim("name", "B")),
            commit_of(record("C"), take=claim("name", "C")),
            commit_of(record("D"), **key),
            commit_of(record("E"), **key),
        )
    assert outcomes == ["WRITTEN", "CONFLICT", "WRITTEN", "CLAIMED", "WRITTEN", "REPEATED"]
    assert await ledger_problems(database) == []


def expecting(id_: str, version: int, on: str = "SETTINGS") -> Commit:
    return commit_of(record(id_), expect=[{"stream": str(record(on).id), "version": version}])


async def test_what_a_command_expects_is_still_so_when_it_is_written(database: str) -> None:
    async with group_committer(database) as one:
        settings = record("SETTINGS")
        await together(one, commit_of(settings))
        changed = commit_of(rename(settings))
        before, after = expecting("A", 1), expecting("B", 1)
        assert await together(one, before, changed, after) == ["WRITTEN", "WRITTEN", "CONFLICT"]
    connection = await asyncpg.connect(database)
    rows = await connection.fetch("SELECT metadata ->> 'command' AS c FROM ledger.events")
    await connection.close()
    assert [row["c"] for row in rows][1:] == [before.command, changed.command]


def test_readers_share_a_batch_and_writers_do_not() -> None:
    changed = commit_of(record("SETTINGS"))
    readers = [expecting(id_, 1) for id_ in "ABC"]
    batches = [
        [p.command for p in batch]
        for batch in split_conflicting(
            [encode_commit(RING, ORGANISATION, c) for c in (*readers, changed, expecting("D", 1))]
        )
    ]
    assert [len(batch) for batch in batches] == [3, 1, 1]


async def test_revert_without_reading_sets_a_stale_rule_is_accepted(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = parcels.encode_commit

    def careless(ring: KeyRing, organisation: str, change: Commit) -> parcels.EncodedCommit:
        return msgspec.structs.replace(real(ring, organisation, change), reads=set())

    monkeypatch.setattr("infra.ledger.group_commit.encode_commit", careless)
    async with group_committer(database) as one:
        settings = record("SETTINGS")
        await together(one, commit_of(settings))
        assert (
            await together(one, commit_of(rename(settings)), expecting("B", 1)) == ["WRITTEN"] * 2
        )


async def test_a_change_without_events_is_kept_by_its_key(database: str) -> None:
    async with group_committer(database) as one:
        empty = commit_of(key="K", request_hash="H")
        assert await together(one, empty, commit_of(key="K", request_hash="H")) == [
            "WRITTEN",
            "REPEATED",
        ]
    connection = await asyncpg.connect(database)
    assert await call_settle(connection, empty) == [True]
    assert await call_settle(connection, commit_of(key="K", request_hash="H")) == [False]
    await connection.close()


async def test_claims_of_two_organisations_at_once(database: str) -> None:
    """Appends of different organisations do not wait for each other, but for the claim."""
    async with group_committer(database) as one:
        for n in range(8):
            changes = {
                org: commit_of(record("A", org), take_worldwide=claim(f"name {n}", "A"))
                for org in (f"X{n}", f"Y{n}", f"Z{n}")
            }
            sent = (one.append(org, change) for org, change in changes.items())
            verdicts = await asyncio.gather(*sent)
            assert sorted(v.name for v in verdicts) == ["CLAIMED", "CLAIMED", "WRITTEN"]


async def test_claims_that_are_taken_crosswise(database: str) -> None:
    names = [f"name {n}" for n in range(20)]

    def both(org: str, order: list[str]) -> Commit:
        claims = [c for name in order for c in claim(name, "A")]
        return commit_of(record("A", org), take_worldwide=claims)

    async with group_committer(database) as one:
        sent = one.append("X", both("X", names)), one.append("Y", both("Y", names[::-1]))
        verdicts = await asyncio.gather(*sent)
    assert sorted(verdict.name for verdict in verdicts) == ["CLAIMED", "WRITTEN"]


async def test_a_batch_that_comes_too_late_is_not_written(database: str) -> None:
    connection = await asyncpg.connect(database)
    past = datetime.now(UTC) - timedelta(hours=1)
    changes = commit_of(record()), commit_of(record())
    assert await call_append(connection, *changes, deadline=past) == ["LATE", "LATE"]
    assert await connection.fetchval("SELECT count(*) FROM ledger.events") == 0
    await connection.close()


async def test_what_was_settled_stays_so(database: str) -> None:
    connection = await asyncpg.connect(database)
    there, absent = commit_of(record()), commit_of(record())
    await call_append(connection, there)
    for _ in range(2):
        assert await call_settle(connection, there, absent) == [True, False]
        assert await call_append(connection, absent) == ["LATE"]
    assert await call_append(connection, commit_of(record())) == ["WRITTEN"]
    await connection.execute(
        "UPDATE ledger.abandoned_commands SET recorded_at = recorded_at - interval '2 days'"
    )
    assert await connection.fetchval("SELECT ledger.purge_expired($1)", ORGANISATION) == 0
    assert await connection.fetchval("SELECT count(*) FROM ledger.abandoned_commands") == 0
    await connection.close()


async def test_a_clock_that_was_set_is_read_anew(database: str) -> None:
    async with connection_pool(database) as own:
        one = GroupCommitter(own, RING)
        assert await together(one, commit_of(record())) == ["WRITTEN"]
        while not own._free.empty():
            lane = own._free.get_nowait()
            if lane:
                lane._clock -= timedelta(hours=1)
            asyncio.get_running_loop().call_soon(own._free.put_nowait, lane)
            if lane:
                break
        await asyncio.sleep(0)
        assert await together(one, commit_of(record())) == ["WRITTEN"]


async def test_a_server_that_is_always_late_is_a_refusal(database: str) -> None:
    async with group_committer(database, deadline=timedelta(seconds=-3600)) as one:
        assert await together(one, commit_of(record())) == [ServiceUnavailable]


async def test_the_clock_of_this_machine_does_not_matter(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = await PooledConnection.open(database, 10)
    server = await lane.connection.fetchval("SELECT clock_timestamp()")
    assert abs(lane.now() - server) < timedelta(minutes=1)
    assert lane.now() <= await lane.connection.fetchval("SELECT clock_timestamp()")
    await lane.connection.close()


async def test_isolation_and_durability_do_not_depend_on_the_database(database: str) -> None:
    connection = await asyncpg.connect(database)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(
        f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"
    )
    await connection.close()
    async with group_committer(database) as one, group_committer(database) as two:
        for _ in range(10):
            sent = [e.append(ORGANISATION, commit_of(record())) for e in (one, two) * 4]
            assert {verdict.name for verdict in await asyncio.gather(*sent)} == {"WRITTEN"}
    assert await ledger_problems(database) == []


async def test_a_cancelled_caller_leaves_its_change_to_be_written(database: str) -> None:
    async with group_committer(database) as one:
        tasks = [
            asyncio.create_task(one.append(ORGANISATION, commit_of(record()))) for _ in range(10)
        ]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(outcome, AppendResult) for outcome in outcomes) == 5
        await one.drain()
    connection = await asyncpg.connect(database)
    assert await connection.fetchval("SELECT count(*) FROM ledger.events") == 10
    await connection.close()
    assert await ledger_problems(database) == []
