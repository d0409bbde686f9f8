"""Fault 13: the same idempotency key many times at once; fault 11: cancellation at every step."""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from infra.app import Application, open_application, serve_http
from infra.settings import Settings
from services.pipeline.method import METHODS
from services.pipeline.request import Request
from tests.faults.acknowledged_log import (
    ACKNOWLEDGED,
    CREATE,
    REFUSED,
    SAY,
    UPDATE,
    Attempt,
    Journal,
    begun,
)
from tests.faults.failpoints import patched
from tests.faults.invariants import sound, violations
from tests.fixtures.service import Api, environment, run_in_process

REPEATED = "IF 'key' = ANY (in_kinds)"


async def many(journals: list[Journal], times: int) -> list[Attempt]:
    """The same create with the same key, at once, through all services in turn."""
    body = journals[0].person()
    sends = (journals[n % len(journals)].send(CREATE, body, "same") for n in range(times))
    return list(await asyncio.gather(*sends))


@pytest.mark.parametrize("services", [1, 2])
async def test_one_key_many_times_at_once(database: str, services: int) -> None:
    async with run_in_process(database) as one, run_in_process(database) as two:
        first = await begun(one)
        second = Journal(first.api, two, first.attempts)
        attempts = await many([first, second][:services], 50)
        assert {attempt.outcome for attempt in attempts} == {ACKNOWLEDGED}
        assert len({str(attempt.answer) for attempt in attempts}) == 1
        other = await second.send(CREATE, first.person(), "same")
        assert (other.status, other.outcome) == (422, REFUSED)
        await sound(first, database)


async def test_revert_without_the_check_a_key_is_stored_many_times(database: str) -> None:
    connection = await asyncpg.connect(database)
    await patched(connection, "rejected_commands", REPEATED, REPEATED + " AND false")
    await connection.close()
    async with run_in_process(database) as service:
        journal = await begun(service)
        await many([journal], 50)
        assert any("key same" in found for found in await violations(journal, database))


async def test_one_key_with_two_requests_at_once(database: str) -> None:
    async with run_in_process(database) as service:
        journal = await begun(service)
        sends = (journal.send(CREATE, journal.person(), "same") for _ in range(10))
        attempts = await asyncio.gather(*sends)
        assert sorted(attempt.status for attempt in attempts) == [200] + [422] * 9
        await sound(Journal(journal.api, service, [*journal.attempts]), database)


@asynccontextmanager
async def application(url: str) -> AsyncIterator[tuple[Application, Journal]]:
    """The use cases themselves, and a journal of what is done to them over HTTP."""
    settings = Settings.from_environment(environment(url))
    async with (
        open_application(settings, url) as made,
        run_in_process(url) as service,
        serve_http(made),
    ):
        yield made, await begun(service)


async def cancelled(work: Callable[[], Coroutine[Any, Any, bytes]], step: int) -> bool:
    """Runs work as a task that is cancelled while it waits for the so manieth time.

    Whether it came so far.
    """
    came = False

    @types.coroutine
    def stepping() -> Generator[Any, Any, None]:
        nonlocal came
        coroutine, steps = work(), 0
        while True:
            try:
                waits_for = coroutine.send(None)
            except StopIteration:
                return
            while True:
                steps += 1
                if steps == step:
                    came = True
                    asyncio.get_running_loop().call_soon(task.cancel)
                try:
                    yield waits_for
                except BaseException as error:
                    waits_for = coroutine.throw(error)
                else:
                    break

    async def run() -> None:
        await stepping()

    task = asyncio.create_task(run())
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return came


async def _steps(attempt: Callable[[int], Awaitable[bool]]) -> int:
    step = 1
    while await attempt(step):
        step += 1
    return step - 1


@pytest.mark.parametrize("path", [CREATE, UPDATE, SAY])
async def test_a_write_that_is_cancelled_at_any_step(database: str, path: str) -> None:
    async with application(database) as (made, journal):
        contact = journal.contacts[0]

        async def attempt(step: int) -> bool:
            key = f"key {step}"
            body = _body(journal, path, contact, step)
            request = Request(
                parameters={"token": journal.api.token} | body,
                idempotency_key=key,
                request_id=f"r{step}",
            )
            journal.attempts.append(Attempt(f"r{step}", path, body, key))
            came = await cancelled(lambda: made.runner.run(METHODS[path], request), step)
            settled = await journal.settle(await journal.send(path, body, key))
            assert settled.outcome == ACKNOWLEDGED, settled.answer
            return came

        assert await _steps(attempt) >= 3
        await made.ledger.drain()
        # While it rings it has a connection.
        await made.ledger._notifier.close()
        assert made.ledger._reads._free.qsize() == made.ledger._reads.size
        assert made.ledger._writes._free.qsize() == made.ledger._writes.size
        assert not made.runner._run_command._locks._locks
        await sound(journal, database)


def _body(journal: Journal, path: str, contact: str, step: int) -> dict[str, Any]:
    named = {"contact_information_identifier": {"id": contact}}
    bodies: dict[str, dict[str, Any]] = {
        CREATE: journal.person(),
        UPDATE: named | {"middle_name": f"M{step}"},
        SAY: named
        | {"direction": "OUTGOING", "media": "EMAIL", "to": "a@b"}
        | {"subject": f"S{step}", "content": "Call us"},
    }
    return bodies[path]


async def test_clients_that_go_away(database: str) -> None:
    async with run_in_process(database) as service:
        journal = await begun(service)
        contact = journal.contacts[0]
        for round_ in range(1, 8):
            key = f"key {round_}"
            tasks = [asyncio.create_task(journal.update(contact, key))]
            tasks += [asyncio.create_task(journal.create()) for _ in range(8)]
            for _ in range(round_):
                await asyncio.sleep(0.002)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            last = next(a for a in reversed(journal.attempts) if a.key == key)
            again = await journal.settle(await journal.send(last.path, last.body, key))
            assert again.outcome == ACKNOWLEDGED
        await sound(journal, database)


async def test_sessions_are_not_needed_twice(database: str) -> None:
    """A key is bound to its request, not to the token that it was first sent with."""
    async with run_in_process(database) as service:
        journal = await begun(service)
        body = journal.person()
        first = await journal.send(CREATE, body, "key")
        journal.api.token = await Api.login(journal.api)
        second = await journal.send(CREATE, body, "key")
        assert first.answer == second.answer
        await sound(journal, database)
