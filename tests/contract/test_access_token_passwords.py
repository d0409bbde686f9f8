"""Method 34, generate_otp, and the use of what it gives out: contract access_tokens.md, 1.3 and 6.9."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.fixtures.access_tokens import ON, TokensClient, by_code, by_pass_code, tokens_client
from tests.fixtures.communications import (
    call_concurrently,
    error_names,
    event_topics,
    new_key,
    post_raw,
)
from tests.fixtures.organisation import query_rows, untouched
from tests.fixtures.service import Service, refusal

Json = dict[str, Any]
GENERATE = "access_tokens/generate_otp"
ACCOUNT, PARTICIPANT = "accounts_receivable_identifier", "rewards_participant_identifier"
USED = "access_token.one_time_password_used"


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    return await tokens_client(service)


@pytest_asyncio.fixture
async def token(client: TokensClient) -> Json:
    account = await client.register_account()
    participant = await client.register_participant(account)
    return await client.create_keyed_token(
        **{ACCOUNT: {"id": account}, PARTICIPANT: {"id": participant}}
    )


def shown(password: str) -> Json:
    return {"one_time_password": password}


async def expire(client: TokensClient, token: Json, when: str) -> None:
    """Moves the end of a token's one-time password, by the database's clock."""
    connection = await asyncpg.connect(client.api.service.database)
    try:
        await connection.execute(
            "UPDATE ledger.secrets SET expires_at = clock_timestamp() + $1::text::interval"
            " WHERE owner = $2 AND expires_at IS NOT NULL",
            when,
            f"access_token/{token['id']}",
        )
    finally:
        await connection.close()


async def test_happens(client: TokensClient, token: Json) -> None:
    before = await event_topics(client.api)
    made = await client.call_token("generate_otp", token)
    assert made.keys() == {"id", "number", "one_time_password", "expiration_date"}
    assert (made["id"], made["number"]) == (token["id"], token["number"])
    assert re.fullmatch(r"\d{6}", made["one_time_password"])
    assert await client.show_token(token) == token, "no stamp of who changed it"
    assert (await event_topics(client.api))[len(before) :] == [
        "access_token.one_time_password_generated"
    ]
    await client.api.post(GENERATE, **{ON: by_pass_code(token)})


@pytest.mark.parametrize("minutes", [1, 10, 60 * 24])
async def test_how_long_it_counts_is_a_setting(client: TokensClient, minutes: int) -> None:
    given = {"allow_no_identifier": True, "otp_lifetime_minutes": minutes}
    token = await client.create_token(
        classification_identifier=await client.register_definition(**given)
    )
    made = await client.call_token("generate_otp", token)
    sql = "SELECT recorded_at, payload FROM ledger.events WHERE organisation = $1 ORDER BY position"
    (*_, event) = await query_rows(client.api, sql)
    assert made["one_time_password"] not in event["payload"]
    sql = "SELECT expires_at FROM ledger.secrets WHERE organisation = $1 AND owner = $2"
    ((until,),) = await query_rows(client.api, sql, f"access_token/{token['id']}")
    assert abs((until - event["recorded_at"]).total_seconds() - minutes * 60) < 30
    local = datetime.fromisoformat(made["expiration_date"])
    assert local.second == until.second


async def test_it_counts_once(client: TokensClient, token: Json) -> None:
    password = await client.one_time_password(token)
    assert await client.add_reference(shown(password)) == "OK"
    assert (await event_topics(client.api))[-1] == USED
    for again in (shown(password), by_code(token) | shown(password)):
        async with untouched(client.api):
            assert await client.add_reference(again) == "INVALIDONETIMEPASSWORD"


async def test_only_the_newest_counts(client: TokensClient, token: Json) -> None:
    former, newest = await client.one_time_password(token), await client.one_time_password(token)
    if former != newest:
        assert await client.add_reference(shown(former)) == "INVALIDONETIMEPASSWORD"
    assert await client.add_reference(shown(newest)) == "OK"


async def test_it_ends_by_the_database_s_clock(client: TokensClient, token: Json) -> None:
    for form in (shown, lambda password: by_code(token) | shown(password)):
        password = await client.one_time_password(token)
        await expire(client, token, "-1 second")
        async with untouched(client.api):
            assert await client.add_reference(form(password)) == "INVALIDONETIMEPASSWORD"
        await expire(client, token, "5 minutes")
        assert await client.add_reference(form(password)) == "OK"


async def test_it_must_be_the_named_token_s(client: TokensClient, token: Json) -> None:
    other = await client.create_keyed_token(**{ACCOUNT: {"id": "AR1"}})
    password = await client.one_time_password(token)
    for name in ("authentication_code", "identifier"):
        found = await client.add_reference({name: other[name]} | shown(password))
        assert found == "INVALIDONETIMEPASSWORD"
    unknown = {"authentication_code": "nobody"} | shown(password)
    assert await client.add_reference(unknown) == "ENTITYNOTFOUND"
    assert await client.add_reference({"identifier": token["identifier"]} | shown(password)) == "OK"


async def test_a_call_that_fails_later_does_not_use_it_up(
    client: TokensClient, token: Json
) -> None:
    password = await client.one_time_password(token)
    path, body = client.reference_to(shown(password))
    parameter = {"type": "STRING", "name": "n", "string_value": "x"}
    failures: list[tuple[Json, str]] = [
        ({"unrestricted_parameter_set": [parameter, parameter]}, "DUPLICATEENTITY"),
        ({"category_identifier": {"id": "nothing"}}, "ENTITYNOTFOUND"),
        ({"referring_to": body["referring_to"] | {"bill_identifier": {"id": "x"}}}, "ENTITYNOTFOUND"),
    ]  # fmt: skip
    for more, name in failures:
        async with untouched(client.api):
            assert (await client.api.refused(path, **body | more))[0] == name
    assert await client.add_reference(shown(password)) == "OK"


async def test_a_final_communication_does_not_use_it_up(client: TokensClient, token: Json) -> None:
    said, password = await client.create(), await client.one_time_password(token)
    links = {ACCOUNT: {ON: shown(password)}}
    refused = await client.call_refused("update", said, referring_to=links)
    assert refused[0] == "INVALIDLIFECYCLESTATE"
    assert await client.add_reference(shown(password)) == "OK"


async def test_one_call_may_lead_to_both_kinds(client: TokensClient, token: Json) -> None:
    password = await client.one_time_password(token)
    links = {at: {ON: shown(password)} for at in (ACCOUNT, PARTICIPANT)}
    before = await event_topics(client.api)
    said = (await client.create(referring_to=links))["referring_to"]
    assert said["accounts_receivable"] == token["accounts_receivable"]
    assert said["rewards_participant"]["id"] == token["reward_participant"]["id"]
    assert (await event_topics(client.api))[len(before) :].count(USED) == 1
    assert await client.add_reference(shown(password)) == "INVALIDONETIMEPASSWORD"


async def test_an_update_that_changes_nothing_else_uses_it_up(
    client: TokensClient, token: Json
) -> None:
    draft = await client.create_draft(
        referring_to={ACCOUNT: {"id": token["accounts_receivable"]["id"]}}
    )
    password = await client.one_time_password(token)
    links = {ACCOUNT: {ON: shown(password)}}
    assert await client.call("update", draft, referring_to=links) == draft
    assert await client.add_reference(shown(password)) == "INVALIDONETIMEPASSWORD"


async def test_use_leaves_no_trace_on_the_token(client: TokensClient, token: Json) -> None:
    await client.add_reference(shown(await client.one_time_password(token)))
    assert await client.show_token(token) == token


async def test_a_repeated_use_is_the_first_one(client: TokensClient, token: Json) -> None:
    call, key = (
        client.reference_to(shown(await client.one_time_password(token))),
        {"Idempotency-Key": new_key()},
    )
    answers = await call_concurrently(client.api, [call] * 5, **key)
    answers += await call_concurrently(client.api, [call], **key)
    assert answers == [answers[0]] * 6
    assert answers[0]["status"]["code"] == "OK"


async def test_generating_repeated(client: TokensClient, token: Json) -> None:
    key, body = {"Idempotency-Key": new_key()}, {ON: by_code(token)}
    answers = await call_concurrently(client.api, [(GENERATE, body)] * 10, **key)
    assert answers == [answers[0]] * 10
    status, answer = await post_raw(client.api, GENERATE, body | {"x": 1}, **key)
    assert (status, refusal(answer)[0]) == (422, "INVALIDREQUEST")
    assert await client.add_reference(shown(answers[0]["data"]["one_time_password"])) == "OK"


async def test_generating_raced_leaves_one(client: TokensClient, token: Json) -> None:
    answers = await call_concurrently(client.api, [(GENERATE, {ON: by_code(token)})] * 8)
    assert error_names(answers) == ["OK"] * 8
    made = {answer["data"]["one_time_password"] for answer in answers}
    found = [await client.add_reference(shown(password)) for password in sorted(made)]
    assert found.count("OK") == 1


async def test_of_all_that_count_no_two_are_the_same(
    client: TokensClient, token: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever draws one that somebody else has draws another."""
    drawn = iter(["111111", "111111", "222222", "111111"])
    monkeypatch.setattr("services.access_tokens.methods.digits", lambda length: next(drawn))
    other = await client.create_token(**{ACCOUNT: {"id": "AR1"}})
    assert await client.one_time_password(token) == "111111"
    assert await client.one_time_password(other) == "222222"
    await expire(client, token, "-1 second")
    assert await client.one_time_password(other) == "111111"
    path, body = client.reference_to(shown("111111"))
    said = await client.api.post(path, **body)
    assert said["referring_to"]["accounts_receivable"]["id"] == "AR1"
