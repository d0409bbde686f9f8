"""E-mail addresses as servers take them: RFC 5321, RFC 6531, IDNA 2008."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.mail_addresses import parse_address, split_addresses
from tests.fixtures.strategies import TEXTS


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ada@example.org", "ada@example.org"),
        (" ada@example.org ", "ada@example.org"),
        ("u@faß.de", "u@xn--fa-hia.de"),
        ("u@βόλος.com", "u@xn--nxasmm1c.com"),
        ("u@ΒΌΛΟΣ.com", "u@xn--nxasmq6b.com"),
        ("u@straße.example", "u@xn--strae-oqa.example"),
        ("u@BÜCHER.example", "u@xn--bcher-kva.example"),
        ("u@نامه‌ای.com", "u@xn--mgba3gch31f060k.com"),
        ("u@例え。テスト", "u@xn--r8jz45g.xn--zckzah"),
        ("o'neil+tag/x=y@a_b.example", "o'neil+tag/x=y@a_b.example"),
        ("用户@例え.jp", "用户@xn--r8jz45g.jp"),
        ("a..b.@docomo.example", '"a..b."@docomo.example'),
        ('"a \\" b"@x.org', '"a \\" b"@x.org'),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("a@[IPv6:2001:DB8::1]", "a@[IPv6:2001:db8::1]"),
        ("a@b", "a@b"),
    ],
)
def test_addresses(text: str, address: str) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "@b", "a@", "a b@c", "a@b c", "Ada <a@b>", "a@b>", "<a@b", "a,b@c", "a@b@c"),
        *("test@[1.2.3.4", "a@[1.2.3]", "a@[IPv6:x]", "a@[]", "a@b..c", "a@.b", "a@-ä.de", "a@☃.net"),
        *("a\r\nb@c", "a@b\r\nc", "a\0@b", "a@b\0", "(x)a@b", '"a@b', '"a\r\n"@b', "a\\@b", "a\u2028@b"),
        *("=?utf-8?q?a?=@b.org", f"a@{'b' * 64}.org", f"a@{'ä' * 64}.org", f"a@{'b.' * 130}c", "\ud800@b"),
    ],
)  # fmt: skip
def test_texts_that_are_no_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_address(text)


@given(TEXTS, st.sampled_from(["", "@b.org"]))
def test_an_address_fits_between_angle_brackets(text: str, domain: str) -> None:
    try:
        address = parse_address(text + domain)
    except ValueError:
        return
    assert address.isprintable()
    assert not re.search(r"[<>\s]", re.sub(r'^"(?:[^"\\]|\\.)*"', "", address))
    assert address.rpartition("@")[2].isascii()
    assert parse_address(address) == address


def test_several_addresses() -> None:
    assert split_addresses("a@b, c@d;e@f;, a@b ") == ["a@b", "c@d", "e@f"]
    assert split_addresses(" ;,") == []
