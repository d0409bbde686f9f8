"""Rate limit, Idempotency-Key, availability: contract common.md, sections 1, 12 and 13."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from infra.postgres.embedded.server import EmbeddedPostgres
from services.pipeline.method import BASE
from tests.fixtures import databases
from tests.fixtures.access_tokens import tokens_client
from tests.fixtures.communications import (
    CommunicationsClient,
    call_concurrently,
    communications_client,
    error_names,
    event_topics,
    new_key,
    post_raw,
)
from tests.fixtures.organisation import UNIT, organisation_client, query_rows, untouched
from tests.fixtures.service import Api, Service, refusal, run_in_process

Json = dict[str, Any]
CREATE = "communications/create"
LISTED = {"category_identifier": "id=MC1"}


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    return await communications_client(service)


@pytest_asyncio.fixture(scope="module")
async def own_database(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[str]:
    async with databases.database(postgres, template) as url:
        yield url


@pytest_asyncio.fixture(scope="module")
async def limited(own_database: str) -> AsyncIterator[CommunicationsClient]:
    """A service that lets each session call twice a second."""
    async with run_in_process(own_database, CRMLEDGER_RATE_LIMIT="2") as service:
        own = CommunicationsClient((await organisation_client(Api(service))).api)
        own.contacts = [await own.new_contact()]
        yield own


@dataclass
class StoppedClock:
    """The clock of the limit, which goes on when the test says so."""

    now: float

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    made = StoppedClock(time.monotonic())
    monkeypatch.setattr("infra.app.time", made)
    return made


async def sent(api: Api, token: str) -> tuple[int, str, str | None]:
    """HTTP status, ``OK`` or NAME, and Retry-After of a read."""
    query = {"token": token, "category_identifier": "id=MC1"}
    path = f"{BASE}communications/list"
    status, answer, headers = await api.service.send("GET", path, query=query)
    return status, error_names([answer])[0], headers.get("Retry-After")


async def test_no_limit_by_default(client: CommunicationsClient) -> None:
    token = await client.api.login()
    answers = await asyncio.gather(*(sent(client.api, token) for _ in range(50)))
    assert {answer[:2] for answer in answers} == {(200, "OK")}


async def test_a_session_that_calls_too_often(
    limited: CommunicationsClient, clock: StoppedClock
) -> None:
    api = limited.api
    token = await api.login()
    answers = [await sent(api, token) for _ in range(8)]
    assert [answer[1] for answer in answers[:2]] == ["OK", "OK"]
    refused = answers[2:]
    assert {answer[:2] for answer in refused} == {(429, "TOOMANYREQUESTS")}
    assert all(int(answer[2] or 0) >= 1 for answer in refused)
    other = await api.login()
    assert (await sent(api, other))[1] == "OK"
    clock.now += 0.4
    assert (await sent(api, token))[1] == "TOOMANYREQUESTS"
    clock.now += 0.2
    assert (await sent(api, token))[1] == "OK"


async def test_the_limit_comes_after_the_signature_and_before_all_else(
    limited: CommunicationsClient, clock: StoppedClock
) -> None:
    api = limited.api
    token = await api.login()
    for _ in range(4):
        await sent(api, token)
    before = await event_topics(api)
    status, answer = await post_raw(Api(api.service, api.organisation, token), CREATE, {})
    assert (status, refusal(answer)) == (429, ("TOOMANYREQUESTS", ""))
    assert await event_topics(api) == before
    assert (await sent(api, f"{token[:-2]}xx"))[1] == "INVALIDTOKEN"
    assert (await api.open("nowhere", {}))["status"]["code"].endswith("METHODNOTFOUNDEXCEPTION")


KEYS = ["k", "a b", "x" * 255, '"quoted"', "é"]


@pytest.mark.parametrize("key", KEYS)
async def test_keys_are_any_visible_text(client: CommunicationsClient, key: str) -> None:
    key = f"{new_key()}{key}"[:255]
    answers = [
        (
            await call_concurrently(
                client.api, [(CREATE, client.creation_body())], **{"Idempotency-Key": form}
            )
        )[0]
        for form in (key, f"  {key}  ")
    ]
    assert error_names(answers) == ["OK", "OK"]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("key", ["", "   ", "x" * 256, "a\tb", "\u00a0x"])
async def test_other_keys_are_refused(client: CommunicationsClient, key: str) -> None:
    api = client.api
    async with untouched(api):
        status, answer = await post_raw(
            api, CREATE, client.creation_body(), **{"Idempotency-Key": key}
        )
    assert (status, refusal(answer)) == (400, ("INVALIDREQUEST", "Idempotency-Key"))


async def test_an_answer_given_again_says_so(client: CommunicationsClient) -> None:
    body = json.dumps({"token": client.api.token} | client.creation_body()).encode()
    headers = {"Idempotency-Key": new_key()}
    found = [
        await client.api.service.send("POST", BASE + CREATE, data=body, headers=headers)
        for _ in range(3)
    ]
    assert [answer for _, answer, _ in found] == [found[0][1]] * 3
    assert error_names([found[0][1]]) == ["OK"]
    replayed = [said.get("Idempotent-Replayed") for _, _, said in found]
    assert replayed == [None, "true", "true"]


async def test_of_equal_calls_at_one_moment_one_is_not_given_again(
    client: CommunicationsClient,
) -> None:
    body = json.dumps({"token": client.api.token} | client.creation_body()).encode()
    headers = {"Idempotency-Key": new_key()}
    found = await asyncio.gather(
        *(
            client.api.service.send("POST", BASE + CREATE, data=body, headers=headers)
            for _ in range(5)
        )
    )
    assert [answer for _, answer, _ in found] == [found[0][1]] * 5
    replayed = [said.get("Idempotent-Replayed") for _, _, said in found]
    assert sorted(map(str, replayed)) == ["None", "true", "true", "true", "true"]


async def test_a_key_belongs_to_user_method_and_organisation(service: Service) -> None:
    first, second = await communications_client(service), await communications_client(service)
    key = {"Idempotency-Key": new_key()}
    await first.register(
        "user",
        "2",
        username="other",
        default_unit_id=UNIT,
        password="p" * 9,
    )
    other = Api(service, first.api.organisation, await first.api.login("other", "p" * 9))
    assert (await post_raw(first.api, CREATE, first.creation_body(), **key))[0] == 200
    theirs = await post_raw(other, CREATE, first.creation_body(), **key)
    assert error_names([theirs[1]]) == ["OK"]
    assert (await post_raw(other, CREATE, first.creation_body(), **key)) == theirs
    path = "communications/update"
    assert (
        await post_raw(
            first.api, path, first.creation_body(communication_identifier={"id": "1"}), **key
        )
    )[0] == 422
    assert (await post_raw(second.api, CREATE, second.creation_body(), **key))[0] == 200


async def test_a_key_belongs_to_the_customer_too(service: Service) -> None:
    """The customers of an application share its user, but not their keys."""
    desk = await tokens_client(service)
    customers = [await desk.consumer_session() for _ in range(2)]
    headers = {"Idempotency-Key": new_key()}
    path, at = "contact_information/update", "contact_information_identifier"
    for caller, contact in (
        (customers[0].api, customers[0].contact),
        (desk.api, customers[0].contact),
        (customers[1].api, customers[1].contact),
    ):
        body = {at: {"id": contact}, "title": new_key()}
        for _ in range(2):
            answer = await caller.call("POST", path, body=body, headers=headers)
            assert answer["data"]["title"] == body["title"]
        changed = await caller.call("POST", path, body=body | {"title": "x"}, headers=headers)
        assert refusal(changed) == ("INVALIDREQUEST", "Idempotency-Key")


async def test_the_token_and_the_order_of_members_do_not_make_another_request(
    client: CommunicationsClient,
) -> None:
    key, body = {"Idempotency-Key": new_key()}, client.creation_body()
    first = await post_raw(client.api, CREATE, body, **key)
    client.api.token = await client.api.login()
    turned = dict(reversed(body.items()))
    assert await post_raw(client.api, CREATE, turned, **key) == first


async def test_the_answer_keeps_its_fields_set(client: CommunicationsClient) -> None:
    key, body = {"Idempotency-Key": new_key()}, client.creation_body(fields_set="id")
    first = await post_raw(client.api, CREATE, body, **key)
    assert list(first[1]["data"]) == ["id"]
    assert await post_raw(client.api, CREATE, body, **key) == first


async def test_answers_are_kept_for_24_hours(
    own_database: str, limited: CommunicationsClient
) -> None:
    """An older answer counts no more: the same call happens again and is kept anew."""
    api = limited.api
    key, body = new_key(), limited.creation_body()
    api.token = await api.login()
    first = await post_raw(api, CREATE, body, **{"Idempotency-Key": key})
    connection = await asyncpg.connect(own_database)
    for age, same in (("23 hours", True), ("25 hours", False)):
        await connection.execute(
            "UPDATE ledger.stored_responses SET recorded_at = clock_timestamp() - $1::text::interval WHERE key = $2",
            age,
            key,
        )
        api.token = await api.login()
        again = await post_raw(api, CREATE, body, **{"Idempotency-Key": key})
        assert again[0] == 200
        assert (again == first) is same
    await connection.close()
    api.token = await api.login()
    assert await post_raw(api, CREATE, body, **{"Idempotency-Key": key}) == again
    kept = await query_rows(
        api, "SELECT key FROM ledger.stored_responses WHERE organisation = $1 AND key = $2", key
    )
    assert len(kept) == 1


async def test_keys_of_reads_mean_nothing(client: CommunicationsClient) -> None:
    key = {"Idempotency-Key": new_key()}
    async with untouched(client.api):
        for query in (LISTED, LISTED | {"media": "SMS"}):
            answer = await client.api.call("GET", "communications/list", query=query, headers=key)
            assert error_names([answer]) == ["OK"]


async def test_without_its_database_a_service_says_so(
    postgres: EmbeddedPostgres, template: str
) -> None:
    async with databases.database(postgres, template) as url, run_in_process(url) as service:
        own = await communications_client(service)
        query = {"token": await own.api.login()} | LISTED
        path = f"{BASE}communications/list"
        [row] = await query_rows(own.api, "SELECT current_database() AS name, $1::text")
        admin = await asyncpg.connect(postgres.url)
        try:
            await admin.execute(f"ALTER DATABASE {row['name']} ALLOW_CONNECTIONS false")
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
                row["name"],
            )
            status, answer, headers = await service.send("GET", path, query=query)
            assert (status, refusal(answer)[0]) == (503, "SERVICEUNAVAILABLE")
            assert int(headers["Retry-After"]) >= 1
            async with service.http.get(f"{service.admin_url}/health/ready") as ready:
                assert ready.status == 503
            async with service.http.get(f"{service.admin_url}/health/live") as live:
                assert live.status == 200
        finally:
            await admin.execute(f"ALTER DATABASE {row['name']} ALLOW_CONNECTIONS true")
            await admin.close()
        status, answer, _ = await service.send("GET", path, query=query)
        assert (status, answer["status"]["code"]) == (200, "OK")
