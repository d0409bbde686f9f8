"""``crmledger sessions``, ``crmledger access-tokens`` and ``crmledger contacts``."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import orjson
from cyclopts import App
from rich.table import Table

from domain.aggregate import Attribution
from domain.errors import ServiceError
from domain.fields import JsonObject
from infra.app import Application
from infra.cli.runtime import err, open_command_application, out
from infra.settings import Settings
from services.contacts.erasure import find_contact

__all__ = ["access_tokens", "contacts", "sessions"]

sessions = App(name="sessions", help="The sessions of an organisation.")
contacts = App(name="contacts", help="The contacts of an organisation.")
access_tokens = App(name="access-tokens", help="The access tokens of an organisation.")


@asynccontextmanager
async def _acting() -> AsyncIterator[Application]:
    """The same; a refusal is one line, and exit status 1."""
    try:
        async with open_command_application(Settings.from_environment()) as running:
            yield running
    except ServiceError as error:
        err.print(f"crmledger: {error.message}: {error.description}", markup=False)
        sys.exit(1)


@sessions.command(name="list")
async def list_(organisation: str, *, limit: int = 100, offset: int = 0) -> None:
    """Lists sessions that can still be used, the newest first."""
    table = Table("session", "user", "expires at", "account")
    async with _acting() as running:
        told = await running.operator.context(organisation)
        for row in await running.ledger.sessions(told.directory, limit, offset):
            until = datetime.fromtimestamp(row["expires_at"], UTC).isoformat()
            table.add_row(row["id"], row["username"], until, row["account"] or "")
    out.print(table)


@sessions.command
async def release(organisation: str, session: str) -> None:
    """Ends a session at once."""
    async with _acting() as running:
        await running.operator.release_session(organisation, session, "crmledger sessions release")
    out.print("released", session)


@access_tokens.command
async def forgive(organisation: str, number: str) -> None:
    """Lifts the waits after wrong guesses of an access token, from everywhere."""
    source = "crmledger access-tokens forgive"
    async with _acting() as running:
        await running.operator.forgive_guesses(organisation, number, source)
    out.print("forgiven", number)


@contacts.command
async def forget(organisation: str, contact: str, *, reason: str) -> None:
    """Forgets a contact for good and prints the certificate.

    Parameters
    ----------
    contact
        Its id or number.
    reason
        Why, in words that say nothing of the person: they stay.
    """
    source = {"source": "crmledger contacts forget"}
    async with _acting() as running:
        told = await running.operator.context(organisation)
        tenant = told.directory.organisation
        await running.forgetting.forget(tenant, contact, reason, Attribution(told.now), source)
        _print(await _certificate(running, tenant, contact))


@contacts.command
async def certificate(organisation: str, contact: str) -> None:
    """Prints what was erased of a contact that was forgotten, and what is left where."""
    async with _acting() as running:
        told = await running.operator.context(organisation)
        _print(await _certificate(running, told.directory.organisation, contact))


async def _certificate(running: Application, organisation: str, contact: str) -> JsonObject:
    _, found = await find_contact(running.ledger, organisation, contact)
    return await running.ledger.certificate(organisation, found)


def _print(found: JsonObject) -> None:
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())  # noqa: T201
