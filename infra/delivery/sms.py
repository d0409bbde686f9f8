"""SMS gateways: messages over HTTP, by requests that the organisation's settings describe."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote_plus
from xml.sax.saxutils import escape as xml_escaped

import aiohttp
from multidict import CIMultiDict

from domain.linear_patterns import LinearPattern
from domain.reference.delivery_servers import render_template
from infra.http_exchange import Answer, Failure, HttpExchange
from services.communications.delivery import Message, SendPolicy, SendResult

__all__ = ["GatewayConfig", "SmsGateway"]

CREDENTIALS = frozenset({401, 403, 407})
TRANSIENT = frozenset({408, 425, 429, *range(500, 600)})
"""Statuses after which the same request may succeed later."""
BROKE_OFF = "The gateway's answer broke off, so the message may have been sent. "

FAILURES: Mapping[Failure, SendResult] = {
    "UNREACHABLE": SendResult("unavailable", "HTTP UNREACHABLE"),
    "TLS": SendResult("unavailable", "TLS"),
    "TIMEOUT": SendResult("deferred", "HTTP TIMEOUT", "The gateway took too long"),
    "DISCONNECTED": SendResult("deferred", "HTTP DISCONNECTED", "The gateway hung up"),
}
"""The results of requests without an answer."""

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""The characters that no XML document may contain (XML 1.0, section 2.2)."""
SURROGATES = re.compile("[\ud800-\udfff]")


def _xml_escaped(text: str) -> str:
    """Return a text as it stands in XML; a carriage return, which parsers would drop, as a reference."""
    entities = {'"': "&quot;", "'": "&apos;", "\r": "&#13;"}
    return xml_escaped(NOT_XML.sub("", text), entities)


ESCAPES: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "JSON": ("application/json", lambda text: json.dumps(text)[1:-1]),
    "FORM": ("application/x-www-form-urlencoded", quote_plus),
    "XML": ("application/xml", _xml_escaped),
    "TEXT": ("text/plain; charset=utf-8", str),
}
"""By the format of a body: its media type, and the function that escapes a value."""


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """The request to a gateway, and the responses that mean success."""

    url: str
    method: str
    headers: Mapping[str, str]
    body_format: str
    body: str
    idempotency_header: str
    expected_statuses: frozenset[int]
    answer_text: str | None
    answer_pattern: str | None
    secret: str | None


class SmsGateway:
    """One organisation's SMS gateway."""

    def __init__(self, config: GatewayConfig, limits: SendPolicy) -> None:
        self.policy = limits
        self._config = config
        self._pattern = LinearPattern(config.answer_pattern) if config.answer_pattern else None
        encrypted = config.url.lower().startswith("https:")
        context = ssl.create_default_context() if encrypted else True
        self._http = HttpExchange(
            aiohttp.ClientTimeout(
                total=limits.timeout_seconds, sock_connect=limits.timeout_seconds / 2
            ),
            limit=limits.connections,
            ssl=context,
        )

    async def send(self, message: Message) -> SendResult:
        """Send one message."""
        config = self._config
        answer = await self._http.send(
            config.method,
            config.url,
            self._headers(message),
            self._body(message),
            lambda status: not self._is_accepted_by_status(status),
        )
        return FAILURES[answer.failure] if answer.failure else self._result_of(answer)

    async def close_idle(self) -> None:
        """Do nothing: the client closes idle connections by itself."""

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    def _values(self, message: Message) -> dict[str, str]:
        values = {
            "to": message.to,
            "from": message.sender or "",
            "text": message.content,
            "key": message.idempotency_key,
            "secret": self._config.secret or "",
        }
        # No encoding has a half of a pair.
        return {name: SURROGATES.sub("\ufffd", value) for name, value in values.items()}

    def _body(self, message: Message) -> bytes:
        escape = ESCAPES[self._config.body_format][1]
        return render_template(self._config.body, self._values(message), escape).encode()

    def _headers(self, message: Message) -> CIMultiDict[str]:
        config = self._config
        # Line breaks would begin another header.
        values = {name: _on_one_line(value) for name, value in self._values(message).items()}
        headers = CIMultiDict({"Content-Type": ESCAPES[config.body_format][0]})
        for name, template in config.headers.items():
            headers[name] = render_template(template, values)
        headers[config.idempotency_header] = message.idempotency_key
        return headers

    def _is_accepted_by_status(self, status: int) -> bool:
        """Return True if the status alone means success, so that the body need not be read."""
        reads_body = self._config.answer_text is not None or self._pattern is not None
        return status in self._config.expected_statuses and not reads_body

    def _result_of(self, answer: Answer) -> SendResult:
        """Return the result of an answer with a status.

        A message that the gateway has taken is never sent again, even if its answer cannot be read.
        """
        status, text = answer.status or 0, self._redacted(answer.body.decode(errors="replace"))
        if status in self._config.expected_statuses:
            if self._is_accepted_by_status(status) or self._is_accepted_by_text(text):
                return SendResult("sent")
            return SendResult("rejected", "ANSWER", f"{BROKE_OFF if answer.is_cut else ''}{text}")
        code = f"HTTP {status}"
        if status in CREDENTIALS:
            return SendResult("unavailable", code, text)
        if status in TRANSIENT:
            return SendResult("deferred", code, text, answer.retry_after or 0.0)
        return SendResult("rejected", code, text)

    def _is_accepted_by_text(self, text: str) -> bool:
        expected, pattern = self._config.answer_text, self._pattern
        return (expected is None or expected in text) and (
            pattern is None or pattern.occurs_in(text)
        )

    def _redacted(self, text: str) -> str:
        """Return what the gateway said, without the secret, which it may have repeated."""
        secret = self._config.secret
        return text.replace(secret, "***") if secret else text


def _on_one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
