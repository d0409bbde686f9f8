"""The registry of transports: the servers of organisations, opened on demand and again after a change."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import structlog

from domain.reference.delivery_servers import PASSWORD, SECRET
from infra.delivery.backlog import SERVER_SETTINGS, is_enabled
from infra.delivery.mail import Presentation
from infra.delivery.sms import GatewayConfig, SmsGateway
from infra.delivery.smtp import EmailServer, SmtpConfig
from services.communications.delivery import SendPolicy
from services.context import CallContext
from services.ports import SecretStore
from services.secret_encryption import SecretCipher, stored_secret

__all__ = ["TransportRegistry", "version_of"]

log = structlog.get_logger(__name__)

SECRETS = {"EMAIL": PASSWORD, "SMS": SECRET}
"""By media, the name of the secret."""


@dataclass(frozen=True, slots=True)
class _OpenTransport:
    """A transport as one version of the organisation's settings describes it; None if it has none."""

    version: int
    transport: EmailServer | SmsGateway | None


class TransportRegistry:
    """Transports by organisation and media."""

    def __init__(self, ledger: SecretStore, cipher: SecretCipher) -> None:
        self._ledger = ledger
        self._cipher = cipher
        self._open: dict[tuple[str, str], _OpenTransport] = {}
        self._replaced: list[tuple[float, EmailServer | SmsGateway]] = []

    async def get(self, context: CallContext, media: str) -> EmailServer | SmsGateway | None:
        """Return the transport to send with.

        None if no server is configured, it is disabled, or its secret was encrypted with another
        service key.
        """
        organisation, version = context.directory.organisation, version_of(context)
        current = self._open.get((organisation, media))
        if current is None or current.version != version:
            transport = await self._open_transport(context, media)
            if current is not None and current.transport is not None:
                # What is under way on it may end, which takes no longer than one try.
                until = time.monotonic() + current.transport.policy.timeout_seconds
                self._replaced.append((until, current.transport))
            current = self._open[organisation, media] = _OpenTransport(version, transport)
        return current.transport

    def all(self) -> list[EmailServer | SmsGateway]:
        """Return the transports on which something may be under way."""
        transports = [
            current.transport for current in self._open.values() if current.transport is not None
        ]
        return transports + [transport for _, transport in self._replaced]

    async def close_idle(self) -> None:
        """Close the transports that were replaced, and the idle connections of the others."""
        now = time.monotonic()
        unused = [transport for until, transport in self._replaced if until < now]
        self._replaced = [(until, transport) for until, transport in self._replaced if until >= now]
        for transport in unused:
            await transport.close()
        for transport in self.all():
            await transport.close_idle()

    async def close(self) -> None:
        """Close all transports; nothing may be under way."""
        for transport in self.all():
            await transport.close()

    async def _open_transport(
        self, context: CallContext, media: str
    ) -> EmailServer | SmsGateway | None:
        organisation, settings = context.directory.organisation, context.directory.settings
        entry = context.directory.entry("organisation", organisation)
        if entry is None or entry.retired or not is_enabled(settings, media):
            return None
        try:
            secret = await stored_secret(
                self._ledger,
                self._cipher,
                organisation,
                f"organisation/{organisation}",
                SECRETS[media],
            )
        except ValueError:
            log.error("sending.secret", organisation=organisation, media=media)
            return None
        server = settings[SERVER_SETTINGS[media][0]]
        return _email_server(server, secret) if media == "EMAIL" else _sms_gateway(server, secret)


def version_of(context: CallContext) -> int:
    """Return the version of an organisation's settings; 0 if it has none."""
    entry = context.directory.entry("organisation", context.directory.organisation)
    return entry.version if entry else 0


def _send_policy(settings: Mapping[str, Any]) -> SendPolicy:
    return SendPolicy(**{field.name: settings[field.name] for field in fields(SendPolicy)})


def _email_server(settings: Mapping[str, Any], password: str | None) -> EmailServer:
    config = SmtpConfig(
        host=settings["host"],
        port=settings["port"],
        tls=settings["tls"],
        username=settings["username"],
        password=password,
        presentation=Presentation(
            html=settings["content_type"] == "HTML",
            sender_name=settings["from_name"],
            reply_to=settings["reply_to"],
            unsubscribe=settings["list_unsubscribe"],
            unsubscribe_categories=settings["list_unsubscribe_category_ids"],
        ),
    )
    return EmailServer(config, _send_policy(settings))


def _sms_gateway(settings: Mapping[str, Any], secret: str | None) -> SmsGateway:
    names = {field.name for field in fields(GatewayConfig)} - {"secret", "expected_statuses"}
    config = GatewayConfig(
        **{name: settings[name] for name in names},
        expected_statuses=frozenset(settings["expected_statuses"]),
        secret=secret,
    )
    return SmsGateway(config, _send_policy(settings))
