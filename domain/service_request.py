"""Service requests: the life cycle from the call to the accepted resolution.

Contract service_requests.md, section 3. The state transitions are the events' ``FROM`` and ``TO``;
their common bases, and the rules on answers, are in `domain.service_request_answers`.
"""

from __future__ import annotations

from uuid import UUID

from domain.aggregate import Aggregate, Attribution, CreationEvent
from domain.diff import apply_diff, diff
from domain.errors import AcceptanceNotRequired, AlreadyAccepted, InvalidLifeCycleState
from domain.fields import JsonObject
from domain.service_request_answers import (
    ANSWER_STATES,
    OPEN,
    PROGRESSION,
    AnswerAccepted,
    AnswerGiven,
    AnswerReplaced,
    Answers,
    AnswerWithdrawn,
    check_acceptance,
    event_of,
    is_accepted,
)
from domain.service_request_fields import PERSONAL
from domain.service_request_items import SetItemAdded, SetItemChanged, SetItemRemoved, check_item

__all__ = ["ServiceRequest"]


class ServiceRequest(Aggregate):
    """A request of a customer.

    ``contact_information`` is the caller, ``details`` holds the passive fields, ``answers`` the
    response and resolutions by name, ``sets`` the services, goods and relations by set.
    """

    TOPIC = "service_request"

    def __init__(self) -> None:
        super().__init__()
        self.number = ""
        self.type = ""
        self.accounts_receivable = ""
        self.contact_information = ""
        self.status = ""
        self.details: JsonObject = {}
        self.answers: dict[str, JsonObject] = {}
        self.sets: dict[str, list[JsonObject]] = {}
        self.cancellation_reason: str | None = None
        self.completed_date: str | None = None

    class Event(Aggregate.Event):
        """The base of the events of a service request."""

    class Opened(Event, CreationEvent):
        """A customer's request was registered; ``status`` as in the answers that may follow."""

        TOPIC = "service_request.opened"
        TO = "PENDING"
        PERSONAL = {"details": PERSONAL}
        number: str
        type: str
        accounts_receivable: str
        contact_information: str
        status: str | None
        details: JsonObject

        def apply_to(self, aggregate: ServiceRequest) -> None:
            aggregate.number, aggregate.type = self.number, self.type
            aggregate.accounts_receivable = self.accounts_receivable
            aggregate.contact_information = self.contact_information
            aggregate.status = self.status or ""
            aggregate.details = self.details

    class Amended(Event):
        """Passive fields changed; nested objects name only the keys that changed."""

        TOPIC = "service_request.amended"
        FROM = OPEN
        PERSONAL = {"changes": PERSONAL}
        changes: JsonObject

        def apply_to(self, aggregate: ServiceRequest) -> None:
            aggregate.details = apply_diff(aggregate.details, self.changes)

    class ItemAdded(Event, SetItemAdded):
        """A service, a physical good or a relation was added."""

        TOPIC = "service_request.item_added"
        FROM = OPEN

    class ItemChanged(Event, SetItemChanged):
        """The description of a relation changed."""

        TOPIC = "service_request.item_changed"
        FROM = OPEN

    class ItemRemoved(Event, SetItemRemoved):
        """A service, a physical good or a relation was removed."""

        TOPIC = "service_request.item_removed"
        FROM = OPEN

    class StatusChanged(Event):
        """Another status of the same state was set."""

        TOPIC = "service_request.status_changed"
        FROM = OPEN
        status: str

        def apply_to(self, aggregate: ServiceRequest) -> None:
            aggregate.status = self.status

    class Responded(Event, AnswerGiven):
        """The customer was given a first response."""

        NAME = "response"
        TOPIC = "service_request.responded"
        FROM = ("PENDING",)
        TO = "RESPONDED"

    class ResponseReplaced(Event, AnswerReplaced):
        """Another response took the place of the former one."""

        NAME = "response"
        TOPIC = "service_request.response_replaced"
        FROM = ("RESPONDED", "TEMPORARY_RESOLVED", "FINAL_RESOLVED")

    class ResponseAccepted(Event, AnswerAccepted):
        """The response was accepted for the customer."""

        NAME = "response"
        TOPIC = "service_request.response_accepted"
        FROM = ("RESPONDED",)

    class TemporarilyResolved(Event, AnswerGiven):
        """The customer was helped for the time being."""

        NAME = "temporary_resolution"
        TOPIC = "service_request.temporarily_resolved"
        FROM = ("RESPONDED",)
        TO = "TEMPORARY_RESOLVED"

    class TemporaryResolutionReplaced(Event, AnswerReplaced):
        """Another temporary resolution took the place of the former one, if there was one."""

        NAME = "temporary_resolution"
        TOPIC = "service_request.temporary_resolution_replaced"
        FROM = ("TEMPORARY_RESOLVED", "FINAL_RESOLVED")

    class TemporaryResolutionWithdrawn(Event, AnswerWithdrawn):
        """The temporary resolution was taken back, as the final one makes it unnecessary."""

        NAME = "temporary_resolution"
        TOPIC = "service_request.temporary_resolution_withdrawn"
        FROM = ("FINAL_RESOLVED",)

    class TemporaryResolutionAccepted(Event, AnswerAccepted):
        """The temporary resolution was accepted for the customer."""

        NAME = "temporary_resolution"
        TOPIC = "service_request.temporary_resolution_accepted"
        FROM = ("TEMPORARY_RESOLVED",)

    class FinallyResolved(Event, AnswerGiven):
        """The customer was helped for good."""

        NAME = "final_resolution"
        TOPIC = "service_request.finally_resolved"
        FROM = ("RESPONDED", "TEMPORARY_RESOLVED")
        TO = "FINAL_RESOLVED"

    class FinalResolutionReplaced(Event, AnswerReplaced):
        """Another final resolution took the place of the former one."""

        NAME = "final_resolution"
        TOPIC = "service_request.final_resolution_replaced"
        FROM = ("FINAL_RESOLVED",)

    class FinalResolutionAccepted(Event, AnswerAccepted):
        """The final resolution was accepted for the customer."""

        NAME = "final_resolution"
        TOPIC = "service_request.final_resolution_accepted"
        FROM = ("FINAL_RESOLVED",)

    class Completed(Event):
        """Nothing was left to do."""

        TOPIC = "service_request.completed"
        FROM = ("FINAL_RESOLVED",)
        TO = "COMPLETED"
        status: str
        completed_date: str

        def apply_to(self, aggregate: ServiceRequest) -> None:
            aggregate.status, aggregate.completed_date = self.status, self.completed_date

    class Cancelled(Event):
        """The request was withdrawn before anybody responded."""

        TOPIC = "service_request.cancelled"
        FROM = ("PENDING",)
        TO = "CANCELLED"
        status: str
        cancellation_reason: str

        def apply_to(self, aggregate: ServiceRequest) -> None:
            aggregate.status = self.status
            aggregate.cancellation_reason = self.cancellation_reason

    @property
    def data_subject(self) -> UUID:
        return UUID(self.contact_information)

    def require_next_state(self, to: str) -> None:
        """Raises `InvalidLifeCycleState` unless one step leads to the state ``to``, or stays there."""
        origins = [state for event in self.event_types if to == event.TO for state in event.FROM]
        self.require(*origins, *((to,) if to in ANSWER_STATES.values() else ()))

    def require_reachable(self, to: str) -> None:
        """Raises `InvalidLifeCycleState` for a step back, and for any step from a final state."""
        self.require(*OPEN)
        if to in PROGRESSION and PROGRESSION.index(to) < PROGRESSION.index(self.state):
            raise InvalidLifeCycleState

    def amend(self, details: JsonObject, by: Attribution) -> None:
        """Changes the passive fields that differ."""
        changes = diff(self.details, details)
        if changes:
            self.raise_event(self.Amended, by, changes=changes)

    def add_item(self, set_name: str, item: JsonObject, by: Attribution, path: str) -> None:
        """Adds a complete item; ``path`` is its parameter path. Raises what `check_item` does."""
        check_item(self.id, set_name, self.sets.get(set_name, ()), item, path)
        self.raise_event(self.ItemAdded, by, set_name=set_name, item=item)

    def change_item(
        self, set_name: str, item: JsonObject, changes: JsonObject, by: Attribution
    ) -> None:
        """Changes the fields of an item that differ."""
        changes = diff(item, changes)
        payload = {"set_name": set_name, "item_id": item["id"], "changes": changes}
        if changes:
            self.raise_event(self.ItemChanged, by, **payload)

    def remove_item(self, set_name: str, item: JsonObject, by: Attribution) -> None:
        """Removes an item."""
        self.raise_event(self.ItemRemoved, by, set_name=set_name, item_id=item["id"])

    def advance(self, to: str, status: str, answers: Answers, now: str, by: Attribution) -> None:
        """Gives, replaces and withdraws answers, and advances to the state ``to`` with ``status``.

        ``now`` becomes the date of completion where that completes it. Raises what
        `require_reachable` and `check_acceptance` do.
        """
        self.require_reachable(to)
        check_acceptance(to, self.answers, answers)
        for name, state in ANSWER_STATES.items():
            answer = answers.get(name)
            if answer and answer != self.answers.get(name):
                self._answer(name, answer, status if to == state else None, by)
        for name in [name for name in self.answers if answers.get(name, {}) is None]:
            self.raise_event(event_of(AnswerWithdrawn, name), by)
        if to == "COMPLETED":
            self.raise_event(self.Completed, by, status=status, completed_date=now)
        elif status != self.status:
            self.raise_event(self.StatusChanged, by, status=status)

    def _answer(self, name: str, answer: JsonObject, status: str | None, by: Attribution) -> None:
        if PROGRESSION.index(self.state) >= PROGRESSION.index(ANSWER_STATES[name]):
            self.raise_event(event_of(AnswerReplaced, name), by, answer=answer)
        else:
            self.raise_event(event_of(AnswerGiven, name), by, answer=answer, status=status)

    def check_acceptable(self, name: str) -> None:
        """Refuses an answer that needs no acceptance, cannot be accepted now, or already is (3)."""
        self.require(ANSWER_STATES[name])
        if not self.answers[name]["acceptance_required"]:
            raise AcceptanceNotRequired(name)
        if is_accepted(self.answers[name]):
            raise AlreadyAccepted(name)

    def accept(self, name: str, accepted_by: str, accepted_date: str, by: Attribution) -> None:
        """Records that an answer was accepted. Raises what `check_acceptable` does."""
        self.check_acceptable(name)
        self.raise_event(
            event_of(AnswerAccepted, name), by, accepted_by=accepted_by, accepted_date=accepted_date
        )

    def cancel(self, status: str, reason: str, by: Attribution) -> None:
        """Withdraws it before anybody has responded."""
        self.raise_event(self.Cancelled, by, status=status, cancellation_reason=reason)
