"""Operators' changes of sessions and access tokens, each change an event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.access_token import AccessToken
from domain.aggregate import Aggregate, Attribution
from domain.errors import EntityNotFound
from domain.identifiers import Identifier, normalised
from domain.reference.records import Record
from domain.session import Session
from services.context import CallContext, ContextQuery
from services.ids import format_id, record_stream_id
from services.pipeline.command_runner import update_aggregate
from services.pipeline.shown_secrets import GUESSED, secret_owner
from services.pipeline.tenancy import load_context_by_name
from services.ports import EventStore, Organisations
from services.reference_cache import ReferenceCache
from services.side_effects import ResetGuesses, SideEffect

__all__ = ["Operator", "find_user"]


class OperatorStore(Organisations, EventStore, Protocol):
    """The ports that operators use."""


class Operator:
    """Ends sessions and resets the tries of guessing secrets.

    The parameter ``source`` of each method names the operator, for the metadata of the event.
    """

    def __init__(self, store: OperatorStore, zone: ZoneInfo) -> None:
        self._store = store
        self.zone = zone

    async def release_session(self, organisation: str, session_id: str, source: str) -> None:
        """End a session at once.

        Raises `EntityNotFound` naming what is missing, `InvalidLifeCycleState` if it has ended.
        """
        context = await self.context(organisation)
        try:
            stream = UUID(session_id)
        except ValueError as error:
            raise EntityNotFound("session") from error

        def release(session: Aggregate, by: Attribution) -> Iterable[SideEffect]:
            if not isinstance(session, Session):
                raise EntityNotFound("session")
            session.release(by)
            return ()

        await update_aggregate(self._store, self.zone, context, stream, release, source, "session")

    async def end_sessions(self, organisation: str, user: str, source: str) -> None:
        """End all sessions of a user for good, at once.

        :param user: the id or username. Raises `EntityNotFound`.
        """
        await self._raise_event(organisation, user, Record.SessionsEnded, source)

    async def forgive_guesses(self, organisation: str, number: str, source: str) -> None:
        """Reset the tries of the secrets of an access token, from all sources.

        :param number: the token's number. Raises `EntityNotFound`.
        """
        identifier = Identifier(
            "access_token", "number", normalised("number", number), "access_token"
        )
        context = await self.context(organisation, identifier)
        if not context.matches[0]:
            raise EntityNotFound("access_token")

        def forgive(token: Aggregate, by: Attribution) -> Iterable[SideEffect]:
            token.raise_event(AccessToken.GuessesForgiven, by)
            owner = secret_owner(format_id(token.id))
            return [ResetGuesses(f"{owner}/{name}") for name in GUESSED]

        stream = UUID(context.matches[0][0].id)
        await update_aggregate(
            self._store, self.zone, context, stream, forgive, source, "access_token"
        )

    async def forgive_user(self, organisation: str, user: str, source: str) -> None:
        """Reset the tries of a user's password, from all sources.

        :param user: the id or username. Raises `EntityNotFound`.
        """
        await self._raise_event(organisation, user, Record.GuessesForgiven, source)

    async def _raise_event(
        self, organisation: str, user: str, event: type[Record.Event], source: str
    ) -> None:
        """Let the record of a user have an event, which also lifts the waits if it says so."""
        context = await self.context(organisation)
        id_ = find_user(context.directory, user)

        def change(record: Aggregate, by: Attribution) -> Iterable[SideEffect]:
            record.raise_event(event, by)
            is_forgiven = event is Record.GuessesForgiven
            return [ResetGuesses(f"user/{id_}/password")] if is_forgiven else []

        stream = record_stream_id(context.directory.organisation, "user", id_)
        await update_aggregate(self._store, self.zone, context, stream, change, source, "user")

    async def context(self, organisation: str, *identifiers: Identifier) -> CallContext:
        """Return the context of an organisation, by its name. Raises `EntityNotFound`."""
        context = await load_context_by_name(
            self._store, organisation, ContextQuery(identifiers=identifiers)
        )
        if context is None:
            raise EntityNotFound("organisation")
        return context


def find_user(directory: ReferenceCache, name: str) -> str:
    """Return the id of a user, retired or not, who is named by id or username. Raises `EntityNotFound`."""
    if directory.entry("user", name) is not None:
        return name
    username = normalised("username", name, case_insensitive=True)
    matches = directory.matches(Identifier("user", "username", username, "user"))
    if not matches:
        raise EntityNotFound("user")
    return matches[0].id
