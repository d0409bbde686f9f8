"""Gateways may answer as they like: a result each time, and no message is sent again that was taken."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import islice
from random import Random, randrange

import pytest

from infra import http_exchange
from infra.delivery.dispatcher import MessageDispatcher
from infra.delivery.sms import GatewayConfig, SmsGateway
from services.communications.delivery import Message, SendPolicy, SendResult
from tests.fixtures.answers import GOOD, RawAnswer, answer_server, random_answers
from tests.fixtures.communications import CommunicationsClient
from tests.fixtures.delivery import dispatch, make_due, queue_entries

EXPECTED = frozenset({200, 201, 202, 204})
LIMITS = SendPolicy(
    messages_per_second=1000,
    connections=100,
    timeout_seconds=60,
    tries=8,
    first_wait_seconds=1,
    longest_wait_seconds=60,
)
CONFIG = GatewayConfig(
    url="",
    method="POST",
    headers={},
    body_format="JSON",
    body='{"to":"{{to}}","text":"{{text}}"}',
    idempotency_header="Idempotency-Key",
    expected_statuses=EXPECTED,
    answer_text=None,
    answer_pattern=None,
    secret=None,
)
JUDGING = replace(CONFIG, answer_text="accepted", answer_pattern=r"id=\d+")
MESSAGE = Message("key-1", "ACME", "+357 99 1", "", "hello")


async def send(config: GatewayConfig, *answers: RawAnswer, timeout: float = 60) -> SendResult:
    async with answer_server(iter(answers)) as server:
        gateway = SmsGateway(
            replace(config, url=server.url),
            replace(LIMITS, timeout_seconds=timeout),  # type: ignore[arg-type]
        )
        try:
            result = await gateway.send(MESSAGE)
        finally:
            await gateway.close()
        assert len(server.given) == 1
        return result


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nok",
        b"HTTP/1.1 201 OK\r\nX: \x00\r\n\r\n",
    ],
)
async def test_an_expected_status_is_enough_whatever_follows(content: bytes) -> None:
    assert await send(CONFIG, RawAnswer(content, 200)) == SendResult("sent")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\naccepted id=7", "sent"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\naccepted id=7\r\nzz", "sent"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\naccep", "rejected"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\naccepted id=7", "sent"),
        (b"HTTP/1.1 200 OK\r\nbad header\r\n\r\naccepted id=7", "sent"),
        (b"HTTP/1.1 200 OK\r\nbad header\r\nX: accepted id=7\r\n", "rejected"),
        (b"HTTP/1.1 200 OK", "rejected"),
    ],
)
async def test_a_taken_message_is_never_sent_again(content: bytes, name: str) -> None:
    """What was read is judged; if it does not suffice, a person decides: the message may have been sent."""
    result = await send(JUDGING, RawAnswer(content, 200))
    assert (result.name, result.code) == (name, "" if name == "sent" else "ANSWER")
    assert ("may have been sent" in result.text) == (name == "rejected")


async def test_a_pattern_that_would_try_for_hours_is_matched_at_once() -> None:
    """What takes a moment for 30 characters takes Python's own engine a minute, and a year for 60."""
    config = replace(CONFIG, answer_pattern="^(a+)+$")
    body = b"a" * 60 + b"!"
    answer = RawAnswer(b"HTTP/1.1 200 OK\r\nContent-Length: 61\r\n\r\n" + body, 200)
    assert (await send(config, answer)).code == "ANSWER"


async def test_an_answer_that_takes_too_long_after_its_status() -> None:
    held = RawAnswer(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\naccepted", 200, ending="hold")
    assert (await send(JUDGING, held, timeout=0.3)).code == "ANSWER"
    assert (await send(CONFIG, held)).name == "sent"


@pytest.mark.parametrize(
    ("content", "name", "code"),
    [
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 99\r\n\r\nno", "rejected", "HTTP 400"),
        (b"HTTP/1.1 500 No\r\nbad header\r\n\r\n", "deferred", "HTTP 500"),
        (b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\nzz", "unavailable", "HTTP 401"),
        (b"HTTP/1.1 226 IM Used\r\nX: \x00", "rejected", "HTTP 226"),
        (b"", "deferred", "HTTP DISCONNECTED"),
    ],
)
async def test_a_status_counts_if_the_rest_cannot_be_read(
    content: bytes, name: str, code: str
) -> None:
    result = await send(CONFIG, RawAnswer(content, None))
    assert (result.name, result.code) == (name, code)


async def test_a_large_answer_is_not_unpacked_and_not_read_to_its_end() -> None:
    head = b"HTTP/1.1 400 No\r\nContent-Encoding: gzip\r\n\r\n"
    result = await send(CONFIG, RawAnswer(head + b"x" * 300_000, 400))
    assert len(result.text) == http_exchange.MAX_BODY


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("7", 7),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", 0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 86_400),
        ("9" * 5000, 86_400),
        ("0" * 5000 + "9", 9),
        ("-1", 0),
        ("soon", 0),
    ],
)
async def test_how_long_it_asks_to_wait(header: str, wait: float) -> None:
    answer = RawAnswer(f"HTTP/1.1 503 No\r\nRetry-After: {header}\r\n\r\n".encode(), 503)
    assert (await send(CONFIG, answer)).wait == wait


def fits(answer: RawAnswer, result: SendResult) -> bool:
    """Return True if an answer may lead to a result."""
    if answer.status in EXPECTED:
        is_possible = result.name == "sent" or result.code == "ANSWER"
    elif answer.status is None:
        is_possible = result.code in ("HTTP DISCONNECTED", "HTTP TIMEOUT")
    else:
        is_possible = result.code == f"HTTP {answer.status}"
    return is_possible or (not answer.is_certain and result.name == "deferred")


async def test_any_answer_comes_to_a_result() -> None:
    await check_results(300)


@pytest.mark.slow
async def test_ten_thousand_answers_come_to_results() -> None:
    await check_results(10_000)


async def check_results(count: int) -> None:
    seed = randrange(2**32)
    print(f"seed {seed}")
    late = 0
    async with answer_server(random_answers(Random(seed))) as server, AsyncExitStack() as stack:
        gateways = [
            SmsGateway(replace(config, url=server.url), replace(LIMITS, timeout_seconds=1))
            for config in (CONFIG, JUDGING)
        ]
        for gateway in gateways:
            stack.push_async_callback(gateway.close)

        async def ask(number: int) -> None:
            nonlocal late
            key = f"key-{number}."
            result = await gateways[number % 2].send(replace(MESSAGE, idempotency_key=key))
            answers = [answer for head, _, answer in server.given if key.encode() in head]
            if result.code == "HTTP TIMEOUT" or not answers:
                # Some answers never end, and a busy machine may be late with any, or with a connection.
                late += 1
                return
            (answer,) = answers
            assert fits(answer, result), (answer, result)
            assert 0 <= result.wait <= http_exchange.MAX_RETRY_AFTER

        for first in range(0, count, 50):
            server.given.clear()
            await asyncio.gather(*(ask(first + number) for number in range(50)))
        server.answers = iter([GOOD])
        assert (await gateways[0].send(MESSAGE)).name == "sent"
    assert late < count / 2


async def test_the_sender_goes_on_after_any_answer(
    client: CommunicationsClient, working: MessageDispatcher
) -> None:
    await check_sender(client, working, 10, 60)


@pytest.mark.slow
async def test_the_sender_goes_on_after_thousands_of_answers(
    client: CommunicationsClient, working: MessageDispatcher
) -> None:
    await check_sender(client, working, 300, 2000)


async def check_sender(
    client: CommunicationsClient, working: MessageDispatcher, messages: int, count: int
) -> None:
    """Send messages to a gateway that gives up to this many answers, and then good ones."""
    seed = randrange(2**32)
    print(f"seed {seed}")
    async with answer_server(islice(random_answers(Random(seed)), count)) as server:
        settings = {"url": server.url, "body": CONFIG.body, "timeout_seconds": 1, "tries": 100}
        settings |= {"messages_per_second": 1000, "connections": 20}
        await client.register_settings(sms_server=settings)
        for _ in range(messages):
            await client.create(media="SMS", to="+357 99 1", content="hello")
        for _ in range(2 * count):
            await dispatch(working)
            await make_due(client.api.service.database)
            states = [state for state, _, _ in await queue_entries(client)]
            if "PENDING" not in states:
                break
        assert len(states) == messages
        assert set(states) <= {"COMPLETED", "REJECTED"}
        # The last good answer is heeded, whatever came before.
        server.answers = iter([GOOD])
        await client.create(media="SMS", to="+357 99 1", content="bye")
        await dispatch(working, 2)
        assert (await queue_entries(client))[-1][0] == "COMPLETED"
    check_repetitions(server.given)


def check_repetitions(given: list[tuple[bytes, bytes, RawAnswer]]) -> None:
    """Assert that no message was sent again after a certain 2xx."""
    answers = defaultdict(list)
    for head, _, answer in given:
        key = re.search(rb"(?i)Idempotency-Key: (.*)\r\n", head)
        assert key
        answers[key[1]].append(answer)
    for tries in answers.values():
        assert not any(a.is_certain and a.status and 200 <= a.status < 300 for a in tries[:-1])
