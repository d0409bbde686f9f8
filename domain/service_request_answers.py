"""The answers to a service request: a response, a temporary and a final resolution.

Contract service_requests.md, section 3. Each of these answers begins a life cycle state. If its
category requires it, the customer has to accept it before the next step; the answer records that
when it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from domain.aggregate import EVENTS, DomainEvent
from domain.errors import (
    AlreadyAccepted,
    InvalidParameterValue,
    MandatoryParameter,
    PendingAcceptance,
)
from domain.fields import JsonObject

__all__ = [
    "ANSWER_STATES",
    "OPEN",
    "PROGRESSION",
    "AnswerAccepted",
    "AnswerGiven",
    "AnswerReplaced",
    "AnswerWithdrawn",
    "Answers",
    "check_acceptance",
    "check_answers_fit_state",
    "event_of",
    "is_accepted",
    "is_pending",
]

PROGRESSION = ("PENDING", "RESPONDED", "TEMPORARY_RESOLVED", "FINAL_RESOLVED", "COMPLETED")
"""The states in their order; the third one may be skipped."""

OPEN = PROGRESSION[:-1]
"""The states in which a service request can still be changed."""

ANSWER_STATES = dict(
    zip(("response", "temporary_resolution", "final_resolution"), PROGRESSION[1:4], strict=True)
)
"""The state that each answer begins."""

Answers = Mapping[str, JsonObject | None]
"""Answers by name; None for one that is not given, or withdrawn."""


class AnswerGiven(DomainEvent):
    """The customer was given an answer.

    ``status`` is None where further steps followed at once: only the last one has a status.
    ``answer["acceptance_required"]`` is true if the customer has to accept it.
    """

    NAME: ClassVar[str] = ""
    PERSONAL = {"answer": frozenset({"description"})}
    status: str | None
    answer: JsonObject

    def apply_to(self, aggregate: Any) -> None:
        aggregate.answers = aggregate.answers | {self.NAME: self.answer}
        aggregate.status = self.status or aggregate.status


class AnswerReplaced(DomainEvent):
    """An answer replaced one that was not accepted, if there was one."""

    NAME: ClassVar[str] = ""
    PERSONAL = {"answer": frozenset({"description"})}
    answer: JsonObject

    def apply_to(self, aggregate: Any) -> None:
        aggregate.answers = aggregate.answers | {self.NAME: self.answer}


class AnswerWithdrawn(DomainEvent):
    """An answer that was not accepted was taken back."""

    NAME: ClassVar[str] = ""

    def apply_to(self, aggregate: Any) -> None:
        remaining = {
            name: answer for name, answer in aggregate.answers.items() if name != self.NAME
        }
        aggregate.answers = remaining


class AnswerAccepted(DomainEvent):
    """The customer, or somebody on behalf of the customer, accepted an answer."""

    NAME: ClassVar[str] = ""
    accepted_by: str
    accepted_date: str

    def apply_to(self, aggregate: Any) -> None:
        accepted = {"accepted_by": self.accepted_by, "accepted_date": self.accepted_date}
        answer = aggregate.answers[self.NAME] | accepted
        aggregate.answers = aggregate.answers | {self.NAME: answer}


@cache
def event_of(kind: type[DomainEvent], name: str) -> type[DomainEvent]:
    """The event type of that kind (given, replaced, withdrawn, accepted) for the named answer."""
    events = (event for event in EVENTS.values() if issubclass(event, kind))
    return next(event for event in events if getattr(event, "NAME", "") == name)


def is_accepted(answer: JsonObject | None) -> bool:
    """True if an answer requires acceptance and was accepted."""
    return bool(answer and answer["acceptance_required"] and answer.get("accepted_by"))


def is_pending(answer: JsonObject | None) -> bool:
    """True if an answer requires acceptance and was not accepted yet."""
    return bool(answer and answer["acceptance_required"] and not answer.get("accepted_by"))


def check_answers_fit_state(to: str, stored: Answers, new: Answers) -> None:
    """Refuses answers that do not fit the state ``to`` (sections 6.1 and 6.2).

    Raises `MandatoryParameter` for a missing one of the state or of a step on the way to it, and
    `InvalidParameterValue` for one that begins a later state.
    """
    for name, state in ANSWER_STATES.items():
        is_reached = PROGRESSION.index(to) >= PROGRESSION.index(state)
        required = to == state if name == "temporary_resolution" else is_reached
        if required and new.get(name, stored.get(name)) is None:
            raise MandatoryParameter(name)
        if not is_reached and new.get(name) is not None:
            raise InvalidParameterValue(name)


def check_acceptance(to: str, stored: Answers, new: Answers) -> None:
    """Refuses to replace an accepted answer, and to pass one that waits for acceptance.

    Raises `AlreadyAccepted` and `PendingAcceptance` with the name of the answer (section 3).
    """
    for name in new:
        if is_accepted(stored.get(name)):
            raise AlreadyAccepted(name)
    for name, state in ANSWER_STATES.items():
        is_passed = PROGRESSION.index(to) > PROGRESSION.index(state)
        if is_passed and is_pending(new.get(name, stored.get(name))):
            raise PendingAcceptance(name)
