"""E-mail servers: messages over SMTP, on connections that are reused."""

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

MAX_IDLE = 20.0
"""Seconds after which an idle connection is not used again."""
QUIT_TIMEOUT = 2.0
"""Seconds that a server may take to answer QUIT."""
UNAUTHENTICATED = frozenset({454, 530, 534, 535, 538})
"""Replies about the credentials, whichever command they answer (RFC 4954)."""


@dataclass(frozen=True, slots=True)
class SmtpConfig:
    """An organisation's e-mail server; ``tls`` is NONE, STARTTLS or IMPLICIT."""

    host: str
    port: int
    tls: str
    username: str | None
    password: str | None
    html: bool


class _AwayError(Exception):
    """The server cannot be used; ``code`` and ``text`` are those of the result."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code)
        self.code = code
        self.text = text


@dataclass(slots=True)
class _IdleConnection:
    """An idle connection, and the time of its last use."""

    client: aiosmtplib.SMTP
    used: float


class EmailServer:
    """One organisation's e-mail server."""

    def __init__(self, config: SmtpConfig, limits: SendPolicy) -> None:
        self.policy = limits
        self._config = config
        self._idle: list[_IdleConnection] = []
        self._closed = False
        self._context = ssl.create_default_context() if config.tls != "NONE" else None

    async def send(self, message: Message) -> SendResult:
        """Send one message."""
        try:
            sender, recipient, content = build_message(message, html=self._config.html)
        except ValueError as error:
            return SendResult("rejected", str(error), _REASONS[str(error)])
        if not sender:
            return SendResult("unavailable", "NO_SENDER")
        try:
            async with asyncio.timeout(self.policy.timeout_seconds):
                return await self._send(sender, recipient, content)
        except TimeoutError:
            return SendResult("deferred", "SMTP TIMEOUT", "The server took too long")
        except _AwayError as error:
            return SendResult("unavailable", error.code, error.text)

    async def close_idle(self) -> None:
        """Close the connections that have been idle for `MAX_IDLE` seconds."""
        expired = [
            connection
            for connection in self._idle
            if time.monotonic() - connection.used >= MAX_IDLE
        ]
        self._idle = [connection for connection in self._idle if connection not in expired]
        for connection in expired:
            await _quit(connection.client)

    async def close(self) -> None:
        """Close all idle connections; those in use are closed after their message."""
        self._closed = True
        while self._idle:
            await _quit(self._idle.pop().client)

    async def _send(self, sender: str, recipient: str, content: bytes) -> SendResult:
        """Try on an idle connection; if the server has closed that, try again on a new one."""
        idle = self._take_idle()
        if idle is not None:
            result = await self._try(idle, sender, recipient, content)
            if result is not None:
                return result
        client = await self._connect()
        result = await self._try(client, sender, recipient, content)
        return result or SendResult("deferred", "SMTP DISCONNECTED", "The server hung up")

    async def _try(
        self, client: aiosmtplib.SMTP, sender: str, recipient: str, content: bytes
    ) -> SendResult | None:
        """Return the result; None if the server closed the connection before it had the content."""
        handed_over, is_reusable = False, False
        try:
            await client.mail(sender)
            await client.rcpt(recipient)
            handed_over = True
            await client.data(content)
            is_reusable = True
            return SendResult("sent")
        except SMTPResponseException as error:
            if error.code == 421 and not handed_over:
                return None
            return _result_of(error.code, str(error.message))
        except (SMTPException, OSError) as error:
            if not handed_over and isinstance(error, SMTPServerDisconnected | OSError):
                return None
            return SendResult("deferred", "SMTP DISCONNECTED", "The server hung up")
        finally:
            # After a failure the state of the dialogue is unknown.
            if is_reusable and not self._closed:
                self._idle.append(_IdleConnection(client, time.monotonic()))
            else:
                client.close()

    def _take_idle(self) -> aiosmtplib.SMTP | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.client.is_connected and time.monotonic() - connection.used < MAX_IDLE:
                return connection.client
            connection.client.close()
        return None

    async def _connect(self) -> aiosmtplib.SMTP:
        """Open a connection, encrypted and authenticated as configured. Raises `_AwayError`."""
        config = self._config
        client = aiosmtplib.SMTP(
            hostname=config.host,
            port=config.port,
            use_tls=config.tls == "IMPLICIT",
            start_tls=config.tls == "STARTTLS",
            tls_context=self._context,
            # Less than the whole try: a server that does not answer is away, one that is slow is not.
            timeout=self.policy.timeout_seconds / 2,
        )
        try:
            await client.connect()
            if config.username:
                await client.login(config.username, config.password or "")
            client.timeout = self.policy.timeout_seconds
        except BaseException as error:
            client.close()
            if isinstance(error, SMTPException | OSError | ValueError):
                raise _away_error(error) from error
            raise
        return client


def _away_error(error: Exception) -> _AwayError:
    """Return why the server cannot be used; the message is not to blame."""
    if isinstance(error, SMTPResponseException) and not isinstance(error, SMTPConnectResponseError):
        return _AwayError(f"SMTP {error.code}", str(error.message))
    cause = error.__cause__ or error
    if isinstance(cause, ssl.SSLError):
        return _AwayError("TLS", type(cause).__name__)
    if type(error) in (SMTPException, SMTPNotSupported):
        return _AwayError("SMTP UNSUITABLE", "The server lacks what was set")
    return _AwayError("SMTP UNREACHABLE", type(cause).__name__)


def _result_of(code: int, text: str) -> SendResult:
    """Return the result of a message that the server refuses (RFC 5321, section 4.2.1)."""
    if code in UNAUTHENTICATED:
        return SendResult("unavailable", f"SMTP {code}", text)
    return SendResult("rejected" if code >= 500 else "deferred", f"SMTP {code}", text)


async def _quit(client: aiosmtplib.SMTP) -> None:
    with suppress(SMTPException, OSError, TimeoutError):
        async with asyncio.timeout(QUIT_TIMEOUT):
            await client.quit()
    client.close()


_REASONS = {
    "INVALID_RECIPIENT": "The communication's e-mail address cannot be sent to",
    "INVALID_SENDER": "The communication's sender is no e-mail address",
    "INVALID_CONTENT": "The communication's content is no text",
}


def build_message(message: Message, *, html: bool) -> tuple[str, str, bytes]:
    """Return the sender and recipient of the SMTP envelope, and the encoded message.

    :raises ValueError: with the code of the part that cannot be sent.
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


def _address(text: str, code: str) -> Address:
    """Return an address with its domain in ASCII. Raises ``ValueError`` with ``code``."""
    user, _, domain = text.strip().rpartition("@")
    try:
        if not user.isascii() or not text.strip().isprintable() or " " in text.strip():
            raise ValueError
        return Address(addr_spec=f"{user}@{domain.encode('idna').decode()}")
    except (ValueError, IndexError, MessageError) as error:
        raise ValueError(code) from error
