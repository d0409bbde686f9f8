"""Authorisation of auditors, and the ledger in which every reading is an event itself.

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
from domain.reference.organisation import AUDITOR
from services.context import CallContext, SessionRow
from services.ids import new_id
from services.pipeline.dispatcher import Dispatcher
from services.pipeline.request import Request
from services.pipeline.unit_of_work import UnitOfWork
from services.ports import EventStore

__all__ = [
    "AuditAccess",
    "AuditReader",
    "AuthorizedReader",
    "TerminalReader",
    "access_ledger",
]


def access_ledger(organisation: str) -> str:
    """The id of the ledger in which readings of an organisation's history are events."""
    return f"{organisation}~access"


class AuditReader(Protocol):
    """A reader of an organisation's history."""

    @property
    def organisation(self) -> str:
        """The id of the organisation."""

    @property
    def context(self) -> CallContext:
        """The set-up of the organisation."""

    @property
    def actor(self) -> Attribution:
        """The user, the unit and the time."""

    @property
    def metadata(self) -> JsonObject:
        """The metadata of the event that records a reading."""


@dataclass(frozen=True, slots=True)
class AuthorizedReader:
    """A session whose user has the required role, with the organisation's set-up."""

    organisation: str
    session: SessionRow
    context: CallContext
    request: Request

    @property
    def actor(self) -> Attribution:
        """The user, the unit and the time."""
        return Attribution(self.context.now, self.session.user, self.session.unit)

    @property
    def metadata(self) -> JsonObject:
        """The user, the unit and the time, with the session and the request."""
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
    """An operator who reads with a command, without the service; ``source`` is the command."""

    context: CallContext
    source: str

    @property
    def organisation(self) -> str:
        """The id of the organisation."""
        return self.context.directory.organisation

    @property
    def actor(self) -> Attribution:
        """The time; an operator at a terminal is not a user."""
        return Attribution(self.context.now)

    @property
    def metadata(self) -> JsonObject:
        """The time and the command."""
        return {"at": self.context.now.isoformat(), "source": self.source}


class AuditAccess:
    """Authorises readers of history and records what they read."""

    def __init__(self, store: EventStore, dispatcher: Dispatcher, zone: ZoneInfo) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._zone = zone

    async def authorize(
        self, token: object, request: Request, role: str = AUDITOR
    ) -> AuthorizedReader:
        """The session of a token.

        Raises `InvalidToken`, `TokenExpired`, and `AccessDenied` if its user lacks the role.
        """
        authenticated = await self._dispatcher.session(token)
        user = authenticated.context.directory.fields("user", authenticated.session.user)
        if authenticated.session.customer or role not in (user.get("roles") or ()):
            raise AccessDenied
        return AuthorizedReader(
            authenticated.organisation, authenticated.session, authenticated.context, request
        )

    async def record_reading(self, reader: AuditReader, method: str, about: JsonObject) -> None:
        """Records a reading that is about to happen; it is durable when this returns.

        :param about: ids and positions, never personal data.
        Raises `ServiceUnavailable`; then nothing must be shown.
        """
        access = Access.create(Access.Read, reader.actor, id=new_id(), method=method, about=about)
        unit_of_work = UnitOfWork(reader.context.directory, self._zone)
        unit_of_work.collect([access])
        commit = unit_of_work.to_commit(self._store, reader.metadata)
        result = await self._store.append(access_ledger(reader.organisation), commit)
        if result.name != "WRITTEN":
            raise ServiceUnavailable("the reading could not be recorded", retry_after=1)
