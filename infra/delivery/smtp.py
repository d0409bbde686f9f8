"""E-mail servers: messages over SMTP, on connections that are kept between messages."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from email.utils import localtime

import aiosmtplib
from aiosmtplib import (
    SMTPConnectResponseError,
    SMTPException,
    SMTPNotSupported,
    SMTPResponseException,
    SMTPServerDisconnected,
)

from services.communications.delivery import Message, SendPolicy, SendResult

__all__ = ["EmailServer", "SmtpConfig", "build_message"]

IDLE = 20.0
"""Seconds after which a kept connection is not used again."""
CLOSING = 2.0
"""Seconds that a server may take to say goodbye."""
UNAUTHENTICATED = frozenset({454, 530, 534, 535, 538})
"""Replies that are about our credentials, whichever command they follow (RFC 4954)."""


@dataclass(frozen=True, slots=True)
class SmtpConfig:
    """Where an organisation's e-mails go; ``tls`` is NONE, STARTTLS or IMPLICIT."""

    host: str
    port: int
    tls: str
    username: str | None
    password: str | None
    html: bool


class _AwayError(Exception):
    """The server cannot be used; ``code`` and ``text`` are those of an outcome."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code)
        self.code = code
        self.text = text


@dataclass(slots=True)
class _Kept:
    """A connection and when it was used last."""

    client: aiosmtplib.SMTP
    used: float


class EmailServer:
    """One organisation's e-mail server."""

    def __init__(self, target: SmtpConfig, limits: SendPolicy) -> None:
        self.policy = limits
        self._target = target
        self._free: list[_Kept] = []
        self._closed = False
        self._context = ssl.create_default_context() if target.tls != "NONE" else None

    async def send(self, message: Message) -> SendResult:
        """Hands over one message."""
        try:
            sender, recipient, content = build_message(message, html=self._target.html)
        except ValueError as error:
            return SendResult("REFUSED", str(error), _SAID[str(error)])
        if not sender:
            return SendResult("AWAY", "NO_SENDER")
        try:
            async with asyncio.timeout(self.policy.timeout_seconds):
                return await self._send(sender, recipient, content)
        except TimeoutError:
            return SendResult("LATER", "SMTP TIMEOUT", "The server took too long")
        except _AwayError as error:
            return SendResult("AWAY", error.code, error.text)

    async def tidy(self) -> None:
        """Says goodbye on connections that were not used for a while."""
        over = [kept for kept in self._free if time.monotonic() - kept.used >= IDLE]
        self._free = [kept for kept in self._free if kept not in over]
        for kept in over:
            await _leave(kept.client)

    async def close(self) -> None:
        """Says goodbye on all connections; those in use are left when they are given back."""
        self._closed = True
        while self._free:
            await _leave(self._free.pop().client)

    async def _send(self, sender: str, recipient: str, content: bytes) -> SendResult:
        """Tries once, or again on a new connection where a kept one proves to be gone."""
        kept = self._take()
        if kept is not None:
            outcome = await self._try(kept, sender, recipient, content)
            if outcome is not None:
                return outcome
        fresh = await self._connected()
        outcome = await self._try(fresh, sender, recipient, content)
        return outcome or SendResult("LATER", "SMTP DISCONNECTED", "The server hung up")

    async def _try(
        self, client: aiosmtplib.SMTP, sender: str, recipient: str, content: bytes
    ) -> SendResult | None:
        """What became of the message; None if the server hung up before it had the content."""
        handed_over, sound = False, False
        try:
            await client.mail(sender)
            await client.rcpt(recipient)
            handed_over = True
            await client.data(content)
            sound = True
            return SendResult("SENT")
        except SMTPResponseException as error:
            if error.code == 421 and not handed_over:
                return None
            return _judged(error.code, str(error.message))
        except (SMTPException, OSError) as error:
            if not handed_over and isinstance(error, SMTPServerDisconnected | OSError):
                return None
            return SendResult("LATER", "SMTP DISCONNECTED", "The server hung up")
        finally:
            # After anything but success the other side may be anywhere in the dialogue.
            if sound and not self._closed:
                self._free.append(_Kept(client, time.monotonic()))
            else:
                client.close()

    def _take(self) -> aiosmtplib.SMTP | None:
        while self._free:
            kept = self._free.pop()
            if kept.client.is_connected and time.monotonic() - kept.used < IDLE:
                return kept.client
            kept.client.close()
        return None

    async def _connected(self) -> aiosmtplib.SMTP:
        """A new connection, encrypted and authenticated as was set. Raises `_AwayError`."""
        target = self._target
        client = aiosmtplib.SMTP(
            hostname=target.host,
            port=target.port,
            use_tls=target.tls == "IMPLICIT",
            start_tls=target.tls == "STARTTLS",
            tls_context=self._context,
            # Less than the whole try, so that a server that does not answer is told from one that is slow.
            timeout=self.policy.timeout_seconds / 2,
        )
        try:
            await client.connect()
            if target.username:
                await client.login(target.username, target.password or "")
            client.timeout = self.policy.timeout_seconds
        except BaseException as error:
            client.close()
            if isinstance(error, SMTPException | OSError | ValueError):
                raise _away(error) from error
            raise
        return client


def _away(error: Exception) -> _AwayError:
    """What keeps a server from being used; nothing of it is a message's fault."""
    if isinstance(error, SMTPResponseException) and not isinstance(error, SMTPConnectResponseError):
        return _AwayError(f"SMTP {error.code}", str(error.message))
    cause = error.__cause__ or error
    if isinstance(cause, ssl.SSLError):
        return _AwayError("TLS", type(cause).__name__)
    if type(error) in (SMTPException, SMTPNotSupported):
        return _AwayError("SMTP UNSUITABLE", "The server lacks what was set")
    return _AwayError("SMTP UNREACHABLE", type(cause).__name__)


def _judged(code: int, text: str) -> SendResult:
    """What a reply means for the message that it refuses (RFC 5321, section 4.2.1)."""
    if code in UNAUTHENTICATED:
        return SendResult("AWAY", f"SMTP {code}", text)
    return SendResult("REFUSED" if code >= 500 else "LATER", f"SMTP {code}", text)


async def _leave(client: aiosmtplib.SMTP) -> None:
    with suppress(SMTPException, OSError, TimeoutError):
        async with asyncio.timeout(CLOSING):
            await client.quit()
    client.close()


_SAID = {
    "INVALID_RECIPIENT": "The communication's e-mail address cannot be sent to",
    "INVALID_SENDER": "The communication's sender is no e-mail address",
    "INVALID_CONTENT": "The communication's content is no text",
}


def build_message(message: Message, *, html: bool) -> tuple[str, str, bytes]:
    """Sender and recipient as SMTP takes them, and the message as it travels.

    Raises ``ValueError`` with the code of what cannot be sent.
    """
    recipient = _address(message.to, "INVALID_RECIPIENT")
    sender = _address(message.sender, "INVALID_SENDER") if message.sender else None
    mail = EmailMessage(policy=POLICY)
    mail["Message-ID"] = (
        f"<{message.idempotency_key}@{sender.domain if sender else 'crmledger.invalid'}>"
    )
    mail["Date"] = localtime()
    if sender is not None:
        mail["From"] = sender
    mail["To"] = recipient
    mail["Subject"] = " ".join(message.subject.split())
    try:
        mail.set_content(message.content, subtype="html" if html else "plain")
    except ValueError as error:
        raise ValueError("INVALID_CONTENT") from error
    return (sender.addr_spec if sender else ""), recipient.addr_spec, mail.as_bytes()


def _address(text: str, fault: str) -> Address:
    """One address, its domain as the wire has it. Raises ``ValueError`` with the fault."""
    user, _, domain = text.strip().rpartition("@")
    try:
        if not user.isascii() or not text.strip().isprintable() or " " in text.strip():
            raise ValueError
        return Address(addr_spec=f"{user}@{domain.encode('idna').decode()}")
    except (ValueError, IndexError, MessageError) as error:
        raise ValueError(fault) from error
