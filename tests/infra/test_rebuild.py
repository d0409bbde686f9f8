"""Rebuilding the views: the same rows as those that commands wrote, and nobody notices."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from domain.aggregate import EVENTS, Aggregate
from infra.ledger.mapper import DESTROYED_KEY, StoredEvent, replay
from infra.rebuild import rebuild
from infra.rebuild.rebuild import ROOT, ROW_SOURCES, RebuildError, row_sources
from infra.rebuild.shadow_build import ONE_AT_A_TIME, ShadowBuild
from infra.replay import pipeline as folding
from infra.replay import worker as pages
from infra.views.tables import TABLES
from services.projection_versions import VERSIONS
from services.projections import project
from tests.fixtures.communications import CommunicationsClient
from tests.fixtures.read_models import (
    catalogue,
    connection,
    forgotten,
    keys_of,
    run_rebuild,
    run_rollback,
    run_verify,
    view_rows,
    views_of,
)


@pytest.fixture
def client(populated_client: CommunicationsClient) -> CommunicationsClient:
    return populated_client


LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff"


async def listed(client: CommunicationsClient) -> list[Any]:
    """The first communications with the reader, as a call lists them."""
    named = f"id={client.recipient}"
    return list(
        await client.api.get(
            "communications/list", contact_information_identifier=named, number_of_results=5
        )
    )


async def test_a_rebuild_gives_the_rows_that_commands_wrote(
    client: CommunicationsClient, database: str
) -> None:
    before = await view_rows(database)
    assert all(before.values())
    report = await run_rebuild(database)
    assert report.differences == []
    assert report.switched
    assert await view_rows(database) == before
    assert await view_rows(database, "views_previous") == before


async def test_pages_may_end_anywhere(
    client: CommunicationsClient, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await view_rows(database)
    for page in (1, 2, 7):
        monkeypatch.setattr(folding, "PAGE", page)
        assert (await run_rebuild(database)).switched
        assert await view_rows(database) == before


async def test_many_events_are_folded_by_several_processes(
    client: CommunicationsClient, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await view_rows(database)
    monkeypatch.setattr(pages, "PARALLEL_THRESHOLD", 1)
    monkeypatch.setattr(folding, "PAGE", 20)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    report = await run_rebuild(database)
    assert report.switched
    assert report.events
    assert await view_rows(database) == before


async def test_a_rebuild_leaves_the_catalogue_as_it_was(
    client: CommunicationsClient, database: str
) -> None:
    async with connection(database) as owner:
        await owner.execute("GRANT SELECT (id, created) ON views.contacts TO crmledger_analyst")
    before = await catalogue(database)
    await run_rebuild(database)
    assert await catalogue(database) == before
    await run_rollback(database)
    assert await catalogue(database) == before
    assert await views_of(database) == {"views", "views_previous"}


async def test_sql_views_over_the_tables_follow_the_switch(
    client: CommunicationsClient, database: str
) -> None:
    async with connection(database) as owner:
        await owner.execute(
            "CREATE VIEW persons AS SELECT id FROM views.contacts WHERE type = 'PERSON'"
        )
        await run_rebuild(database)
        count = await owner.fetchval("SELECT count(*) FROM persons")
        await client.new_contact()
        assert await owner.fetchval("SELECT count(*) FROM persons") == count + 1


async def test_what_comes_while_rows_are_compared_keeps_no_append_waiting(
    client: CommunicationsClient, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is caught up with and compared before appends are held up, and what differed then, too."""
    compared, recheck = ShadowBuild.compare_all, ShadowBuild.recheck
    looked_at: list[int] = []

    async def slowly(work: ShadowBuild) -> Any:
        await client.new_contact()
        differences = await compared(work)
        await client.new_contact()
        return differences

    async def counted(work: ShadowBuild, connection: Any, suspects: Any, *, accept: bool) -> Any:
        looked_at.append(len(work.reprojector.written or ()) + len(suspects))
        return await recheck(work, connection, suspects, accept=accept)

    monkeypatch.setattr(ShadowBuild, "compare_all", slowly)
    monkeypatch.setattr(ShadowBuild, "recheck", counted)
    assert (await run_rebuild(database)).switched
    before, held = looked_at
    assert before > 0
    assert held == 0
    assert (await run_verify(database)).differences == []


async def test_nothing_fails_while_it_runs(
    client: CommunicationsClient, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "PAGE", 50)
    done = asyncio.Event()

    async def write() -> int:
        count = 0
        while not done.is_set():
            contact = await client.new_contact()
            communication = await client.create(contact_information_identifier={"id": contact})
            assert (await client.show(communication))["contact_information"]["id"] == contact
            count += 1
        return count

    async def read() -> int:
        count = 0
        while not done.is_set():
            assert (await client.show_contact(client.recipient))["id"] == client.recipient
            assert len(await listed(client)) == 5
            count += 1
        return count

    assert len(await listed(client)) == 5
    working = [asyncio.create_task(work()) for work in (write, write, read, read)]
    reports = [await run_rebuild(database) for _ in range(3)] + [await run_rollback(database)]
    done.set()
    assert all(await asyncio.gather(*working))
    assert all(report.switched for report in reports)
    assert [report.differences for report in reports[:3]] == [[], [], []]
    assert (await run_verify(database)).differences == []


async def test_differing_rows_refuse_the_switch_unless_accepted(
    client: CommunicationsClient, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = await view_rows(database)
    written: list[str] = []
    index = rebuild.build_indexes

    async def meanwhile(writer: Any) -> None:
        written.append(await client.new_contact())
        await index(writer)

    monkeypatch.setattr(rebuild, "build_indexes", meanwhile)
    async with connection(database) as owner:
        await owner.execute(
            "UPDATE views.contacts SET phones = '{1}' WHERE id = $1", client.recipient
        )
        await owner.execute("DELETE FROM views.identifiers WHERE kind = 'communication'")
    wrong = await view_rows(database)
    report = await run_rebuild(database)
    assert not report.switched
    assert {(d.view, d.what) for d in report.differences} == {
        ("contacts", "different"),
        ("identifiers", "missing"),
    }
    after = await view_rows(database)
    assert all(set(rows) <= set(after[table]) for table, rows in wrong.items())
    # What was written meanwhile was caught up with: whoever goes on must not copy it again.
    async with connection(database) as owner:
        assert await owner.fetchval("SELECT min(folded::text) FROM views_next.heads") == LAST
    report = await run_rebuild(database, accept_differences=True)
    assert report.switched
    assert report.differences
    now = await view_rows(database)
    assert report.resumed
    assert all(any(one in row for row in now["contacts"]) for one in written)
    assert [table for table, rows in right.items() if not set(rows) <= set(now[table])] == []


async def test_a_rollback_brings_the_former_tables_up_to_date(
    client: CommunicationsClient, database: str
) -> None:
    await run_rebuild(database)
    contact = await client.new_contact()
    await client.update_contact(client.recipient, first_name="Later")
    now = await view_rows(database)
    assert (await run_rollback(database)).switched
    assert await view_rows(database) == now
    assert (await client.show_contact(contact))["id"] == contact
    assert (await run_rollback(database)).switched
    assert await view_rows(database) == now


async def test_what_was_in_the_way_is_dropped_when_nobody_waits_any_more(
    client: CommunicationsClient, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To drop large tables takes seconds. One that is killed before it does so leaves them to the next."""
    before = await view_rows(database)
    await run_rebuild(database)

    async def killed(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(rebuild, "drop_schema", killed)
    with pytest.raises(InterruptedError):
        await run_rebuild(database)
    monkeypatch.undo()
    assert await views_of(database) == {"views", "views_previous", "views_next"}
    for schema in ("views", "views_previous", "views_next"):
        assert await view_rows(database, schema) == before
    assert (await run_rollback(database)).switched
    assert await views_of(database) == {"views", "views_previous"}


async def test_who_is_forgotten_is_forgotten_beside_the_views_too(
    client: CommunicationsClient, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once in what is kept for a rollback, and in new tables before they are switched to."""
    contact = await client.new_contact(last_name="Lethe")
    communication = await client.create(
        contact_information_identifier={"id": contact}, content="of Lethe"
    )
    await run_rebuild(database)

    async def shown_before() -> list[bool]:
        rows = await view_rows(database, "views_previous")
        tables = ("contacts", "entities", "communications", "identifiers")
        return [
            any(contact in row or communication["id"] in row for row in rows[table])
            for table in tables
        ]

    index = rebuild.build_indexes

    async def meanwhile(writer: Any) -> None:
        assert await shown_before() == [True] * 4
        await forgotten(client, contact)
        assert await shown_before() == [False] * 4
        await index(writer)

    monkeypatch.setattr(rebuild, "build_indexes", meanwhile)
    report = await run_rebuild(database)
    assert report.differences == []
    assert report.switched
    for rows in (await view_rows(database), await view_rows(database, "views_previous")):
        assert "Lethe" not in str(rows)
    assert (await run_rollback(database)).switched
    assert "Lethe" not in str(await view_rows(database))
    assert (await run_verify(database)).differences == []


async def test_there_is_nothing_to_go_back_to_at_first(database: str) -> None:
    with pytest.raises(RebuildError, match="no former views"):
        await run_rollback(database)


async def test_an_empty_ledger_is_rebuilt(database: str) -> None:
    assert (await run_rebuild(database)).switched


async def test_one_rebuild_at_a_time(database: str) -> None:
    async with connection(database) as other:
        assert await other.fetchval(ONE_AT_A_TIME)
        with pytest.raises(RebuildError, match="already"):
            await run_rebuild(database)


async def test_who_keeps_the_tables_is_named(
    client: CommunicationsClient, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "MAX_WRITE_BLOCK", 0.5)
    before = await catalogue(database)
    async with connection(database) as reader, reader.transaction():
        await reader.execute("SET application_name = 'report of the year'")
        await reader.fetch("SELECT FROM views.contacts")
        with pytest.raises(RebuildError, match="report of the year"):
            await run_rebuild(database, patience=0)
        await client.new_contact()
    assert await catalogue(database) == before
    assert (await run_rebuild(database)).switched


async def test_a_event_that_cannot_be_read_stops_it(
    client: CommunicationsClient, database: str
) -> None:
    async with connection(database) as owner:
        await owner.execute(
            "DELETE FROM ledger.personal_keys WHERE organisation = $1", client.api.organisation
        )
    for accept in (False, True):
        report = await run_rebuild(database, accept_differences=accept)
        assert not report.switched
        assert all("key of contact" in one.reason for one in report.unreadable)
    assert len(report.unreadable) > 1
    assert await listed(client)


IMPORTED = """
import sys
import infra.replay.pipeline
packages = ("domain", "services", "infra")
modules = [module for name, module in sys.modules.items() if name.partition(".")[0] in packages]
print(*(module.__file__ for module in modules), sep="\\n")
"""
"""Prints the files of the program that whoever replays imports."""


def uncovered(roots: Sequence[str]) -> set[str]:
    """The modules that a replay imports and that are not among the sources of rows."""
    output = subprocess.run(
        [sys.executable, "-c", IMPORTED], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    imported = {Path(line).relative_to(ROOT) for line in output.split("\n") if line}
    assert Path("infra/replay/worker.py") in imported
    covered = {path.relative_to(ROOT) for path in row_sources(roots)}
    # A package's own file is there for its name only.
    return {path.as_posix() for path in imported - covered if (ROOT / path).stat().st_size}


def test_a_rebuild_resumes_only_what_the_same_code_has_begun() -> None:
    assert uncovered(ROW_SOURCES) == set()


def test_code_that_does_not_count_is_found() -> None:
    missing = uncovered([root for root in ROW_SOURCES if root != "infra/encryption.py"])
    assert missing == {"infra/encryption.py"}
    assert "infra/replay/worker.py" in uncovered(["domain", "services"])


def test_the_functions_that_write_rows_count() -> None:
    sql = [path.read_text() for path in row_sources() if path.suffix == ".sql"]
    assert any("FUNCTION ledger.write_views(" in text for text in sql)


async def test_every_view_has_a_version(database: str) -> None:
    async with connection(database) as owner:
        tables = await owner.fetch(
            "SELECT 'views.' || relname AS name FROM pg_class WHERE relnamespace = 'views'::regnamespace AND relkind = 'r'"
        )
        noted = await owner.fetch("SELECT view FROM ledger.view_versions WHERE view LIKE 'views.%'")
    assert {row["name"] for row in tables} == {row["view"] for row in noted}
    assert {row["name"] for row in tables} == {f"views.{view}" for view in VERSIONS}
    assert set(VERSIONS) == set(TABLES)


async def test_the_service_may_not_write_the_new_tables(
    client: CommunicationsClient, database: str
) -> None:
    await run_rebuild(database)
    async with connection(database) as owner:
        await owner.execute("SET ROLE crmledger_service")
        assert await owner.fetchval("SELECT count(*) FROM views.contacts")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await owner.execute("DELETE FROM views.contacts")


UNSHOWN = {
    "contact_information.account_lost",
    "access_token.one_time_password_generated",
    "access_token.one_time_password_used",
    "access_token.guesses_forgiven",
    "record.guesses_forgiven",
    "access.read",
}
"""Events that leave no trace in a view but a higher version: there, other accounts are left; no view
shows anything of secrets, nor who has read history.
"""


async def test_every_event_is_seen_in_the_views(
    client: CommunicationsClient, database: str
) -> None:
    """No topic is passed over in silence: each changes what its aggregate's views show."""
    happened: set[str] = set()
    seen: set[str] = set()
    for events in (await streams_of(database)).values():
        before: list[tuple[Any, ...]] = []
        for n, (topic, aggregate) in enumerate(events, start=1):
            projected = project(aggregate, {}, ZoneInfo("Asia/Nicosia")).rows
            assert all(row.version == n for row in projected)
            after = [(row.view, row.columns, row.document) for row in projected]
            if after != before:
                seen.add(topic)
            happened.add(topic)
            before = after
    assert happened == set(EVENTS)
    assert seen == set(EVENTS) - UNSHOWN


async def test_projections_give_the_declared_columns(
    client: CommunicationsClient, database: str
) -> None:
    """None that no table has, and each that one has, but for numbers that no contact of the test has."""
    projected: dict[str, set[str]] = {table.view: set() for table in TABLES.values()}
    for events in (await streams_of(database)).values():
        for _, aggregate in events:
            for row in project(aggregate, {}, ZoneInfo("Asia/Nicosia")).rows:
                projected[row.view] |= row.columns.keys()
    declared: dict[str, set[str]] = {view: set() for view in projected}
    for table in TABLES.values():
        declared[table.view] |= {c.name for c in table.columns if c.source == "projected"}
        declared[table.view] |= {table.items} - {""}
    projected["contacts"] |= {"social_security_number", "vat_registration_number"}
    assert projected == declared


async def test_no_row_depends_on_the_settings(client: CommunicationsClient, database: str) -> None:
    """Nothing is projected anew when an organisation changes its settings."""
    zone = ZoneInfo("Asia/Nicosia")
    others = {
        "unique_person": ["id_number"],
        "name_display": "LAST_FIRST",
        "default_country_id": "181",
    }
    for events in (await streams_of(database)).values():
        _, aggregate = events[-1]
        assert project(aggregate, {}, zone).rows == project(aggregate, others, zone).rows


async def streams_of(url: str) -> dict[UUID, list[tuple[str, Aggregate]]]:
    """Each stream's topics, with the aggregate as it was after each."""
    ring, _ = keys_of(url)
    async with connection(url) as owner_connection:
        rows = await owner_connection.fetch("""
            SELECT e.*, e.payload::text AS payload_text, e.metadata::text AS metadata_text, k.wrapped FROM ledger.events e
              LEFT JOIN ledger.personal_keys k ON k.organisation = e.organisation AND k.subject = e.subject
             ORDER BY stream_id, version""")
    events: dict[UUID, list[StoredEvent]] = {}
    states: dict[UUID, list[tuple[str, Aggregate]]] = {}
    for row in rows:
        stream, subject = UUID(bytes=row["stream_id"].bytes), row["subject"]
        owner = UUID(bytes=subject.bytes) if subject else None
        wrapped = row["wrapped"]
        keys = {owner: ring.unwrap(wrapped) if wrapped else DESTROYED_KEY} if owner else {}
        payload, metadata = row["payload_text"].encode(), row["metadata_text"].encode()
        stored = StoredEvent(
            stream, row["version"], row["topic"], row["schema_version"], owner, payload, metadata
        )
        events.setdefault(stream, []).append(stored)
        states.setdefault(stream, []).append((row["topic"], replay(events[stream], keys)))
    return states
