"""E-mail addresses as SMTP takes them (RFC 5321, section 4.1.2; RFC 6531).

Addresses are read by the grammar here and by nothing that also understands names, comments or encoded
words: what is not an address is refused, never guessed at.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

import idna

__all__ = ["domain_of", "parse_address", "split_addresses"]

ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+"
DOT_ATOM = re.compile(rf"{ATOM}(?:\.{ATOM})*")
"""A local part that needs no quotes; characters of all scripts belong to it (RFC 6532, section 3.2)."""
LOOSE_DOTS = re.compile(rf"(?:{ATOM}|\.)+")
"""As `DOT_ATOM` with dots anywhere, which some providers have given out; it goes out in quotes."""
QUOTED = re.compile(r'"(?:[ !#-\[\]-~]|\\[ -~])+"')
HOST = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")
MAX_DOMAIN = 253


def split_addresses(text: str) -> list[str]:
    """Return the parts of ``text`` between ``,`` and ``;`` (communications.md, section 5.1), each once."""
    parts = (part.strip() for part in re.split("[,;]", text))
    return list(dict.fromkeys(part for part in parts if part))


def parse_address(text: str) -> str:
    """Return an address with its domain in ASCII (IDNA 2008); the local part may not be ASCII.

    :raises ValueError: if it is no address, or looks like an encoded word, which readers decode
        even where RFC 2047, section 5 forbids it.
    """
    local, _, domain = text.strip().rpartition("@")
    if "=?" in local or not local.isprintable():
        raise ValueError("the local part looks like something else")
    if not (DOT_ATOM.fullmatch(local) or QUOTED.fullmatch(local)):
        if not LOOSE_DOTS.fullmatch(local):
            raise ValueError("no local part")
        local = f'"{local}"'
    return f"{local}@{_domain(domain)}"


def domain_of(address: str) -> str:
    """Return the domain of a parsed address."""
    return address.rpartition("@")[2]


def _domain(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        return _literal(text[1:-1])
    domain = text if text.isascii() else idna.encode(text, uts46=True).decode()
    if not HOST.fullmatch(domain) or len(domain) > MAX_DOMAIN:
        raise ValueError("no domain")
    return domain


def _literal(text: str) -> str:
    """Return the address of a host that stands for a domain (RFC 5321, section 4.1.3)."""
    kind, colon, ipv6 = text.partition(":")
    if colon and kind.lower() == "ipv6":
        return f"[IPv6:{IPv6Address(ipv6)}]"
    return f"[{IPv4Address(text)}]"
