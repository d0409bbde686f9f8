"""``crmledger sessions``, ``crmledger users``, ``crmledger access-tokens`` and ``crmledger contacts``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import orjson
from cyclopts import App

from domain.aggregate import Attribution
from domain.errors import ServiceError
from domain.fields import JsonObject
from infra.app import Application
from infra.cli.runtime import open_command_application
from infra.cli.terminal import exit_with, out
from infra.settings import Settings
from services.contacts.erasure import find_contact
from services.operators import find_user

__all__ = ["access_tokens", "contacts", "sessions", "users"]

sessions = App(name="sessions", help="The sessions of an organisation.")
users = App(name="users", help="The users of an organisation.")
contacts = App(name="contacts", help="The contacts of an organisation.")
access_tokens = App(name="access-tokens", help="The access tokens of an organisation.")


@asynccontextmanager
async def _open_application() -> AsyncIterator[Application]:
    """The application; an error of the service is printed as one line, with exit status 1."""
    try:
        async with open_command_application(Settings.from_environment()) as application:
            yield application
    except ServiceError as error:
        exit_with(f"{error.message}: {error.description}")


@sessions.command(name="list")
async def list_(
    organisation: str, *, user: str | None = None, limit: int = 100, offset: int = 0
) -> None:
    """List the valid sessions, the newest first.

    Parameters
    ----------
    user
        Only those of the user with this id or username.
    """
    rows = []
    async with _open_application() as application:
        directory = (await application.operator.context(organisation)).directory
        id_ = None if user is None else find_user(directory, user)
        async for row in application.ledger.sessions(directory, limit, offset, user=id_):
            until = datetime.fromtimestamp(row["expires_at"], UTC).isoformat()
            rows.append((row["id"], row["username"], until, row["account"] or ""))
    out.print_table(("session", "user", "expires at", "account"), rows)


@sessions.command
async def release(
    organisation: str, session: str | None = None, *, user: str | None = None
) -> None:
    """End a session, or all sessions of a user, at once and for good.

    Parameters
    ----------
    user
        Id or username, instead of a session.
    """
    source = "crmledger sessions release"
    if (session is None) == (user is None):
        exit_with("name a session, or --user")
    async with _open_application() as application:
        if user is not None:
            await application.operator.end_sessions(organisation, user, source)
        else:
            await application.operator.release_session(organisation, str(session), source)
    out.print_line(f"released {session or f'the sessions of {user}'}")


@access_tokens.command(name="reset-guesses")
async def reset_guesses(organisation: str, number: str) -> None:
    """Reset the lockout of an access token after wrong guesses, for all sources."""
    source = "crmledger access-tokens reset-guesses"
    async with _open_application() as application:
        await application.operator.forgive_guesses(organisation, number, source)
    out.print_line(f"guesses reset {number}")


@users.command(name="reset-guesses")
async def reset_user_guesses(organisation: str, username: str) -> None:
    """Reset the lockout of a user after wrong passwords, for all sources."""
    source = "crmledger users reset-guesses"
    async with _open_application() as application:
        await application.operator.forgive_user(organisation, username, source)
    out.print_line(f"guesses reset {username}")


@contacts.command
async def erase(organisation: str, contact: str, *, reason: str) -> None:
    """Erase a contact irrevocably (GDPR, crypto-shredding) and print the certificate.

    Parameters
    ----------
    contact
        Id or number of the contact.
    reason
        Reason for the erasure, without personal data: it is stored for ever.
    """
    source = {"source": "crmledger contacts erase"}
    async with _open_application() as application:
        context = await application.operator.context(organisation)
        tenant = context.directory.organisation
        await application.forgetting.erase(
            tenant, contact, reason, Attribution(context.now), source
        )
        _print(await _certificate(application, tenant, contact))


@contacts.command
async def certificate(organisation: str, contact: str) -> None:
    """Print the certificate of an erased contact: what was erased, and what is left where."""
    async with _open_application() as application:
        context = await application.operator.context(organisation)
        _print(await _certificate(application, context.directory.organisation, contact))


async def _certificate(application: Application, organisation: str, contact: str) -> JsonObject:
    _, id_ = await find_contact(application.ledger, organisation, contact)
    return await application.ledger.certificate(organisation, id_)


def _print(document: JsonObject) -> None:
    out.print_document(orjson.dumps(document, option=orjson.OPT_INDENT_2))
