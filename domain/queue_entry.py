"""Entries of the sending queue (contract communications.md, section 9)."""

from __future__ import annotations

from uuid import UUID

from domain.aggregate import Aggregate, Attribution, CreationEvent
from domain.scalar_fields import NOTES, Enumeration, Text

__all__ = ["ENTRY_STATE", "ERROR_CODE", "ERROR_DESCRIPTION", "QueueEntry"]

ENTRY_STATE = Enumeration(
    name="life_cycle_state",
    allowed=("PENDING", "REJECTED", "COMPLETED", "COMPLETED_AND_REMOVED"),
)
ERROR_CODE = Text(name="error_code")
ERROR_DESCRIPTION = Text(name="error_description", max_length=NOTES, personal=True)


class QueueEntry(Aggregate):
    """One outgoing communication on its way; the communication itself never changes by it."""

    TOPIC = "queue_entry"

    def __init__(self) -> None:
        super().__init__()
        self.number = ""
        self.communication = ""
        self.contact_information = ""
        self.media = ""
        self.external_system: str | None = None
        self.error_code: str | None = None
        self.error_description: str | None = None

    class Event(Aggregate.Event):
        """The base of the events of a queue entry."""

    class Queued(Event, CreationEvent):
        """An outgoing communication became final and waits to be sent."""

        TOPIC = "queue_entry.queued"
        TO = "PENDING"
        number: str
        communication: str
        contact_information: str
        media: str
        external_system: str | None

        def apply_to(self, aggregate: QueueEntry) -> None:
            aggregate.number, aggregate.communication = self.number, self.communication
            aggregate.contact_information, aggregate.media = self.contact_information, self.media
            aggregate.external_system = self.external_system

    class Processed(Event):
        """The message was sent; said again, it only shows who said it last."""

        TOPIC = "queue_entry.processed"
        FROM = ("PENDING", "REJECTED", "COMPLETED")
        TO = "COMPLETED"

    class Rejected(Event):
        """The message could not be sent; the last error counts."""

        TOPIC = "queue_entry.rejected"
        FROM = ("PENDING", "REJECTED")
        TO = "REJECTED"
        PERSONAL = {"error_description": None}
        error_code: str
        error_description: str

        def apply_to(self, aggregate: QueueEntry) -> None:
            aggregate.error_code = self.error_code
            aggregate.error_description = self.error_description

    class Removed(Event):
        """The entry was taken off the list of what readers still show."""

        TOPIC = "queue_entry.removed"
        FROM = ("PENDING", "COMPLETED")
        TO = "COMPLETED_AND_REMOVED"

    @property
    def data_subject(self) -> UUID:
        return UUID(self.contact_information)

    def process(self, by: Attribution) -> None:
        """Records that the message was sent."""
        self.raise_event(self.Processed, by)

    def reject(self, error_code: str, error_description: str, by: Attribution) -> None:
        """Records that the message could not be sent, and why."""
        self.raise_event(
            self.Rejected, by, error_code=error_code, error_description=error_description
        )

    def remove(self, by: Attribution) -> None:
        """Takes the entry off the list."""
        self.raise_event(self.Removed, by)
