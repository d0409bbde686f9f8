"""Faults 35 to 37: parallel guesses, a one-time password used at once, the lock as a weapon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from operator import itemgetter
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from infra.postgres.embedded.server import EmbeddedPostgres
from tests.faults.failpoints import patched
from tests.fixtures import databases
from tests.fixtures.access_tokens import (
    CONSUMER_KEY_LOGIN,
    ON,
    TokensClient,
    basic,
    by_code,
    by_pass_code,
    from_address,
    tokens_client,
    try_secrets,
)
from tests.fixtures.organisation import query_rows
from tests.fixtures.service import PASSWORD, Api, Service, run_as_process, run_in_process
from tests.fixtures.waits import wait_until_blocked

Json = dict[str, Any]
ACCOUNT = "accounts_receivable_identifier"
PER_SOURCE, PER_TOKEN, GUESSES = 5, 8, 200
LIMITS: Json = {
    "attempts_per_source": PER_SOURCE,
    "attempts_per_token": PER_TOKEN,
    "first_wait_seconds": 600,
}
BUSY = "TOOMANYREQUESTS"
"""The refusal of those for whom there is no room to wait for a slow comparison; it is not made."""
GATE = "PERFORM pg_advisory_xact_lock_shared(4711);"
TURN = "PERFORM pg_advisory_xact_lock(turn);"
ORDERED, WAITS = "ORDER BY g.secret, g.source", "IF wait > 0 OR in_fits THEN"
LOCKED = f"{ORDERED} FOR UPDATE OF g"


@pytest_asyncio.fixture(scope="module")
async def processes(
    postgres: EmbeddedPostgres, template: str
) -> AsyncIterator[tuple[Service, Service]]:
    """Two processes on one database."""
    async with (
        databases.database(postgres, template) as url,
        run_as_process(url) as one,
        run_as_process(url) as two,
    ):
        yield one, two


@pytest_asyncio.fixture
async def client(processes: tuple[Service, Service]) -> TokensClient:
    """An organisation with limits."""
    own = await tokens_client(processes[0])
    await own.register_settings(guess_limits=LIMITS)
    return own


@pytest_asyncio.fixture
async def apis(processes: tuple[Service, Service], client: TokensClient) -> list[Api]:
    """One session of it, by way of each process."""
    token = await client.api.login()
    return [Api(service, client.api.organisation, token) for service in processes]


async def guess(apis: Sequence[Api], path: str, bodies: Sequence[Json]) -> list[tuple[str, int]]:
    """All at once, through all processes in turn."""
    calls = (try_secrets(apis[n % len(apis)], path, body) for n, body in enumerate(bodies))
    return list(await asyncio.gather(*calls))


def evaluated(answers: Sequence[tuple[str, int]]) -> int:
    """How many tries were made: the others have been told to wait."""
    return sum(wait == 0 for _, wait in answers)


async def counted(client: TokensClient, token: Json, secret: str) -> dict[bool, int]:
    """The tries of a secret: of one source (True), and of all together (False)."""
    sql = "SELECT source <> '' AS one, tries FROM ledger.guesses WHERE organisation = $1 AND secret = $2"
    found = await query_rows(client.api, sql, f"access_token/{token['id']}/{secret}")
    return {row["one"]: row["tries"] for row in found}


async def test_parallel_guesses_do_not_pass_the_limit(
    client: TokensClient, apis: list[Api]
) -> None:
    """Fault 35, for each kind of secret; the right one is among the guesses that come too late."""
    keyed = await client.create_keyed_token(**{ACCOUNT: {"id": "AR1"}})
    pending, password = await client.create_pending_token(), await client.one_time_password(keyed)

    def passwords(code: Any) -> Json:
        return client.reference_to(by_code(keyed) | {"one_time_password": f"X{code}"})[1]

    kinds: list[tuple[str, Json, str, Any, Any]] = [
        ("access_tokens/show", keyed, "pass_code", lambda n: {ON: by_pass_code(keyed, n)}, {ON: by_pass_code(keyed)}),
        ("access_tokens/verify", pending, "verification_code",
         lambda n: {ON: by_code(pending), "verification_code": f"X{n}"},
         {ON: by_code(pending), "verification_code": pending["verification_code"]}),
        ("communications/create", keyed, "one_time_password", passwords,
         client.reference_to(by_code(keyed) | {"one_time_password": password})[1]),
    ]  # fmt: skip
    for path, token, secret, wrong, right in kinds:
        answers = await guess(apis, path, [wrong(n) for n in range(GUESSES)])
        assert len({name for name, _ in answers} - {BUSY}) == 1
        assert evaluated(answers) == PER_SOURCE, secret
        assert await counted(client, token, secret) == {True: PER_SOURCE, False: PER_SOURCE}
        for api in apis:
            name, wait = await try_secrets(api, path, right)
            assert (name, wait > 0) == (min(answers, key=itemgetter(1))[0], True)


async def test_parallel_guesses_from_many_sources(client: TokensClient, apis: list[Api]) -> None:
    token = await client.create_keyed_token(**{ACCOUNT: {"id": await client.create_owned_token()}})
    wrong, headers = {ON: by_pass_code(token, "0")}, basic(client.key)

    async def attack(n: int) -> list[tuple[str, int]]:
        async with from_address(apis[n % 2], f"127.0.0.{n + 2}") as api:
            calls = (try_secrets(api, CONSUMER_KEY_LOGIN, wrong, headers) for _ in range(10))
            return list(await asyncio.gather(*calls))

    answers = [a for group in await asyncio.gather(*map(attack, range(20))) for a in group]
    assert {name for name, _ in answers} - {BUSY} == {"INVALIDCREDENTIALS"}
    assert evaluated(answers) == PER_TOKEN
    found, wait = await try_secrets(apis[0], CONSUMER_KEY_LOGIN, {ON: by_pass_code(token)}, headers)
    assert (found, wait > 0) == ("INVALIDCREDENTIALS", True)


async def test_revert_without_the_lock_guesses_pass_the_limit(database: str) -> None:
    connection = await asyncpg.connect(database)
    await patched(connection, "count_guess", TURN, "NULL;")
    await patched(connection, "count_guess", LOCKED, ORDERED)
    await patched(connection, "count_guess", WAITS, f"{GATE}\n{WAITS}")
    async with run_in_process(database) as one, run_in_process(database) as two:
        client = await tokens_client(one)
        await client.register_settings(guess_limits=LIMITS)
        session = await client.api.login()
        apis = [Api(service, client.api.organisation, session) for service in (one, two)]
        # A code that is compared at once: slow comparisons take turns within a process.
        token = await client.create_token()
        path, body = client.reference_to(by_code(token) | {"one_time_password": "X"})
        # The first guess makes the rows, for which others would wait.
        await guess(apis, path, [body])
        await connection.execute("SELECT pg_advisory_lock(4711)")
        guessing = asyncio.create_task(guess(apis, path, [body] * 40))
        # All of these have read that they may try.
        await wait_until_blocked(connection, PER_SOURCE + 1, "advisory")
        await connection.execute("SELECT pg_advisory_unlock(4711)")
        assert evaluated(await guessing) > PER_SOURCE
    await connection.close()


async def test_parallel_tries_of_what_names_nobody(client: TokensClient, apis: list[Api]) -> None:
    """Authentication codes, in every place; and each place counts on from the other."""
    token = await client.create_token(**{ACCOUNT: {"id": await client.create_owned_token()}})
    code = token["authentication_code"]
    places = [("access_tokens/show", lambda shown: {ON: shown})]
    places.append(("communications/create", lambda shown: client.reference_to(shown)[1]))
    codes = [f"X{n}" for n in range(GUESSES)] + [code] * 5
    path, body = places[0]
    answers = await guess(apis, path, [body({"authentication_code": shown}) for shown in codes])
    assert evaluated(answers) == PER_SOURCE
    assert {name for name, _ in answers} == {"ENTITYNOTFOUND"}
    for path, body in places:
        for api in apis:
            name, wait = await try_secrets(api, path, body({"authentication_code": code}))
            assert (name, wait > 0) == ("ENTITYNOTFOUND", True)


async def test_parallel_logins(client: TokensClient, apis: list[Api]) -> None:
    """Passwords of users: no more than the free ones are compared, in both processes together."""
    path, named = "authentication/token", {"organisation": client.api.organisation}
    named["username"] = "second"
    wrong = [named | {"password": f"wrong-{n}"} for n in range(100)]
    async with (
        from_address(apis[0], "127.0.0.77") as one,
        from_address(apis[1], "127.0.0.77") as two,
    ):
        answers = await guess([one, two], path, wrong)
        assert {name for name, _ in answers} - {BUSY} == {"INVALIDCREDENTIALS"}
        assert evaluated(answers) == PER_SOURCE
        for api in (one, two):
            assert (await try_secrets(api, path, named | {"password": PASSWORD}))[1] > 0
    # Whoever logs in rightly from elsewhere may do so as often and as many at once as they like.
    right = [named | {"password": PASSWORD}] * 20
    for api in apis:
        assert await guess([api], path, right) == [("OK", 0)] * 20


async def test_what_fits_does_not_overtake_what_is_being_counted(database: str) -> None:
    """The last free try of a source is not counted yet: a right one behind it waits for that."""
    first, second, watcher = [await asyncpg.connect(database) for _ in range(3)]
    statement = """
        SELECT ledger.count_guess('O', ARRAY[NULL, '', 'code'], ARRAY['S', 'S', 'S'], ARRAY[1, 9, 1],
                                  600, 600, $1)"""
    try:
        async with first.transaction():
            assert await first.fetchval(statement, False) == 0
            right = asyncio.create_task(second.fetchval(statement, True))
            await wait_until_blocked(watcher, 1, "advisory")
        assert await right == 600
    finally:
        for connection in (first, second, watcher):
            await connection.close()


@pytest.mark.parametrize("form", ["alone", "named"])
async def test_a_one_time_password_is_used_once(
    client: TokensClient, apis: list[Api], form: str
) -> None:
    """Fault 36."""
    await client.register_settings()
    token = await client.create_token(**{ACCOUNT: {"id": "AR1"}})
    for _ in range(3):
        shown = {"one_time_password": await client.one_time_password(token)}
        path, body = client.reference_to(shown if form == "alone" else by_code(token) | shown)
        answers = await guess(apis, path, [body] * 50)
        assert sorted(name for name, _ in answers) == ["INVALIDONETIMEPASSWORD"] * 49 + ["OK"]
    sql = "SELECT topic FROM ledger.events WHERE organisation = $1"
    topics = [row["topic"] for row in await query_rows(client.api, sql)]
    assert topics.count("access_token.one_time_password_used") == 3
    assert topics.count("communication.recorded") == 3


async def test_the_owner_keeps_a_way_in(client: TokensClient, apis: list[Api]) -> None:
    """Fault 37: what an attacker exhausts elsewhere does not lock out whoever knows the secret."""
    token = await client.create_keyed_token(**{ACCOUNT: {"id": await client.create_owned_token()}})
    wrong, right = ({ON: by_pass_code(token, code)} for code in ("0", "Pass-Code1"))
    headers, home = basic(client.key), apis[0]

    async def enter(api: Api, body: Json) -> tuple[str, bool]:
        name, wait = await try_secrets(api, CONSUMER_KEY_LOGIN, body, headers)
        return name, wait > 0

    assert await enter(home, right) == ("OK", False)
    for n in range(4):
        async with from_address(apis[n % 2], f"127.0.0.{n + 10}") as attacker:
            for _ in range(PER_SOURCE + 1):
                last = await enter(attacker, wrong)
            assert last == ("INVALIDCREDENTIALS", True)
    # from where the owner has been before
    for api in apis:
        assert await enter(api, right) == ("OK", False)
    async with from_address(home, "127.0.0.99") as abroad:
        # from a new place the pass code must wait; the authentication code need not
        assert await enter(abroad, right) == ("INVALIDCREDENTIALS", True)
        assert await enter(abroad, {ON: by_code(token)}) == ("OK", False)
        # and an operator may lift the wait
        await client.reset_guesses(token)
        assert await enter(abroad, right) == ("OK", False)


async def test_exhausted_one_time_passwords_still_work_with_the_token_s_name(
    client: TokensClient, apis: list[Api]
) -> None:
    token = await client.create_token(**{ACCOUNT: {"id": "AR1"}})
    path, wrong = client.reference_to({"one_time_password": "X"})
    answers = await guess(apis, path, [wrong] * 40)
    assert evaluated(answers) == PER_SOURCE
    shown = by_code(token) | {"one_time_password": await client.one_time_password(token)}
    assert await try_secrets(apis[1], path, client.reference_to(shown)[1]) == ("OK", 0)
