"""The service and a naive model of it go the same ways and never differ.

Hypothesis draws legal and illegal calls in any order and sends them over HTTP; after each one the
model says what the answer must be. Each example has accounts of its own in one organisation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.properties.service_requests_model import ANSWERS, FROM, OK, STATE_OF, Model, Request
from tests.service import Service, refusal
from tests.service_requests_world import ANSWERS as TOLD
from tests.service_requests_world import OTHER_UNIT, Helpdesk, helpdesk
from tests.world import UNIT

Json = dict[str, Any]

EXAMPLES, STEPS, CALLS = 110, 100, 10_000
NOW = "2500-01-01"
"""Between all dates that are drawn: some are long past, some far away."""

UNITS = {"U1": UNIT, "U2": OTHER_UNIT}
STATUSES = st.sampled_from(sorted(STATE_OF))
PRODUCTS = st.sampled_from(["P1", "P1", "P2", "P2", "P3"])
EARLY = "2020-02-28T23:59:59"
DATES = st.sampled_from(
    ["2020-01-31T09:00:00", "2020-02-29T23:59:59", "2021-06-01T00:00:30", "2990-12-31T00:00:00"]
)
PERIODS = st.sampled_from(
    [
        *[(n, u) for n in (1, 2) for u in ("MINUTES", "HOURS", "DAYS", "WEEKS", "MONTHS", "YEARS")],
        (90, "WEEKS"),
        (9000, "MONTHS"),
    ]
)
CATEGORIES = st.sampled_from(["CAT", "CAT", "CAT", "OTHER"])
URGENCIES = st.sampled_from(["URGENCY1", "URGENCY2", "URGENCY3", "CUSTOM1"])
IMPACTS = st.sampled_from(["IMPACT1", "IMPACT2", "IMPACT3", "CUSTOM1"])
NOTES = st.sampled_from([None, "x", "y"])
NEEDED = {
    "RESPONDED": ANSWERS[:1],
    "TEMPORARY_RESOLVED": ANSWERS[:2],
    "FINAL_RESOLVED": (ANSWERS[0], ANSWERS[2]),
    "COMPLETED": (ANSWERS[0], ANSWERS[2]),
}


PLACES = st.sampled_from(range(12))


def mostly(*usual: Any, seldom: Any) -> st.SearchStrategy[Any]:
    """One of the usual values, or once in a while another one."""
    return st.sampled_from([*usual * (20 // len(usual)), seldom])


CONTACTS = mostly(None, "customer", None, "relative", seldom="stranger")
USERS = mostly(None, None, "2", seldom="1")
ANSWER = st.fixed_dictionaries(
    {
        "category": st.sampled_from(["FREE", "ASK"]),
        "accepted_by": CONTACTS,
        "description": st.sampled_from([None, "a", "b"]),
    }
)


@st.composite
def answers(draw: st.DrawFn, status: str | None) -> Json:
    """Mostly the answers that a status needs, once in a while fewer or more of them."""
    names = set(NEEDED.get(STATE_OF.get(status or "", ""), ()))
    if draw(mostly(False, seldom=True)):
        names ^= {draw(st.sampled_from(ANSWERS))}
    return {name: draw(ANSWER) for name in sorted(names)}


@st.composite
def creates(draw: st.DrawFn) -> Json:
    status = draw(STATUSES)
    dated = draw(mostly("period", "expected", seldom="both"))
    period = {"period": draw(PERIODS)} if dated != "expected" else {}
    expected = {"expected": draw(DATES)} if dated != "period" else {}
    whole = {
        "account": draw(mostly("own", seldom="terminated")),
        "type": draw(st.sampled_from(["FAULT", "FAULT", "STRICT"])),
        "caller": draw(mostly("customer", "relative", seldom="stranger")),
        "status": status,
        "category": draw(CATEGORIES),
        "urgency": draw(URGENCIES),
        "impact": draw(IMPACTS),
        "start": draw(DATES if period else mostly("2020-01-31T09:00:00", seldom=EARLY)),
        "assigned": (draw(mostly("U2", seldom="U1")), draw(USERS)),
        "notes": draw(NOTES),
        "services": draw(st.lists(PRODUCTS, max_size=1)),
    }
    return whole | period | expected | draw(answers(status))


SOME: dict[str, st.SearchStrategy[Any]] = {
    "category": CATEGORIES,
    "urgency": URGENCIES,
    "impact": IMPACTS,
    "start": DATES,
    "expected": st.none() | DATES,
    "period": st.none() | PERIODS,
    "notes": NOTES,
    "assigned": st.fixed_dictionaries(
        {}, optional={"unit": st.sampled_from(["U1", "U2"]), "user": USERS}
    ),
    "services": st.lists(st.tuples(st.sampled_from(["ADD", "REMOVE"]), PRODUCTS), max_size=2),
}


@st.composite
def updates(draw: st.DrawFn) -> Json:
    status = draw(mostly(*sorted(STATE_OF), None, None, seldom="WITHDRAWN"))
    given: Json = {"status": status} if status else {}
    if status and draw(st.booleans()):
        given |= draw(answers(status))
    names = draw(st.lists(st.sampled_from(sorted(SOME)), unique=True, max_size=2))
    if draw(mostly(False, seldom=True)):
        given[draw(st.sampled_from(ANSWERS))] = draw(st.none() | ANSWER)
    return {name: draw(SOME[name]) for name in names} | given


class Machine(RuleBasedStateMachine):
    """One customer's service requests beside the model's."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    desk: ClassVar[Helpdesk]
    numbers: ClassVar = count(1)
    calls: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    @initialize()
    def customer(self) -> None:
        """A customer with an account and a relative; a stranger is nobody's."""
        self.own = f"M{next(self.numbers)}"
        customer = self.wait(self.desk.contact())
        relation = {"type": "FRIEND", "contact_information_identifier": {"id": customer}}
        relative = self.wait(self.desk.contact(relation_set=[relation]))
        self.people = {
            "customer": customer,
            "relative": relative,
            "stranger": self.desk.stranger,
        }
        said = {"number": self.own, "account_owner_id": customer}
        self.wait(self.desk.register("accounts_receivable", self.own, **said))

    def call(self, method: str, body: Json) -> tuple[str, Any]:
        """NAME or OK, and ``data``."""
        Machine.calls += 1
        path = f"service_requests/{method}"
        verb = "GET" if method.startswith(("get_", "list", "show")) else "POST"
        sent = {"query": body} if verb == "GET" else {"body": body}
        answer = self.wait(self.desk.api.call(verb, path, **sent))  # type: ignore[arg-type]
        code = answer["status"]["code"]
        return (OK if code == OK else refusal(answer)[0]), answer["data"]

    def worded(self, given: Json) -> Json:
        """What a call gives, in the contract's terms."""
        body: Json = {}
        for name, value in given.items():
            if name in ANSWERS:
                body[name] = value and self.answer(name, value)
            elif name in ("type", "status", "category"):
                body[f"{name}_identifier"] = {"id": value}
            elif name in ("urgency", "impact"):
                body[f"{name}_level"] = value
            elif name == "period":
                body["estimated_completion_time"] = value and {
                    "time_period_value": value[0],
                    "time_period_uot": value[1],
                }
            elif name in ("start", "expected"):
                body["start_date" if name == "start" else "expected_completion_date"] = value
            elif name == "notes":
                body[name] = value
        return body

    def answer(self, name: str, said: Json) -> Json:
        by, date = TOLD[name]
        whole: Json = {
            "category_identifier": {"id": said["category"]},
            f"{by}_identifier": {"id": "1"},
            date: "2020-01-01",
            "description": said["description"],
        }
        if said["accepted_by"]:
            whole["accepted_by_identifier"] = {"id": self.people[said["accepted_by"]]}
        return whole

    @staticmethod
    def assigned(given: Json) -> Json:
        body: Json = {}
        if "unit" in given:
            body["unit_identifier"] = {"id": UNITS[given["unit"]]}
        if "user" in given:
            body["user_identifier"] = given["user"] and {"id": given["user"]}
        return {"assigned_to": body}

    def one(self, at: int, suits: Callable[[Request], bool] = lambda one: one.open) -> Request:
        """One of the service requests: mostly a late one that suits the call, if there is one."""
        suiting = [one for one in self.model.requests if suits(one)]
        found = suiting if suiting and at else self.model.requests
        return found[-1 - at % min(len(found), 6)]

    def on(self, one: Request, method: str, body: Json, expected: str) -> None:
        named = {"service_request_identifier": {"number": one.number}}
        code, data = self.call(method, named | body)
        assert code == expected
        if code == OK:
            self.compare(data, one)

    @rule(given=creates())
    def create(self, given: Json) -> None:
        account = self.own if given["account"] == "own" else "AR3"
        unit, user = given["assigned"]
        body = self.worded(given) | self.assigned({"unit": unit, "user": user})
        body |= {
            "accounts_receivable_identifier": {"id": account},
            "contact_information_identifier": {"id": self.people[given["caller"]]},
            "services_set": [{"product_identifier": {"id": p}} for p in given["services"]],
        }
        code, data = self.call("create", body)
        assert code == self.model.create(data.get("number", ""), given)
        if code == OK:
            self.compare(data, self.model.requests[-1])

    any_one = precondition(lambda self: self.model.requests)

    @any_one
    @rule(at=PLACES, given=updates())
    def update(self, at: int, given: Json) -> None:
        one = self.one(at)
        body = self.worded(given)
        if "assigned" in given:
            body |= self.assigned(given["assigned"])
        if "services" in given:
            body["services_set"] = [self.item(*item) for item in given["services"]]
        self.on(one, "update", body, self.model.update(one, given))

    @staticmethod
    def item(action: str, product: str) -> Json:
        named = {"product_identifier": {"id": product}}
        if action == "REMOVE":
            named = {"service_request_service_identifier": named}
        return {"action": action} | named

    @any_one
    @rule(
        at=PLACES,
        to=st.sampled_from(sorted(FROM)),
        fitting=st.sampled_from(range(8)),
        status=STATUSES,
        said=ANSWER,
        more=st.sampled_from([{}, {"notes": "z"}, {"notes": None}]),
    )
    def advance(self, at: int, to: str, fitting: int, status: str, said: Json, more: Json) -> None:
        one = self.one(at, lambda one: one.state in FROM[to])
        path = {
            "RESPONDED": ("respond", ANSWERS[0]),
            "TEMPORARY_RESOLVED": ("temporary_resolve", ANSWERS[1]),
            "FINAL_RESOLVED": ("final_resolve", ANSWERS[2]),
            "COMPLETED": ("complete", None),
        }
        method, name = path[to]
        right = next(s for s, state in STATE_OF.items() if state == to)
        given = more | {"status": right if fitting else status} | ({name: said} if name else {})
        if method == "temporary_resolve" and fitting == 1:
            del given["status"]
        self.on(one, method, self.worded(given), self.model.advance(one, to, given))

    @any_one
    @rule(at=PLACES, name=st.sampled_from(ANSWERS), contact=CONTACTS)
    def accept(self, at: int, name: str, contact: str | None) -> None:
        one = self.one(at, lambda one: one.waits)
        name = one.told if one.told and at % 4 else name
        contact = contact or ("customer" if name != ANSWERS[2] else None)
        by = {"accepted_by_identifier": {"id": self.people[contact]}} if contact else {}
        self.on(one, f"{name}_accept", by, self.model.accept(one, name, contact))

    @any_one
    @rule(
        at=PLACES,
        status=st.sampled_from([None, None, "WITHDRAWN", "NEW"]),
        reason=st.sampled_from([None, None, "AGAIN", "DOUBLE"]),
    )
    def cancel(self, at: int, status: str | None, reason: str | None) -> None:
        one = self.one(at, lambda one: one.state == "PENDING")
        body: Json = {"status_identifier": {"id": status}} if status else {}
        body |= {"cancellation_reason_identifier": {"id": reason}} if reason else {}
        self.on(one, "cancel", body, self.model.cancel(one, status, reason))

    @rule(
        state=st.sampled_from([None, *FROM, "PENDING"]),
        waiting=st.booleans(),
        where=st.fixed_dictionaries(
            {},
            optional={
                "type": st.sampled_from(["FAULT", "STRICT"]),
                "category": CATEGORIES,
                "caller": st.sampled_from(["customer", "relative"]),
            },
        ),
    )
    def read(self, state: str | None, waiting: bool, where: Json) -> None:
        waiting = waiting and state in ("RESPONDED", "TEMPORARY_RESOLVED", "FINAL_RESOLVED")
        method = f"get_{state.lower()}" if state else "list"
        where = where if state else {k: v for k, v in where.items() if k == "category"}
        query = {f"{k}_identifier": f"id={self.people.get(v, v)}" for k, v in where.items()}
        query |= {"accounts_receivable_identifier": f"id={self.own}"}
        method = f"{method}_pending_acceptance" if waiting else method
        self.listed(method, query, self.model.listed(state, waiting=waiting, **where))

    @rule(overdue=st.booleans())
    def due(self, overdue: bool) -> None:
        query = {"accounts_receivable_identifier": f"id={self.own}"}
        close = {"period": "7000", "uot": "YEARS"}
        method = "get_overdue" if overdue else "get_close_to_estimated_completion_time"
        due = self.model.due(NOW, overdue=overdue)
        self.listed(method, query if overdue else query | close, due)

    def listed(self, method: str, query: Json, numbers: list[str]) -> None:
        """A list holds what it should; the last of it is looked at whole."""
        code, data = self.call(method, query | {"fields_set": "number"})
        assert (code, [one["number"] for one in data]) == (OK, numbers)
        if numbers:
            last = {"offset": str(len(numbers) - 1), "number_of_results": "1"}
            _, data = self.call(method, query | last)
            known = {one.number: one for one in self.model.requests}
            self.compare(data[0], known[numbers[-1]])

    def compare(self, shown: Json, one: Request) -> None:
        period = shown["estimated_completion_time"]
        assigned = shown["assigned_to"]
        assert {
            "status": shown["status"]["id"],
            "state": shown["life_cycle_state"],
            "category": shown["category"]["id"],
            "priority": shown["priority_level"],
            "start": shown["start_date"],
            "expected": shown["expected_completion_date"],
            "period": period and (period["time_period_value"], period["time_period_uot"]),
            "unit": assigned["unit"]["id"],
            "user": assigned["user"] and assigned["user"]["id"],
            "notes": shown["notes"],
            "caller": shown["contact_information"]["id"],
            "services": [item["product"]["id"] for item in shown["services_set"]],
            "reason": shown["cancellation_reason"] and shown["cancellation_reason"]["id"],
            "completed": shown["actual_completed_date"] is not None,
            "answers": {name: told(shown[name]) for name in ANSWERS if shown[name]},
        } == {
            "status": one.status,
            "state": one.state,
            "category": one.category,
            "priority": one.priority,
            "start": one.start,
            "expected": one.expected,
            "period": one.period,
            "unit": UNITS[one.assigned[0]],
            "user": one.assigned[1],
            "notes": one.notes,
            "caller": self.people[one.caller],
            "services": one.services,
            "reason": one.reason,
            "completed": one.state == "COMPLETED",
            "answers": {
                name: (a["category"], self.people.get(a["accepted_by"] or ""), a["description"])
                for name, a in one.answers.items()
            },
        }


def told(answer: Json) -> tuple[str, str | None, str | None]:
    by = answer["accepted_by"]
    assert (answer["accepted_date"] is None) is (by is None)
    return answer["category"]["id"], by and by["id"], answer["description"]


async def test_ten_thousand_calls_without_a_difference(service: Service) -> None:
    Machine.loop, Machine.desk = asyncio.get_running_loop(), await helpdesk(service)
    Machine.calls = 0
    walk = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        phases=[Phase.generate],  # a shorter walk to the same difference costs minutes
        suppress_health_check=list(HealthCheck),
    )
    await asyncio.to_thread(run_state_machine_as_test, Machine, settings=walk)
    assert Machine.calls >= CALLS
