"""Any text reaches a gateway as it is, in any format, and nothing of it is taken for syntax."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import parse_qs
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.delivery.sms import SmsGateway
from tests.fixtures.answers import answer_server
from tests.sending.test_sms_answers import CONFIG, LIMITS, MESSAGE

XML = '<m to="{{to}}"><t>{{text}}</t></m>'
TEXTS = st.text(st.characters(exclude_categories=[]), max_size=30) | st.text(
    st.sampled_from(
        "\x00\x0b\x1b\x7f\x85\r\n\t\u2028\ufdd0\ufffe\uffff\ud800\udfff\U0010ffff&<>]\"'{}\\%+=a é🎉"
    ),
    max_size=30,
)


def as_xml(text: str) -> str:
    """Return a text without what XML has no place for, written down independently of the gateway."""
    return "".join(
        c
        for c in without_surrogates(text)
        if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff")
    )


def without_surrogates(text: str) -> str:
    return "".join("\ufffd" if 0xD800 <= ord(c) < 0xE000 else c for c in text)


def body(body_format: str, template: str, text: str) -> str:
    gateway = SmsGateway.__new__(SmsGateway)
    gateway._config = replace(CONFIG, body_format=body_format, body=template)
    return gateway._body(replace(MESSAGE, content=text)).decode()


@given(TEXTS)
def test_xml(text: str) -> None:
    found = ET.fromstring(body("XML", XML, text))
    assert (found.get("to"), found.findtext("t")) == (MESSAGE.to, as_xml(text))


@given(TEXTS)
def test_xml_attributes(text: str) -> None:
    """Parsers make a blank of a tab and of a line feed in an attribute (XML 1.0, section 3.3.3)."""
    found = ET.fromstring(body("XML", '<m text="{{text}}"/>', text)).get("text")
    assert found == as_xml(text).translate({9: " ", 10: " "})


@given(TEXTS)
def test_json(text: str) -> None:
    assert json.loads(body("JSON", CONFIG.body, text)) == {
        "to": MESSAGE.to,
        "text": without_surrogates(text),
    }


@given(TEXTS)
def test_forms(text: str) -> None:
    found = parse_qs(
        body("FORM", "to={{to}}&text={{text}}", text), keep_blank_values=True, strict_parsing=True
    )
    assert found == {"to": [MESSAGE.to], "text": [without_surrogates(text)]}


@given(TEXTS)
def test_plain_text(text: str) -> None:
    assert body("TEXT", "{{to}} {{text}}", text) == f"{MESSAGE.to} {without_surrogates(text)}"


@pytest.mark.parametrize(
    "text",
    [
        "a\r\nX-Injected: yes",
        "a\nX-Injected: yes",
        "a\rX-Injected: yes",
        "a\r\n\r\nPOST / HTTP/1.1",
        "\x00\x0b\x0c\x85\u2028\ud800",
        "é🎉",
    ],
)
async def test_headers_cannot_be_injected(text: str) -> None:
    config = replace(CONFIG, headers={"X-Text": "<{{text}}>", "X-To": "{{to}}"})
    async with answer_server(iter([])) as server:
        gateway = SmsGateway(replace(config, url=server.url), LIMITS)
        result = await gateway.send(replace(MESSAGE, content=text, to=text))
        await gateway.close()
        ((head, _, _),) = server.given
    assert result.name == "sent"
    lines = head.decode().split("\r\n")
    assert not any(line.lower().startswith("x-injected") for line in lines)
    assert not any(c in line for line in lines for c in "\r\n\x00\x0b\x85\u2028")
    assert sum(line.startswith("X-Text: <") and line.endswith(">") for line in lines) == 1
