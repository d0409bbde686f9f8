"""What became of a call (/requests/v1): for whoever made it, and nobody else."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
import pytest_asyncio

from infra.http.request_outcomes import REQUESTS
from tests.fixtures.access_tokens import TokensClient, tokens_client
from tests.fixtures.communications import (
    CommunicationsClient,
    communications_client,
    new_key,
    post_raw,
)
from tests.fixtures.organisation import UNIT, query_rows, unknown_id, untouched
from tests.fixtures.read_models import connection
from tests.fixtures.service import PASSWORD, Api, Service, refusal

Json = dict[str, Any]
CREATE = "communications/create"
SHOWN = {"key", "outcome", "final", "since", "position", "recorded_at", "answer"}


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    return await communications_client(service)


@pytest_asyncio.fixture(scope="module")
async def customers(service: Service) -> TokensClient:
    return await tokens_client(service)


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
    return int((await query_rows(api, sql))[0][0])


async def test_a_call_that_was_written(client: CommunicationsClient) -> None:
    key, body = new_key(), client.creation_body()
    first = await post_raw(client.api, CREATE, body, **{"Idempotency-Key": key})
    async with untouched(client.api):
        said = await asked(client.api, key)
        assert verdict(said) == ("COMMITTED", True)
        assert said["answer"] == first[1]["data"]
        assert said["position"] == await head(client.api)
        assert said["recorded_at"] > said["since"]
        assert (await asked(client.api, key)) | {"since": ""} == said | {"since": ""}


async def test_calls_that_share_a_batch_each_have_their_own_position(
    client: CommunicationsClient,
) -> None:
    keys = [new_key() for _ in range(12)]
    client.api.token = await client.api.login()
    answers = await asyncio.gather(
        *(
            post_raw(client.api, CREATE, client.creation_body(), **{"Idempotency-Key": key})
            for key in keys
        )
    )
    sql = "SELECT max(position) FROM ledger.events WHERE organisation = $1 AND stream_id = $2::uuid"
    for key, (_, answer) in zip(keys, answers, strict=True):
        said = await asked(client.api, key)
        found = await query_rows(client.api, sql, answer["data"]["id"])
        assert said["position"] == found[0][0]
        assert said["answer"]["id"] == answer["data"]["id"]


async def test_a_call_that_changed_nothing_is_written_all_the_same(
    client: CommunicationsClient,
) -> None:
    key = new_key()
    before = await head(client.api)
    body = {"contact_information_identifier": {"id": client.recipient}}
    answer = await post_raw(
        client.api, "contact_information/update", body, **{"Idempotency-Key": key}
    )
    assert answer[1]["status"]["code"] == "OK"
    said = await asked(client.api, key)
    assert verdict(said) == ("COMMITTED", True)
    assert said["position"] == before == await head(client.api)


async def test_a_refused_call_leaves_no_trace_so_it_looks_like_none(
    client: CommunicationsClient,
) -> None:
    key = new_key()
    _, answer = await post_raw(
        client.api, CREATE, client.creation_body(media="PIGEON"), **{"Idempotency-Key": key}
    )
    assert refusal(answer)[0] == "INVALIDPARAMETERVALUE"
    refused, unseen = await asked(client.api, key), await asked(client.api, new_key())
    assert verdict(refused) == verdict(unseen) == ("NOT_COMMITTED", False)
    assert refused["position"] is refused["recorded_at"] is refused["answer"] is None
    # Nothing keeps the caller from sending the right thing with the same key.
    again = await post_raw(client.api, CREATE, client.creation_body(), **{"Idempotency-Key": key})
    assert again[1]["status"]["code"] == "OK"
    assert verdict(await asked(client.api, key)) == ("COMMITTED", True)


async def test_a_revoked_key_stays_so(client: CommunicationsClient) -> None:
    key, body = new_key(), client.creation_body()
    for _ in range(2):
        assert verdict(await asked(client.api, key, "/revoke")) == ("NOT_COMMITTED", True)
    assert verdict(await asked(client.api, key)) == ("NOT_COMMITTED", True)
    async with untouched(client.api):
        status, answer = await post_raw(client.api, CREATE, body, **{"Idempotency-Key": key})
        assert (status, refusal(answer)) == (422, ("INVALIDREQUEST", "Idempotency-Key"))
    assert verdict(await asked(client.api, key)) == ("NOT_COMMITTED", True)


async def test_what_was_written_cannot_be_revoked(client: CommunicationsClient) -> None:
    key, body = new_key(), client.creation_body()
    first = await post_raw(client.api, CREATE, body, **{"Idempotency-Key": key})
    assert verdict(await asked(client.api, key, "/revoke")) == ("COMMITTED", True)
    assert await post_raw(client.api, CREATE, body, **{"Idempotency-Key": key}) == first


async def test_a_revocation_that_meets_its_call_is_right(client: CommunicationsClient) -> None:
    """Whichever comes first: what was said at the end is what is there."""
    client.api.token = await client.api.login()
    seen = set()
    for n in range(24):
        key, body = new_key(), client.creation_body(subject=f"Race {n} {unknown_id()}")
        if n == 0:
            # Once it certainly comes first; then chance decides.
            await asked(client.api, key, "/revoke")
        call = asyncio.create_task(post_raw(client.api, CREATE, body, **{"Idempotency-Key": key}))
        await asyncio.sleep(n % 8 * 0.001)
        said, (status, answer) = await asyncio.gather(asked(client.api, key, "/revoke"), call)
        found = await query_rows(
            client.api,
            "SELECT FROM views.communications WHERE organisation = $1 AND document ->> 'subject' = $2",
            body["subject"],
        )
        seen.add(said["outcome"])
        if said["outcome"] == "COMMITTED":
            assert (status, answer["data"]) == (200, said["answer"])
            assert len(found) == 1
        else:
            assert (status, said["final"], found) == (422, True, [])
        assert verdict(await asked(client.api, key)) == verdict(said)
    assert "NOT_COMMITTED" in seen


async def test_a_question_that_meets_its_call_never_says_more_than_it_knows(
    client: CommunicationsClient,
) -> None:
    client.api.token = await client.api.login()
    for _ in range(8):
        key = new_key()
        call = asyncio.create_task(
            post_raw(client.api, CREATE, client.creation_body(), **{"Idempotency-Key": key})
        )
        while not call.done():
            assert verdict(await asked(client.api, key)) in {
                ("NOT_COMMITTED", False),
                ("COMMITTED", True),
            }
        assert verdict(await asked(client.api, key)) == ("COMMITTED", True)


async def test_nobody_else_is_told(client: CommunicationsClient, service: Service) -> None:
    key, body = new_key(), client.creation_body()
    first = await post_raw(client.api, CREATE, body, **{"Idempotency-Key": key})
    named = {"username": "other", "default_unit_id": UNIT, "password": PASSWORD}
    await client.register("user", "77", **named)
    other = Api(service, client.api.organisation, username="other")
    stranger = (await communications_client(service)).api
    for api in (other, stranger):
        assert verdict(await asked(api, key)) == ("NOT_COMMITTED", False)
        assert verdict(await asked(api, key, "/revoke")) == ("NOT_COMMITTED", True)
    # What they have revoked is theirs.
    assert verdict(await asked(client.api, key)) == ("COMMITTED", True)
    assert await post_raw(client.api, CREATE, body, **{"Idempotency-Key": key}) == first
    mine = new_key()
    assert verdict(await asked(other, mine, "/revoke")) == ("NOT_COMMITTED", True)
    written = await post_raw(
        client.api, CREATE, client.creation_body(), **{"Idempotency-Key": mine}
    )
    assert written[1]["status"]["code"] == "OK"
    # The same user is told in another session, too.
    again = Api(service, client.api.organisation)
    assert (await asked(again, key))["answer"] == first[1]["data"]


async def test_a_customer_is_told_of_the_customer_s_calls_only(customers: TokensClient) -> None:
    one, two = await customers.consumer_session(), await customers.consumer_session()
    key = new_key()
    body = {"contact_information_identifier": {"id": one.contact}, "notes": "mine"}
    path = "contact_information/update"
    _, answer = await post_raw(one.api, path, body, **{"Idempotency-Key": key})
    assert answer["status"]["code"] == "OK", answer
    assert verdict(await asked(one.api, key)) == ("COMMITTED", True)
    assert verdict(await asked(two.api, key)) == ("NOT_COMMITTED", False)
    assert verdict(await asked(customers.api, key)) == ("NOT_COMMITTED", False)


async def test_keys_of_any_form(client: CommunicationsClient) -> None:
    for key in (f"a/b {new_key()}", f"50% {new_key()}", f"{new_key()}/revoke", "x" * 255):
        answer = await post_raw(
            client.api, CREATE, client.creation_body(), **{"Idempotency-Key": key}
        )
        assert answer[1]["status"]["code"] == "OK"
        assert verdict(await asked(client.api, key)) == ("COMMITTED", True)


@pytest.mark.parametrize(
    ("key", "act", "verb", "status", "name"),
    [
        ("x" * 256, "", "GET", 400, "INVALIDREQUEST"),
        ("a\nb", "", "GET", 400, "INVALIDREQUEST"),
        ("%ff", "", "GET", 200, ""),
        (" ", "", "GET", 400, "INVALIDPARAMETERVALUE"),
        ("", "", "GET", 404, "METHODNOTFOUND"),
        ("x", "/unrevoke", "POST", 404, "METHODNOTFOUND"),
        ("x", "/revoke", "GET", 404, "METHODNOTFOUND"),
        ("x", "/revoke", "PUT", 405, "METHODNOTALLOWED"),
    ],
)
async def test_what_is_no_question(
    client: CommunicationsClient, key: str, act: str, verb: str, status: int, name: str
) -> None:
    found, answer = await sent(client.api, key, act, verb=verb)
    assert found == status
    assert not name or refusal(answer)[0] == name


@pytest.mark.parametrize("token", ["", "no.token.this"])
async def test_without_a_session_nothing_is_said(client: CommunicationsClient, token: str) -> None:
    status, answer = await sent(client.api, new_key(), token=token)
    assert (status, refusal(answer)[0]) == (401, "INVALIDTOKEN")


async def test_an_outcome_outlives_its_answer(client: CommunicationsClient) -> None:
    key = new_key()
    await post_raw(client.api, CREATE, client.creation_body(), **{"Idempotency-Key": key})
    connection = await asyncpg.connect(client.api.service.database)
    aged = "UPDATE ledger.{} SET recorded_at = recorded_at - $1::text::interval WHERE key = $2"
    try:
        for table in ("stored_responses", "request_outcomes"):
            await connection.execute(aged.format(table), "25 hours", key)
        said = await asked(client.api, key)
        assert (verdict(said), said["answer"]) == (("COMMITTED", True), None)
        await connection.execute(aged.format("request_outcomes"), "7 days", key)
        # Too long ago to be spoken of, and the answer says how far back it looks.
        said = await asked(client.api, key)
        assert verdict(said) == ("NOT_COMMITTED", False)
        name = client.api.organisation
        await connection.execute("SELECT ledger.purge_expired($1)", name)
        kept = "SELECT count(*) FROM ledger.request_outcomes WHERE organisation = $1 AND key = $2"
        assert await connection.fetchval(kept, name, key) == 0
    finally:
        await connection.close()


async def test_a_caller_revokes_so_many_keys_an_hour(
    client: CommunicationsClient, customers: TokensClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is kept for days: a customer must not fill the table."""
    monkeypatch.setattr("infra.store.request_outcomes.REVOKED_PER_HOUR", 2)
    api = (await customers.consumer_session()).api
    first, second, third = (new_key() for _ in range(3))
    for key in (first, second, first):
        assert verdict(await asked(api, key, "/revoke")) == ("NOT_COMMITTED", True)
    status, answer = await sent(api, third, "/revoke")
    assert (status, refusal(answer)[0]) == (429, "TOOMANYREQUESTS")
    assert verdict(await asked(api, third)) == ("NOT_COMMITTED", False)
    # Another caller's are counted apart, and an hour later there is room again.
    other = (await customers.consumer_session()).api
    assert verdict(await asked(other, third, "/revoke")) == ("NOT_COMMITTED", True)
    aged = "UPDATE ledger.revoked_keys SET revoked_at = revoked_at - interval '{}' WHERE organisation = $1"
    async with connection(api.service.database) as owner:
        await owner.execute(aged.format("61 minutes"), api.organisation)
        assert verdict(await asked(api, third, "/revoke")) == ("NOT_COMMITTED", True)
        await owner.execute(aged.format("7 days"), api.organisation)
        await owner.execute("SELECT ledger.purge_expired($1)", api.organisation)
    assert verdict(await asked(api, first)) == ("NOT_COMMITTED", False)
