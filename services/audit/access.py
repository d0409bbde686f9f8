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
    def told(self) -> CallContext:
        """What the ledger knows of it."""

    @property
    def by(self) -> Attribution:
        """Who acts, and when."""

    @property
    def metadata(self) -> JsonObject:
        """The same, as the event of the reading carries it."""


@dataclass(frozen=True, slots=True)
class AuthorizedReader:
    """A session whose user has the role that is needed, with the organisation's set-up."""

    organisation: str
    session: SessionRow
    told: CallContext
    request: Request

    @property
    def by(self) -> Attribution:
        """Who acts, and when."""
        return Attribution(self.told.now, self.session.user, self.session.unit)

    @property
    def metadata(self) -> JsonObject:
        """The same, with the session and the request."""
        request = self.request
        return {
            "at": self.told.now.isoformat(),
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

    told: CallContext
    source: str

    @property
    def organisation(self) -> str:
        """The id of the organisation."""
        return self.told.directory.organisation

    @property
    def by(self) -> Attribution:
        """Nobody who is known by name, and when."""
        return Attribution(self.told.now)

    @property
    def metadata(self) -> JsonObject:
        """When, and with which command."""
        return {"at": self.told.now.isoformat(), "source": self.source}


class AuditAccess:
    """Admits readers of history and records what they read."""

    def __init__(self, ledger: EventStore, runner: Dispatcher, zone: ZoneInfo) -> None:
        self._ledger = ledger
        self._runner = runner
        self._zone = zone

    async def authorize(
        self, token: object, request: Request, role: str = AUDITOR
    ) -> AuthorizedReader:
        """The session of a token. Raises `InvalidToken`, `TokenExpired`, and `AccessDenied` if its
        user has not got the role."""
        found = await self._runner.session(token)
        user = found.context.directory.fields("user", found.session.user)
        if found.session.customer or role not in (user.get("roles") or ()):
            raise AccessDenied
        return AuthorizedReader(found.organisation, found.session, found.context, request)

    async def record(self, reader: AuditReader, method: str, about: JsonObject) -> None:
        """Records a reading that is about to happen; it is durable when this returns.

        :param about: ids and positions, never what belongs to a person.
        Raises `ServiceUnavailable`, and then nothing must be shown.
        """
        access = Access.create(Access.Read, reader.by, id=new_id(), method=method, about=about)
        draft = UnitOfWork(reader.told.directory, self._zone)
        draft.collect([access])
        change = draft.to_commit(self._ledger, reader.metadata)
        verdict = await self._ledger.append(access_ledger(reader.organisation), change)
        if verdict.name != "WRITTEN":
            raise ServiceUnavailable("the reading could not be recorded", retry_after=1)
