"""Who may read history, and the ledger in which every reading is a fact itself.

The access ledger of an organisation is a ledger like every other, with positions, hashes and seals
of its own; its id is the organisation's with a suffix that no organisation's id can have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from zoneinfo import ZoneInfo

from domain.aggregate import Stamp
from domain.errors import AccessDenied, ServiceUnavailable
from domain.fields import Values
from domain.history_access import Access
from services.context import Loaded, Session, Told
from services.ids import new_id
from services.pipeline.dispatcher import Runner
from services.pipeline.request import Request
from services.pipeline.unit_of_work import Draft
from services.ports import Ledger

__all__ = ["AUDITOR", "OPERATOR", "Admitted", "AtTerminal", "Auditing", "Reader", "access_ledger"]

AUDITOR, OPERATOR = "auditor", "operator"
"""Roles of a user's record (contract reference_entities.md, section 3.10)."""


def access_ledger(organisation: str) -> str:
    """The id of the ledger in which readings of an organisation's history are facts."""
    return f"{organisation}~access"


class Reader(Protocol):
    """Who reads an organisation's history."""

    @property
    def organisation(self) -> str:
        """The id of the organisation."""

    @property
    def told(self) -> Told:
        """What the ledger knows of it."""

    @property
    def by(self) -> Stamp:
        """Who acts, and when."""

    @property
    def metadata(self) -> Values:
        """The same, as the fact of the reading carries it."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A session whose user has the role that is needed, with the organisation's set-up."""

    organisation: str
    session: Session
    told: Told
    request: Request

    @property
    def by(self) -> Stamp:
        """Who acts, and when."""
        return Stamp(self.told.now, self.session.user, self.session.unit)

    @property
    def metadata(self) -> Values:
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
class AtTerminal:
    """An operator who reads with the program, beside the service; ``source`` is the command."""

    told: Told
    source: str

    @property
    def organisation(self) -> str:
        """The id of the organisation."""
        return self.told.directory.organisation

    @property
    def by(self) -> Stamp:
        """Nobody who is known by name, and when."""
        return Stamp(self.told.now)

    @property
    def metadata(self) -> Values:
        """When, and with which command."""
        return {"at": self.told.now.isoformat(), "source": self.source}


class Auditing:
    """Admits readers of history and records what they read."""

    def __init__(self, ledger: Ledger, runner: Runner, zone: ZoneInfo) -> None:
        self._ledger = ledger
        self._runner = runner
        self._zone = zone

    async def admit(self, token: object, request: Request, role: str = AUDITOR) -> Admitted:
        """The session of a token. Raises `InvalidToken`, `TokenExpired`, and `AccessDenied` if its
        user has not got the role."""
        found = await self._runner.session(token)
        user = found.told.directory.fields("user", found.session.user)
        if found.session.customer or role not in (user.get("roles") or ()):
            raise AccessDenied
        return Admitted(found.organisation, found.session, found.told, request)

    async def record(self, reader: Reader, method: str, about: Values) -> None:
        """Records a reading that is about to happen; it is durable when this returns.

        :param about: ids and positions, never what belongs to a person.
        Raises `ServiceUnavailable`, and then nothing must be shown.
        """
        access = Access.begin(Access.Read, reader.by, id=new_id(), method=method, about=about)
        draft = Draft(reader.told.directory, self._zone, Loaded())
        draft.collect([access])
        change = draft.change(self._ledger, reader.metadata)
        verdict = await self._ledger.append(access_ledger(reader.organisation), change)
        if verdict.name != "WRITTEN":
            raise ServiceUnavailable("the reading could not be recorded", retry_after=1)
