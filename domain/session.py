"""Sessions: what a login begins and a release ends (contract authentication.md, section 2)."""

from __future__ import annotations

from domain.aggregate import Aggregate, Beginning, Stamp

__all__ = ["Session"]


class Session(Aggregate):
    """One session of a user; its id is the token's ``jti``."""

    TOPIC = "session"

    def __init__(self) -> None:
        super().__init__()
        self.user = ""
        self.unit = ""
        self.expires_at = 0

    class Event(Aggregate.Event):
        """What happens to a session."""

    class Issued(Event, Beginning):
        """A login succeeded; ``expires_at`` is in seconds since 1970 UTC."""

        TOPIC = "session.issued"
        TO = "OPEN"
        session_user: str
        session_unit: str
        expires_at: int

        def change(self, aggregate: Session) -> None:
            aggregate.user, aggregate.unit = self.session_user, self.session_unit
            aggregate.expires_at = self.expires_at

    class Released(Event):
        """The session was ended before its time."""

        TOPIC = "session.released"
        FROM = ("OPEN",)
        TO = "RELEASED"

    def release(self, by: Stamp) -> None:
        """Ends the session."""
        self.record(self.Released, by)
