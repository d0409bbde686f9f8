"""What may be reached, and what comes of a request: no more than a status, in bounded time."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook

from infra.webhooks.http_client import DeliveryResult, HttpWebhookClient, is_allowed_address
from infra.webhooks.message import entity_links, signed_headers
from tests.fixtures.webhooks import LOOPBACK, run_consumer

PRIVATE = """
127.0.0.1 127.8.9.1 0.0.0.0 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 192.0.0.1 198.18.0.1
224.0.0.1 239.1.2.3 240.0.0.1 255.255.255.255
::1 :: fe80::1 fe80::1%eth0 fc00::1 fd12::1 fec0::1 ff02::1 ff0e::1 2001:db8::1
::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 2002:7f00:1::1 2001:0:1::1
"""
PUBLIC = "1.1.1.1 93.184.215.14 2606:4700::1111 ::ffff:1.1.1.1 64:ff9b::101:101 2002:101:101::1"


@pytest.mark.parametrize("address", PRIVATE.split())
def test_what_is_not_public_is_not_reached(address: str) -> None:
    assert not is_allowed_address(ip_address(address), ())


@pytest.mark.parametrize("address", PUBLIC.split())
def test_what_is_public_is(address: str) -> None:
    assert is_allowed_address(ip_address(address), ())


def test_networks_that_are_allowed() -> None:
    allowed = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    for address in ("10.9.9.9", "::ffff:10.0.0.1", "64:ff9b::a00:1", "fd12::1"):
        assert is_allowed_address(ip_address(address), allowed)
    for address in ("127.0.0.1", "192.168.0.1", "::1", "fc00::1"):
        assert not is_allowed_address(ip_address(address), allowed)


class Names(AbstractResolver):
    """A name server of somebody who wants in."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found: list[Any] = [
            {"hostname": host, "host": a, "port": port, "family": 2, "proto": 0, "flags": 0}
            for a in self.addresses
        ]
        return found

    async def close(self) -> None:
        return None


async def sent(
    url: str, *addresses: str, timeout: float = 60, networks: Any = LOOPBACK
) -> DeliveryResult:
    resolver = Names(*addresses) if addresses else None
    async with HttpWebhookClient(networks, timeout=timeout, resolver=resolver) as sender:
        return await sender.post(url, {}, b"{}")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
async def test_no_spelling_leads_to_a_private_address(host: str) -> None:
    async with run_consumer() as consumer:
        port = consumer.url.rsplit(":", 1)[1]
        answer = await sent(f"http://{host}:{port}", networks=())
        assert (answer.outcome, answer.status) == ("FORBIDDEN_ADDRESS", None)
        assert consumer.seen == []


async def test_other_notations_lead_nowhere() -> None:
    async with run_consumer() as consumer:
        port = consumer.url.rsplit(":", 1)[1]
        for host in ("127.1", "2130706433", "0x7f000001", "0177.0.0.1"):
            answer = await sent(f"http://{host}:{port}", networks=())
            assert answer.outcome in ("FORBIDDEN_ADDRESS", "UNREACHABLE")
        assert consumer.seen == []


async def test_a_name_is_judged_by_the_address_that_is_connected_to() -> None:
    async with run_consumer() as consumer:
        port = consumer.url.rsplit(":", 1)[1]
        url = f"http://good.example:{port}"
        for addresses in (["127.0.0.1"], ["10.0.0.1", "127.0.0.1"]):
            answer = await sent(url, *addresses, networks=())
            assert answer.outcome == "FORBIDDEN_ADDRESS"
        assert consumer.seen == []
        # One of several addresses is allowed: that one is connected to.
        assert (await sent(url, "10.0.0.1", "127.0.0.1")).outcome == "DELIVERED"
        assert consumer.seen[0][0]["Host"] == f"good.example:{port.partition('/')[0]}"


@asynccontextmanager
async def raw(*answers: bytes, hold: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that says exactly this, one answer for each connection."""
    left, heard = list(answers), []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        length = re.search(rb"Content-Length: (\d+)", heard[-1])
        await reader.readexactly(int(length[1]) if length else 0)
        if left:
            writer.write(left.pop(0))
            await writer.drain()
        if hold:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", heard
    finally:
        server.close()


async def test_the_status_counts_whatever_follows() -> None:
    async with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\nx", hold=True) as (url, _):
        assert (await sent(url)).outcome == "DELIVERED"
    async with raw(b"HTTP/1.1 204 No Content\r\n\r\n") as (url, _):
        assert (await sent(url)).outcome == "DELIVERED"


@pytest.mark.parametrize(
    ("said", "outcome", "status"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", "REFUSED", 302),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "REFUSED", 404),
        (b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", "GONE", 410),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n", "DELIVERED", 200),
        (b"nonsense\r\n\r\n", "UNREACHABLE", None),
        (b"", "UNREACHABLE", None),
    ],
)
async def test_what_comes_of_a_request(said: bytes, outcome: str, status: int | None) -> None:
    async with raw(said) as (url, _):
        answer = await sent(url)
    assert (answer.outcome, answer.status) == (outcome, status)


async def test_who_says_nothing_is_given_up() -> None:
    async with raw(hold=True) as (url, _):
        assert (await sent(url, timeout=0.1)).outcome == "TIMEOUT"


async def test_a_connection_that_was_dropped_meanwhile_is_no_failure() -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with raw(said, said) as (url, heard), HttpWebhookClient(LOOPBACK, timeout=60) as sender:
        assert (await sender.post(url, {}, b"1")).outcome == "DELIVERED"
        assert (await sender.post(url, {}, b"2")).outcome == "DELIVERED"
        assert len(heard) == 2


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("999999999999", 86_400),
        ("soon", None),
        ("-5", None),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 86_400),
        ("Sat, 01 Jan 2000 00:00:00 -0000", 0),
    ],
)
async def test_how_long_it_asks_to_wait(header: str, seconds: float | None) -> None:
    said = f"HTTP/1.1 503 Busy\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n"
    async with raw(said.encode()) as (url, _):
        assert (await sent(url)).retry_after == seconds


def test_signatures_are_those_of_the_library() -> None:
    secret, now = "whsec_" + "QUJD" * 8, datetime.now(UTC)
    content = '{"type":"\u00e9"}'.encode()
    ours = signed_headers("ORG/7", int(now.timestamp()), content, [secret, "whsec_" + "REVG" * 8])
    first, second = ours["webhook-signature"].split(" ")
    assert first == Webhook(secret).sign("ORG/7", now, content.decode())
    assert second != first
    assert Webhook(secret).verify(content, ours) == {"type": "\u00e9"}


def test_links_lead_to_what_methods_show() -> None:
    assert entity_links().keys() == {
        "communication",
        "contact_information",
        "queue_entry",
        "service_request",
    }
