"""A second, naive account of communications and their queue, written from the contract alone.

communications.md, sections 5.1, 8.1, 8.4, 8.6, 9.1, 9.2 and 9.4. Nothing of the service is used.
Each method of `Model` says with which NAME a call is refused, or `OK`, and keeps what it changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Entry", "Message", "Model"]

OK, STATE, MISSING = "OK", "INVALIDLIFECYCLESTATE", "MANDATORYPARAMETER"
VALUE, NOTHING = "INVALIDPARAMETERVALUE", "ENTITYNOTFOUND"
QUEUE = {
    "process": {"PENDING": "COMPLETED", "REJECTED": "COMPLETED", "COMPLETED": "COMPLETED"},
    "reject": {"PENDING": "REJECTED", "REJECTED": "REJECTED"},
    "remove": {"PENDING": "COMPLETED_AND_REMOVED", "COMPLETED": "COMPLETED_AND_REMOVED"},
}
"""State after each call by the state before it; what is not here is refused."""


@dataclass
class Message:
    number: str
    direction: str
    media: str
    to: str | None
    system: str | None
    subject: str
    life_cycle_state: str = "DRAFT"
    viewed: int = 0

    @property
    def from_(self) -> str | None:
        return "info@crm.com" if (self.direction, self.media) == ("OUTGOING", "EMAIL") else None


@dataclass
class Entry:
    number: str
    message: Message
    system: str | None
    life_cycle_state: str = "PENDING"
    error_code: str | None = None


@dataclass
class Model:
    """What the organisation holds, oldest first."""

    messages: list[Message] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def create(self, given: dict[str, Any]) -> str:
        if refused := self._addressed(given["media"], given.get("to")):
            return refused
        number = f"CM{len(self.messages) + 1:06d}"
        message = Message(
            number,
            given["direction"],
            given["media"],
            given.get("to"),
            given.get("system"),
            given["subject"],
        )
        self.messages.append(message)
        if given.get("life_cycle_state") != "DRAFT":
            self._complete(message)
        return OK

    def update(self, number: str, given: dict[str, Any]) -> str:
        if any(name in given and not given[name] for name in ("direction", "media", "subject")):
            return MISSING
        message = self.message(number)
        if message is None:
            return NOTHING
        if message.life_cycle_state != "DRAFT":
            return STATE
        if given and (
            refused := self._addressed(
                given.get("media", message.media), given.get("to", message.to)
            )
        ):
            return refused
        for name in ("direction", "media", "to", "system", "subject"):
            setattr(message, name, given.get(name, getattr(message, name)))
        if given.get("life_cycle_state") == "COMPLETED":
            self._complete(message)
        return OK

    def complete(self, number: str) -> str:
        message = self.message(number)
        if message is None:
            return NOTHING
        if message.life_cycle_state != "DRAFT":
            return STATE
        self._complete(message)
        return OK

    def set_as_viewed(self, number: str) -> str:
        message = self.message(number)
        if message is None:
            return NOTHING
        if message.life_cycle_state != "COMPLETED":
            return STATE
        message.viewed = 1
        return OK

    def on_entry(self, call: str, number: str, error_code: str | None = None) -> str:
        if call == "reject" and not error_code:
            return MISSING
        entry = self.entry(number)
        if entry is None:
            return NOTHING
        after = QUEUE[call].get(entry.life_cycle_state)
        if after is None:
            return STATE
        entry.life_cycle_state = after
        entry.error_code = error_code if call == "reject" else entry.error_code
        return OK

    def listed(self, method: str, media: str | None, system: str | None, count: int) -> list[str]:
        """The numbers that a queue read returns."""
        states = {
            "list": set().union(*(set(after) for after in QUEUE.values()))
            | {"COMPLETED_AND_REMOVED"},
            "get_latest": {"PENDING"},
            "get_pending_completed": {"PENDING", "COMPLETED"},
        }[method]
        found = [
            entry.number
            for entry in self.entries
            if entry.life_cycle_state in states
            and media in (None, entry.message.media)
            and system in (None, entry.system)
        ]
        return (found if method == "list" else found[::-1])[:count]

    def message(self, number: str) -> Message | None:
        return next((m for m in self.messages if m.number == number), None)

    def entry(self, number: str) -> Entry | None:
        return next((e for e in self.entries if e.number == number), None)

    @staticmethod
    def _addressed(media: str, to: str | None) -> str | None:
        if media != "EMAIL":
            return None
        return MISSING if not to else VALUE if to.count("@") != 1 else None

    def _complete(self, message: Message) -> None:
        message.life_cycle_state = "COMPLETED"
        sent = message.media in ("EMAIL", "SMS") or message.system is not None
        if message.direction == "OUTGOING" and sent:
            self.entries.append(Entry(str(len(self.entries) + 1), message, message.system))
