"""The HTTP client of webhooks: allowed addresses only, in bounded time, with bounded reading.

The address is checked when the socket is created, so that a name server cannot answer with another
one afterwards (DNS rebinding). Redirects are not followed, and no proxy of the environment is used.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractCookieJar

from infra.settings import Network

__all__ = ["DELIVERED", "GONE", "DeliveryResult", "HttpWebhookClient", "is_allowed_address"]

DELIVERED, GONE = "DELIVERED", "GONE"
REFUSED, TIMEOUT, UNREACHABLE, FORBIDDEN = "REFUSED", "TIMEOUT", "UNREACHABLE", "FORBIDDEN_ADDRESS"
"""The outcomes of a request: 2xx, 410, another status, no response in time, none at all, an address
that is not allowed."""

MAX_READ = 16 * 1024
"""Bytes of a response that are read, so that its connection can be used again; the rest is dropped."""
DRAIN_TIMEOUT = 0.5
"""Seconds in which these bytes must arrive."""
KEEPALIVE = 4.0
"""Seconds for which an idle connection is kept: servers close theirs after five or more."""
MAX_RETRY_AFTER = 86_400
"""The longest Retry-After that is granted, in seconds."""
NOT_ALLOWED = "this address is not allowed"

_NAT64 = IPv6Network("64:ff9b::/96")

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """The result of a request; ``retry_after`` is the seconds that the consumer asks for."""

    outcome: str
    status: int | None
    milliseconds: int
    retry_after: float | None = None


def is_allowed_address(address: Address, networks: Sequence[Network]) -> bool:
    """Return True if an address is public, or in one of the networks that are allowed anyway.

    An IPv6 address that is translated to an IPv4 address counts as that address.
    """
    if isinstance(address, IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inside = IPv4Address(address.packed[-4:])
        if inside is not None:
            return is_allowed_address(inside, networks)
        if address.teredo is not None:
            return False
        address = IPv6Address(address.packed)  # without the zone of a link
    if any(address in network for network in networks if network.version == address.version):
        return True
    odd = address.is_multicast or address.is_reserved
    return address.is_global and not odd and not getattr(address, "is_site_local", False)


class HttpWebhookClient:
    """Sends requests and reuses connections; an asynchronous context manager."""

    def __init__(
        self,
        networks: Sequence[Network] = (),
        *,
        timeout: float = 10.0,
        resolver: aiohttp.abc.AbstractResolver | None = None,
    ) -> None:
        """Configure the client.

        :param networks: networks that may be reached although they are not public.
        :param timeout: seconds for a whole request.
        """
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._networks = networks
        self._resolver = resolver
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=0,
            use_dns_cache=False,
            keepalive_timeout=KEEPALIVE,
            socket_factory=_checked_socket_factory(self._networks),
            resolver=self._resolver,
        )
        jar: AbstractCookieJar = aiohttp.DummyCookieJar()
        self._http = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=jar,
            timeout=self._timeout,
            auto_decompress=False,
            trust_env=False,
            headers={"User-Agent": "crmledger"},
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> DeliveryResult:
        """Send a request. Whatever the consumer or the network does is a result, never an exception."""
        started = time.monotonic()

        def result(
            outcome: str, status: int | None = None, wait: float | None = None
        ) -> DeliveryResult:
            return DeliveryResult(outcome, status, round((time.monotonic() - started) * 1000), wait)

        try:
            try:
                status, wait = await self._post(url, headers, body)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                # The consumer may close an idle connection just when it is used again.
                status, wait = await self._post(url, headers, body)
        except TimeoutError:
            return result(TIMEOUT)
        except aiohttp.ClientConnectorError as error:
            return result(FORBIDDEN if _is_forbidden(error.os_error) else UNREACHABLE)
        except (aiohttp.ClientError, OSError, ValueError):
            return result(UNREACHABLE)
        if 200 <= status < 300:
            return result(DELIVERED, status)
        return result(GONE if status == 410 else REFUSED, status, wait)

    async def _post(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, float | None]:
        assert self._http is not None
        async with self._http.post(
            url, data=body, headers=headers, allow_redirects=False
        ) as response:
            # The status decides; a failure while reading the body changes nothing.
            with suppress(TimeoutError, aiohttp.ClientError, OSError, ValueError):
                await _drain(response.content)
            return response.status, _retry_after_seconds(response.headers.get("Retry-After"))


async def _drain(content: aiohttp.StreamReader) -> None:
    read = 0
    async with asyncio.timeout(DRAIN_TIMEOUT):
        while read < MAX_READ and not content.at_eof():
            read += len(await content.read(MAX_READ))


def _checked_socket_factory(
    networks: Sequence[Network],
) -> Callable[[aiohttp.AddrInfoType], socket.socket]:
    def create_socket(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if not is_allowed_address(ip_address(str(address[0])), networks):
            raise PermissionError(errno.EPERM, NOT_ALLOWED)
        return socket.socket(family, kind, protocol)

    return create_socket


def _is_forbidden(error: OSError) -> bool:
    return NOT_ALLOWED in str(error)


def _retry_after_seconds(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which may also hold a date; None if unreadable."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), MAX_RETRY_AFTER))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    seconds = (moment - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
