"""The caller's address behind proxies: whoever is not trusted says nothing about it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from infra.http.client_address import Caller, TrustedProxies
from services.pipeline.request import Request

PROXY, OUTER, CLIENT, SPOOFED = "10.0.0.1", "10.0.0.2", "198.51.100.7", "203.0.113.9"
PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
FOR, FORWARDED, PROTO = "X-Forwarded-For", "Forwarded", "X-Forwarded-Proto"

PIECES = [*'10.,;:="[]\\_ \t', "for=", "proto=", OUTER, "::1", "é"]

Headers = Sequence[tuple[str, str]]


def caller(*headers: tuple[str, str], peer: str = PROXY) -> Caller:
    request = make_mocked_request("GET", "/", headers=CIMultiDict(headers))
    return PROXIES.caller(request.clone(remote=peer))


@pytest.mark.parametrize("header", [FOR, FORWARDED, PROTO])
def test_nobody_else_is_believed(header: str) -> None:
    for value in (SPOOFED, f"for={SPOOFED};proto=https", "https"):
        assert caller((header, value), peer=CLIENT) == Caller(CLIENT)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (CLIENT, CLIENT),
        (f"{SPOOFED}, {CLIENT}", CLIENT),
        (f"{SPOOFED},{CLIENT} ,\t{OUTER}", CLIENT),
        (f"{CLIENT}, {SPOOFED}, {OUTER}", SPOOFED),
        (f"<script>, {CLIENT}", CLIENT),
        (f"{CLIENT}:4711", CLIENT),
        (f'"{CLIENT}"', CLIENT),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        (f"::ffff:{CLIENT}", CLIENT),
        (f"[::ffff:{CLIENT}]:1", CLIENT),
        (OUTER, OUTER),
        # What is no address is nobody's: then it is the proxy that reported it.
        ("", PROXY),
        ("unknown", PROXY),
        (f"unknown, {OUTER}", OUTER),
        (f"{CLIENT},", PROXY),
        ("198.51.100.007", PROXY),
        ("198.51.100", PROXY),
        ("3325256711", PROXY),
        (f"{CLIENT}:", PROXY),
        (f"{CLIENT}:123456", PROXY),
        (f"[{CLIENT}]", PROXY),
        ("[2001:db8::1", PROXY),
        ("fe80::1%eth0", PROXY),
        ('"', PROXY),
        ("١٩٨.51.100.7", PROXY),
    ],
)
def test_the_rightmost_address_that_is_no_proxy(value: str, address: str) -> None:
    assert caller((FOR, value)).address == address


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (f"for={CLIENT}", CLIENT),
        (f"For={CLIENT} ; Proto=https;by={PROXY}", CLIENT),
        (f"for={SPOOFED}, for={CLIENT}, for={OUTER}", CLIENT),
        ('for="[2001:db8::1]:4711"', "2001:db8::1"),
        ('for="198.51.100.7:_port"', CLIENT),
        ('for="198.51\\.100.7"', CLIENT),
        (f'for={CLIENT};host="a,b;c\\""', CLIENT),
        (f"for=_hidden, for={OUTER}", OUTER),
        ("for=unknown", PROXY),
        (f"by={CLIENT}", PROXY),
        # A line that is malformed somewhere says nothing at all.
        ("for=2001:db8::1", PROXY),
        (f"for={SPOOFED}, for={CLIENT},", PROXY),
        (f"for={CLIENT};for={SPOOFED}", PROXY),
        (f"for = {CLIENT}", PROXY),
        (f'for="{CLIENT}', PROXY),
        (f'for=";for={CLIENT}', PROXY),
        (f'for="{SPOOFED}"x, for={CLIENT}', PROXY),
        (CLIENT, PROXY),
        ("", PROXY),
    ],
)
def test_the_same_by_the_standard_header(value: str, address: str) -> None:
    assert caller((FORWARDED, value)).address == address


def test_lines_are_read_from_the_last_one() -> None:
    assert caller((FOR, SPOOFED), (FOR, f"{CLIENT}, {OUTER}")).address == CLIENT
    assert caller((FOR, CLIENT), (FOR, OUTER)).address == CLIENT
    assert caller((FORWARDED, 'for="'), (FORWARDED, f"for={CLIENT}")).address == CLIENT


def test_a_header_that_the_proxy_has_only_passed_on_counts_for_nothing() -> None:
    assert caller((FOR, CLIENT), (FORWARDED, f"for={CLIENT}")).address == CLIENT
    assert caller((FOR, CLIENT), (FORWARDED, f"for={SPOOFED}")).address == PROXY
    assert caller((FOR, SPOOFED), (FORWARDED, f"for={CLIENT};proto=https")).address == PROXY


@pytest.mark.parametrize(
    ("headers", "secure"),
    [
        ([(PROTO, "https")], True),
        ([(PROTO, " HTTPS ")], True),
        ([(PROTO, "http, https")], True),
        ([(PROTO, "https, http")], False),
        ([(PROTO, "https"), (PROTO, "http")], False),
        ([(PROTO, "httpss")], False),
        ([(FORWARDED, f"for={CLIENT};proto=https")], True),
        ([(FORWARDED, f"for={CLIENT};proto=http")], False),
        ([(FORWARDED, f"for={CLIENT};proto=https, for={OUTER};proto=http")], True),
        ([(FORWARDED, f"for={SPOOFED};proto=https, for={CLIENT};proto=http")], False),
        ([], False),
    ],
)
def test_whether_it_came_over_tls(headers: Headers, secure: bool) -> None:
    assert caller(*headers).is_secure is secure


def test_a_mapped_address_of_a_proxy_is_the_proxy() -> None:
    assert caller((FOR, CLIENT), peer=f"::ffff:{PROXY}").address == CLIENT
    assert caller((FOR, CLIENT), peer="fd00::1").address == CLIENT
    assert caller(peer=f"::ffff:{CLIENT}").address == CLIENT


@given(
    lines=st.lists(
        st.tuples(
            st.sampled_from([FOR, FORWARDED, PROTO]),
            st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
        ),
        max_size=4,
    )
)
def test_whatever_callers_write(lines: Headers) -> None:
    """Any text leads to an address or to the proxy, and what a proxy adds to the right wins."""
    assert ip_address(caller(*lines).address)
    added = [*lines, (FOR, CLIENT)]
    if not any(name == FORWARDED for name, _ in lines):
        assert caller(*added).address == CLIENT
    else:
        assert caller(*added).address in (CLIENT, PROXY)
    told = [line for line in lines if line[0] != FOR] + [(FORWARDED, f"for={CLIENT}")]
    assert caller(*told).address == CLIENT


def test_limits_count_a_customer_of_ipv6_once() -> None:
    def source(address: str) -> str:
        return Request({}, client=address).source

    assert source("2001:db8:0:1:a::1") == source("2001:db8:0:1:ffff::2") == "2001:db8:0:1::/64"
    assert source("2001:db8:0:2::1") != source("2001:db8:0:1::1")
    assert source(CLIENT) == CLIENT
    assert source("") == ""
