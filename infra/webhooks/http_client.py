"""One request to a consumer: to an address that may be reached, in bounded time, reading little.

Where a name leads is looked at when the socket is made, for the address that it is made for: what a
name server answers a second later cannot matter. Redirects are not followed, and no proxy of the
environment is used.
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
"""What can come of a request: 2xx, 410, another status, no answer in time, none at all, an address
that must not be reached."""

READ = 16 * 1024
"""Bytes of an answer that are read, so that its connection can be used again; a longer one is cut."""
DRAINING = 0.5
"""Seconds in which that much must come."""
IDLE = 4.0
"""Seconds that a connection is kept for the next request: servers drop theirs after five or more."""
LONGEST_WAIT = 86_400
"""Seconds that a consumer can ask for with Retry-After."""
NOT_ALLOWED = "this address is not allowed"

_NAT64 = IPv6Network("64:ff9b::/96")

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What came of a request; ``retry_after`` are the seconds that the consumer asks for."""

    outcome: str
    status: int | None
    milliseconds: int
    retry_after: float | None = None


def is_allowed_address(address: Address, networks: Sequence[Network]) -> bool:
    """Whether an address is public, or in one of the networks that are allowed all the same.

    What an IPv6 address leads to by translation is no better than the address inside.
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
    """Sends requests and keeps connections; closed at the end of its context."""

    def __init__(
        self,
        networks: Sequence[Network] = (),
        *,
        timeout: float = 10.0,
        resolver: aiohttp.abc.AbstractResolver | None = None,
    ) -> None:
        """:param networks: what may be reached though it is not public.
        :param timeout: seconds for a whole request.
        """
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._allowed = networks
        self._resolver = resolver
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=0,
            use_dns_cache=False,
            keepalive_timeout=IDLE,
            socket_factory=_checking(self._allowed),
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
        """What a consumer answers; never raises for what a consumer or the network does."""
        started = time.monotonic()

        def answer(
            outcome: str, status: int | None = None, wait: float | None = None
        ) -> DeliveryResult:
            return DeliveryResult(outcome, status, round((time.monotonic() - started) * 1000), wait)

        try:
            try:
                status, wait = await self._posted(url, headers, body)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                # A connection that was kept may be dropped at the very moment of its next use.
                status, wait = await self._posted(url, headers, body)
        except TimeoutError:
            return answer(TIMEOUT)
        except aiohttp.ClientConnectorError as error:
            return answer(FORBIDDEN if _is_forbidden(error.os_error) else UNREACHABLE)
        except (aiohttp.ClientError, OSError, ValueError):
            return answer(UNREACHABLE)
        if 200 <= status < 300:
            return answer(DELIVERED, status)
        return answer(GONE if status == 410 else REFUSED, status, wait)

    async def _posted(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, float | None]:
        assert self._http is not None
        async with self._http.post(
            url, data=body, headers=headers, allow_redirects=False
        ) as response:
            # The status says it all: whatever becomes of the rest changes nothing.
            with suppress(TimeoutError, aiohttp.ClientError, OSError, ValueError):
                await _drained(response.content)
            return response.status, _seconds(response.headers.get("Retry-After"))


async def _drained(content: aiohttp.StreamReader) -> None:
    read = 0
    async with asyncio.timeout(DRAINING):
        while read < READ and not content.at_eof():
            read += len(await content.read(READ))


def _checking(
    networks: Sequence[Network],
) -> Callable[[aiohttp.AddrInfoType], socket.socket]:
    def made(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, where = info
        if not is_allowed_address(ip_address(str(where[0])), networks):
            raise PermissionError(errno.EPERM, NOT_ALLOWED)
        return socket.socket(family, kind, protocol)

    return made


def _is_forbidden(error: OSError) -> bool:
    return NOT_ALLOWED in str(error)


def _seconds(header: str | None) -> float | None:
    """The wait of a Retry-After header: seconds, or the time until a date."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), LONGEST_WAIT))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    seconds = (moment - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_WAIT)
