"""What an operator does to sessions and access tokens, each an event like everything else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.access_token import AccessToken
from domain.aggregate import Aggregate, Attribution
from domain.errors import EntityNotFound
from domain.identifiers import Identifier, normalised
from domain.session import Session
from services.context import CallContext, ContextQuery
from services.ids import format_id
from services.pipeline.command_runner import update_aggregate
from services.pipeline.shown_secrets import GUESSED, secret_owner
from services.pipeline.tenancy import load_context_by_name
from services.ports import EventStore, Organisations
from services.side_effects import ResetGuesses, SideEffect

__all__ = ["Operator"]


class OperatorStore(Organisations, EventStore, Protocol):
    """What operators change."""


class Operator:
    """Ends sessions and lifts the waits after wrong guesses.

    :param source: in each method, who asks, for the metadata of the event.
    """

    def __init__(self, ledger: OperatorStore, zone: ZoneInfo) -> None:
        self._ledger = ledger
        self.zone = zone

    async def release_session(self, organisation: str, session_id: str, source: str) -> None:
        """Ends a session at once.

        Raises `EntityNotFound` naming what there is not, `InvalidLifeCycleState` if it has ended.
        """
        told = await self.context(organisation)
        try:
            stream = UUID(session_id)
        except ValueError as error:
            raise EntityNotFound("session") from error

        def release(session: Aggregate, by: Attribution) -> Iterable[SideEffect]:
            if not isinstance(session, Session):
                raise EntityNotFound("session")
            session.release(by)
            return ()

        await update_aggregate(self._ledger, self.zone, told, stream, release, source, "session")

    async def forgive_guesses(self, organisation: str, number: str, source: str) -> None:
        """Lets the secrets of an access token be tried again at once, from everywhere.

        :param number: the token's number. Raises `EntityNotFound`.
        """
        named = Identifier("access_token", "number", normalised("number", number), "access_token")
        told = await self.context(organisation, named)
        if not told.matches[0]:
            raise EntityNotFound("access_token")

        def forgive(token: Aggregate, by: Attribution) -> Iterable[SideEffect]:
            token.raise_event(AccessToken.GuessesForgiven, by)
            owner = secret_owner(format_id(token.id))
            return [ResetGuesses(f"{owner}/{name}") for name in GUESSED]

        stream = UUID(told.matches[0][0].id)
        await update_aggregate(
            self._ledger, self.zone, told, stream, forgive, source, "access_token"
        )

    async def context(self, organisation: str, *named: Identifier) -> CallContext:
        """What the ledger knows of an organisation. Raises `EntityNotFound`."""
        told = await load_context_by_name(
            self._ledger, organisation, ContextQuery(identifiers=named)
        )
        if told is None:
            raise EntityNotFound("organisation")
        return told
