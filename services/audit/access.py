"""Who may read history, and the ledger in which every reading is an event itself.

The access ledger of an organisation is a ledger like every other, with positions, hashes and seals
of its own; its id is the organisation's with a suffix that no organisation's id can have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from zoneinfo import ZoneInfo

from domain.aggregate import Attribution
from domain.errors import AccessDenied, ServiceUnavailable
from domain.fields import JsonObject
from domain.history_access import Access
from services.context import CallContext, SessionRow
from services.ids import new_id
from services.pipeline.dispatcher import Dispatcher
from services.pipeline.request import Request
from services.pipeline.unit_of_work import UnitOfWork
from services.ports import EventStore

__all__ = [
    "AUDITOR",
    "OPERATOR",
    "AuditAccess",
    "AuditReader",
    "AuthorizedReader",
    "TerminalReader",
    "access_ledger",
]

AUDITOR, OPERATOR = "auditor", "operator"
"""Roles of a user's record (contract reference_entities.md, section 3.10)."""


def access_ledger(organisation: str) -> str:
    """The id of the ledger in which readings of an organisation's history are events."""
    return f"{organisation}~access"


class AuditReader(Protocol):
    """Who reads an organisation's history."""

    @property
    def organisation(self) -> str:
        """The id of the organisation."""

    @property
    def context(self) -> CallContext:
        """What the ledger knows of it."""

    @property
    def actor(self) -> Attribution:
        """Who acts, and when."""

    @property
    def metadata(self) -> JsonObject:
        """The same, as the event of the reading carries it."""


@dataclass(frozen=True, slots=True)
class AuthorizedReader:
    """A session whose user has the role that is needed, with the organisation's set-up."""

    organisation: str
    session: SessionRow
    context: CallContext
    request: Request

    @property
    def actor(self) -> Attribution:
        """Who acts, and when."""
        return Attribution(self.context.now, self.session.user, self.session.unit)

    @property
    def metadata(self) -> JsonObject:
        """The same, with the session and the request."""
        request = self.request
        return {
            "at": self.context.now.isoformat(),
            "user": self.session.user,
            "unit": self.session.unit,
            "session": self.session.id,
            "request": request.request_id,
            "correlation": request.correlation_id or request.request_id,
            "client": request.client,
        }


@dataclass(frozen=True, slots=True)
class TerminalReader:
    """An operator who reads with the program, beside the service; ``source`` is the command."""

    context: CallContext
    source: str

    @property
    def organisation(self) -> str:
        """The id of the organisation."""
        return self.context.directory.organisation

    @property
    def actor(self) -> Attribution:
        """Nobody who is known by name, and when."""
        return Attribution(self.context.now)

    @property
    def metadata(self) -> JsonObject:
        """When, and with which command."""
        return {"at": self.context.now.isoformat(), "source": self.source}


class AuditAccess:
    """Admits readers of history and records what they read."""

    def __init__(self, store: EventStore, dispatcher: Dispatcher, zone: ZoneInfo) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._zone = zone

    async def authorize(
        self, token: object, request: Request, role: str = AUDITOR
    ) -> AuthorizedReader:
        """The session of a token. Raises `InvalidToken`, `TokenExpired`, and `AccessDenied` if its
        user has not got the role."""
        authenticated = await self._dispatcher.session(token)
        user = authenticated.told.directory.fields("user", authenticated.session.user)
        if authenticated.session.customer or role not in (user.get("roles") or ()):
            raise AccessDenied
        return AuthorizedReader(
            authenticated.organisation, authenticated.session, authenticated.told, request
        )

    async def record(self, reader: AuditReader, method: str, about: JsonObject) -> None:
        """Records a reading that is about to happen; it is durable when this returns.

        :param about: ids and positions, never what belongs to a person.
        Raises `ServiceUnavailable`, and then nothing must be shown.
        """
        access = Access.create(Access.Read, reader.actor, id=new_id(), method=method, about=about)
        unit_of_work = UnitOfWork(reader.context.directory, self._zone)
        unit_of_work.collect([access])
        commit = unit_of_work.to_commit(self._store, reader.metadata)
        result = await self._store.append(access_ledger(reader.organisation), commit)
        if result.name != "WRITTEN":
            raise ServiceUnavailable("the reading could not be recorded", retry_after=1)
