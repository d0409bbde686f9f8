"""An organisation with everything that communications refer to, and short ways to make them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

from services.pipeline.method import BASE
from tests.service import Api, Service, refusal
from tests.world import OTHER_GROUP, UNIT, World, rows, world

__all__ = [
    "BODY",
    "KINDS",
    "LIMITED",
    "OTHER_UNIT",
    "Desk",
    "desk",
    "events",
    "names",
    "new_key",
    "posted",
    "together",
]

Json = dict[str, Any]

OTHER_UNIT = "83FEA79C4ADC57C16330F36173A02B8D"
"""A second unit of the user ``demo``; his default is ``UNIT``."""
LIMITED = "ES10"
"""An external system that takes ten characters."""

BODY: Json = {"direction": "OUTGOING", "media": "PHONE", "subject": "Hello", "content": "Call us"}
"""A communication that is accepted and not queued, but for its contact."""

KINDS: tuple[Json, ...] = (
    {"kind": "subscription_type", "id": "ST1", "name": "London"},
    {
        "kind": "accounts_receivable",
        "id": "AR1",
        "number": "ACR1",
        "name": "Main",
        "life_cycle_state": "ACTIVE",
    },
    {"kind": "rewards_participant", "id": "RP1", "number": "RPN1", "accounts_receivable_id": "AR1"},
    {
        "kind": "subscription",
        "id": "SU1",
        "number": "S60302",
        "life_cycle_state": "EFFECTIVE",
        "first_activated_date": "2014-05-05T15:49:59",
        "accounts_receivable_id": "AR1",
        "type_id": "ST1",
    },
    {"kind": "subscription", "id": "SU2", "number": "S2"},
    {"kind": "job", "id": "JO1", "number": "J1", "description": "Dig"},
    {"kind": "lead", "id": "LE1", "number": "L1", "life_cycle_state": "PENDING"},
    {"kind": "activity", "id": "AC1", "number": "ACT000133"},
    {"kind": "notification", "id": "NO1", "number": "N1", "life_cycle_state": "COMPLETED"},
    {"kind": "bill", "id": "BI1", "number": "B1", "total_billed_amount": 497.41},
    {"kind": "payment", "id": "PA1", "number": "P1", "payment_amount": 10.0},
    {
        "kind": "payment_gateway_card",
        "id": "CA1",
        "payment_gateway_reference_number": "R1",
        "brand": "VISA",
        "expiration_year": 2030,
    },
    {"kind": "payment_gateway_request", "id": "PR1", "number": "PR1"},
    {"kind": "award_reward_transaction", "id": "AW1", "number": "AW1"},
    {"kind": "spend_reward_transaction", "id": "SP1", "number": "SP1"},
    {"kind": "buy_in_advance_request", "id": "BA1", "number": "BA1"},
    {"kind": "purchase_customer_event", "id": "PC1", "number": "PC1"},
    {"kind": "spend_request_customer_event", "id": "SC1", "number": "SC1"},
)
"""One record of each kind that a communication can refer to and that is registered."""

SET_UP: tuple[Json, ...] = (
    {"kind": "unit", "id": OTHER_UNIT, "name": "Call Centre", "group_id": OTHER_GROUP},
    {
        "kind": "user",
        "id": "1",
        "username": "demo",
        "person_name": "Marios Lannister",
        "email": "mp@ministrator.com",
        "unit_ids": [UNIT, OTHER_UNIT],
        "default_unit_id": UNIT,
    },
    {"kind": "communication_category", "id": "MC2", "name": "Care", "code": "CAR"},
    {"kind": "communication_queue_external_system", "id": "ES2", "name": "Pigeon"},
    {
        "kind": "communication_queue_external_system",
        "id": LIMITED,
        "name": "Short",
        "message_character_limit": 10,
    },
)

_numbers = count(1)


@dataclass
class Desk(World):
    """A usable organisation with two contacts; calls answer ``data`` and must not fail."""

    contacts: list[str] = field(default_factory=list)

    @property
    def reader(self) -> str:
        """The contact that communications are with."""
        return self.contacts[0]

    def body(self, **more: Any) -> Json:
        """A create of a call to the reader; null takes a member away."""
        whole = {"contact_information_identifier": {"id": self.reader}} | BODY | more
        return {name: value for name, value in whole.items() if value is not ...}

    async def say(self, **more: Any) -> Json:
        """A new communication."""
        return dict(await self.api.post("communications/create", **self.body(**more)))

    async def draft(self, **more: Any) -> Json:
        """A new draft."""
        return await self.say(life_cycle_state="DRAFT", **more)

    async def unsaid(self, **more: Any) -> tuple[str, str]:
        """NAME and description with which a create is refused."""
        return await self.api.refused("communications/create", **self.body(**more))

    async def on(self, method: str, communication: Json, **more: Any) -> Json:
        """``update``, ``complete`` or ``set_as_viewed`` of a communication."""
        named = {"communication_identifier": {"id": communication["id"]}}
        return dict(await self.api.post(f"communications/{method}", **named | more))

    async def not_on(self, method: str, communication: Json, **more: Any) -> tuple[str, str]:
        """NAME and description with which that is refused."""
        named = {"communication_identifier": {"id": communication["id"]}}
        return await self.api.refused(f"communications/{method}", **named | more)

    async def see(self, communication: Json, **more: Any) -> Json:
        """A communication as it is shown now."""
        named = f"id={communication['id']}"
        return dict(
            await self.api.get("communications/show", communication_identifier=named, **more)
        )

    async def mail(self, **more: Any) -> Json:
        """The queue entry of a new e-mail."""
        said = await self.say(**{"media": "EMAIL", "to": "a@b"} | more)
        entries = await self.api.get(
            "communications/queue/list", media="EMAIL", number_of_results=1000
        )
        return dict(next(e for e in entries if e["communication"]["id"] == said["id"]))

    async def entry(self, id_: str) -> Json:
        """A queue entry as it is shown now."""
        named = f"id={id_}"
        return dict(
            await self.api.get("communications/queue/show", communication_queue_identifier=named)
        )

    async def queue(self, method: str, entry: Json, **more: Any) -> Json:
        """``process``, ``reject`` or ``remove`` of a queue entry; the whole envelope."""
        named = {"communication_queue_identifier": {"id": entry["id"]}}
        body = (named | ERROR if method == "reject" else named) | more
        return await self.api.call("POST", f"communications/queue/{method}", body=body)

    async def template(self, **fields: Any) -> Json:
        """The identifier of a new template, effective unless said otherwise."""
        id_ = f"TE{next(_numbers)}"
        named: Json = {"name": id_, "life_cycle_state": "EFFECTIVE"} | fields
        await self.register("communication_template", id_, **named)
        return {"id": id_}


ERROR: Json = {"error_code": "E1", "error_description": "Nobody there"}


async def desk(service: Service) -> Desk:
    """An organisation of its own on ``service``, with two contacts and every kind of reference."""
    api = Api(service)
    await world(api)
    await api.register([*SET_UP, *KINDS])
    made = Desk(api)
    made.contacts = [
        await made.contact(first_name="Kyriacos", last_name="Xenofontos", type="PERSON"),
        await made.contact(),
    ]
    return made


async def events(api: Api, topic: str = "") -> list[str]:
    """The topics of an organisation's events that begin with ``topic``, in order."""
    sql = "SELECT topic FROM ledger.events WHERE organisation = $1 AND starts_with(topic, $2) ORDER BY position"
    return [row["topic"] for row in await rows(api, sql, topic)]


async def together(api: Api, calls: Sequence[tuple[str, Json]], **headers: str) -> list[Json]:
    """The envelopes of POSTs that are sent at the same moment."""
    api.token = api.token or await api.login()
    sent = (api.call("POST", path, body=body, headers=headers) for path, body in calls)
    return list(await asyncio.gather(*sent))


async def posted(api: Api, path: str, body: Json, **headers: str) -> tuple[int, Json]:
    """HTTP status and envelope of a POST with a session's token."""
    api.token = api.token or await api.login()
    data = json.dumps({"token": api.token} | body).encode()
    status, answer, _ = await api.service.send("POST", BASE + path, data=data, headers=headers)
    return status, answer


def names(answers: Sequence[Json]) -> list[str]:
    """``OK`` or the NAME of each envelope, sorted."""
    return sorted("OK" if a["status"]["code"] == "OK" else refusal(a)[0] for a in answers)


def new_key() -> str:
    """An Idempotency-Key that nobody has used."""
    return uuid4().hex
