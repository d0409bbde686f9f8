"""Bytes on the wire: contract common.md, section 1, for what no HTTP client would send."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import structlog

from services.pipeline.method import BASE
from tests.fixtures.communications import CommunicationsClient, communications_client
from tests.fixtures.service import Service, refusal

Json = dict[str, Any]
COMPLETE = f"{BASE}communications/complete".encode()


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    return await communications_client(service)


async def wire(service: Service, *sent: bytes, port: str = "url", answers: int = 1) -> bytes:
    """So many responses, interim ones too; less if the server closes before."""
    address = urlsplit(getattr(service, port))
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    found = b""
    try:
        for part in sent:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(60):
            for _ in range(answers):
                found += (head := await reader.readuntil(b"\r\n\r\n"))
                _, headers, _ = parsed(head)
                found += await reader.readexactly(int(headers.get("content-length", 0)))
        return found
    except (asyncio.IncompleteReadError, ConnectionError):
        return found
    finally:
        writer.close()
        await writer.wait_closed()


def parsed(raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one response."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, body


def request(
    verb: bytes = b"POST",
    path: bytes = COMPLETE,
    body: bytes = b"{}",
    *headers: bytes,
    version: bytes = b"HTTP/1.1",
) -> bytes:
    lines = [verb + b" " + path + b" " + version, b"Host: x"]
    lines += [*headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


BASIC = b"POST " + COMPLETE + b" HTTP/1.1\r\nHost: x\r\n"
MALFORMED: dict[str, bytes] = {
    "noise": b"private-noise\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03private-noise\r\n\r\n",
    "a verb that is none": b"BREW /private-noise HTTP/1.1\r\nHost: x\r\n\r\n",
    "another version": b"GET /private-noise HTTP/9.9.9\r\n\r\n",
    "a blank in the path": b"GET /private noise HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header without a colon": BASIC + b"private-noise\r\n\r\n",
    "a header with a control character": BASIC + b"X: private\0noise\r\n\r\n",
    "a length that is none": BASIC + b"Content-Length: private-noise\r\n\r\n",
    "a negative length": BASIC + b"Content-Length: -1\r\n\r\n",
    "two lengths": BASIC + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length and chunks": BASIC + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    "a long request line": b"GET /" + b"private-noise" * 1300 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long header": BASIC + b"X: " + b"private-noise" * 1300 + b"\r\n\r\n",
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_what_is_no_request(
    service: Service, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), structlog.testing.capture_logs() as logs:
        answers = [await wire(service, MALFORMED[case], port=p) for p in ("url", "admin_url")]
    for raw in answers:
        status, headers, body = parsed(raw)
        assert status == 400
        assert headers["content-type"] == "application/json; charset=utf-8"
        assert refusal(json.loads(body))[0] == "INVALIDREQUEST"
        assert b"private" not in raw
    told = str(logs) + caplog.text
    assert "private" not in told
    assert "Traceback" not in told
    assert [entry["event"] for entry in logs] == ["malformed"] * 2


async def test_a_request_line_of_16_kib(client: CommunicationsClient) -> None:
    token = (await client.api.login()).encode()
    query = COMPLETE.replace(b"complete", b"list") + b"?category_identifier=id=MC1&token=" + token
    fits = query + b"&x=" + b"y" * (16 * 1024 - len(query) - 30)
    status, _, body = parsed(await wire(client.api.service, request(b"GET", fits, b"")))
    assert (status, json.loads(body)["status"]["code"]) == (200, "OK")
    status, _, _ = parsed(await wire(client.api.service, request(b"GET", fits + b"y" * 60, b"")))
    assert status == 400


async def test_a_body_in_chunks(client: CommunicationsClient) -> None:
    token = await client.api.login()
    body = json.dumps({"token": token}).encode()
    head = BASIC + b"Transfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"1\r\n" + body[n : n + 1] + b"\r\n" for n in range(len(body)))
    status, _, answer = parsed(await wire(client.api.service, head + chunks + b"0\r\n\r\n"))
    assert status == 200
    assert refusal(json.loads(answer)) == ("MANDATORYPARAMETER", "communication_identifier")


@pytest.mark.parametrize("chunks", [b"zz\r\n{}\r\n0\r\n\r\n", b"5\r\n{}\r\n0\r\n\r\n"])
async def test_broken_chunks(service: Service, chunks: bytes) -> None:
    raw = await wire(service, BASIC + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    status, _, body = parsed(raw)
    assert status == 400
    assert refusal(json.loads(body))[0] == "INVALIDREQUEST"


async def test_a_client_that_leaves_in_the_middle(service: Service) -> None:
    address = urlsplit(service.url)
    for sent in (b"", b"PO", BASIC, BASIC + b"Content-Length: 100\r\n\r\n{"):
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(sent)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    status, _, _ = parsed(await wire(service, request()))
    assert status == 200


async def test_expecting_to_be_asked_on(service: Service) -> None:
    head, _, _ = request(b"POST", COMPLETE, b"{}", b"Expect: 100-continue").partition(b"{}")
    raw = await wire(service, head)
    assert raw == b"HTTP/1.1 100 Continue\r\n\r\n"
    raw = await wire(service, head, b"{}", answers=2)
    interim, _, final = raw.partition(b"\r\n\r\n")
    assert interim == b"HTTP/1.1 100 Continue"
    status, _, body = parsed(final)
    assert (status, refusal(json.loads(body))[0]) == (200, "INVALIDTOKEN")


async def test_what_is_too_large_is_not_asked_for(service: Service) -> None:
    head = BASIC + b"Expect: 100-continue\r\nContent-Length: 5000000\r\n\r\n"
    status, _, body = parsed(await wire(service, head))
    assert (status, refusal(json.loads(body))[0]) == (413, "REQUESTTOOLARGE")


@pytest.mark.parametrize("origin", [b"http://example.com", b"HTTPS://example.com:8080"])
async def test_a_path_with_its_origin(service: Service, origin: bytes) -> None:
    status, _, body = parsed(await wire(service, request(b"POST", origin + COMPLETE)))
    assert (status, refusal(json.loads(body))[0]) == (200, "INVALIDTOKEN")
    status, _, body = parsed(await wire(service, request(b"GET", origin, b"")))
    assert status in {302, 404}


@pytest.mark.parametrize("path", [b"*", b"example.com:80", b"//", b"/%00", b"/\xff", b"/%zz"])
async def test_other_targets(service: Service, path: bytes) -> None:
    status, _, body = parsed(await wire(service, request(b"PUT", path, b"")))
    assert status in {400, 404, 405}
    assert json.loads(body)["data"] == {}


async def test_requests_in_a_row_are_answered_in_order(service: Service) -> None:
    three = request(b"PUT", body=b"") + request() + request(path=b"/nowhere", body=b"{}")
    raw = await wire(service, three, answers=3)
    assert [int(part[:3]) for part in raw.split(b"HTTP/1.1 ")[1:]] == [405, 200, 404]


async def test_the_connection_stays_open_after_a_refusal(service: Service) -> None:
    raw = await wire(service, request(body=b"{"), request(), answers=2)
    assert [int(part[:3]) for part in raw.split(b"HTTP/1.1 ")[1:]] == [400, 200]


async def test_an_old_client(service: Service) -> None:
    raw = await wire(service, request(version=b"HTTP/1.0"))
    status, headers, body = parsed(raw)
    assert (status, refusal(json.loads(body))[0]) == (200, "INVALIDTOKEN")
    assert headers["content-length"] == str(len(body))


async def test_nobody_learns_what_serves(service: Service) -> None:
    _, headers, _ = parsed(await wire(service, request()))
    assert "python" not in headers.get("server", "").lower()
    assert "aiohttp" not in headers.get("server", "").lower()
