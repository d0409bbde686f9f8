"""A populated organisation that the properties share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest_asyncio

from tests.contract.scenes import base_records
from tests.fixtures.communications import REFERRED_RECORDS
from tests.fixtures.organisation import (
    CATEGORY,
    COMMUNICATION_CATEGORY,
    EXTERNAL_SYSTEM,
    INDUSTRY,
    SECTOR,
    company,
    organisation_client,
    person,
)
from tests.fixtures.service import Api, Service
from tests.fixtures.service_requests import SET_UP, STATUSES, ServiceRequestsClient

Json = dict[str, Any]

TEMPLATE: Json = {
    "kind": "communication_template",
    "id": "TE1",
    "name": "Offer",
    "life_cycle_state": "EFFECTIVE",
    "direction": "OUTGOING",
    "media": "EMAIL",
    "subject": "For #contact_information.first_name",
    "content": "#unrestricted_string.a #subscription.number",
}


def _known() -> dict[str, list[Json]]:
    """Identifiers of what the organisation has, by entity."""
    known: dict[str, list[Json]] = {
        "contact_information": [{"number": f"CI{n:06d}"} for n in (1, 2, 3)],
        "communication": [{"number": f"CM{n:06d}"} for n in range(1, 12)],
        "communication_queue": [{"number": str(n)} for n in range(1, 8)],
        "service_request": [{"number": f"SR{n:08d}"} for n in range(1, 7)],
        "contact_category": [{"id": CATEGORY}],
        "communication_category": [{"id": COMMUNICATION_CATEGORY}],
        "communication_queue_external_system": [{"id": EXTERNAL_SYSTEM}],
        "communication_template": [{"id": TEMPLATE["id"]}],
        "industry": [{"id": INDUSTRY}],
        "industry_sector": [{"id": SECTOR}],
    }
    for record in (*base_records(), *REFERRED_RECORDS, *SET_UP):
        known.setdefault(record["kind"], []).append({"id": record["id"]})
    return known


KNOWN = _known()


@dataclass
class Playground:
    """A service with one organisation and a session of its own."""

    service: Service
    api: Api

    async def fresh_token(self) -> str:
        """A token that may be released."""
        return await self.api.login()


@pytest_asyncio.fixture(scope="session")
async def playground(service: Service) -> Playground:
    """Contacts, drafts, final communications and queue entries, so that most calls find something."""
    api = Api(service)
    await organisation_client(api)
    for record in (*REFERRED_RECORDS, TEMPLATE, *SET_UP):
        await api.register([record])
    for body in (person(), person(), company()):
        await api.post("contact_information/create", **body)
    said: Json = {"direction": "OUTGOING", "media": "SMS", "subject": "a", "content": "b"}
    for n in range(8):
        contact = {"contact_information_identifier": {"number": "CI000001"}}
        state = {"life_cycle_state": "DRAFT" if n % 2 else "COMPLETED"}
        await api.post("communications/create", **said, **contact, **state)
    await _service_requests(ServiceRequestsClient(api))
    return Playground(service, api)


async def _service_requests(desk: ServiceRequestsClient) -> None:
    """One in each state, for the account of the first contact."""
    query = {"contact_information_identifier": "number=CI000001"}
    desk.customer = (await desk.api.get("contact_information/show", **query))["id"]
    said = {"number": "ACR1", "life_cycle_state": "ACTIVE", "account_owner_id": desk.customer}
    await desk.register("accounts_receivable", "AR1", **said)
    for state in STATUSES:
        await desk.create_in_state(state)
