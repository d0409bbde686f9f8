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

from domain.reference.delivery_servers import render_template
from services.communications.delivery import Message, SendPolicy, SendResult

__all__ = ["GatewayConfig", "SmsGateway"]

MAX_RESPONSE = 16 * 1024
"""Maximum number of bytes that are read of a response."""
CREDENTIALS = frozenset({401, 403, 407})
TRANSIENT = frozenset({408, 425, 429, *range(500, 600)})
"""Statuses after which the same request may succeed later."""

ESCAPES: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "JSON": ("application/json", lambda text: json.dumps(text)[1:-1]),
    "FORM": ("application/x-www-form-urlencoded", quote_plus),
    "XML": ("application/xml", lambda text: xml_escaped(text, {'"': "&quot;", "'": "&apos;"})),
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
        self._pattern = re.compile(config.answer_pattern) if config.answer_pattern else None
        encrypted = config.url.lower().startswith("https:")
        context = ssl.create_default_context() if encrypted else True
        # No proxy, no cookie and no redirect: the secret goes to the configured URL only.
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(
                total=limits.timeout_seconds, sock_connect=limits.timeout_seconds / 2
            ),
            connector=aiohttp.TCPConnector(limit=limits.connections, ssl=context),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def send(self, message: Message) -> SendResult:
        """Send one message."""
        config = self._config
        try:
            async with self._http.request(
                config.method,
                config.url,
                data=self._body(message),
                headers=self._headers(message),
                allow_redirects=False,
            ) as response:
                if self._is_accepted_by_status(response.status):
                    return SendResult("sent")
                return self._result_of(
                    response, (await _read_bounded(response)).decode(errors="replace")
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            code = "TLS" if isinstance(error, aiohttp.ClientSSLError) else "HTTP UNREACHABLE"
            return SendResult("unavailable", code)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            timed_out = isinstance(error, TimeoutError)
            code, reason = (
                ("TIMEOUT", "took too long") if timed_out else ("DISCONNECTED", "hung up")
            )
            return SendResult("deferred", f"HTTP {code}", f"The gateway {reason}")

    async def close_idle(self) -> None:
        """Do nothing: the client closes idle connections by itself."""

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    def _values(self, message: Message) -> dict[str, str]:
        return {
            "to": message.to,
            "from": message.sender or "",
            "text": message.content,
            "key": message.idempotency_key,
            "secret": self._config.secret or "",
        }

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

    def _result_of(self, response: aiohttp.ClientResponse, text: str) -> SendResult:
        code, status = f"HTTP {response.status}", response.status
        if status in self._config.expected_statuses:
            expected_text = self._config.answer_text
            is_accepted = (expected_text is None or expected_text in text) and (
                self._pattern is None or self._pattern.search(text) is not None
            )
            return (
                SendResult("sent")
                if is_accepted
                else SendResult("rejected", "ANSWER", self._redacted(text))
            )
        if status in CREDENTIALS:
            return SendResult("unavailable", code, self._redacted(text))
        if status in TRANSIENT:
            return SendResult("deferred", code, self._redacted(text), _retry_after(response))
        return SendResult("rejected", code, self._redacted(text))

    def _redacted(self, text: str) -> str:
        """Return what the gateway said, without the secret, which it may have repeated."""
        secret = self._config.secret
        return text.replace(secret, "***") if secret else text


def _on_one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _retry_after(response: aiohttp.ClientResponse) -> float:
    """Return the seconds of a Retry-After header; 0 if it has none or names a date."""
    header = response.headers.get("Retry-After", "").strip()
    return float(header) if header.isascii() and header.isdigit() and len(header) < 8 else 0.0


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    """Return the first `MAX_RESPONSE` bytes of the body; the rest is not read."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size >= MAX_RESPONSE:
            response.close()
            break
    return b"".join(parts)[:MAX_RESPONSE]
