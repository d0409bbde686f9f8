"""A second, naive account of service requests, written from the contract alone.

service_requests.md, sections 3 to 6 and 8, in the terms of `tests.fixtures.service_requests`. Nothing of
the service is used. Each method of `Model` says with which NAME a call is refused, or `OK`, and keeps
what it changes. What a call gives is plain: ids in place of identifiers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

__all__ = ["OK", "Model", "Request"]

Json = dict[str, Any]

OK = "OK"
STATE, STATUS, TYPE = "INVALIDLIFECYCLESTATE", "INVALIDSTATUS", "NOTALLOWEDFORTYPE"
MISSING, VALUE, EITHER = "MANDATORYPARAMETER", "INVALIDPARAMETERVALUE", "SEMIOPTIONALPARAMETER"
PENDING, ACCEPTED, NEEDLESS = "PENDINGACCEPTANCE", "ALREADYACCEPTED", "ACCEPTANCENOTREQUIRED"
CONTACT, CALLER = "INVALIDACCEPTINGCONTACT", "INVALIDCALLER"
ASSIGNMENT, PRODUCT, TWICE, NOTHING = (
    "INVALIDASSIGNMENT",
    "INVALIDPRODUCT",
    "DUPLICATEENTITY",
    "ENTITYNOTFOUND",
)
WAY = ["PENDING", "RESPONDED", "TEMPORARY_RESOLVED", "FINAL_RESOLVED", "COMPLETED"]
STATE_OF = {
    "NEW": "PENDING",
    "WAITING": "PENDING",
    "ANSWERED": "RESPONDED",
    "ESCALATED": "RESPONDED",
    "PATCHED": "TEMPORARY_RESOLVED",
    "SOLVED": "FINAL_RESOLVED",
    "CLOSED": "COMPLETED",
    "WITHDRAWN": "CANCELLED",
}
STRICT = {"NEW", "ANSWERED", "PATCHED", "SOLVED", "CLOSED", "WITHDRAWN"}
"""The statuses that the strict type allows; it has no defaults, and only free categories of answers."""
ANSWERS = ("response", "temporary_resolution", "final_resolution")
FROM = {
    "RESPONDED": ["PENDING", "RESPONDED"],
    "TEMPORARY_RESOLVED": ["RESPONDED", "TEMPORARY_RESOLVED"],
    "FINAL_RESOLVED": ["RESPONDED", "TEMPORARY_RESOLVED", "FINAL_RESOLVED"],
    "COMPLETED": ["FINAL_RESOLVED"],
}
UNITS_OF = {"1": ("U1", "U2"), "2": ("U2",), None: ("U1", "U2")}
SERVICES = {"P1", "P2"}
MINUTES = {"MINUTES": 1, "HOURS": 60, "DAYS": 1440, "WEEKS": 10080}


@dataclass
class Request:
    number: str
    type: str
    caller: str
    status: str
    category: str
    urgency: str
    impact: str
    start: str
    expected: str | None = None
    period: tuple[int, str] | None = None
    assigned: tuple[str, str | None] = ("U1", None)
    notes: str | None = None
    answers: Json = field(default_factory=dict)
    services: list[str] = field(default_factory=list)
    reason: str | None = None

    @property
    def state(self) -> str:
        return STATE_OF[self.status]

    @property
    def priority(self) -> str | None:
        if "CUSTOM" in self.urgency + self.impact:
            return None
        return f"PRIORITY{int(self.urgency[-1]) + int(self.impact[-1]) - 1}"

    @property
    def told(self) -> str:
        """The answer that began the present state, if one did."""
        place = WAY.index(self.state) if self.state in WAY else 0
        return ANSWERS[place - 1] if 1 <= place <= 3 else ""

    @property
    def waits(self) -> bool:
        """Whether it is pending acceptance."""
        return pending(self.answers.get(self.told))

    @property
    def open(self) -> bool:
        return self.state not in ("COMPLETED", "CANCELLED")


def pending(answer: Json | None) -> bool:
    return bool(answer and answer["category"] == "ASK" and not answer["accepted_by"])


def accepted(answer: Json | None) -> bool:
    return bool(answer and answer["category"] == "ASK" and answer["accepted_by"])


def after(start: str, value: int, unit: str) -> str:
    """The date so much later; months and years go by the calendar."""
    date = datetime.fromisoformat(start)
    if unit in MINUTES:
        return (date + timedelta(minutes=value * MINUTES[unit])).isoformat()
    months = value * (12 if unit == "YEARS" else 1)
    year, month = date.year + (date.month - 1 + months) // 12, (date.month - 1 + months) % 12 + 1
    for day in (date.day, 30, 29, 28):
        try:
            return date.replace(year=year, month=month, day=min(day, date.day)).isoformat()
        except ValueError:
            continue
    raise AssertionError


def between(start: str, end: str) -> tuple[int, str]:
    """The minutes between two dates, rounded up, in the largest unit that fits without rest."""
    seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    minutes = math.ceil(seconds / 60)
    if minutes == 0:
        return 0, "MINUTES"
    return next((minutes // n, u) for u, n in reversed(MINUTES.items()) if minutes % n == 0)


@dataclass
class Model:
    """The service requests of one account, oldest first."""

    requests: list[Request] = field(default_factory=list)

    def create(self, number: str, given: Json) -> str:
        """``number`` is that of the answer, or of nothing."""
        start, expected = given["start"], given.get("expected")
        if expected and expected < start:
            return VALUE
        if (expected is None) == (given.get("period") is None):
            return EITHER
        if given["account"] == "terminated":
            return STATE
        to = STATE_OF[given["status"]]
        answers = {name: given[name] for name in ANSWERS if given.get(name)}
        if to in WAY and (wrong := self._unfit(to, answers, answers)):
            return wrong
        if given["type"] == "STRICT" and self._forbidden(
            given["status"], given["category"], answers
        ):
            return TYPE
        if to not in WAY:
            return STATUS
        if self._waiting(to, answers):
            return PENDING
        if given["caller"] == "stranger":
            return CALLER
        if any(answer["accepted_by"] == "stranger" for answer in answers.values()):
            return CONTACT
        if given["assigned"][0] not in UNITS_OF[given["assigned"][1]]:
            return ASSIGNMENT
        services: list[str] = []
        for product in given["services"]:
            if wrong := self._add(services, product):
                return wrong
        one = Request(number, given["type"], given["caller"], given["status"], given["category"],
                      given["urgency"], given["impact"], start, notes=given["notes"],
                      assigned=given["assigned"], answers=answers, services=services)  # fmt: skip
        self._date(one, given)
        self.requests.append(one)
        return OK

    def update(self, one: Request, given: Json) -> str:
        start, expected = given.get("start"), given.get("expected")
        if start and expected and expected < start:
            return VALUE
        if expected and given.get("period"):
            return EITHER
        if not given.get("status") and (given.get(ANSWERS[1]) or given.get(ANSWERS[2])):
            return MISSING
        status = given.get("status") or one.status
        to = STATE_OF[status]
        if not one.open or (to in WAY and WAY.index(to) < WAY.index(one.state)):
            return STATE
        if expected and expected < (start or one.start):
            return VALUE
        said = {name: given[name] for name in ANSWERS if name in given}
        answers = {name: a for name, a in (one.answers | said).items() if a}
        if to in WAY and (wrong := self._unfit(to, answers, said)):
            return wrong
        if one.type == "STRICT" and self._forbidden(
            given.get("status"), given.get("category"), said
        ):
            return TYPE
        if to not in WAY:
            return STATUS
        if any(accepted(one.answers.get(name)) for name in said):
            return ACCEPTED
        if self._waiting(to, answers):
            return PENDING
        if any(answer and answer["accepted_by"] == "stranger" for answer in said.values()):
            return CONTACT
        unit, user = self._reassigned(one, given.get("assigned") or {})
        if unit not in UNITS_OF[user]:
            return ASSIGNMENT
        services = list(one.services)
        for action, product in given.get("services", ()):
            wrong = (
                self._add(services, product) if action == "ADD" else self._drop(services, product)
            )
            if wrong:
                return wrong
        one.status, one.answers, one.services, one.assigned = (
            status,
            answers,
            services,
            (unit, user),
        )
        for name in ("category", "urgency", "impact", "notes"):
            setattr(one, name, given.get(name, getattr(one, name)))
        self._date(one, given)
        return OK

    def advance(self, one: Request, to: str, given: Json) -> str:
        """respond, temporary_resolve, final_resolve and complete."""
        if one.state not in FROM[to]:
            return STATE
        status = given.get("status")
        if status is None and one.type == "STRICT":
            return MISSING
        status = status or "PATCHED"
        said = {name: given[name] for name in ANSWERS if name in given}
        if one.type == "STRICT" and self._forbidden(status, None, said):
            return TYPE
        if STATE_OF[status] != to:
            return STATUS
        if any(accepted(one.answers.get(name)) for name in said):
            return ACCEPTED
        if self._waiting(to, one.answers | said):
            return PENDING
        if any(answer["accepted_by"] == "stranger" for answer in said.values()):
            return CONTACT
        one.status, one.answers = status, one.answers | said
        one.notes = given.get("notes", one.notes)
        return OK

    def accept(self, one: Request, name: str, contact: str | None) -> str:
        if one.state != WAY[1 + ANSWERS.index(name)]:
            return STATE
        answer = one.answers[name]
        if answer["category"] != "ASK":
            return NEEDLESS
        if answer["accepted_by"]:
            return ACCEPTED
        if contact == "stranger":
            return CONTACT
        one.answers = one.answers | {name: answer | {"accepted_by": contact or one.caller}}
        return OK

    def cancel(self, one: Request, status: str | None, reason: str | None) -> str:
        if one.state != "PENDING":
            return STATE
        strict = one.type == "STRICT"
        if strict and not (status and reason):
            return MISSING
        if strict and (status not in STRICT or reason != "AGAIN"):
            return TYPE
        if STATE_OF[status or "WITHDRAWN"] != "CANCELLED":
            return STATUS
        one.status, one.reason = status or "WITHDRAWN", reason or "AGAIN"
        return OK

    def listed(self, state: str | None, *, waiting: bool = False, **where: str) -> list[str]:
        return [
            one.number
            for one in self.requests
            if state in (None, one.state)
            and (one.waits or not waiting)
            and all(getattr(one, name) == value for name, value in where.items())
        ]

    def due(self, now: str, *, overdue: bool) -> list[str]:
        """Open ones with an expected date before or after now, by that date, then by age."""
        found = [
            one
            for one in self.requests
            if one.open and one.expected and (one.expected < now) is overdue
        ]
        return [one.number for one in sorted(found, key=lambda one: one.expected or "")]

    @staticmethod
    def _unfit(to: str, answers: Json, said: Json) -> str | None:
        place = WAY.index(to)
        needed = (place >= 1, place == 2, place >= 3)
        for n, name in enumerate(ANSWERS):
            if needed[n] and not answers.get(name):
                return MISSING
            if place < n + 1 and said.get(name):
                return VALUE
        return None

    @staticmethod
    def _forbidden(status: str | None, category: str | None, said: Json) -> bool:
        asks = any(answer and answer["category"] == "ASK" for answer in said.values())
        return asks or category == "OTHER" or (status is not None and status not in STRICT)

    @staticmethod
    def _waiting(to: str, answers: Json) -> bool:
        passed = ANSWERS[: max(WAY.index(to) - 1, 0)]
        return any(pending(answers.get(name)) for name in passed)

    @staticmethod
    def _add(services: list[str], product: str) -> str | None:
        if product not in SERVICES:
            return PRODUCT
        if product in services:
            return TWICE
        services.append(product)
        return None

    @staticmethod
    def _drop(services: list[str], product: str) -> str | None:
        if product not in services:
            return NOTHING
        services.remove(product)
        return None

    @staticmethod
    def _reassigned(one: Request, given: Json) -> tuple[str, str | None]:
        unit = given.get("unit", one.assigned[0])
        kept = one.assigned[1] if unit == one.assigned[0] else None
        return unit, given.get("user", kept)

    @staticmethod
    def _date(one: Request, given: Json) -> None:
        moved = given.get("start", one.start) != one.start
        one.start = given.get("start", one.start)
        if given.get("expected"):
            one.expected, one.period = given["expected"], between(one.start, given["expected"])
        elif given.get("period"):
            one.period = given["period"]
            one.expected = after(one.start, *given["period"])
        elif "expected" in given or "period" in given:
            one.expected, one.period = None, None
        elif moved and one.period:
            one.expected = after(one.start, *one.period)
