"""Where a request comes from, though a proxy may stand between: its address, and whether it came over TLS.

Only the networks of `trusted_proxies` are believed: whoever else sends `X-Forwarded-For`, `Forwarded` (RFC 7239)
or `X-Forwarded-Proto` is itself the caller. Each proxy adds to the right the address that it was called from, so
the caller is the rightmost address that no trusted proxy has; what stands left of it is the caller's own talk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

import structlog
from aiohttp import web

from infra.settings import Network

__all__ = ["Caller", "TrustedProxies"]

Address = IPv4Address | IPv6Address

_PORT = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
_NODE = re.compile(rf"(?:([0-9.]+)|\[([0-9A-Fa-f]*:[0-9A-Fa-f:.]+)\]){_PORT}")
"""A node of RFC 7239 that is an address: IPv4 or bracketed IPv6, perhaps with a port."""

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*"'
_PAIR = re.compile(rf"({_NAME})=({_NAME}|{_QUOTED})")
_BLANKS = " \t"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request: its network address, empty if the transport has none, and if it came over TLS."""

    address: str = ""
    is_secure: bool = False


@dataclass(frozen=True, slots=True)
class _Hop:
    """An entry that a proxy has added to a request; ``address`` is None if it names none."""

    address: Address | None
    protocol: str = ""


class TrustedProxies:
    """Tells the caller of a request, given the networks of the proxies that may say so."""

    def __init__(self, networks: Sequence[Network] = ()) -> None:
        self._networks = networks

    def trusts(self, address: str) -> bool:
        """Return True if an address is that of a trusted proxy."""
        parsed = _parse_address(address.partition("%")[0])
        return parsed is not None and self._trusts(parsed)

    def caller(self, request: web.BaseRequest) -> Caller:
        """Return the caller. Where the headers do not say, it is the proxy that is nearest to it."""
        peer = _parse_address((request.remote or "").partition("%")[0])
        if peer is None or not self._trusts(peer):
            return Caller(str(peer or request.remote or ""), request.secure)
        headers = request.headers
        addresses = self._last_hop(peer, _addresses(headers.getall("X-Forwarded-For", [])))
        forwarded = self._last_hop(peer, _elements(headers.getall("Forwarded", [])))
        address = addresses.address
        if "Forwarded" in headers:
            if "X-Forwarded-For" in headers and address != forwarded.address:
                # A proxy writes one of them, and passes on what a caller has put into the other.
                log.warning("proxy.contradiction")
                forwarded = _Hop(peer)
            address = forwarded.address
        protocol = forwarded.protocol or _last_protocol(headers.getall("X-Forwarded-Proto", []))
        return Caller(str(address), request.secure or protocol == "https")

    def _last_hop(self, peer: Address, hops: Iterable[_Hop]) -> _Hop:
        """Return the first of the hops, from the right, that is no trusted proxy; ``peer`` precedes them."""
        last = _Hop(peer)
        for hop in hops:
            if hop.address is None:
                break
            last = hop
            if not self._trusts(hop.address):
                break
        return last

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _parse_address(text: str) -> Address | None:
    """Return the address, an IPv4 one if it is mapped into IPv6; None if it is none, or of one link only."""
    if "%" in text:
        return None
    with suppress(ValueError):
        address = ip_address(text)
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return mapped or address
    return None


def _parse_node(text: str) -> Address | None:
    """Return the address of a node, which may have a port; None for `unknown`, names and anything else."""
    match = _NODE.fullmatch(text)
    return _parse_address(match[1] or match[2]) if match else None


def _addresses(lines: Sequence[str]) -> Iterator[_Hop]:
    """Yield the hops of `X-Forwarded-For`, the nearest first. Some proxies write bare IPv6 addresses, or quotes."""
    for line in reversed(lines):
        for part in reversed(line.split(",")):
            node = part.strip(_BLANKS)
            if len(node) > 1 and node[0] == node[-1] == '"':
                node = node[1:-1]
            yield _Hop(_parse_address(node) or _parse_node(node))


def _elements(lines: Sequence[str]) -> Iterator[_Hop]:
    """Yield the hops of `Forwarded`, the nearest first. A malformed line is one that names nobody."""
    for line in reversed(lines):
        yield from reversed(_parse_line(line) or [_Hop(None)])


def _parse_line(line: str) -> list[_Hop] | None:
    """Return the elements of a line of `Forwarded` (RFC 7239, section 4); None if it is malformed."""
    hops: list[_Hop] = []
    pairs: dict[str, str] = {}
    rest = line.strip(_BLANKS)
    while True:
        match = _PAIR.match(rest)
        if match is None or match[1].lower() in pairs:
            return None
        pairs[match[1].lower()] = _unquoted(match[2])
        rest = rest[match.end() :].lstrip(_BLANKS)
        if not rest or rest[0] == ",":
            hops.append(_Hop(_parse_node(pairs.get("for", "")), pairs.get("proto", "").lower()))
            pairs = {}
        elif rest[0] != ";":
            return None
        if not rest:
            return hops
        rest = rest[1:].lstrip(_BLANKS)


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _last_protocol(lines: Sequence[str]) -> str:
    """Return the protocol that the nearest proxy names; empty if it names none."""
    return lines[-1].rpartition(",")[2].strip(_BLANKS).lower() if lines else ""
