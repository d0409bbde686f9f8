"""Sessions: they begin with a login and end with a release (contract authentication.md, section 2)."""

from __future__ import annotations

from collections.abc import Mapping

from domain.aggregate import Aggregate, Attribution, CreationEvent

__all__ = ["Session"]


class Session(Aggregate):
    """One session of a user; its id is the token's ``jti``.

    ``epochs`` are the session epochs, as they were at the login, of all that the session needs, by
    ``kind/id``: once one of them passes, the session has ended for good. ``consumer`` is empty, or holds
    the ids of the ``access_token`` that a consumer presented, of the ``account`` to which it led, and of
    the ``contact`` that owns it.
    """

    TOPIC = "session"

    def __init__(self) -> None:
        super().__init__()
        self.user = ""
        self.unit = ""
        self.expires_at = 0
        self.epochs: Mapping[str, int] = {}
        self.consumer: Mapping[str, str] = {}

    class Event(Aggregate.Event):
        """The base of the events of a session."""

    class Issued(Event, CreationEvent):
        """A login succeeded; ``expires_at`` is in seconds since 1970 UTC."""

        TOPIC = "session.issued"
        TO = "OPEN"
        session_user: str
        session_unit: str
        expires_at: int
        epochs: dict[str, int]

        def apply_to(self, aggregate: Session) -> None:
            aggregate.user, aggregate.unit = self.session_user, self.session_unit
            aggregate.expires_at, aggregate.epochs = self.expires_at, self.epochs

    class IssuedToConsumer(Issued):
        """A customer has logged in with an access token, through the user of an application."""

        TOPIC = "session.issued_to_consumer"
        access_token: str
        account: str
        contact: str

        def apply_to(self, aggregate: Session) -> None:
            super().apply_to(aggregate)
            aggregate.consumer = {
                "access_token": self.access_token,
                "account": self.account,
                "contact": self.contact,
            }

    class Released(Event):
        """The session was ended before its time."""

        TOPIC = "session.released"
        FROM = ("OPEN",)
        TO = "RELEASED"

    def release(self, by: Attribution) -> None:
        """Ends the session."""
        self.raise_event(self.Released, by)
