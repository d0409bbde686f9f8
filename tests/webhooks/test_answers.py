"""Consumers may answer as they like: each request is noted, acknowledged by its status, and the worker goes on."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import islice
from random import Random, randrange

import pytest
import pytest_asyncio

from infra import http_exchange
from infra.postgres.embedded.server import EmbeddedPostgres
from infra.webhooks import subscriptions
from infra.webhooks.dispatcher import WebhookDispatcher
from infra.webhooks.http_client import DeliveryResult, HttpWebhookClient
from infra.webhooks.subscription_worker import DeliveryPolicy
from tests.fixtures import databases
from tests.fixtures.answers import GOOD, RawAnswer, answer_server, random_answers
from tests.fixtures.organisation import query_rows
from tests.fixtures.service import Service, run_in_process
from tests.fixtures.webhooks import (
    LOOPBACK,
    QUICK,
    WebhooksClient,
    webhook_dispatcher,
    webhooks_client,
)

PACE = DeliveryPolicy(
    lease=120,
    timeout=1,
    pause=0.005,
    first_backoff=0.001,
    max_backoff=0.001,
    max_backoff_when_down=0.001,
)
ATTEMPTS = """
SELECT position, outcome, status FROM webhooks.attempts WHERE organisation = $1 ORDER BY number
"""


@pytest_asyncio.fixture(scope="module")
async def own_service(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[Service]:
    """A service on a database of this file's own: a deliverer serves all organisations of one."""
    async with databases.database(postgres, template) as url, run_in_process(url) as service:
        yield service


def fits(answer: RawAnswer, outcome: str, status: int | None) -> bool:
    """Return True if an answer may be noted so."""
    if answer.status is None:
        return (outcome in ("UNREACHABLE", "TIMEOUT")) and status is None
    acknowledges = 200 <= answer.status < 300
    wanted = "DELIVERED" if acknowledges else "GONE" if answer.status == 410 else "REFUSED"
    is_lost = status is None and outcome in ("UNREACHABLE", "TIMEOUT")
    return (outcome, status) == (wanted, answer.status) or (is_lost and not answer.is_certain)


async def post(url: str, timeout: float = 60) -> DeliveryResult:
    async with HttpWebhookClient(LOOPBACK, timeout=timeout) as client:
        return await client.post(url, {}, b"{}")


ACKNOWLEDGING = {
    "a 204 with a body": b"HTTP/1.1 204 No Content\r\n\r\nbody",
    "broken chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok",
    "cut chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
    "more than its length": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay",
    "less than its length": b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\nok",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "no number as a length": b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
    "no header": b"HTTP/1.1 200 OK\r\n",
    "no line ending": b"HTTP/1.1 200 OK",
    "no reason": b"HTTP/1.1 299\r\n\r\n",
    "a header without a colon": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "a header with a NUL": b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n",
    "cut headers": b"HTTP/1.1 202 OK\r\nX: a",
    "a long header": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
    "another version": b"HTTP/2.0 200 OK\r\n\r\n",
    "an interim answer": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nbad\r\n\r\n",
    "a date out of range": b"HTTP/1.1 200 OK\r\nRetry-After: Wed, 21 Oct 99999999999 07:28:00 GMT\r\n\r\n",
}


@pytest.mark.parametrize("content", ACKNOWLEDGING.values(), ids=ACKNOWLEDGING)
async def test_a_status_line_acknowledges_whatever_follows(content: bytes) -> None:
    async with answer_server(iter([RawAnswer(content, 200)])) as server:
        assert (await post(server.url)).outcome == "DELIVERED"
        assert len(server.given) == 1


async def test_410_ends_it_whatever_follows() -> None:
    async with answer_server(iter([RawAnswer(b"HTTP/1.1 410 Gone\r\n\x00", 410)])) as server:
        answer = await post(server.url)
    assert (answer.outcome, answer.status) == ("GONE", 410)


@pytest.mark.parametrize("ending", ["hold", "endless"])
async def test_a_status_line_acknowledges_if_the_headers_never_end(ending: str) -> None:
    answer = RawAnswer(b"HTTP/1.1 200 OK\r\nX: ", 200, ending=ending)
    async with answer_server(iter([answer])) as server:
        assert (await post(server.url, timeout=0.5)).outcome == "DELIVERED"


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 20",
        b"HTTP/1.1 100 \r\nHTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"\r\n\r\n\r\nok 200",
    ],
)
async def test_what_is_no_2xx_does_not_acknowledge(content: bytes) -> None:
    async with answer_server(iter([RawAnswer(content, None)])) as server:
        assert (await post(server.url)).outcome in ("UNREACHABLE", "REFUSED")


async def test_what_follows_an_answer_is_not_the_answer_to_the_next_request() -> None:
    """The second request goes over a connection of its own, though the consumer would keep the first."""
    statuses, kept = iter((200, 500)), []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept.append(writer)
        while await reader.read(10_000):
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % next(statuses))
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with HttpWebhookClient(LOOPBACK, timeout=60) as client:
        found = [(await client.post(url, {}, b"")).status for _ in range(2)]
    server.close()
    assert (found, len(kept)) == ([200, 500], 2)


async def test_any_answer_comes_to_a_result() -> None:
    await check_results(300)


@pytest.mark.slow
async def test_ten_thousand_answers_come_to_results() -> None:
    await check_results(10_000)


async def check_results(count: int) -> None:
    seed = randrange(2**32)
    print(f"seed {seed}")
    late = 0
    async with (
        answer_server(random_answers(Random(seed))) as server,
        HttpWebhookClient(LOOPBACK, timeout=1) as client,
    ):

        async def ask(number: int) -> None:
            nonlocal late
            result = await client.post(server.url, {}, b"%d" % number)
            answers = [answer for _, body, answer in server.given if body == b"%d" % number]
            if result.outcome == "TIMEOUT" or not answers:
                # Some answers never end, and a busy machine may be late with any, or with a connection.
                late += 1
                return
            (answer,) = answers
            assert fits(answer, result.outcome, result.status), (answer, result)
            assert 0 <= (result.retry_after or 0) <= http_exchange.MAX_RETRY_AFTER

        for first in range(0, count, 50):
            server.given.clear()
            await asyncio.gather(*(ask(first + number) for number in range(50)))
    assert late < count / 2


async def test_the_worker_goes_on_after_any_answer(
    own_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await check_deliverer(own_service, monkeypatch, 300)


@pytest.mark.slow
async def test_the_worker_goes_on_after_ten_thousand_answers(
    own_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await check_deliverer(own_service, monkeypatch, 10_000)


async def check_deliverer(service: Service, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Send events to a consumer that gives this many answers, and then good ones."""
    seed = randrange(2**32)
    print(f"seed {seed}")
    monkeypatch.setattr(http_exchange, "MAX_RETRY_AFTER", 0.001)
    monkeypatch.setattr(subscriptions, "MAX_ATTEMPTS", 2 * count)
    async with answer_server(islice(random_answers(Random(seed)), count)) as server:
        client = await webhooks_client(service, server.url)
        for _ in range(20):
            await client.new_contact()
        async with webhook_dispatcher(service.database, PACE) as running:
            while len(server.given) < count:
                await client.wait_until_acknowledged()
                await running.idle()
                await client.request("POST", "/W/replay", from_=1)
            await client.wait_until_acknowledged()
            await running.idle()
            assert await running.readiness_problems() == []
        await check_log(client, server.given)
        await client.subscribe(server.url, retired=True)


async def check_log(client: WebhooksClient, given: list[tuple[bytes, bytes, RawAnswer]]) -> None:
    """Compare the delivery log with what the consumer has answered, event by event."""
    answers, noted = defaultdict(list), defaultdict(list)
    for _, body, answer in given:
        answers[json.loads(body)["data"]["position"]].append(answer)
    for position, outcome, status in await query_rows(client.api, ATTEMPTS):
        noted[position].append((outcome, status))
    assert noted.keys() == answers.keys()
    for position, entries in noted.items():
        assert len(entries) == len(answers[position])
        for answer, entry in zip(answers[position], entries, strict=True):
            assert fits(answer, *entry), (answer, entry)


async def test_an_answer_that_cannot_be_noted_as_it_is_is_a_failure(
    own_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure of the client is noted, backed off from and does not end the worker."""
    post, broken = HttpWebhookClient.post, True

    async def failing(*arguments: object) -> DeliveryResult:
        if broken:
            raise OverflowError("nobody has thought of it")
        return await post(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(HttpWebhookClient, "post", failing)
    async with answer_server(iter([GOOD])) as server:
        client = await webhooks_client(own_service, server.url, entities=["contact_information"])
        await client.new_contact()
        async with webhook_dispatcher(own_service.database) as running:
            await client.wait_for_status(state="FAILING")
            assert {a["outcome"] for a in await client.deliveries()} == {"FAILED"}
            assert await running.readiness_problems() == []
            broken = False
            await client.wait_until_acknowledged()
        await client.subscribe(server.url, retired=True)


async def test_a_worker_that_fails_rests_before_it_sends_again(
    own_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the results cannot be stored, the consumer is not told again at each look."""

    def failing(*_: object) -> None:
        raise OverflowError("nobody has thought of it")

    async with answer_server(iter([])) as server:
        client = await webhooks_client(own_service, server.url, entities=["contact_information"])
        await client.new_contact()
        pace = replace(QUICK, first_backoff=600, max_backoff=600, max_backoff_when_down=600)
        async with webhook_dispatcher(own_service.database, pace) as running:
            store = running._dependencies.store
            monkeypatch.setattr(store, "record_attempts", failing)
            await wait_for_problem(running)
            looks = running._looks
            async with asyncio.timeout(60):
                while running._looks < looks + 5:
                    await asyncio.sleep(0.01)
            assert len(server.given) == 1
            monkeypatch.undo()
            await client.request("POST", "/W/resume")
            await client.wait_until_acknowledged()
            assert await running.readiness_problems() == []
        await client.subscribe(server.url, retired=True)


async def wait_for_problem(running: WebhookDispatcher) -> None:
    """Return when a deliverer reports a subscription that it cannot serve."""
    async with asyncio.timeout(60):
        while "its worker failed" not in str(await running.readiness_problems()):
            await asyncio.sleep(0.01)
