"""A service with something of everything in its views, and what tests of views ask the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
from PIL import Image

from infra.encryption import KeyRing
from infra.http.audit.routes import AUDIT
from infra.rebuild.rebuild import RebuildReport, rebuild, rollback
from infra.rebuild.verify import VerifyReport, verify
from infra.settings import Settings
from tests.communications_world import Desk
from tests.service import PASSWORD, environment
from tests.service_requests_world import gone_all_ways, staffed
from tests.tokens_world import TokenDesk, token_desk
from tests.world import UNIT

__all__ = [
    "TABLES",
    "catalogue",
    "connection",
    "forgotten",
    "keys_of",
    "lived",
    "rebuilt",
    "rolled_back",
    "verified",
    "view_rows",
    "views_of",
]

TABLES = (
    "access_tokens",
    "communications",
    "contacts",
    "entities",
    "names",
    "queue_entries",
    "records",
    "service_requests",
    "sessions",
)


@asynccontextmanager
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the owner's."""
    opened = await asyncpg.connect(url)
    try:
        yield opened
    finally:
        await opened.close()


async def lived(service: Any) -> Desk:
    """An organisation in which every event has happened."""
    made = await token_desk(service)
    await _contacts(made)
    await _tokens(made)
    draft = await made.draft()
    await made.on("update", draft, subject="Again")
    await made.on("complete", draft)
    received = await made.say(direction="INCOMING", code=draft["code"])
    await made.on("set_as_viewed", received)
    await made.queue("process", await made.mail())
    await made.queue("reject", await made.mail())
    await made.queue("remove", await made.mail())
    await made.mail()
    await gone_all_ways(await staffed(made.api))
    for number, retired in (("L2", True), ("L3", False)):
        state = {"number": number, "life_cycle_state": "PENDING", "retired": retired}
        await made.register("lead", "LE1", **state)
    await _forgotten(made)
    await made.api.call("POST", "authentication/token/release", body={})
    made.api.token = ""
    return made


async def _forgotten(made: TokenDesk) -> None:
    """A contact and its access token are forgotten, and somebody reads that."""
    roles = ["operator", "auditor"]
    user = {"username": "both", "default_unit_id": UNIT, "roles": roles, "password": PASSWORD}
    await made.register("user", "90", **user)
    who = await made.contact(notes="to be forgotten")
    owner = {"account_owner_id": who}
    await made.register("accounts_receivable", "AF", **owner)
    await made.keyed(accounts_receivable_identifier={"id": "AF"})
    await made.register("accounts_receivable", "AF", **owner, retired=True)
    await forgotten(made, who)


async def forgotten(made: Desk, contact: str) -> None:
    """A contact is forgotten, by the user for whom `lived` has made a place."""
    bearer = {"Authorization": f"Bearer {await made.api.login('both')}"}
    for verb, act, data in (
        ("POST", "forget", b'{"reason":"asked"}'),
        ("GET", "certificate", None),
    ):
        path = f"{AUDIT}contacts/{contact}/{act}"
        status, answer, _ = await made.api.service.send(verb, path, data=data, headers=bearer)
        assert status == 200, answer


async def _tokens(made: TokenDesk) -> None:
    """What others do later shows in who did it last, for it may happen in the same second."""
    customer = await made.consumer()
    of = {"accounts_receivable_identifier": {"id": customer.account}}
    pending, keyed = await made.pending(**of), await made.keyed(**of)
    made.api.token = await made.api.login("second")
    reset = await made.do("reset_verification_code", pending)
    await made.do("reset_pass_code", keyed)
    made.api.token = await made.api.login()
    await made.do("verify", pending, verification_code=reset["verification_code"])
    assert await made.refer({"one_time_password": await made.once(keyed)}) == "OK"
    await made.once(keyed)
    await made.do("update", keyed, identifier=None, udf_string_1="x")
    for method in ("set_as_not_effective", "set_as_effective"):
        await made.do(method, keyed)
    await made.forgive(keyed)
    for state in ({"life_cycle_state": "TERMINATED"}, {"retired": True}, {}):
        await made.account(customer.account, account_owner_id=customer.contact, **state)


async def _contacts(made: Desk) -> None:
    numbers = {"id_number": "K1", "passport_number": "P1"}
    phone = {"type": "LANDLINE", "number": "22114455"}
    contact = await made.contact(demographics=numbers, phone_set=[phone])
    named = {"phone_identifier": {"type": "LANDLINE"}}
    await made.update(contact, demographics={"id_number": "K2", "passport_number": None})
    await made.update(contact, phone_set=[named | {"action": "UPDATE", "notes": "n"}])
    await made.update(contact, phone_set=[named | {"action": "REMOVE"}])
    await made.update(contact, phone_set=[phone | {"action": "ADD", "type": "MOBILE"}])
    await made.update(contact, send_direct_marketing_material="true")
    picture = BytesIO()
    Image.new("L", (8, 8)).save(picture, "PNG")
    form, file = (
        {"contact_information_identifier": f"id={contact}"},
        ("me.png", picture.getvalue(), "image/png"),
    )
    for action in (
        {"file": file, "form": form},
        {"body": {"contact_information_identifier": {"id": contact}}},
    ):
        verb = "add" if "file" in action else "remove"
        path = f"contact_information/profile_photo/{verb}"
        answer = await made.api.call("POST", path, **action)
        assert answer["status"]["code"] == "OK", answer
    for account, owner in (
        ("A1", contact),
        ("A2", contact),
        ("A1", made.reader),
        ("A2", made.reader),
    ):
        await made.register("accounts_receivable", account, account_owner_id=owner)


def keys_of(url: str) -> tuple[KeyRing, ZoneInfo]:
    """What is needed to read the events that a service under test has written."""
    settings = Settings.from_environment(environment(url))
    return KeyRing(settings.service_key), ZoneInfo(settings.time_zone)


async def rebuilt(url: str, **options: Any) -> RebuildReport:
    """What a rebuild did."""
    return await rebuild(url, *keys_of(url), **options)


async def rolled_back(url: str, **options: Any) -> RebuildReport:
    """What a rollback did."""
    return await rollback(url, *keys_of(url), **options)


async def verified(url: str) -> VerifyReport:
    """What a verification found."""
    return await verify(url, *keys_of(url))


async def view_rows(url: str, schema: str = "views") -> dict[str, list[str]]:
    """Every row of every view as text."""
    async with connection(url) as asked:
        return {
            table: [
                row[0]
                for row in await asked.fetch(f"SELECT t::text FROM {schema}.{table} t ORDER BY 1")
            ]
            for table in TABLES
        }


async def views_of(url: str) -> set[str]:
    """The schemas that hold views."""
    async with connection(url) as asked:
        found = await asked.fetch(
            "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'views')"
        )
    return {row["nspname"] for row in found}


async def catalogue(url: str) -> list[tuple[Any, ...]]:
    """All that the catalogue says of the live views, but for the identity of the tables."""
    async with connection(url) as asked:
        rows = await asked.fetch("""
            SELECT c.relname, c.reloptions::text, c.relacl::text, c.relowner, obj_description(c.oid, 'pg_class') AS says,
                   (SELECT string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                           a.attacl, col_description(c.oid, a.attnum), pg_get_expr(d.adbin, d.adrelid)), ', ' ORDER BY a.attnum)
                      FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
                     WHERE a.attrelid = c.oid AND a.attnum > 0) AS columns,
                   (SELECT string_agg(pg_get_indexdef(i.indexrelid), ', ' ORDER BY pg_get_indexdef(i.indexrelid))
                      FROM pg_index i WHERE i.indrelid = c.oid) AS indexes,
                   (SELECT string_agg(k.conname || pg_get_constraintdef(k.oid), ', ' ORDER BY k.conname)
                      FROM pg_constraint k WHERE k.conrelid = c.oid) AS constraints
              FROM pg_class c WHERE c.relnamespace = 'views'::regnamespace AND c.relkind = 'r' ORDER BY 1""")
    return [tuple(row) for row in rows]
