"""Limits on guesses: every try is counted before it is made, and nobody is locked out for good."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.fixtures.access_tokens import (
    CONSUMER_KEY_LOGIN,
    LOGIN,
    ON,
    PASS_CODE,
    TokensClient,
    basic,
    by_code,
    by_pass_code,
    from_address,
    tokens_client,
    try_secrets,
    unique_code,
)
from tests.fixtures.organisation import query_rows
from tests.fixtures.service import Api, Service

Json = dict[str, Any]
ACCOUNT = "accounts_receivable_identifier"
SHOW, VERIFY = "access_tokens/show", "access_tokens/verify"
PER_SOURCE, PER_TOKEN = 3, 5
LIMITS: Json = {
    "attempts_per_source": PER_SOURCE,
    "attempts_per_token": PER_TOKEN,
    "first_wait_seconds": 600,
    "longest_wait_seconds": 1000,
}
WRONG = "0"


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    made = await tokens_client(service)
    await made.register_settings(guess_limits=LIMITS)
    made.api.token = await made.api.login()
    return made


@pytest_asyncio.fixture(scope="module")
async def second(client: TokensClient) -> Api:
    """The session of another user."""
    return Api(client.api.service, client.api.organisation, await client.api.login("second"))


async def sql(client: TokensClient, statement: str, *values: Any) -> None:
    """Something that only the database's owner may do."""
    connection = await asyncpg.connect(client.api.service.database)
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


async def wait_is_over(client: TokensClient) -> None:
    await sql(
        client,
        "UPDATE ledger.guesses SET next_at = clock_timestamp() WHERE organisation = $1",
        client.api.organisation,
    )


SHOWN = ("show", "update", "verify", "generate_otp", "set_as_effective", "set_as_not_effective")
PLACES = (*(f"access_tokens/{m}" for m in SHOWN), "communications/create", LOGIN)
PLACES += (CONSUMER_KEY_LOGIN, "verification_code", "one_time_password", "named one_time_password")


async def place(client: TokensClient, where: str) -> tuple[str, Json, Json, Json, str]:
    """A place where a secret is checked: path, body right and wrong, headers, and the refusal."""
    token = await client.create_keyed_token(**{ACCOUNT: {"id": await client.create_owned_token()}})
    right, wrong = by_pass_code(token), by_pass_code(token, WRONG)
    if where == "verification_code":
        token = await client.create_pending_token()
        body = {ON: by_code(token)}
        good = body | {where: token[where]}
        return VERIFY, good, body | {where: WRONG}, {}, "INVALIDVERIFICATIONCODE"
    if where.endswith("one_time_password"):
        name = by_code(token) if where.startswith("named") else {}
        right, wrong = (
            name | {"one_time_password": code}
            for code in (await client.one_time_password(token), WRONG)
        )
        path, good = client.reference_to(right)
        return path, good, client.reference_to(wrong)[1], {}, "INVALIDONETIMEPASSWORD"
    if where == "communications/create":
        return (
            where,
            client.reference_to(right)[1],
            client.reference_to(wrong)[1],
            {},
            "ENTITYNOTFOUND",
        )
    more: Json = {"organisation": client.api.organisation} if where == LOGIN else {}
    more |= {"verification_code": "1"} if where == VERIFY else {}
    headers = basic(client.key) if where == CONSUMER_KEY_LOGIN else {}
    login = where in (LOGIN, CONSUMER_KEY_LOGIN)
    name = "INVALIDCREDENTIALS" if login else "ENTITYNOTFOUND"
    return where, {ON: right} | more, {ON: wrong} | more, headers, name


@pytest.mark.parametrize("where", PLACES)
async def test_the_right_one_comes_too_late(client: TokensClient, where: str) -> None:
    """Wherever a secret is shown: so many wrong tries are free, then even the right one must wait."""
    path, right, wrong, headers, name = await place(client, where)
    for _ in range(PER_SOURCE):
        assert await try_secrets(client.api, path, wrong, headers) == (name, 0)
    for body in (right, wrong):
        found, wait = await try_secrets(client.api, path, body, headers)
        assert (found, 0 < wait <= 600) == (name, True)
    await wait_is_over(client)
    found, _ = await try_secrets(client.api, path, right, headers)
    accepted = {
        VERIFY: "INVALIDLIFECYCLESTATE",
        "access_tokens/set_as_effective": "INVALIDLIFECYCLESTATE",
    }
    assert found == accepted.get(where, "OK")


async def test_names_that_nobody_has_are_counted_too(client: TokensClient) -> None:
    body = {ON: {"identifier": unique_code(), "pass_code": "x"}}
    for wait in (False, False, False, True, True):
        found, seconds = await try_secrets(client.api, SHOW, body)
        assert (found, seconds > 0) == ("ENTITYNOTFOUND", wait)
    other = {ON: {"identifier": unique_code(), "pass_code": "x"}}
    assert await try_secrets(client.api, SHOW, other) == ("ENTITYNOTFOUND", 0)


async def test_success_begins_anew(client: TokensClient) -> None:
    token = await client.create_keyed_token()
    for _ in range(4):
        for _ in range(PER_SOURCE - 1):
            await try_secrets(client.api, SHOW, {ON: by_pass_code(token, WRONG)})
        assert await try_secrets(client.api, SHOW, {ON: by_pass_code(token)}) == ("OK", 0)


async def test_each_further_try_costs_a_longer_wait(client: TokensClient) -> None:
    token = await client.create_keyed_token()
    body = {ON: by_pass_code(token, WRONG)}
    for _ in range(PER_SOURCE):
        await try_secrets(client.api, SHOW, body)
    waits = []
    for _ in range(3):
        for _ in range(3):  # asking again while waiting makes it no longer
            _, seconds = await try_secrets(client.api, SHOW, body)
        waits.append(seconds)
        await wait_is_over(client)
        assert await try_secrets(client.api, SHOW, body) == ("ENTITYNOTFOUND", 0)
    assert 0 < waits[0] <= 600 < waits[1] <= 1000
    assert 600 < waits[2] <= 1000, "the longest wait is a setting"


async def test_secrets_are_counted_apart(client: TokensClient) -> None:
    """Who has tried pass codes in vain can still verify the token, and show its other code."""
    token = await client.create_pending_token(identifier=unique_code(), pass_code=PASS_CODE)
    for _ in range(PER_SOURCE + 1):
        await try_secrets(client.api, SHOW, {ON: by_pass_code(token, WRONG)})
    code = {"verification_code": token["verification_code"]}
    assert await try_secrets(client.api, VERIFY, {ON: by_code(token)} | code) == ("OK", 0)


async def test_tokens_and_organisations_are_counted_apart(
    client: TokensClient, service: Service
) -> None:
    token, other = await client.create_keyed_token(), await client.create_keyed_token()
    for _ in range(PER_SOURCE + 1):
        await try_secrets(client.api, SHOW, {ON: by_pass_code(token, WRONG)})
    assert await try_secrets(client.api, SHOW, {ON: by_pass_code(other)}) == ("OK", 0)
    free = await tokens_client(service)
    twin = await free.create_keyed_token(identifier=token["identifier"])
    free.api.token = await free.api.login()
    for _ in range(PER_TOKEN + 1):
        found = await try_secrets(free.api, SHOW, {ON: by_pass_code(twin, WRONG)})
        assert found == ("ENTITYNOTFOUND", 0)


async def test_all_sources_together(client: TokensClient, second: Api) -> None:
    """From many sources together a token can be tried no oftener than its own limit says."""
    token = await client.create_keyed_token()
    wrong, right = ({ON: by_pass_code(token, code)} for code in (WRONG, PASS_CODE))
    async with from_address(client.api, "127.0.0.2") as third:
        tries = [client.api, client.api, second, second, third]
        assert len(tries) == PER_TOKEN
        for api in tries:
            assert await try_secrets(api, SHOW, wrong) == ("ENTITYNOTFOUND", 0)
        for api in (client.api, second, third):
            found, wait = await try_secrets(api, SHOW, right)
            assert (found, wait > 0) == ("ENTITYNOTFOUND", True)


async def test_who_has_succeeded_before_is_not_locked_out_by_others(
    client: TokensClient, second: Api
) -> None:
    token = await client.create_keyed_token()
    wrong, right = ({ON: by_pass_code(token, code)} for code in (WRONG, PASS_CODE))
    assert await try_secrets(client.api, SHOW, right) == ("OK", 0)
    async with from_address(client.api, "127.0.0.3") as third:
        for api in (second, second, second, third, third, third):
            await try_secrets(api, SHOW, wrong)
        assert (await try_secrets(third, SHOW, right))[1] > 0
    for _ in range(2):
        assert await try_secrets(client.api, SHOW, right) == ("OK", 0)


async def test_whoever_succeeds_takes_nothing_away_from_what_others_tried(
    client: TokensClient, second: Api
) -> None:
    token = await client.create_keyed_token()
    wrong, right = ({ON: by_pass_code(token, code)} for code in (WRONG, PASS_CODE))
    for _ in range(PER_SOURCE):
        await try_secrets(second, SHOW, wrong)
    assert await try_secrets(client.api, SHOW, right) == ("OK", 0)
    assert (await try_secrets(second, SHOW, right))[1] > 0


async def test_a_new_pass_code_does_not_open_what_was_exhausted(client: TokensClient) -> None:
    token = await client.create_keyed_token()
    for _ in range(PER_SOURCE):
        await try_secrets(client.api, SHOW, {ON: by_pass_code(token, WRONG)})
    code = (await client.call_token("reset_pass_code", token))["random_pass_code"]
    found, wait = await try_secrets(client.api, SHOW, {ON: by_pass_code(token, code)})
    assert (found, wait > 0) == ("ENTITYNOTFOUND", True)


async def test_after_a_day_it_begins_anew(client: TokensClient) -> None:
    token = await client.create_keyed_token()
    body = {ON: by_pass_code(token, WRONG)}
    for _ in range(PER_SOURCE):
        await try_secrets(client.api, SHOW, body)
    statement = """
        UPDATE ledger.guesses SET first_at = first_at - interval '25 hours', next_at = clock_timestamp()
         WHERE organisation = $1"""
    await sql(client, statement, client.api.organisation)
    for _ in range(PER_SOURCE):
        assert await try_secrets(client.api, SHOW, body) == ("ENTITYNOTFOUND", 0)
    assert (await try_secrets(client.api, SHOW, body))[1] > 0


async def test_a_repeated_call_is_no_other_try(client: TokensClient) -> None:
    token, headers = await client.create_keyed_token(), {"Idempotency-Key": unique_code()}
    body = {ON: by_pass_code(token), "udf_string_1": "x"}
    assert await try_secrets(client.api, "access_tokens/update", body, headers) == ("OK", 0)
    for _ in range(PER_SOURCE):
        await try_secrets(client.api, SHOW, {ON: by_pass_code(token, WRONG)})
    assert await try_secrets(client.api, "access_tokens/update", body, headers) == ("OK", 0)


COUNT_CHANGES = """
    SELECT count(*) FROM ledger.events
     WHERE organisation = $1 AND topic = 'access_token.credentials_changed'"""


async def test_giving_a_token_the_pass_code_that_it_has_is_a_guess_too(
    client: TokensClient,
) -> None:
    """Else whoever may change a token could find its pass code by updates that fail for another reason."""
    token, other = await client.create_keyed_token(), await client.create_token()
    path, taken = "access_tokens/update", {"authentication_code": other["authentication_code"]}
    for n in range(PER_SOURCE):
        body = {ON: by_code(token), "pass_code": f"guess {n}"} | taken
        assert await try_secrets(client.api, path, body) == ("DUPLICATEENTITY", 0)
    found, wait = await try_secrets(client.api, SHOW, {ON: by_pass_code(token)})
    assert (found, wait > 0) == ("ENTITYNOTFOUND", True)
    before = await query_rows(client.api, COUNT_CHANGES)
    same = {ON: by_code(token), "pass_code": PASS_CODE}
    assert await try_secrets(client.api, path, same) == ("OK", 0)
    after = await query_rows(client.api, COUNT_CHANGES)
    assert after[0][0] == before[0][0] + 1, "it is not looked whether it is the same"


async def test_what_is_counted_names_no_source_and_no_unknown_name(client: TokensClient) -> None:
    name = unique_code("Nobody")
    await try_secrets(client.api, SHOW, {ON: {"identifier": name, "pass_code": "x"}})
    found = await query_rows(
        client.api, "SELECT g::text FROM ledger.guesses g WHERE organisation = $1"
    )
    told = "".join(row[0] for row in found)
    assert "nobody/" in told
    assert name not in told
    assert "127.0.0." not in told
