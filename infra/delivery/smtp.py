"""E-mails over SMTP, on connections that are reused."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass

import aiosmtplib
from aiosmtplib import (
    SMTPConnectResponseError,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupported,
    SMTPResponse,
    SMTPResponseException,
    SMTPServerDisconnected,
)

from infra.delivery.mail import InvalidMessage, Mail, Presentation
from services.communications.delivery import Message, SendPolicy, SendResult

__all__ = ["EmailServer", "SmtpConfig"]

MAX_IDLE = 20.0
"""Seconds after which an idle connection is not used again."""
QUIT_TIMEOUT = 2.0
"""Seconds that a server may take to answer QUIT."""
CLOSING = 421
"""The reply of a server that closes the connection, whichever command it answers."""
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
    presentation: Presentation


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
        if not message.sender:
            return SendResult("unavailable", "NO_SENDER")
        try:
            mail = Mail.of(message, self._config.presentation)
            async with asyncio.timeout(self.policy.timeout_seconds):
                return await self._send(mail)
        except InvalidMessage as error:
            return SendResult("rejected", error.code, str(error))
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

    async def _send(self, mail: Mail) -> SendResult:
        """Try on an idle connection; if the server has closed that, try again on a new one."""
        idle = self._take_idle()
        if idle is not None:
            result = await self._try(idle, mail)
            if result is not None:
                return result
        client = await self._connect()
        result = await self._try(client, mail)
        return result or SendResult("deferred", "SMTP DISCONNECTED", "The server hung up")

    async def _try(self, client: aiosmtplib.SMTP, mail: Mail) -> SendResult | None:
        """Return the result; None if the server closed the connection before it had the content."""
        handed_over, is_reusable = False, False
        try:
            mail = mail.for_server(utf8=client.supports_extension("smtputf8"))
            result = mail.result(await _address(client, mail))
            if result.name == "sent":
                handed_over = True
                await client.data(mail.content)
                is_reusable = True
            return result
        except SMTPResponseException as error:
            if error.code == CLOSING and not handed_over:
                return None
            return _refusal(error.code, str(error.message))
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
            await _greet(client)
            client.timeout = self.policy.timeout_seconds
        except Exception as error:
            client.close()
            raise _away_error(error) from error
        except BaseException:
            client.close()
            raise
        return client


async def _greet(client: aiosmtplib.SMTP) -> None:
    """Ask what the server offers, unless encryption or authentication needed to know that."""
    if client.is_ehlo_or_helo_needed:
        try:
            await client.ehlo()
        except SMTPHeloError:
            await client.helo()


async def _address(client: aiosmtplib.SMTP, mail: Mail) -> dict[str, SendResult]:
    """Say from whom and to whom a mail is; return the recipients that the server refuses.

    The addresses go out as they are: the client's own commands would have them parsed once more.
    """
    options = () if mail.is_ascii else (b"SMTPUTF8",)
    reply = await client.execute_command(b"MAIL", f"FROM:<{mail.letter.sender}>".encode(), *options)
    if not _is_success(reply):
        raise SMTPResponseException(reply.code, reply.message)
    refused = {}
    for address in mail.letter.recipients:
        reply = await client.execute_command(b"RCPT", f"TO:<{address}>".encode())
        if _is_success(reply):
            continue
        refused[address] = _refusal(reply.code, reply.message)
        if reply.code == CLOSING or refused[address].name == "unavailable":
            raise SMTPResponseException(reply.code, reply.message)
    return refused


def _is_success(reply: SMTPResponse) -> bool:
    return 200 <= reply.code < 300


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


def _refusal(code: int, text: str) -> SendResult:
    """Return the result for a message or a recipient that is refused (RFC 5321, section 4.2.1)."""
    if code in UNAUTHENTICATED:
        return SendResult("unavailable", f"SMTP {code}", text)
    return SendResult("rejected" if code >= 500 else "deferred", f"SMTP {code}", text)


async def _quit(client: aiosmtplib.SMTP) -> None:
    with suppress(SMTPException, OSError, TimeoutError):
        async with asyncio.timeout(QUIT_TIMEOUT):
            await client.quit()
    client.close()
