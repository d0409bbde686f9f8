"""The servers that organisations have set, opened when they are needed and anew when they change."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import structlog

from domain.reference.delivery_servers import PASSWORD, SECRET
from infra.delivery.backlog import SERVER_SETTINGS, is_enabled
from infra.delivery.sms import GatewayConfig, SmsGateway
from infra.delivery.smtp import EmailServer, SmtpConfig
from services.communications.delivery import SendPolicy
from services.context import CallContext
from services.ports import SecretStore
from services.secret_encryption import SecretCipher, stored_secret

__all__ = ["TransportRegistry", "version_of"]

log = structlog.get_logger(__name__)

SECRETS = {"EMAIL": PASSWORD, "SMS": SECRET}
"""By media, what the secret is called."""


@dataclass(frozen=True, slots=True)
class _Open:
    """A server as it was set in one version of the organisation's record."""

    version: int
    server: EmailServer | SmsGateway | None


class TransportRegistry:
    """Servers by organisation and media."""

    def __init__(self, ledger: SecretStore, keeper: SecretCipher) -> None:
        self._ledger = ledger
        self._keeper = keeper
        self._open: dict[tuple[str, str], _Open] = {}
        self._former: list[tuple[float, EmailServer | SmsGateway]] = []

    async def of(self, told: CallContext, media: str) -> EmailServer | SmsGateway | None:
        """The server to send with; None if none is set, it is switched off or its secret is not ours."""
        organisation, version = told.directory.organisation, version_of(told)
        found = self._open.get((organisation, media))
        if found is None or found.version != version:
            server = await self._opened(told, media)
            if found is not None and found.server is not None:
                # What is under way on it goes on, for no longer than one try may take.
                until = time.monotonic() + found.server.limits.timeout_seconds
                self._former.append((until, found.server))
            found = self._open[organisation, media] = _Open(version, server)
        return found.server

    def all(self) -> list[EmailServer | SmsGateway]:
        """Those on which something may be under way."""
        servers = [found.server for found in self._open.values() if found.server is not None]
        return servers + [server for _, server in self._former]

    async def tidy(self) -> None:
        """Closes what is no longer used."""
        now = time.monotonic()
        over = [server for until, server in self._former if until < now]
        self._former = [(until, server) for until, server in self._former if until >= now]
        for server in over:
            await server.close()
        for server in self.all():
            await server.tidy()

    async def close(self) -> None:
        """Closes all of them; nothing may be under way."""
        for server in self.all():
            await server.close()

    async def _opened(self, told: CallContext, media: str) -> EmailServer | SmsGateway | None:
        organisation, settings = told.directory.organisation, told.directory.settings
        entry = told.directory.entry("organisation", organisation)
        if entry is None or entry.retired or not is_enabled(settings, media):
            return None
        try:
            secret = await stored_secret(
                self._ledger,
                self._keeper,
                organisation,
                f"organisation/{organisation}",
                SECRETS[media],
            )
        except ValueError:
            log.error("sending.secret", organisation=organisation, media=media)
            return None
        given = settings[SERVER_SETTINGS[media][0]]
        return _email(given, secret) if media == "EMAIL" else _sms(given, secret)


def version_of(told: CallContext) -> int:
    """The version of an organisation's settings; 0 if it has none."""
    entry = told.directory.entry("organisation", told.directory.organisation)
    return entry.version if entry else 0


def _limits(given: Mapping[str, Any]) -> SendPolicy:
    return SendPolicy(**{part.name: given[part.name] for part in fields(SendPolicy)})


def _email(given: Mapping[str, Any], password: str | None) -> EmailServer:
    target = SmtpConfig(
        host=given["host"],
        port=given["port"],
        tls=given["tls"],
        username=given["username"],
        password=password,
        html=given["content_type"] == "HTML",
    )
    return EmailServer(target, _limits(given))


def _sms(given: Mapping[str, Any], secret: str | None) -> SmsGateway:
    names = {part.name for part in fields(GatewayConfig)} - {"secret", "expected_statuses"}
    request = GatewayConfig(
        **{name: given[name] for name in names},
        expected_statuses=frozenset(given["expected_statuses"]),
        secret=secret,
    )
    return SmsGateway(request, _limits(given))
