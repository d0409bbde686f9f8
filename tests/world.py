"""A usable organisation for tests: its set-up, its constants, and builders of contacts.

`world` registers the records of the golden scenes and a little more; `person` and `company` are
bodies of creates that no other call of the run collides with; `untouched` proves that what happens
inside it left nothing behind in the database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import asyncpg

from tests.contract.scenes import base_records
from tests.service import Api, refusal

__all__ = ["World", "company", "no_id", "person", "rows", "traces", "untouched", "world"]

Json = dict[str, Any]

USER = "1"
"""The user ``demo``: Marios Lannister, of `UNIT` in `GROUP`."""
UNIT = "48305F8849E3C18B227C5BE3A27BA6DF"
GROUP = "84F33366CB592BAAE7E2044D93611C6A"
OTHER_GROUP = "68D54DA033606669621E3D2E4B355DA0"
PRIVACY_LEVEL = "9450216690684C416363B57DAD4596C3"
UNITED_STATES, UNITED_KINGDOM, CUBA, CYPRUS = "127", "126", "180", "181"
"""Countries; the first is the organisation's default. Their dialing codes: 1, 44, 53, 357."""
CATEGORY, OTHER_CATEGORY = "CC1", "CC2"
INDUSTRY, SECTOR = "IN1", "IS1"
COMMUNICATION_CATEGORY, EXTERNAL_SYSTEM = "MC1", "ES1"

MORE: tuple[Json, ...] = (
    {"kind": "contact_category", "id": CATEGORY, "name": "Gold", "code": "GLD"},
    {"kind": "contact_category", "id": OTHER_CATEGORY, "name": "Silver", "code": "SLV"},
    {"kind": "industry", "id": INDUSTRY, "name": "Retail", "code": "RET"},
    {"kind": "industry_sector", "id": SECTOR, "name": "Food", "alternative_code": "FD"},
    {
        "kind": "communication_category",
        "id": COMMUNICATION_CATEGORY,
        "name": "Sales",
        "description": "Sales talks",
        "code": "SAL",
    },
    {
        "kind": "communication_queue_external_system",
        "id": EXTERNAL_SYSTEM,
        "name": "Postman",
        "alternative_code": "PM",
    },
)

_numbers = count(1)
TABLES = (
    "ledger.events",
    "ledger.claims",
    "ledger.world_claims",
    "ledger.answers",
    "ledger.outcomes",
    "ledger.secrets",
    "ledger.personal_keys",
    "ledger.photos",
    "views.entities",
    "views.names",
    "views.records",
    "views.contacts",
    "views.communications",
    "views.queue_entries",
    "views.access_tokens",
    "views.service_requests",
)
"""Everything that only an accepted call may change; numbers may be drawn in vain."""


def person(**more: Any) -> Json:
    """The body of a create that is accepted: a person with a name of its own."""
    return {"type": "PERSON", "first_name": "Tyrion", "last_name": f"Doe {next(_numbers)}"} | more


def company(**more: Any) -> Json:
    """The body of a create that is accepted: a company with a name of its own."""
    return {"type": "COMPANY", "company_name": f"Acme {next(_numbers)}"} | more


def no_id() -> str:
    """An id of nothing."""
    return f"{next(_numbers):032X}"


@dataclass
class World:
    """A usable organisation, with what tests do to it all the time."""

    api: Api

    async def create(self, body: Json | None = None, **more: Any) -> Json:
        """A new contact, as the create answers it; a person if no body is given."""
        return dict(await self.api.post("contact_information/create", **(body or person()) | more))

    async def contact(self, body: Json | None = None, **more: Any) -> str:
        """The id of a new contact."""
        return str((await self.create(body, **more))["id"])

    async def show(self, contact: str) -> Json:
        """A contact in full."""
        path = "contact_information/show"
        return dict(await self.api.get(path, contact_information_identifier=f"id={contact}"))

    async def update(self, contact: str, **body: Any) -> Json:
        """A contact in full, after an update that must not fail."""
        path = "contact_information/update"
        return dict(
            await self.api.post(path, contact_information_identifier={"id": contact}, **body)
        )

    async def refused(self, contact: str, **body: Any) -> tuple[str, str]:
        """NAME and description with which an update is refused."""
        path = "contact_information/update"
        named = {"contact_information_identifier": {"id": contact}}
        return refusal(await self.api.call("POST", path, body=named | body))

    async def register(self, kind: str, id_: str, **fields: Any) -> None:
        """Registers one record, which must not be refused."""
        await self.api.register([{"kind": kind, "id": id_, **fields}])

    async def settings(self, **fields: Any) -> None:
        """Registers the organisation anew with these settings."""
        name = self.api.organisation
        base = {"name": name, "default_country_id": UNITED_STATES}
        await self.register("organisation", name, **base | fields)


async def world(api: Api) -> World:
    """Makes the organisation of ``api`` usable."""
    name = api.organisation
    records: list[Json] = []
    for record in (*base_records(), *MORE):
        own = {"id": name, "name": name} if record["kind"] == "organisation" else {}
        records.append({k: v for k, v in record.items() if k != "organisation"} | own)
    await api.register(records)
    return World(api)


async def rows(api: Api, sql: str, *values: Any) -> list[asyncpg.Record]:
    """What the service's database says; ``$1`` is the organisation."""
    connection = await asyncpg.connect(api.service.database)
    try:
        return list(await connection.fetch(sql, api.organisation, *values))
    finally:
        await connection.close()


async def traces(api: Api) -> dict[str, list[str]]:
    """Every row that calls of this organisation have left behind, by table."""
    parts = (
        f"SELECT '{table}' AS name, t::text AS row FROM {table} t WHERE organisation = $1"
        for table in TABLES
    )
    found: dict[str, list[str]] = {}
    for row in await rows(api, " UNION ALL ".join(parts) + " ORDER BY 1, 2"):
        found.setdefault(row["name"], []).append(row["row"])
    return found


@asynccontextmanager
async def untouched(api: Api) -> AsyncIterator[None]:
    """Fails if anything is written inside; begins the session first."""
    api.token = api.token or await api.login(api.username)
    before = await traces(api)
    yield
    assert await traces(api) == before
