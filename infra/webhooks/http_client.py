"""The HTTP client of webhooks: allowed addresses only, in bounded time, and no more read than the head.

The address is checked when the socket is created, so that a name server cannot answer with another
one afterwards (DNS rebinding).
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Self

import aiohttp

from infra.http_exchange import Answer, HttpExchange
from infra.settings import Network

__all__ = [
    "DELIVERED",
    "FAILED",
    "GONE",
    "DeliveryResult",
    "HttpWebhookClient",
    "is_allowed_address",
]

DELIVERED, GONE, FAILED = "DELIVERED", "GONE", "FAILED"
REFUSED, TIMEOUT, UNREACHABLE, FORBIDDEN = "REFUSED", "TIMEOUT", "UNREACHABLE", "FORBIDDEN_ADDRESS"
"""The outcomes of a request: 2xx, 410, an error of the service itself, another status, no response in
time, none at all, an address that is not allowed."""

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
    """Sends requests; an asynchronous context manager."""

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

    async def __aenter__(self) -> Self:
        self._http = HttpExchange(
            self._timeout,
            limit=0,
            use_dns_cache=False,
            socket_factory=_checked_socket_factory(self._networks),
            resolver=self._resolver,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> DeliveryResult:
        """Send a request. Whatever the consumer or the network does is a result, never an exception."""
        started = time.monotonic()
        answer = await self._http.send("POST", url, headers, body)
        milliseconds = round((time.monotonic() - started) * 1000)
        return DeliveryResult(_outcome(answer), answer.status, milliseconds, answer.retry_after)


def _outcome(answer: Answer) -> str:
    if answer.status is not None:
        gone_or_refused = GONE if answer.status == 410 else REFUSED
        return DELIVERED if 200 <= answer.status < 300 else gone_or_refused
    if NOT_ALLOWED in str(answer.cause):
        return FORBIDDEN
    return TIMEOUT if answer.failure == "TIMEOUT" else UNREACHABLE


def _checked_socket_factory(
    networks: Sequence[Network],
) -> Callable[[aiohttp.AddrInfoType], socket.socket]:
    def create_socket(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if not is_allowed_address(ip_address(str(address[0])), networks):
            raise PermissionError(errno.EPERM, NOT_ALLOWED)
        return socket.socket(family, kind, protocol)

    return create_socket
