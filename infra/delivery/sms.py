"""SMS gateways: messages over HTTP, as an organisation's settings describe the request."""

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

LONGEST_ANSWER = 16 * 1024
"""Bytes of an answer that are looked at."""
CREDENTIALS = frozenset({401, 403, 407})
TRANSIENT = frozenset({408, 425, 429, *range(500, 600)})
"""Statuses after which the same request may succeed later."""

ESCAPES: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "JSON": ("application/json", lambda text: json.dumps(text)[1:-1]),
    "FORM": ("application/x-www-form-urlencoded", quote_plus),
    "XML": ("application/xml", lambda text: xml_escaped(text, {'"': "&quot;", "'": "&apos;"})),
    "TEXT": ("text/plain; charset=utf-8", str),
}
"""By the format of a body: its media type, and how a value is put into it."""


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """What a gateway is asked, as it is set, and which answers say yes."""

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

    def __init__(self, request: GatewayConfig, limits: SendPolicy) -> None:
        self.policy = limits
        self._request = request
        self._pattern = re.compile(request.answer_pattern) if request.answer_pattern else None
        encrypted = request.url.lower().startswith("https:")
        context = ssl.create_default_context() if encrypted else True
        # No proxy, no cookie and no redirect: a secret goes where it was meant to go.
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(
                total=limits.timeout_seconds, sock_connect=limits.timeout_seconds / 2
            ),
            connector=aiohttp.TCPConnector(limit=limits.connections, ssl=context),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def send(self, message: Message) -> SendResult:
        """Hands over one message."""
        request = self._request
        try:
            async with self._http.request(
                request.method,
                request.url,
                data=self._body(message),
                headers=self._headers(message),
                allow_redirects=False,
            ) as answer:
                if self._is_enough(answer.status):
                    return SendResult("SENT")
                return self._judged(answer, (await _bounded(answer)).decode(errors="replace"))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            code = "TLS" if isinstance(error, aiohttp.ClientSSLError) else "HTTP UNREACHABLE"
            return SendResult("AWAY", code)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            late = isinstance(error, TimeoutError)
            code, said = ("TIMEOUT", "took too long") if late else ("DISCONNECTED", "hung up")
            return SendResult("LATER", f"HTTP {code}", f"The gateway {said}")

    async def tidy(self) -> None:
        """Nothing: the client closes idle connections by itself."""

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.close()

    def _values(self, message: Message) -> dict[str, str]:
        return {
            "to": message.to,
            "from": message.sender or "",
            "text": message.content,
            "key": message.idempotency_key,
            "secret": self._request.secret or "",
        }

    def _body(self, message: Message) -> bytes:
        escape = ESCAPES[self._request.body_format][1]
        return render_template(self._request.body, self._values(message), escape).encode()

    def _headers(self, message: Message) -> CIMultiDict[str]:
        request = self._request
        # What a header cannot hold is left out: line breaks would begin another one.
        values = {name: _line(value) for name, value in self._values(message).items()}
        headers = CIMultiDict({"Content-Type": ESCAPES[request.body_format][0]})
        for name, template in request.headers.items():
            headers[name] = render_template(template, values)
        headers[request.idempotency_header] = message.idempotency_key
        return headers

    def _is_enough(self, status: int) -> bool:
        """Whether a status alone says that the message was taken, whatever becomes of the rest."""
        judged = self._request.answer_text is not None or self._pattern is not None
        return status in self._request.expected_statuses and not judged

    def _judged(self, answer: aiohttp.ClientResponse, text: str) -> SendResult:
        code, status = f"HTTP {answer.status}", answer.status
        if status in self._request.expected_statuses:
            wanted = self._request.answer_text
            said = (wanted is None or wanted in text) and (
                self._pattern is None or self._pattern.search(text) is not None
            )
            return (
                SendResult("SENT") if said else SendResult("REFUSED", "ANSWER", self._shown(text))
            )
        if status in CREDENTIALS:
            return SendResult("AWAY", code, self._shown(text))
        if status in TRANSIENT:
            return SendResult("LATER", code, self._shown(text), _retry_after(answer))
        return SendResult("REFUSED", code, self._shown(text))

    def _shown(self, text: str) -> str:
        """What the gateway said, without our secret, should it have said that."""
        secret = self._request.secret
        return text.replace(secret, "***") if secret else text


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _retry_after(answer: aiohttp.ClientResponse) -> float:
    """Seconds for which the gateway wants to be left alone, if it says so in seconds."""
    said = answer.headers.get("Retry-After", "").strip()
    return float(said) if said.isascii() and said.isdigit() and len(said) < 8 else 0.0


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    """The beginning of an answer; whatever more there is stays unread."""
    parts, size = [], 0
    async for part in answer.content.iter_any():
        parts.append(part)
        size += len(part)
        if size >= LONGEST_ANSWER:
            answer.close()
            break
    return b"".join(parts)[:LONGEST_ANSWER]
