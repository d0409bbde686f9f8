"""Real servers on this machine that messages are handed to, well behaved or not, and who hands them over."""

from __future__ import annotations

import asyncio
import email
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.policy import default as modern
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from domain.aggregate import Attribution
from infra.app import open_application
from infra.delivery.dispatcher import MessageDispatcher
from infra.settings import Settings
from services.contacts.erasure import ContactErasure
from services.context import CallContext, ContextQuery
from tests.communications_world import Desk
from tests.service import PASSWORD as OURS
from tests.service import Api, Service, environment
from tests.world import EXTERNAL_SYSTEM, GROUP, UNIT, UNITED_STATES, USER, rows

__all__ = [
    "Gateway",
    "Mail",
    "Mailbox",
    "certificate",
    "due",
    "entries",
    "gateway",
    "listening_nowhere",
    "mailbox",
    "office",
    "sender",
    "sent_by",
]

Json = dict[str, Any]
USERNAME, PASSWORD = "crm", "mail-password-of-the-tests"
STATES = """
SELECT q.id, q.life_cycle_state AS state, q.document ->> 'error_code' AS code, q.document ->> 'error_description' AS text
  FROM views.queue_entries q WHERE q.organisation = $1 ORDER BY q.created
"""


@dataclass(frozen=True)
class Mail:
    """A message as a server got it."""

    key: str
    sender: str
    to: str
    message: Any

    @property
    def content(self) -> str:
        return str(self.message.get_content()).replace("\r\n", "\n").rstrip("\n")


Answer = Callable[[str, str], Awaitable[str | None]]
"""What a server says to MAIL, RCPT or DATA about an address, if not yes; ``""`` hangs up."""


async def _yes(command: str, address: str) -> str | None:
    return None


@dataclass
class Mailbox:
    """An SMTP server.

    ``connections`` counts those that were opened, ``unheard`` the messages whose sender was gone
    before it was told that they had arrived.
    """

    answer: Answer = _yes
    received: list[Mail] = field(default_factory=list)
    connections: int = 0
    unheard: int = 0
    port: int = 0
    on_mail: Callable[[], Awaitable[None]] | None = None

    def settings(self, **more: Any) -> Json:
        """The setting that leads here."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "tls": "NONE",
            "timeout_seconds": 2,
            "messages_per_second": 1000,
        } | more

    async def _said(self, server: SMTP, command: str, address: str) -> str:
        said = await self.answer(command, address)
        if said == "":
            assert server.transport is not None
            server.transport.abort()
        return said or "250 OK"

    async def handle_MAIL(  # noqa: N802 (aiosmtpd's)
        self, server: SMTP, session: Any, envelope: Any, address: str, options: Sequence[str]
    ) -> str:
        envelope.mail_from = address
        return await self._said(server, "MAIL", address)

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Any, envelope: Any, address: str, options: Sequence[str]
    ) -> str:
        said = await self._said(server, "RCPT", address)
        if said.startswith("250"):
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802
        (to,) = envelope.rcpt_tos
        said = await self._said(server, "DATA", to)
        if said.startswith("250"):
            message = email.message_from_bytes(envelope.content, policy=modern)
            mail = Mail(str(message["Message-ID"]), envelope.mail_from, to, message)
            self.received.append(mail)
            try:
                if self.on_mail is not None:
                    await self.on_mail()
            except asyncio.CancelledError:
                # So aiosmtpd ends what it does for a connection that is gone.
                self.unheard += 1
                raise
        return said

    def accepts(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
        """Whether somebody may send: the one user there is."""
        assert isinstance(data, LoginPassword)
        fits = (data.login.decode(), data.password.decode()) == (USERNAME, PASSWORD)
        return AuthResult(success=fits, handled=False)


@asynccontextmanager
async def mailbox(
    *, tls: ssl.SSLContext | None = None, implicit: bool = False, auth: bool = False
) -> AsyncIterator[Mailbox]:
    """A server on a port of its own, in clear unless it has a certificate."""
    box = Mailbox()

    def made() -> SMTP:
        box.connections += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return SMTP(
                box,
                hostname="mail.test",
                tls_context=None if implicit else tls,
                require_starttls=tls is not None and not implicit,
                authenticator=box.accepts if auth else None,
                auth_required=auth,
                auth_require_tls=not implicit,
            )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(made, "127.0.0.1", 0, ssl=tls if implicit else None)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()


@dataclass
class Gateway:
    """An SMS gateway; ``received`` holds headers and body of each request."""

    received: list[tuple[dict[str, str], str]] = field(default_factory=list)
    answers: list[tuple[int, str, dict[str, str]]] = field(default_factory=list)
    slow: float = 0.0
    url: str = ""

    def settings(self, **more: Any) -> Json:
        """The setting that leads here."""
        return {
            "url": self.url,
            "body": '{"to":"{{to}}","from":"{{from}}","text":"{{text}}"}',
            "timeout_seconds": 2,
            "messages_per_second": 1000,
        } | more

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.received.append((dict(request.headers), await request.text()))
        await asyncio.sleep(self.slow)
        status, text, headers = self.answers.pop(0) if self.answers else (200, "accepted", {})
        if status == 0:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return web.Response(status=status, text=text, headers=headers)


@asynccontextmanager
async def gateway(tls: ssl.SSLContext | None = None) -> AsyncIterator[Gateway]:
    """A gateway on a port of its own."""
    made = Gateway()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    made.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/sms"
    try:
        yield made
    finally:
        await runner.cleanup()


async def listening_nowhere() -> int:
    """A port at which nobody answers."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context for 127.0.0.1, and the file with its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "crmledger test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, secret = folder / "certificate.pem", folder / "key.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path, secret)
    return context, path


async def office(service: Service, contacts: int = 2) -> Desk:
    """An organisation of its own with no more than what it takes to write to somebody."""
    api = Api(service)
    name = api.organisation
    await api.register(
        [
            {"kind": "organisation", "id": name, "name": name},
            {"kind": "community", "id": "CO1", "name": "All"},
            {"kind": "group", "id": GROUP, "name": "Group", "community_id": "CO1"},
            {"kind": "unit", "id": UNIT, "name": "Unit", "group_id": GROUP},
            {
                "kind": "user",
                "id": USER,
                "username": "demo",
                "default_unit_id": UNIT,
                "password": OURS,
            },
            {"kind": "country", "id": UNITED_STATES, "name": "United States"},
            {
                "kind": "communication_queue_external_system",
                "id": EXTERNAL_SYSTEM,
                "name": "Postman",
            },
        ]
    )
    made = Desk(api)
    made.contacts = [await made.contact() for _ in range(contacts)]
    return made


@asynccontextmanager
async def sender(url: str, pause: float = 0.5) -> AsyncIterator[MessageDispatcher]:
    """A sender in this process that looks only when it is told to."""
    settings = Settings.from_environment(environment(url))
    async with open_application(settings, url) as running:
        made = MessageDispatcher(url, running.ledger, running.secrets, running.zone, pause=pause)
        try:
            yield made
        finally:
            await made.close()


NOTHING = ContextQuery()


async def forget(made: MessageDispatcher, told: CallContext, contact: str) -> None:
    """Forgets a contact."""
    by = Attribution(told.now)
    forgetting = ContactErasure(made._ledger, ZoneInfo("UTC"))
    await forgetting.forget(told.directory.organisation, contact, "asked to", by, {})


async def sent_by(made: MessageDispatcher, rounds: int = 1) -> None:
    """Lets a sender look so many times, and finish each time."""
    for _ in range(rounds):
        await made.once()
        await made.idle()


async def due(url: str) -> None:
    """Makes all waits be over."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "UPDATE outward.deliveries SET next_try_at = '-infinity', leased_until = '-infinity';"
            "UPDATE outward.servers SET rests_until = '-infinity', next_at = '-infinity'"
        )
    finally:
        await connection.close()


async def entries(desk: Desk) -> list[tuple[str, str | None, str | None]]:
    """State, code and description of each entry of an organisation's queue, the first first."""
    return [(row["state"], row["code"], row["text"]) for row in await rows(desk.api, STATES)]
