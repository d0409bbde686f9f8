"""The access log of audit history: each reading is an event, in a ledger of its own."""

from __future__ import annotations

from domain.aggregate import Aggregate, CreationEvent
from domain.fields import JsonObject

__all__ = ["Access"]


class Access(Aggregate):
    """One reading of an organisation's history by an auditor."""

    TOPIC = "access"

    def __init__(self) -> None:
        super().__init__()
        self.method = ""
        self.about: JsonObject = {}

    class Event(Aggregate.Event):
        """The base of the events of a reading."""

    class Read(Event, CreationEvent):
        """History was read: by which audit method, and ``about`` what (ids and positions only)."""

        TOPIC = "access.read"
        TO = "DONE"
        method: str
        about: JsonObject

        def apply_to(self, aggregate: Access) -> None:
            aggregate.method, aggregate.about = self.method, self.about
