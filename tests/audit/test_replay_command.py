"""``crmledger replay``: any position in a schema of its own, and a receipt that others reproduce."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio

from infra.ledger.positions import head_positions
from infra.postgres.embedded.server import EmbeddedPostgres
from infra.rebuild.replay import LedgerReplayer, schema_name
from tests.fixtures import databases
from tests.fixtures.auditors import Auditor, auditor
from tests.fixtures.read_models import TABLES, connection, keys_of, view_rows
from tests.fixtures.replayed_past import past_replay
from tests.fixtures.service import environment, run_in_process
from tests.infra.test_cli_views import run

Json = dict[str, Any]


@pytest_asyncio.fixture(scope="module")
async def made(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[Auditor]:
    """An organisation with mail in its queue, in a database of its own."""
    async with databases.database(postgres, template) as url, run_in_process(url) as service:
        made = await auditor(service)
        for _ in range(10):
            await made.desk.create_email()
        yield made


def replayer(made: Auditor, url: str = "", name: str = "") -> LedgerReplayer:
    """What replays the organisation, in its own database or in another one."""
    api = made.desk.api
    return LedgerReplayer(
        url or api.service.database, *keys_of(api.service.database), name or api.organisation
    )


async def own_rows(made: Auditor, schema: str) -> dict[str, list[str]]:
    """The rows of the organisation in a schema."""
    found = await view_rows(made.desk.api.service.database, schema)
    own = f"({made.desk.api.organisation},"
    return {view: [row for row in held if row.startswith(own)] for view, held in found.items()}


async def test_the_end_of_the_ledger_is_what_the_views_hold(made: Auditor) -> None:
    organisation, url = made.desk.api.organisation, made.desk.api.service.database
    found = await replayer(made).replay_organisation()
    position = found["range"]["last"]
    assert await own_rows(made, schema_name(organisation, position)) == await own_rows(
        made, "views"
    )
    async with connection(url) as owner:
        assert position == (await head_positions(owner))[organisation]
    assert found["events"]["count"] == position
    assert found["rows"]["contacts"]["rows"] == 2
    assert set(found["rows"]) == set(TABLES)
    assert found["seal"] is None


async def test_a_receipt_is_reproduced_to_the_byte(
    made: Auditor, postgres: EmbeddedPostgres, template: str
) -> None:
    organisation, url = made.desk.api.organisation, made.desk.api.service.database
    first = await replayer(made).replay_organisation(60, "mine")
    assert orjson.dumps(await replayer(made).replay_organisation(60)) == orjson.dumps(first)
    await made.desk.create()
    assert await replayer(made).replay_organisation(60, "mine") == first
    assert await replayer(made).replay_organisation(61) != first
    async with (
        databases.database(postgres, template) as other,
        past_replay(url, other, organisation) as copy,
    ):
        await copy.stand_at(80)
        async with connection(other) as owner:
            name = await owner.fetchval("SELECT current_database()")
            await owner.execute(f"ALTER DATABASE {name} SET \"DateStyle\" = 'German, DMY'")
        assert await replayer(made, other).replay_organisation(60) == first


async def test_the_digests_can_be_computed_by_anybody(made: Auditor) -> None:
    found = await replayer(made).replay_organisation(60, "mine")
    said = found.pop("sha256")
    text = json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert said == hashlib.sha256(text.encode()).hexdigest()
    async with connection(made.desk.api.service.database) as owner:
        hashes = await owner.fetch(
            "SELECT event_hash FROM ledger.events WHERE organisation = $1 AND position <= 60"
            " ORDER BY position",
            made.desk.api.organisation,
        )
        named = await owner.fetch("SELECT row_to_json(t) FROM mine.identifiers t ORDER BY t::text")
    chain = hashlib.sha256(b"".join(row[0] for row in hashes)).hexdigest()
    assert found["events"] == {"count": 60, "sha256": chain}
    lines = sorted(
        (json.loads(row[0]) for row in named),
        key=lambda row: [row[name].encode() for name in ("kind", "field", "value", "id")],
    )
    spelled = (
        json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False) for row in lines
    )
    digest = hashlib.sha256("".join(f"{row}\n" for row in spelled).encode()).hexdigest()
    assert found["rows"]["identifiers"] == {"rows": len(lines), "sha256": digest}


async def test_one_entity_needs_no_schema(made: Auditor) -> None:
    contact = made.desk.recipient
    before = await replayer(made).replay_entity(f"contact_information/{contact}")
    position = before["receipt"]["range"]["last"]
    await made.desk.update_contact(contact, first_name="Other")
    after = await replayer(made).replay_entity(f"contact_information/{contact}")
    assert after["rows"]["contacts"][0]["document"]["first_name"] == "Other"
    again = await replayer(made).replay_entity(f"contact_information/{contact}", position)
    assert orjson.dumps(again) == orjson.dumps(before)
    assert again["rows"]["contacts"][0]["document"]["first_name"] == "Kyriacos"
    unit = await replayer(made).replay_entity("accounts_receivable/AR1")
    assert unit["rows"]["records"][0]["document"]["number"] == "ACR1"


@pytest.mark.parametrize(
    ("when", "schema", "says"),
    [
        (10**9, None, "ends at position"),
        (5, "views", "is no replay of"),
        (5, "Bad;", "is no name of a schema"),
    ],
)
async def test_what_cannot_be_is_said(
    made: Auditor, when: int, schema: str | None, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        await replayer(made).replay_organisation(when, schema)


@pytest.mark.parametrize(
    ("name", "ref", "says"),
    [
        ("", "contact_information/" + "0" * 32, "there is no contact_information"),
        ("", "contact_information/1", "is no entity"),
        ("", "dragon/1", "is no entity"),
        ("nobody", "unit/1", "there is no organisation nobody"),
    ],
)
async def test_what_is_not_there_is_said(made: Auditor, name: str, ref: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        await replayer(made, name=name).replay_entity(ref)


async def test_the_command_prints_the_receipt(made: Auditor) -> None:
    variables = environment(made.desk.api.service.database)
    organisation = made.desk.api.organisation
    status, said = await run(variables, "replay", organisation, "--at", "60", "--schema", "mine")
    assert status == 0, said
    assert json.loads(said[said.index("{") :]) == await replayer(made).replay_organisation(
        60, "mine"
    )
    status, said = await run(variables, "replay", organisation, "--at", "yesterday")
    assert (status, said) == (1, "crmledger: --at: The value is not of the parameter's type\n")
