"""Sealing: dense and chained whoever seals, whoever dies; never what is not whole."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator
from concurrent.futures import BrokenExecutor
from contextlib import asynccontextmanager
from typing import NoReturn
from unittest.mock import AsyncMock

import asyncpg
import msgspec
import pytest
from structlog.testing import capture_logs

from infra.app import run_sealer
from infra.audit.operations import verify
from infra.audit.queries import snapshot
from infra.audit.seal_builder import ADD_SEAL, seal_next
from infra.audit.seal_verification import SealVerifier
from infra.audit.sealer import INLINE_LIMIT, Sealer, backlogs
from infra.audit.seals import Seal
from infra.ledger.feed import LedgerCorruptedError
from infra.observability.metrics import metrics
from infra.postgres.pool import PooledConnection
from infra.settings import Settings
from tests.fixtures.audit import EVENTS, MOST, SIGNER, ledger, seal_all, tampering, verify_output
from tests.fixtures.ledgers import ORGANISATION, Connection, call_append, commit_of, record, rename
from tests.fixtures.read_models import connection, populate
from tests.fixtures.service import RING, environment, run_in_process

LOCK = "SELECT pg_advisory_lock(hashtextextended('crmledger.seal/' || $1, 0))"
WAITING = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"


@asynccontextmanager
async def service(url: str) -> AsyncIterator[Connection]:
    """A connection of the service's role."""
    lane = await PooledConnection.open(url, 60)
    try:
        yield lane.connection
    finally:
        await lane.connection.close()


async def ranges(url: str) -> list[tuple[int, int, int]]:
    async with connection(url) as asked:
        rows = await asked.fetch(
            "SELECT number, first_position, last_position FROM ledger.seals ORDER BY number"
        )
    return [tuple(row) for row in rows]


async def whole(url: str) -> SealVerifier:
    found = await verify_output(url)
    assert isinstance(found, SealVerifier), found
    return found


async def test_a_backlog_is_cut_into_ranges_and_nothing_is_sealed_twice(database: str) -> None:
    _, seals = await ledger(database)
    assert await ranges(database) == [(1, 1, 4), (2, 5, 8), (3, 9, 10)]
    assert [seal.seal().former for seal in seals[1:]] == [seal.hash() for seal in seals[:-1]]
    assert await seal_all(database) == []
    async with connection(database) as owner:
        await call_append(owner, commit_of(record()))
    assert len(await seal_all(database)) == 1
    found = await whole(database)
    assert (found.position, found.sealed, found.seals) == (EVENTS + 1, EVENTS + 1, 4)


async def test_sealers_that_race_make_one_chain(database: str) -> None:
    sealers = [Sealer(database, SIGNER, RING, seconds=0.001, max_events=2) for _ in range(4)]
    async with connection(database) as owner:
        known = [record() for _ in range(3)]
        await call_append(owner, *(commit_of(one) for one in known))
        for _ in range(8):
            appends = asyncio.create_task(
                call_append(owner, *(commit_of(rename(one)) for one in known))
            )
            await asyncio.gather(appends, *(sealer.once() for sealer in sealers))
        await asyncio.sleep(0.01)
        await sealers[0].once()
        assert all(backlog.events == 0 for backlog in await backlogs(owner))
    for sealer in sealers:
        await sealer.close()
    found = await whole(database)
    assert found.sealed == 27
    assert 'crmledger_sealed_position{organisation="LEDGER"}' in metrics().decode()


async def test_one_that_is_killed_at_the_last_moment_leaves_nothing(database: str) -> None:
    await ledger(database)
    async with connection(database) as owner, service(database) as doomed:
        await call_append(owner, commit_of(record()))
        await owner.execute(LOCK, ORGANISATION)
        task = asyncio.create_task(seal_next(doomed, ORGANISATION, SIGNER, RING))
        async with asyncio.timeout(60):
            while not await owner.fetchval(WAITING):
                await asyncio.sleep(0.01)
        await owner.execute("SELECT pg_terminate_backend($1)", doomed.get_server_pid())
        await asyncio.wait([task])
        assert task.exception()
    assert len(await ranges(database)) == 3
    assert len(await seal_all(database)) == 1
    assert (await whole(database)).sealed == EVENTS + 1


async def test_the_second_of_two_finds_it_done(database: str) -> None:
    await ledger(database)
    async with connection(database) as owner, service(database) as one, service(database) as two:
        await call_append(owner, commit_of(record()))
        await owner.execute(LOCK, ORGANISATION)
        tasks = [
            asyncio.create_task(seal_next(each, ORGANISATION, SIGNER, RING)) for each in (one, two)
        ]
        async with asyncio.timeout(60):
            while len(await owner.fetch(WAITING)) < 2:
                await asyncio.sleep(0.01)
        await owner.execute("SELECT pg_advisory_unlock_all()")
        made = [await task for task in tasks]
    assert len([signed for signed in made if signed]) == 1
    assert (await whole(database)).seals == 4


async def test_a_event_is_sealed_when_it_is_old_enough_or_there_are_many(database: str) -> None:
    patient = Sealer(database, SIGNER, RING, seconds=3600, max_events=MOST)
    eager = Sealer(database, SIGNER, RING, seconds=0.05, max_events=MOST)
    async with connection(database) as owner:
        for _ in range(MOST - 1):
            await call_append(owner, commit_of(record()))
        await patient.once()
        assert await ranges(database) == []
        await call_append(owner, commit_of(record()))
        await patient.once()
        assert await ranges(database) == [(1, 1, MOST)]
        await call_append(owner, commit_of(record()))
        running = asyncio.create_task(eager.run())
        async with asyncio.timeout(60):
            while len(await ranges(database)) < 2:
                await asyncio.sleep(0.02)
        running.cancel()
    await asyncio.wait([running])
    for sealer in (patient, eager):
        await sealer.close()
    never = Sealer(database, SIGNER, RING, seconds=0)
    await asyncio.wait_for(never.run(), 60)


def forbidden(*_: object, **__: object) -> NoReturn:
    raise AssertionError("a process of its own has to do this")


async def test_many_events_are_sealed_by_a_process_of_its_own(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.audit.sealer.seal_next", forbidden)
    settings = Settings.from_environment(environment(database, CRMLEDGER_SEAL_SECONDS="0.05"))
    async with connection(database) as owner:
        await call_append(owner, *(commit_of(record()) for _ in range(INLINE_LIMIT + 1)))
    async with run_sealer(settings, database), asyncio.timeout(60):
        while not await ranges(database):
            await asyncio.sleep(0.02)
    assert await ranges(database) == [(1, 1, INLINE_LIMIT + 1)]
    assert not multiprocessing.active_children()


async def test_another_process_takes_over_from_one_that_was_killed(database: str) -> None:
    sealer = Sealer(database, SIGNER, RING, seconds=0.001)
    async with connection(database) as owner, service(database) as locking:
        await locking.execute(LOCK, ORGANISATION)
        await call_append(owner, *(commit_of(record()) for _ in range(INLINE_LIMIT + 1)))
        task = asyncio.create_task(sealer.once())
        async with asyncio.timeout(60):
            while not await owner.fetchval(WAITING):
                await asyncio.sleep(0.01)
        for child in multiprocessing.active_children():
            child.kill()
        with pytest.raises(BrokenExecutor):
            await task
        await locking.execute("SELECT pg_advisory_unlock_all()")
        await sealer.once()
    await sealer.close()
    assert len(await ranges(database)) == 1


async def test_a_sealer_that_fails_goes_on(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Sealer(database, SIGNER, RING, seconds=0.05)
    monkeypatch.setattr(failing, "once", AsyncMock(side_effect=[ValueError("broken"), None, None]))
    with capture_logs() as logs:
        running = asyncio.create_task(failing.run())
        async with asyncio.timeout(60):
            while failing.once.await_count < 3:  # type: ignore[attr-defined]
                await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.wait([running])
    assert [line["event"] for line in logs][:1] == ["sealer.failed"]


async def test_a_process_of_its_own_says_what_is_broken(database: str) -> None:
    await ledger(database)
    async with tampering(database) as owner:
        await call_append(owner, *(commit_of(record()) for _ in range(INLINE_LIMIT + 1)))
        await owner.execute(f"DELETE FROM ledger.events WHERE position = {EVENTS + 2}")
    assert await logged(database) == ["sealer.broken"]


async def logged(url: str) -> list[str]:
    """What a sealer says of a ledger that it does not seal."""
    sealer = Sealer(url, SIGNER, RING, seconds=0.001)
    with capture_logs() as logs:
        await sealer.once()
    await sealer.close()
    return [line["event"] for line in logs]


BROKEN = [
    ("DELETE FROM ledger.events WHERE position = 11", "12 stands at position 11"),
    (
        "UPDATE ledger.events SET version = 5 WHERE position = 12",
        "not written with the service key .* at position 12",
    ),
    ("UPDATE ledger.seal_tree_heads SET version = 7", "kept map .* at position 11"),
    ("UPDATE ledger.seal_tree_nodes SET hash = sha256(hash)", "kept map .* at position 11"),
    ("DELETE FROM ledger.seal_tree_nodes", "kept map .* at position 11"),
]


@pytest.mark.parametrize(("damage", "what"), BROKEN)
async def test_what_is_not_whole_is_never_sealed(database: str, damage: str, what: str) -> None:
    known, _ = await ledger(database)
    async with tampering(database) as owner, service(database) as asked:
        await call_append(owner, *(commit_of(rename(one)) for one in known[:3]))
        await owner.execute(damage)
        with pytest.raises(LedgerCorruptedError, match=what):
            await seal_next(asked, ORGANISATION, SIGNER, RING)
    assert await logged(database) == ["sealer.broken"]
    assert len(await ranges(database)) == 3


async def test_a_ledger_that_ends_before_its_seals_is_not_sealed(database: str) -> None:
    await ledger(database)
    async with tampering(database) as owner:
        await owner.execute("DELETE FROM ledger.events WHERE position > 7")
    assert await logged(database) == ["sealer.ahead"]


def arguments(statement: str, leaves: bytes) -> list[object]:
    return [ORGANISATION, statement, bytes(64), leaves, *([[]] * 6)]


async def test_the_database_takes_only_the_next_seal_of_its_own_events(database: str) -> None:
    _, seals = await ledger(database)
    async with connection(database) as owner, service(database) as asked:
        await call_append(owner, commit_of(record()), commit_of(record()))
        leaves = b"".join(
            row["event_hash"]
            for row in await owner.fetch(
                "SELECT event_hash FROM ledger.events WHERE position > 10 ORDER BY position"
            )
        )
        last = seals[-1].seal()

        def next_one(**other: object) -> str:
            fields = {f: getattr(last, f) for f in last.__struct_fields__}
            fields |= {"number": 4, "first": 11, "last": 12, "former": seals[-1].hash()}
            return type(last)(**(fields | other)).statement()

        assert not await asked.fetchval(ADD_SEAL, *arguments(next_one(former=last.former), leaves))
        for statement, given in [
            (next_one(number=5), leaves),
            (next_one(first=10), leaves),
            (next_one(first=12), leaves[32:]),
            (next_one(last=11), leaves),
            (next_one(last=13), leaves),
            (next_one(), leaves[:32] + bytes(32)),
            (next_one(organisation="OTHER"), leaves),
        ]:
            with pytest.raises(asyncpg.IntegrityConstraintViolationError):
                await asked.fetchval(ADD_SEAL, *arguments(statement, given))
        assert await asked.fetchval(ADD_SEAL, *arguments(next_one(), leaves))


@pytest.mark.parametrize("table", ["seals", "seal_tree_heads", "seal_tree_nodes"])
async def test_nobody_changes_seals_and_the_service_nothing_about_them(
    database: str, table: str
) -> None:
    await ledger(database)
    deeds = [f"UPDATE ledger.{table} SET organisation = 'X'", f"DELETE FROM ledger.{table}", f"TRUNCATE ledger.{table}"]  # fmt: skip
    async with connection(database) as owner, service(database) as asked:
        for deed in deeds:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await asked.execute(deed)
            if table == "seals":
                with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
                    await owner.execute(deed)


async def test_a_clock_that_was_set_back_does_not_move_seals_back(database: str) -> None:
    await ledger(database, 4)
    async with tampering(database) as owner, service(database) as asked:
        future = await owner.fetchval("SELECT clock_timestamp() + interval '1 hour'")
        statement = await owner.fetchval("SELECT statement::text FROM ledger.seals")
        seal = msgspec.structs.replace(msgspec.json.decode(statement, type=Seal), sealed_at=future)
        signed = SIGNER.sign(seal, b"")
        await owner.execute(
            "UPDATE ledger.seals SET statement = $1::text::json, signature = $2",
            signed.statement,
            bytes.fromhex(signed.signature),
        )
        await call_append(owner, commit_of(record()))
        made = await seal_next(asked, ORGANISATION, SIGNER, RING)
        assert made
        assert made.seal().sealed_at == future
    await whole(database)


async def test_who_is_forgotten_leaves_every_seal_as_it_was(database: str) -> None:
    async with run_in_process(database) as running:
        organisation = (await populate(running)).api.organisation
    async with connection(database) as owner, service(database) as asked:
        assert await seal_next(asked, organisation, SIGNER, RING)
        assert await owner.execute("DELETE FROM ledger.personal_keys") != "DELETE 0"
    async with snapshot(database) as asked:
        check = await verify(asked, organisation, {SIGNER.key}, {})
    assert check.position == check.sealed > 20
