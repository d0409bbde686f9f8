"""Method 34, generate_otp, and the use of what it gives out: contract access_tokens.md, 1.3 and 6.9."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.communications_world import events, names, new_key, posted, together
from tests.service import Service, refusal
from tests.tokens_world import ON, TokenDesk, by_code, by_pass_code, token_desk
from tests.world import rows, untouched

Json = dict[str, Any]
GENERATE = "access_tokens/generate_otp"
ACCOUNT, PARTICIPANT = "accounts_receivable_identifier", "rewards_participant_identifier"
USED = "access_token.one_time_password_used"


@pytest_asyncio.fixture(scope="module")
async def here(service: Service) -> TokenDesk:
    return await token_desk(service)


@pytest_asyncio.fixture
async def token(here: TokenDesk) -> Json:
    account = await here.account()
    participant = await here.participant(account)
    return await here.keyed(**{ACCOUNT: {"id": account}, PARTICIPANT: {"id": participant}})


def shown(password: str) -> Json:
    return {"one_time_password": password}


async def expire(here: TokenDesk, token: Json, when: str) -> None:
    """Moves the end of a token's one-time password, by the database's clock."""
    connection = await asyncpg.connect(here.api.service.database)
    try:
        await connection.execute(
            "UPDATE ledger.secrets SET expires_at = clock_timestamp() + $1::text::interval"
            " WHERE owner = $2 AND expires_at IS NOT NULL",
            when,
            f"access_token/{token['id']}",
        )
    finally:
        await connection.close()


async def test_happens(here: TokenDesk, token: Json) -> None:
    before = await events(here.api)
    made = await here.do("generate_otp", token)
    assert made.keys() == {"id", "number", "one_time_password", "expiration_date"}
    assert (made["id"], made["number"]) == (token["id"], token["number"])
    assert re.fullmatch(r"\d{6}", made["one_time_password"])
    assert await here.look(token) == token, "no stamp of who changed it"
    assert (await events(here.api))[len(before) :] == ["access_token.one_time_password_generated"]
    await here.api.post(GENERATE, **{ON: by_pass_code(token)})


@pytest.mark.parametrize("minutes", [1, 10, 60 * 24])
async def test_how_long_it_counts_is_a_setting(here: TokenDesk, minutes: int) -> None:
    given = {"allow_no_identifier": True, "otp_lifetime_minutes": minutes}
    token = await here.issue(classification_identifier=await here.definition(**given))
    made = await here.do("generate_otp", token)
    sql = "SELECT recorded_at, payload FROM ledger.events WHERE organisation = $1 ORDER BY position"
    (*_, event) = await rows(here.api, sql)
    assert made["one_time_password"] not in event["payload"]
    sql = "SELECT expires_at FROM ledger.secrets WHERE organisation = $1 AND owner = $2"
    ((until,),) = await rows(here.api, sql, f"access_token/{token['id']}")
    assert abs((until - event["recorded_at"]).total_seconds() - minutes * 60) < 30
    local = datetime.fromisoformat(made["expiration_date"])
    assert local.second == until.second


async def test_it_counts_once(here: TokenDesk, token: Json) -> None:
    password = await here.once(token)
    assert await here.refer(shown(password)) == "OK"
    assert (await events(here.api))[-1] == USED
    for again in (shown(password), by_code(token) | shown(password)):
        async with untouched(here.api):
            assert await here.refer(again) == "INVALIDONETIMEPASSWORD"


async def test_only_the_newest_counts(here: TokenDesk, token: Json) -> None:
    former, newest = await here.once(token), await here.once(token)
    if former != newest:
        assert await here.refer(shown(former)) == "INVALIDONETIMEPASSWORD"
    assert await here.refer(shown(newest)) == "OK"


async def test_it_ends_by_the_database_s_clock(here: TokenDesk, token: Json) -> None:
    for form in (shown, lambda password: by_code(token) | shown(password)):
        password = await here.once(token)
        await expire(here, token, "-1 second")
        async with untouched(here.api):
            assert await here.refer(form(password)) == "INVALIDONETIMEPASSWORD"
        await expire(here, token, "5 minutes")
        assert await here.refer(form(password)) == "OK"


async def test_it_must_be_the_named_token_s(here: TokenDesk, token: Json) -> None:
    other = await here.keyed(**{ACCOUNT: {"id": "AR1"}})
    password = await here.once(token)
    for name in ("authentication_code", "identifier"):
        found = await here.refer({name: other[name]} | shown(password))
        assert found == "INVALIDONETIMEPASSWORD"
    unknown = {"authentication_code": "nobody"} | shown(password)
    assert await here.refer(unknown) == "ENTITYNOTFOUND"
    assert await here.refer({"identifier": token["identifier"]} | shown(password)) == "OK"


async def test_a_call_that_fails_later_does_not_use_it_up(here: TokenDesk, token: Json) -> None:
    password = await here.once(token)
    path, body = here.referring(shown(password))
    parameter = {"type": "STRING", "name": "n", "string_value": "x"}
    failures: list[tuple[Json, str]] = [
        ({"unrestricted_parameter_set": [parameter, parameter]}, "DUPLICATEENTITY"),
        ({"category_identifier": {"id": "nothing"}}, "ENTITYNOTFOUND"),
        ({"referring_to": body["referring_to"] | {"bill_identifier": {"id": "x"}}}, "ENTITYNOTFOUND"),
    ]  # fmt: skip
    for more, name in failures:
        async with untouched(here.api):
            assert (await here.api.refused(path, **body | more))[0] == name
    assert await here.refer(shown(password)) == "OK"


async def test_a_final_communication_does_not_use_it_up(here: TokenDesk, token: Json) -> None:
    said, password = await here.say(), await here.once(token)
    links = {ACCOUNT: {ON: shown(password)}}
    refused = await here.not_on("update", said, referring_to=links)
    assert refused[0] == "INVALIDLIFECYCLESTATE"
    assert await here.refer(shown(password)) == "OK"


async def test_one_call_may_lead_to_both_kinds(here: TokenDesk, token: Json) -> None:
    password = await here.once(token)
    links = {at: {ON: shown(password)} for at in (ACCOUNT, PARTICIPANT)}
    before = await events(here.api)
    said = (await here.say(referring_to=links))["referring_to"]
    assert said["accounts_receivable"] == token["accounts_receivable"]
    assert said["rewards_participant"]["id"] == token["reward_participant"]["id"]
    assert (await events(here.api))[len(before) :].count(USED) == 1
    assert await here.refer(shown(password)) == "INVALIDONETIMEPASSWORD"


async def test_an_update_that_changes_nothing_else_uses_it_up(here: TokenDesk, token: Json) -> None:
    draft = await here.draft(referring_to={ACCOUNT: {"id": token["accounts_receivable"]["id"]}})
    password = await here.once(token)
    links = {ACCOUNT: {ON: shown(password)}}
    assert await here.on("update", draft, referring_to=links) == draft
    assert await here.refer(shown(password)) == "INVALIDONETIMEPASSWORD"


async def test_use_leaves_no_trace_on_the_token(here: TokenDesk, token: Json) -> None:
    await here.refer(shown(await here.once(token)))
    assert await here.look(token) == token


async def test_a_repeated_use_is_the_first_one(here: TokenDesk, token: Json) -> None:
    call, key = here.referring(shown(await here.once(token))), {"Idempotency-Key": new_key()}
    answers = await together(here.api, [call] * 5, **key)
    answers += await together(here.api, [call], **key)
    assert answers == [answers[0]] * 6
    assert answers[0]["status"]["code"] == "OK"


async def test_generating_repeated(here: TokenDesk, token: Json) -> None:
    key, body = {"Idempotency-Key": new_key()}, {ON: by_code(token)}
    answers = await together(here.api, [(GENERATE, body)] * 10, **key)
    assert answers == [answers[0]] * 10
    status, answer = await posted(here.api, GENERATE, body | {"x": 1}, **key)
    assert (status, refusal(answer)[0]) == (422, "INVALIDREQUEST")
    assert await here.refer(shown(answers[0]["data"]["one_time_password"])) == "OK"


async def test_generating_raced_leaves_one(here: TokenDesk, token: Json) -> None:
    answers = await together(here.api, [(GENERATE, {ON: by_code(token)})] * 8)
    assert names(answers) == ["OK"] * 8
    made = {answer["data"]["one_time_password"] for answer in answers}
    found = [await here.refer(shown(password)) for password in sorted(made)]
    assert found.count("OK") == 1


async def test_of_all_that_count_no_two_are_the_same(
    here: TokenDesk, token: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever draws one that somebody else has draws another."""
    drawn = iter(["111111", "111111", "222222", "111111"])
    monkeypatch.setattr("services.access_tokens.methods.digits", lambda length: next(drawn))
    other = await here.issue(**{ACCOUNT: {"id": "AR1"}})
    assert await here.once(token) == "111111"
    assert await here.once(other) == "222222"
    await expire(here, token, "-1 second")
    assert await here.once(other) == "111111"
    path, body = here.referring(shown("111111"))
    said = await here.api.post(path, **body)
    assert said["referring_to"]["accounts_receivable"]["id"] == "AR1"
