"""What became of a call (/requests/v1): for whoever made it, and nobody else."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
import pytest_asyncio

from infra.http.request_outcomes import REQUESTS
from tests.communications_world import Desk, desk, new_key, posted
from tests.service import PASSWORD, Api, Service, refusal
from tests.tokens_world import TokenDesk, token_desk
from tests.world import UNIT, no_id, rows, untouched

Json = dict[str, Any]
CREATE = "communications/create"
SHOWN = {"key", "outcome", "final", "since", "position", "recorded_at", "answer"}


@pytest_asyncio.fixture(scope="module")
async def here(service: Service) -> Desk:
    return await desk(service)


@pytest_asyncio.fixture(scope="module")
async def customers(service: Service) -> TokenDesk:
    return await token_desk(service)


async def sent(
    api: Api, key: str, act: str = "", token: str | None = None, verb: str = ""
) -> tuple[int, Json]:
    """Status and envelope of a question about a key, or of an act on it."""
    api.token = api.token or await api.login(api.username)
    bearer = {"Authorization": f"Bearer {api.token if token is None else token}"}
    path = f"{REQUESTS}{quote(key, safe='')}{act}"
    verb = verb or ("POST" if act else "GET")
    status, answer, _ = await api.service.send(verb, path, headers=bearer)
    return status, answer


async def asked(api: Api, key: str, act: str = "") -> Json:
    """What is said of a key."""
    status, answer = await sent(api, key, act)
    assert (status, answer["status"]["code"]) == (200, "OK"), answer
    assert answer["data"].keys() == SHOWN
    assert answer["data"]["key"] == key
    return dict(answer["data"])


def verdict(said: Json) -> tuple[str, bool]:
    return said["outcome"], said["final"]


async def head(api: Api) -> int:
    sql = "SELECT max(position) FROM ledger.events WHERE organisation = $1"
    return int((await rows(api, sql))[0][0])


async def test_a_call_that_was_written(here: Desk) -> None:
    key, body = new_key(), here.body()
    first = await posted(here.api, CREATE, body, **{"Idempotency-Key": key})
    async with untouched(here.api):
        said = await asked(here.api, key)
        assert verdict(said) == ("COMMITTED", True)
        assert said["answer"] == first[1]["data"]
        assert said["position"] == await head(here.api)
        assert said["recorded_at"] > said["since"]
        assert (await asked(here.api, key)) | {"since": ""} == said | {"since": ""}


async def test_calls_that_share_a_batch_each_have_their_own_position(here: Desk) -> None:
    keys = [new_key() for _ in range(12)]
    here.api.token = await here.api.login()
    answers = await asyncio.gather(
        *(posted(here.api, CREATE, here.body(), **{"Idempotency-Key": key}) for key in keys)
    )
    sql = "SELECT max(position) FROM ledger.events WHERE organisation = $1 AND stream_id = $2::uuid"
    for key, (_, answer) in zip(keys, answers, strict=True):
        said = await asked(here.api, key)
        found = await rows(here.api, sql, answer["data"]["id"])
        assert said["position"] == found[0][0]
        assert said["answer"]["id"] == answer["data"]["id"]


async def test_a_call_that_changed_nothing_is_written_all_the_same(here: Desk) -> None:
    key = new_key()
    before = await head(here.api)
    body = {"contact_information_identifier": {"id": here.reader}}
    answer = await posted(here.api, "contact_information/update", body, **{"Idempotency-Key": key})
    assert answer[1]["status"]["code"] == "OK"
    said = await asked(here.api, key)
    assert verdict(said) == ("COMMITTED", True)
    assert said["position"] == before == await head(here.api)


async def test_a_refused_call_leaves_no_trace_so_it_looks_like_none(here: Desk) -> None:
    key = new_key()
    _, answer = await posted(
        here.api, CREATE, here.body(media="PIGEON"), **{"Idempotency-Key": key}
    )
    assert refusal(answer)[0] == "INVALIDPARAMETERVALUE"
    refused, unseen = await asked(here.api, key), await asked(here.api, new_key())
    assert verdict(refused) == verdict(unseen) == ("NOT_COMMITTED", False)
    assert refused["position"] is refused["recorded_at"] is refused["answer"] is None
    # Nothing keeps the caller from sending the right thing with the same key.
    again = await posted(here.api, CREATE, here.body(), **{"Idempotency-Key": key})
    assert again[1]["status"]["code"] == "OK"
    assert verdict(await asked(here.api, key)) == ("COMMITTED", True)


async def test_what_was_settled_stays_so(here: Desk) -> None:
    key, body = new_key(), here.body()
    for _ in range(2):
        assert verdict(await asked(here.api, key, "/settle")) == ("NOT_COMMITTED", True)
    assert verdict(await asked(here.api, key)) == ("NOT_COMMITTED", True)
    async with untouched(here.api):
        status, answer = await posted(here.api, CREATE, body, **{"Idempotency-Key": key})
        assert (status, refusal(answer)) == (422, ("INVALIDREQUEST", "Idempotency-Key"))
    assert verdict(await asked(here.api, key)) == ("NOT_COMMITTED", True)


async def test_what_was_written_cannot_be_settled(here: Desk) -> None:
    key, body = new_key(), here.body()
    first = await posted(here.api, CREATE, body, **{"Idempotency-Key": key})
    assert verdict(await asked(here.api, key, "/settle")) == ("COMMITTED", True)
    assert await posted(here.api, CREATE, body, **{"Idempotency-Key": key}) == first


async def test_a_settlement_that_meets_its_call_is_right(here: Desk) -> None:
    """Whichever comes first: what was said at the end is what is there."""
    here.api.token = await here.api.login()
    seen = set()
    for n in range(24):
        key, body = new_key(), here.body(subject=f"Race {n} {no_id()}")
        call = asyncio.create_task(posted(here.api, CREATE, body, **{"Idempotency-Key": key}))
        await asyncio.sleep(n % 8 * 0.001)
        said, (status, answer) = await asyncio.gather(asked(here.api, key, "/settle"), call)
        found = await rows(
            here.api,
            "SELECT FROM views.communications WHERE organisation = $1 AND document ->> 'subject' = $2",
            body["subject"],
        )
        seen.add(said["outcome"])
        if said["outcome"] == "COMMITTED":
            assert (status, answer["data"]) == (200, said["answer"])
            assert len(found) == 1
        else:
            assert (status, said["final"], found) == (422, True, [])
        assert verdict(await asked(here.api, key)) == verdict(said)
    assert "NOT_COMMITTED" in seen


async def test_a_question_that_meets_its_call_never_says_more_than_it_knows(here: Desk) -> None:
    here.api.token = await here.api.login()
    for _ in range(8):
        key = new_key()
        call = asyncio.create_task(
            posted(here.api, CREATE, here.body(), **{"Idempotency-Key": key})
        )
        while not call.done():
            assert verdict(await asked(here.api, key)) in {
                ("NOT_COMMITTED", False),
                ("COMMITTED", True),
            }
        assert verdict(await asked(here.api, key)) == ("COMMITTED", True)


async def test_nobody_else_is_told(here: Desk, service: Service) -> None:
    key, body = new_key(), here.body()
    first = await posted(here.api, CREATE, body, **{"Idempotency-Key": key})
    named = {"username": "other", "default_unit_id": UNIT, "password": PASSWORD}
    await here.register("user", "77", **named)
    other = Api(service, here.api.organisation, username="other")
    stranger = (await desk(service)).api
    for api in (other, stranger):
        assert verdict(await asked(api, key)) == ("NOT_COMMITTED", False)
        assert verdict(await asked(api, key, "/settle")) == ("NOT_COMMITTED", True)
    # What they have settled is theirs.
    assert verdict(await asked(here.api, key)) == ("COMMITTED", True)
    assert await posted(here.api, CREATE, body, **{"Idempotency-Key": key}) == first
    mine = new_key()
    assert verdict(await asked(other, mine, "/settle")) == ("NOT_COMMITTED", True)
    written = await posted(here.api, CREATE, here.body(), **{"Idempotency-Key": mine})
    assert written[1]["status"]["code"] == "OK"
    # The same user is told in another session, too.
    again = Api(service, here.api.organisation)
    assert (await asked(again, key))["answer"] == first[1]["data"]


async def test_a_customer_is_told_of_the_customer_s_calls_only(customers: TokenDesk) -> None:
    one, two = await customers.consumer(), await customers.consumer()
    key = new_key()
    body = {"contact_information_identifier": {"id": one.contact}, "notes": "mine"}
    path = "contact_information/update"
    _, answer = await posted(one.api, path, body, **{"Idempotency-Key": key})
    assert answer["status"]["code"] == "OK", answer
    assert verdict(await asked(one.api, key)) == ("COMMITTED", True)
    assert verdict(await asked(two.api, key)) == ("NOT_COMMITTED", False)
    assert verdict(await asked(customers.api, key)) == ("NOT_COMMITTED", False)


async def test_keys_of_any_form(here: Desk) -> None:
    for key in (f"a/b {new_key()}", f"50% {new_key()}", f"{new_key()}/settle", "x" * 255):
        answer = await posted(here.api, CREATE, here.body(), **{"Idempotency-Key": key})
        assert answer[1]["status"]["code"] == "OK"
        assert verdict(await asked(here.api, key)) == ("COMMITTED", True)


@pytest.mark.parametrize(
    ("key", "act", "verb", "status", "name"),
    [
        ("x" * 256, "", "GET", 400, "INVALIDREQUEST"),
        ("a\nb", "", "GET", 400, "INVALIDREQUEST"),
        ("%ff", "", "GET", 200, ""),
        (" ", "", "GET", 400, "INVALIDPARAMETERVALUE"),
        ("", "", "GET", 404, "METHODNOTFOUND"),
        ("x", "/unsettle", "POST", 404, "METHODNOTFOUND"),
        ("x", "/settle", "GET", 404, "METHODNOTFOUND"),
        ("x", "/settle", "PUT", 405, "METHODNOTALLOWED"),
    ],
)
async def test_what_is_no_question(
    here: Desk, key: str, act: str, verb: str, status: int, name: str
) -> None:
    found, answer = await sent(here.api, key, act, verb=verb)
    assert found == status
    assert not name or refusal(answer)[0] == name


@pytest.mark.parametrize("token", ["", "no.token.this"])
async def test_without_a_session_nothing_is_said(here: Desk, token: str) -> None:
    status, answer = await sent(here.api, new_key(), token=token)
    assert (status, refusal(answer)[0]) == (401, "INVALIDTOKEN")


async def test_an_outcome_outlives_its_answer(here: Desk) -> None:
    key = new_key()
    await posted(here.api, CREATE, here.body(), **{"Idempotency-Key": key})
    connection = await asyncpg.connect(here.api.service.database)
    aged = "UPDATE ledger.{} SET recorded_at = recorded_at - $1::text::interval WHERE key = $2"
    try:
        for table in ("answers", "outcomes"):
            await connection.execute(aged.format(table), "25 hours", key)
        said = await asked(here.api, key)
        assert (verdict(said), said["answer"]) == (("COMMITTED", True), None)
        await connection.execute(aged.format("outcomes"), "7 days", key)
        # Too long ago to be spoken of, and the answer says how far back it looks.
        said = await asked(here.api, key)
        assert verdict(said) == ("NOT_COMMITTED", False)
        name = here.api.organisation
        await connection.execute("SELECT ledger.forget_answers($1)", name)
        kept = "SELECT count(*) FROM ledger.outcomes WHERE organisation = $1 AND key = $2"
        assert await connection.fetchval(kept, name, key) == 0
    finally:
        await connection.close()
