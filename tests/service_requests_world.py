"""An organisation whose customers ask for something, and short ways to serve them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.service import Api, Service
from tests.world import UNIT, USER, World, world

__all__ = [
    "ASK",
    "FREE",
    "SET_UP",
    "STATUSES",
    "Helpdesk",
    "answer",
    "gone_all_ways",
    "helpdesk",
    "staffed",
]

Json = dict[str, Any]

STATUSES = {
    "PENDING": "NEW",
    "RESPONDED": "ANSWERED",
    "TEMPORARY_RESOLVED": "PATCHED",
    "FINAL_RESOLVED": "SOLVED",
    "COMPLETED": "CLOSED",
    "CANCELLED": "WITHDRAWN",
}
"""A status of each state; `AGAIN` adds a second one of the open ones."""
AGAIN = {
    "PENDING": "WAITING",
    "RESPONDED": "ESCALATED",
    "TEMPORARY_RESOLVED": "LENT",
    "FINAL_RESOLVED": "SWAPPED",
}
ASK, FREE = "ASK", "FREE"
"""Categories of answers: with one the customer has to accept the answer, with the other not."""

SERVICE, OTHER_SERVICE, DECODER, CABLE = "P1", "P2", "P3", "P4"
COVERED, UNCOVERED, COVERAGE = "I1", "I2", "W1"
OTHER_UNIT, OTHER_USER, FREE_USER = "83FEA79C4ADC57C16330F36173A02B8D", "2", "3"

ANSWERS = {
    "response": ("responded_by", "response_date"),
    "temporary_resolution": ("temporary_resolved_by", "temporary_resolution_date"),
    "final_resolution": ("final_resolved_by", "final_resolution_date"),
}
OF_STATE = {
    "RESPONDED": ("response",),
    "TEMPORARY_RESOLVED": ("response", "temporary_resolution"),
    "FINAL_RESOLVED": ("response", "final_resolution"),
    "COMPLETED": ("response", "final_resolution"),
}
"""The answers without which a state is not reached."""


def _record(kind: str, id_: str, **fields: Any) -> Json:
    return {"kind": kind, "id": id_} | fields


def _records() -> list[Json]:
    records = [
        _record(
            "unit", OTHER_UNIT, name="Call Centre", group_id="84F33366CB592BAAE7E2044D93611C6A"
        ),
        _record(
            "user",
            USER,
            username="demo",
            person_name="Marios Lannister",
            default_unit_id=UNIT,
            unit_ids=[UNIT, OTHER_UNIT],
        ),
        _record(
            "user", OTHER_USER, username="other", unit_ids=[OTHER_UNIT], default_unit_id=OTHER_UNIT
        ),
        _record("user", FREE_USER, username="free", default_unit_id=UNIT),
        _record("subscription_type", "ST1", name="Normal"),
        _record("product_type", "PT1", name="Channels", classification="SERVICES"),
        _record(
            "product_type",
            "PT2",
            name="Decoders",
            classification="PHYSICALGOODS",
            composition_method="FLAT",
            physical_good_type="TRACEABLE",
        ),
        _record(
            "product_type",
            "PT3",
            name="Cables",
            classification="PHYSICALGOODS",
            composition_method="FLAT",
        ),
        _record("product", SERVICE, code="BASIC", product_type_id="PT1"),
        _record("product", OTHER_SERVICE, code="SPORTS", product_type_id="PT1"),
        _record("product", DECODER, code="DECODER", product_type_id="PT2"),
        _record("product", CABLE, code="CABLE", product_type_id="PT3"),
        _record(
            "installed_item", COVERED, serial_number="S1", product_id=DECODER, under_warranty=True
        ),
        _record("installed_item", UNCOVERED, serial_number="S2", product_id=DECODER),
        _record("warranty_coverage_reason", COVERAGE, name="Broken on arrival"),
        _record("service_request_category", "CAT", name="No picture", code="NP"),
        _record("service_request_category", "OTHER", name="No sound", code="NS"),
        _record("service_request_cancellation_reason", "AGAIN", name="Works again"),
        _record("service_request_cancellation_reason", "DOUBLE", name="Double"),
    ]
    for states in (STATUSES, AGAIN):
        records += [
            _record("service_request_status", id_, name=id_.title(), life_cycle_state=state)
            for state, id_ in states.items()
        ]
    for name in ANSWERS:
        kind = f"service_request_{name}_category"
        records.append(_record(kind, FREE, name=f"{name} free", code=f"{name}-F"))
        records.append(
            _record(
                kind, ASK, name=f"{name} ask", code=f"{name}-A", requires_customer_acceptance=True
            )
        )
    by_state = {"default_status_ids": STATUSES, "default_cancellation_reason_id": "AGAIN"}
    records += [
        _record("service_request_type", "FAULT", name="Fault", alternative_code="FLT", **by_state),
        _record("service_request_type", "MAIL", name="Mailed", notify_by_email=True, **by_state),
        _record("service_request_type", "SMS", name="Texted", notify_by_sms=True, **by_state),
        _record(
            "service_request_type",
            "BOTH",
            name="Told",
            notify_by_email=True,
            notify_by_sms=True,
            **by_state,
        ),
        _record(
            "service_request_type",
            "BARE",
            name="Bare",
            default_assigned_to={"unit_id": UNIT, "user_id": USER},
        ),
        _record(
            "service_request_type",
            "STRICT",
            name="Strict",
            allowed_status_ids=list(STATUSES.values()),
            allowed_category_ids=["CAT"],
            allowed_response_category_ids=[FREE],
            allowed_temporary_resolution_category_ids=[FREE],
            allowed_final_resolution_category_ids=[FREE],
            allowed_cancellation_reason_ids=["AGAIN"],
        ),
    ]
    return records


SET_UP = _records()
"""What service requests are chosen from, in link order."""


def answer(name: str, category: str = FREE, **more: Any) -> Json:
    """A response or resolution."""
    by, date = ANSWERS[name]
    said = {
        "category_identifier": {"id": category},
        f"{by}_identifier": {"id": USER},
        date: "2026-03-02T10:30:00",
    }
    return {key: value for key, value in (said | more).items() if value is not ...}


@dataclass
class Helpdesk(World):
    """The organisation: the customer owns account AR1, a relative may speak for the customer."""

    customer: str = ""
    relative: str = ""
    stranger: str = ""

    def body(self, **more: Any) -> Json:
        """A create that is accepted; ``...`` takes a member away."""
        whole: Json = {
            "type_identifier": {"id": "FAULT"},
            "accounts_receivable_identifier": {"id": "AR1"},
            "status_identifier": {"id": "NEW"},
            "category_identifier": {"id": "CAT"},
            "urgency_level": "URGENCY2",
            "impact_level": "IMPACT1",
            "start_date": "2026-03-02T09:00:00",
            "estimated_completion_time": {"time_period_value": 2, "time_period_uot": "DAYS"},
            "assigned_to": {"unit_identifier": {"id": UNIT}},
        }
        return {key: value for key, value in (whole | more).items() if value is not ...}

    def in_state(
        self, state: str, categories: Mapping[str, str] | None = None, **more: Any
    ) -> Json:
        """A create into a state; ``categories`` of answers, where they are not `FREE`, by name."""
        if state == "CANCELLED":
            raise ValueError("cancelled by its method only")
        chosen = categories or {}
        names = {*OF_STATE.get(state, ()), *chosen}
        said = {name: answer(name, chosen.get(name, FREE)) for name in ANSWERS if name in names}
        return self.body(status_identifier={"id": STATUSES[state]}, **(said | more))

    async def open(self, **more: Any) -> Json:
        """A new service request."""
        return dict(await self.api.post("service_requests/create", **self.body(**more)))

    async def unopened(self, **more: Any) -> tuple[str, str]:
        """NAME and description with which a create is refused."""
        return await self.api.refused("service_requests/create", **self.body(**more))

    async def at(
        self, state: str, categories: Mapping[str, str] | None = None, **more: Any
    ) -> Json:
        """A new service request in a state."""
        if state == "CANCELLED":
            return await self.on("cancel", await self.open(**more))
        body = self.in_state(state, categories, **more)
        return dict(await self.api.post("service_requests/create", **body))

    async def on(self, method: str, request: Json, **more: Any) -> Json:
        """What a method makes of a service request."""
        path, body = self.call(method, request, **more)
        return dict(await self.api.post(path, **body))

    async def not_on(self, method: str, request: Json, **more: Any) -> tuple[str, str]:
        """NAME and description with which that is refused."""
        path, body = self.call(method, request, **more)
        return await self.api.refused(path, **body)

    @staticmethod
    def call(method: str, request: Json, **more: Any) -> tuple[str, Json]:
        """Path and body of a method on a service request."""
        named = {"service_request_identifier": {"id": request["id"]}}
        return f"service_requests/{method}", named | more

    async def see(self, request: Json, **more: Any) -> Json:
        """A service request as it is shown now."""
        named = f"id={request['id']}"
        return dict(
            await self.api.get("service_requests/show", service_request_identifier=named, **more)
        )

    async def numbers(self, method: str, **query: Any) -> list[str]:
        """The numbers that a list method returns."""
        found = await self.api.get(f"service_requests/{method}", **query)
        return [one["number"] for one in found]


async def helpdesk(service: Service) -> Helpdesk:
    """An organisation of its own on ``service``."""
    api = Api(service)
    await world(api)
    return await staffed(api)


async def staffed(api: Api) -> Helpdesk:
    """A usable organisation with what service requests need, its own records among it."""
    await api.register(SET_UP)
    made = Helpdesk(api)
    made.customer = await made.contact(first_name="Loukia", last_name="Papapavlou", type="PERSON")
    relation = {"type": "FAMILY_MEMBER", "contact_information_identifier": {"id": made.customer}}
    made.relative = await made.contact(relation_set=[relation])
    made.stranger = await made.contact()
    for account, owner, state in (
        ("AR1", made.customer, "ACTIVE"),
        ("AR2", made.stranger, "SUSPENDED"),
        ("AR3", made.customer, "TERMINATED"),
        ("AR4", None, "ACTIVE"),
    ):
        said = {"number": f"ACR{account}", "life_cycle_state": state, "account_owner_id": owner}
        await made.register("accounts_receivable", account, **said)
    for id_, account in (("SU1", "AR1"), ("SU2", "AR2"), ("SU3", None)):
        await made.register("subscription", id_, number=id_, accounts_receivable_id=account)
    for id_, account in (("JO1", "AR1"), ("JO2", "AR2"), ("JO3", None)):
        await made.register("job", id_, number=id_, accounts_receivable_id=account)
    return made


async def gone_all_ways(made: Helpdesk) -> None:
    """Lets every event of a service request happen."""
    ask = {name: answer(name, ASK) for name in ANSWERS}
    by = {"accepted_by_identifier": {"id": made.customer}}
    other = await made.on(
        "cancel", await made.open(type_identifier={"id": "BOTH"}, caller_phone="1")
    )
    related = {"service_request_identifier": {"id": other["id"]}}
    one = await made.open(description="No picture", related_service_requests_set=[related])
    named = {"service_request_relation_identifier": related}
    changed = named | {"action": "UPDATE", "description": "Same house"}
    await made.on("update", one, notes="n", related_service_requests_set=[changed])
    removed = named | {"action": "REMOVE"}
    await made.on("update", one, related_service_requests_set=[removed])
    for method, state, name in (
        ("respond", "RESPONDED", "response"),
        ("temporary_resolve", "TEMPORARY_RESOLVED", "temporary_resolution"),
        ("final_resolve", "FINAL_RESOLVED", "final_resolution"),
    ):
        status = {"status_identifier": {"id": STATUSES[state]}}
        await made.on(method, one, **status, **{name: answer(name)})
        await made.on(method, one, **status, **{name: ask[name]})
        await made.on(f"{name}_accept", one, **by)
        await made.on("update", one, status_identifier={"id": AGAIN[state]})
    await made.on("complete", one, status_identifier={"id": STATUSES["COMPLETED"]})
    back = await made.at("FINAL_RESOLVED", {"temporary_resolution": FREE})
    await made.on("update", back, temporary_resolution=None)
