"""The service and a naive model of it go the same ways and never differ.

Hypothesis draws legal and illegal calls in any order and sends them over HTTP; after each one the
model says what the answer must be. Each example has accounts of its own in one organisation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from itertools import count
from random import Random
from typing import Any, ClassVar

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from infra.postgres.embedded.server import EmbeddedPostgres
from tests.fixtures import databases
from tests.fixtures.organisation import UNIT
from tests.fixtures.service import refusal, run_in_process
from tests.fixtures.service_requests import ANSWERS as TOLD
from tests.fixtures.service_requests import (
    OTHER_UNIT,
    ServiceRequestsClient,
    service_requests_client,
)
from tests.properties.service_requests_model import ANSWERS, FROM, OK, STATE_OF, Model, Request

Json = dict[str, Any]

EXAMPLES, STEPS, CALLS = 120, 100, 10_000
NOW = "2500-01-01"
"""Between all dates that are drawn: some are long past, some far away."""

UNITS = {"U1": UNIT, "U2": OTHER_UNIT}
STATUSES = tuple(sorted(STATE_OF))
PRODUCTS = ("P1", "P1", "P2", "P2", "P3")
DATES = ("2020-01-31T09:00:00", "2020-02-29T23:59:59", "2021-06-01T00:00:30", "2990-12-31T00:00:00")
PERIODS = (
    *((n, u) for n in (1, 2) for u in ("MINUTES", "HOURS", "DAYS", "WEEKS", "MONTHS", "YEARS")),
    (90, "WEEKS"),
    (9000, "MONTHS"),
)
CATEGORIES = ("CAT", "CAT", "CAT", "OTHER")
URGENCIES = ("URGENCY1", "URGENCY2", "URGENCY3", "CUSTOM1")
IMPACTS = ("IMPACT1", "IMPACT2", "IMPACT3", "CUSTOM1")
CONTACTS = (None, None, "customer", "customer", "relative")
USERS = (None, None, "2")
NOTES = (None, "x", "y")
NEEDED = {
    "RESPONDED": ANSWERS[:1],
    "TEMPORARY_RESOLVED": ANSWERS[:2],
    "FINAL_RESOLVED": (ANSWERS[0], ANSWERS[2]),
    "COMPLETED": (ANSWERS[0], ANSWERS[2]),
}
FILTERS = {
    "type": ("FAULT", "STRICT"),
    "category": CATEGORIES,
    "caller": ("customer", "relative"),
}
CHANCE = st.randoms(use_true_random=True)
"""What a call says is drawn from a seed: drawing each word by itself takes longer than the call."""


def mostly(chance: Random, usual: Sequence[Any], seldom: Any) -> Any:
    """One of the usual values, or once in a while another one."""
    return seldom if chance.random() < 0.05 else chance.choice(usual)


def answer(chance: Random) -> Json:
    return {
        "category": chance.choice(("FREE", "ASK")),
        "accepted_by": mostly(chance, CONTACTS, "stranger"),
        "description": chance.choice((None, "a", "b")),
    }


def answers(chance: Random, status: str | None) -> Json:
    """Mostly the answers that a status needs, once in a while fewer or more of them."""
    names = set(NEEDED.get(STATE_OF.get(status or "", ""), ()))
    if chance.random() < 0.05:
        names ^= {chance.choice(ANSWERS)}
    return {name: answer(chance) for name in ANSWERS if name in names}


def create(chance: Random) -> Json:
    """What a create gives."""
    status = chance.choice(STATUSES)
    dated = mostly(chance, ("period", "expected"), "both")
    period = {"period": chance.choice(PERIODS)} if dated != "expected" else {}
    expected = {"expected": chance.choice(DATES)} if dated != "period" else {}
    whole = {
        "account": mostly(chance, ("own",), "terminated"),
        "type": chance.choice(("FAULT", "FAULT", "STRICT")),
        "caller": mostly(chance, ("customer", "relative"), "stranger"),
        "status": status,
        "category": chance.choice(CATEGORIES),
        "urgency": chance.choice(URGENCIES),
        "impact": chance.choice(IMPACTS),
        "start": chance.choice(DATES) if period else mostly(chance, DATES[:1], DATES[1]),
        "assigned": (mostly(chance, ("U2",), "U1"), mostly(chance, USERS, "1")),
        "notes": chance.choice(NOTES),
        "services": chance.choices(PRODUCTS, k=chance.randint(0, 1)),
    }
    return whole | period | expected | answers(chance, status)


SOME: dict[str, Callable[[Random], Any]] = {
    "category": lambda chance: chance.choice(CATEGORIES),
    "urgency": lambda chance: chance.choice(URGENCIES),
    "impact": lambda chance: chance.choice(IMPACTS),
    "start": lambda chance: chance.choice(DATES),
    "expected": lambda chance: chance.choice((None, *DATES)),
    "period": lambda chance: chance.choice((None, *PERIODS)),
    "notes": lambda chance: chance.choice(NOTES),
    "assigned": lambda chance: chance.choice(
        ({}, {"unit": "U1"}, {"unit": "U2"}, {"user": "1"}, {"unit": "U1", "user": "2"})
    ),
    "services": lambda chance: [
        (chance.choice(("ADD", "REMOVE")), chance.choice(PRODUCTS))
        for _ in range(chance.randint(0, 2))
    ],
}


def update(chance: Random) -> Json:
    """What an update gives."""
    status = chance.choice((*STATUSES, None, None))
    given = {name: SOME[name](chance) for name in chance.sample(list(SOME), chance.randint(0, 2))}
    if status:
        given |= {"status": status} | (answers(chance, status) if chance.random() < 0.5 else {})
    if chance.random() < 0.05:
        given[chance.choice(ANSWERS)] = chance.choice((None, answer(chance)))
    return given


class Machine(RuleBasedStateMachine):
    """One customer's service requests beside the model's."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    desk: ClassVar[ServiceRequestsClient]
    numbers: ClassVar = count(1)
    calls: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    @initialize()
    def customer(self) -> None:
        """A customer with an account and a relative; a stranger is nobody's."""
        self.own = f"M{next(self.numbers)}"
        customer = self.wait(self.desk.new_contact())
        relation = {"type": "FRIEND", "contact_information_identifier": {"id": customer}}
        relative = self.wait(self.desk.new_contact(relation_set=[relation]))
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
        note(f"{method} {body}")
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

    def one(self, chance: Random, suits: Callable[[Request], bool]) -> Request:
        """One of the service requests: mostly a late one that suits the call, if there is one."""
        suiting = [one for one in self.model.requests if suits(one)]
        found = suiting if suiting and chance.random() < 0.9 else self.model.requests
        return chance.choice(found[-6:])

    def on(self, one: Request, method: str, body: Json, expected: str) -> None:
        named = {"service_request_identifier": {"number": one.number}}
        code, data = self.call(method, named | body)
        assert code == expected
        if code == OK:
            self.compare(data, one)

    @rule(chance=CHANCE)
    def create(self, chance: Random) -> None:
        given = create(chance)
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
    @rule(chance=CHANCE)
    def update(self, chance: Random) -> None:
        one, given = self.one(chance, lambda one: one.open), update(chance)
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
    @rule(chance=CHANCE, to=st.sampled_from(sorted(FROM)))
    def advance(self, chance: Random, to: str) -> None:
        one = self.one(chance, lambda one: one.state in FROM[to])
        path = {
            "RESPONDED": ("respond", ANSWERS[0]),
            "TEMPORARY_RESOLVED": ("temporary_resolve", ANSWERS[1]),
            "FINAL_RESOLVED": ("final_resolve", ANSWERS[2]),
            "COMPLETED": ("complete", None),
        }
        method, name = path[to]
        right = next(s for s, state in STATE_OF.items() if state == to)
        given: Json = {"status": mostly(chance, (right,), chance.choice(STATUSES))}
        given |= chance.choice(({}, {"notes": "z"}, {"notes": None}))
        given |= {name: answer(chance)} if name else {}
        if method == "temporary_resolve" and chance.random() < 0.3:
            del given["status"]
        self.on(one, method, self.worded(given), self.model.advance(one, to, given))

    @any_one
    @rule(chance=CHANCE, name=st.sampled_from(ANSWERS))
    def accept(self, chance: Random, name: str) -> None:
        one = self.one(chance, lambda one: one.waits)
        name = one.told if one.told and chance.random() < 0.8 else name
        contact = mostly(chance, CONTACTS, "stranger")
        contact = contact or ("customer" if name != ANSWERS[2] else None)
        by = {"accepted_by_identifier": {"id": self.people[contact]}} if contact else {}
        self.on(one, f"{name}_accept", by, self.model.accept(one, name, contact))

    @any_one
    @rule(chance=CHANCE)
    def cancel(self, chance: Random) -> None:
        one = self.one(chance, lambda one: one.state == "PENDING")
        status = mostly(chance, (None, None, "WITHDRAWN"), "NEW")
        reason = chance.choice((None, None, "AGAIN", "DOUBLE"))
        body: Json = {"status_identifier": {"id": status}} if status else {}
        body |= {"cancellation_reason_identifier": {"id": reason}} if reason else {}
        self.on(one, "cancel", body, self.model.cancel(one, status, reason))

    @rule(chance=CHANCE, state=st.sampled_from([None, *FROM, "PENDING"]), waiting=st.booleans())
    def read(self, chance: Random, state: str | None, waiting: bool) -> None:
        where = {
            name: chance.choice(values) for name, values in FILTERS.items() if chance.random() < 0.3
        }
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


async def served(
    stack: AsyncExitStack, postgres: EmbeddedPostgres, template: str
) -> ServiceRequestsClient:
    database = await stack.enter_async_context(databases.database(postgres, template))
    return await service_requests_client(await stack.enter_async_context(run_in_process(database)))


def walked(postgres: EmbeddedPostgres, template: str) -> None:
    """On a loop of its own that runs while a call is on its way: Hypothesis does not wait for one."""
    walk = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        phases=[Phase.generate],  # a shorter walk to the same difference costs minutes
        suppress_health_check=list(HealthCheck),
    )
    Machine.loop, stack = uvloop.new_event_loop(), AsyncExitStack()
    try:
        Machine.desk = Machine.loop.run_until_complete(served(stack, postgres, template))
        run_state_machine_as_test(Machine, settings=walk)
    finally:
        Machine.loop.run_until_complete(stack.aclose())
        Machine.loop.close()


@pytest.mark.slow
async def test_ten_thousand_calls_without_a_difference(
    postgres: EmbeddedPostgres, template: str
) -> None:
    await asyncio.to_thread(walked, postgres, template)
    assert Machine.calls >= CALLS
