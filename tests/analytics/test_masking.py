"""Who sees what: personal columns are null until an operator grants them, and limits hold."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest

from infra.analytics.relation import PERSONAL_ROLE, ROLE
from infra.analytics.relations import OBJECTS
from tests.fixtures.read_models import connection

MASKED = {
    name: [column.name for column in relation.columns if column.personal]
    for name, relation in OBJECTS.items()
    if any(column.personal for column in relation.columns)
}


@asynccontextmanager
async def admitted(url: str, *, personal: bool = False) -> AsyncIterator[asyncpg.Connection]:
    """A connection of an analyst's own role, as an operator lets one in."""
    name = f"analyst_{uuid4().hex[:12]}"
    async with connection(url) as admin:
        await admin.execute(f"CREATE ROLE {name} LOGIN")
        await admin.execute("SELECT analytics.grant_access($1, $2)", name, personal)
        own = await asyncpg.connect(url.replace("postgres@", f"{name}@"))
        try:
            yield own
        finally:
            await own.close()
            await admin.execute(f"DROP ROLE {name}")


def test_what_is_personal_in_the_field_table_is_so_here() -> None:
    assert {"subject", "content", "to", "notes", "udf_string_1"} <= {*MASKED["communications"]}
    assert {"name", "first_name", "demographics_id_number"} <= {*MASKED["contacts"]}
    assert {"number", "full_number", "country_name"} <= {*MASKED["contact_phones"]}
    assert {"identifier", "authentication_code"} <= {*MASKED["access_tokens"]}
    assert {"description", "response_description"} <= {*MASKED["service_requests"]}
    assert not {"id", "number", "life_cycle_state", "category"} & {*MASKED["service_requests"]}


@pytest.mark.parametrize("name", MASKED)
async def test_personal_columns_are_null_until_granted(demo: str, name: str) -> None:
    counted = ", ".join(f'count("{column}")' for column in MASKED[name])
    asked = f"SELECT {counted} FROM analytics.{name}"
    async with connection(demo) as one:
        await one.execute(f"SET ROLE {ROLE}")
        assert not any(await one.fetchrow(asked))
        await one.execute(f"SET ROLE {PERSONAL_ROLE}")
        empty = not await one.fetchval(f"SELECT count(*) FROM analytics.{name}")
        assert empty or any(await one.fetchrow(asked))


async def test_a_condition_cannot_look_behind_the_mask(demo: str) -> None:
    async with connection(demo) as one:
        await one.execute(f"SET ROLE {ROLE}")
        for asked in (
            "SELECT count(*) FROM analytics.contacts WHERE last_name IS NOT NULL",
            "SELECT count(*) FROM analytics.contacts WHERE starts_with(last_name, 'G')",
            "SELECT count(DISTINCT last_name) FROM analytics.contacts",
            "SELECT count(*) FROM analytics.records WHERE kind = 'accounts_receivable' AND name IS NOT NULL",
        ):
            assert await one.fetchval(asked) == 0


async def test_names_of_the_set_up_are_nobodys(demo: str) -> None:
    async with connection(demo) as one:
        await one.execute(f"SET ROLE {ROLE}")
        asked = "SELECT count(*) FROM analytics.records WHERE kind = 'unit' AND name IS NULL"
        assert await one.fetchval(asked) == 0


async def test_an_admitted_analyst_reads_and_nothing_else(demo: str) -> None:
    async with admitted(demo) as analyst:
        assert await analyst.fetchval("SELECT count(first_name) FROM contacts") == 0
        assert await analyst.fetchval("SELECT count(*) FROM contacts") == 8
        for refused in (
            "SELECT 1 FROM views.contacts",
            "SELECT 1 FROM ledger.events",
            "SELECT analytics.grant_access('postgres')",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await analyst.execute(refused)
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await analyst.execute("DELETE FROM daily_events")
        await analyst.execute("SET default_transaction_read_only = off")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await analyst.execute("DELETE FROM daily_events")


async def test_an_admitted_analyst_is_limited(demo: str) -> None:
    async with admitted(demo) as analyst:
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        shown = [await analyst.fetchval(f"SHOW {name}") for name in names]
        assert shown == ["1min", "2s", "1min"]
        await analyst.execute("SET statement_timeout = '50ms'")
        with pytest.raises(asyncpg.QueryCanceledError):
            await analyst.execute(
                "SELECT count(*) FROM events_flat a, events_flat b, events_flat c"
            )


async def test_who_was_granted_it_sees_a_person(demo: str) -> None:
    async with admitted(demo, personal=True) as analyst:
        found = await analyst.fetchval("SELECT name FROM contacts WHERE first_name = 'Marios'")
        assert found == "Marios Georgiou"


async def test_events_flat_opens_nothing(demo: str) -> None:
    async with admitted(demo, personal=True) as analyst:
        row = await analyst.fetchrow(
            "SELECT * FROM events_flat WHERE topic = 'contact_information.registered' LIMIT 1"
        )
        assert row["encrypted"] is True
        assert row["payload_number"].startswith("CI")
        assert not any("personal" in name for name, _ in row.items())
        assert "Georgiou" not in str([*row.values()])
