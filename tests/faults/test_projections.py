"""Faults 20 to 25: events that come twice or cannot be read, programs of two versions, and workers that die or sleep."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from infra.postgres.embedded.server import EmbeddedPostgres
from infra.postgres.pool import ConnectionPool
from infra.projections.parked import list_parked
from infra.projections.projector import Projector, lags
from infra.projections.sql_projections import ANALYTICS, SqlProjection
from infra.projections.temporal import TemporalViews
from infra.replay.pipeline import Reprojector, connect_as_owner
from infra.replay.worker import open_replay_pool
from tests.fixtures import databases
from tests.fixtures.communications import CommunicationsClient, Json
from tests.fixtures.read_models import (
    connection,
    keys_of,
    populate,
    run_rebuild,
    run_verify,
    view_rows,
)
from tests.fixtures.service import RING, environment, run_in_process
from tests.infra.test_projector import caught_up, is_true, program

ROOT = Path(__file__).parents[2]
VIEWS = ("daily_events", "transitions", "history")
SPOIL = """
ALTER TABLE ledger.events DISABLE TRIGGER USER;
UPDATE ledger.events SET topic = '{new}' WHERE stream_id = '{stream}' AND topic = '{old}';
ALTER TABLE ledger.events ENABLE TRIGGER USER
"""
COMPLETED, UNKNOWN = "communication.completed", "communication.teleported"
PROGRESS = "SELECT position FROM projection.checkpoints WHERE organisation = $1 AND view = $2"
TRANSITIONS = "SELECT * FROM analytics.transitions ORDER BY organisation, id, entered_position"
STATES = "SELECT state FROM analytics.transitions WHERE id = $1 ORDER BY entered_position"


@dataclass
class ProjectionSite:
    """A service with a life behind it, and a projector that has seen all of it."""

    made: CommunicationsClient
    url: str
    projector: Projector

    @property
    def organisation(self) -> str:
        return self.made.api.organisation

    async def states(self, said: Json) -> list[str]:
        """The states that a communication has been in, by the table of analysts."""
        async with connection(self.url) as asked:
            return [row["state"] for row in await asked.fetch(STATES, said["id"])]

    async def renamed(self, said: Json, old: str, new: str) -> None:
        """Gives the events of a topic another one, as only the owner of the database can."""
        async with connection(self.url) as owner:
            await owner.execute(SPOIL.format(stream=said["id"], old=old, new=new))

    async def parked(self) -> dict[str, tuple[int, int]]:
        """By view: the first position that it lacks of what is parked, and how often that was tried."""
        async with connection(self.url) as asked:
            return {one.view: (one.position, one.tries) for one in await list_parked(asked)}


@pytest_asyncio.fixture(scope="module")
async def site(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[ProjectionSite]:
    async with databases.database(postgres, template) as url, run_in_process(url) as service:
        made = await populate(service)
        lanes = ConnectionPool(url, 1)
        projector = Projector(url, RING, TemporalViews(lanes, *keys_of(url)), batch_size=50)
        await projector.once()
        yield ProjectionSite(made, url, projector)
        await projector.close()
        await lanes.close()


async def test_what_is_delivered_twice_or_late_changes_nothing(site: ProjectionSite) -> None:
    """Fault 20."""
    before = await view_rows(site.url)
    async with connection(site.url) as asked:
        fed = [await asked.fetch(f"SELECT * FROM analytics.{name} ORDER BY 1, 2, 3") for name in ANALYTICS]  # fmt: skip
        head = await asked.fetchval(PROGRESS, site.organisation, "daily_events")
        for view in ANALYTICS.values():
            again = SqlProjection(view, RING, uuid4(), 5)
            for at in (head - 5, 0, head - 1):
                assert not await again.apply_batch(asked, site.organisation, at, head)
        assert fed == [await asked.fetch(f"SELECT * FROM analytics.{name} ORDER BY 1, 2, 3") for name in ANALYTICS]  # fmt: skip
    reader, writer = (
        await connect_as_owner(site.url, by_key=True),
        await connect_as_owner(site.url, "views"),
    )
    async with open_replay_pool(*keys_of(site.url), 0) as working:
        folder = Reprojector(reader, writer, working, lambda _: None)
        for after, upto in ((head // 2, head), (0, head // 2), (head - 3, head), (0, head)):
            await folder.replay_changed(site.organisation, after, upto)
    await reader.close()
    await writer.close()
    assert await view_rows(site.url) == before


async def test_a_event_that_is_not_known_parks_its_entity_and_nothing_else(
    site: ProjectionSite,
) -> None:
    """Faults 21 and 22: an event of a newer program, met by all views."""
    draft = await site.made.create_draft()
    await site.projector.once()
    assert await site.states(draft) == ["DRAFT"]
    async with connection(site.url) as asked:
        head = await asked.fetchval(PROGRESS, site.organisation, "history")
    await site.made.call("complete", draft)
    await site.renamed(draft, COMPLETED, UNKNOWN)
    other = await site.made.create_draft()
    await site.made.call("complete", other)
    await site.projector.once()
    assert await site.projector.readiness_problems() == []
    assert await site.states(draft) == ["DRAFT"]
    assert await site.states(other) == ["DRAFT", "COMPLETED"]
    assert await site.parked() == dict.fromkeys(VIEWS, (head + 1, 1))
    async with connection(site.url) as asked:
        assert all([(await lags(asked, view))[0].positions == 0 for view in VIEWS])
    past = TemporalViews(lanes := ConnectionPool(site.url, 1), *keys_of(site.url))
    await past.catch_up_to(site.organisation, head)
    with pytest.raises(Exception, match=f"parked, up to position {head}$"):
        await past.catch_up_to(site.organisation, head + 1)
    await lanes.close()

    still = await site.projector.retry()
    assert {one.view for one in still} == set(VIEWS)
    assert await site.parked() == dict.fromkeys(VIEWS, (head + 1, 2))
    await site.renamed(draft, UNKNOWN, COMPLETED)
    assert await site.projector.retry("transitions") == []
    assert await site.states(draft) == ["DRAFT", "COMPLETED"]
    assert await site.projector.retry() == []
    assert await is_true(site.url)
    past = TemporalViews(lanes := ConnectionPool(site.url, 1), *keys_of(site.url))
    await past.catch_up_to(site.organisation, head + 1, seconds=0)
    await lanes.close()


async def test_a_event_that_a_table_refuses_is_found_in_its_batch(site: ProjectionSite) -> None:
    """Fault 21, from the server's side: nobody says which of the batch it was."""
    good = [await site.made.create_draft() for _ in range(3)]
    bad = await site.made.create_draft()
    good += [await site.made.create_draft() for _ in range(3)]
    async with connection(site.url) as owner:
        await owner.execute(
            f"ALTER TABLE analytics.transitions ADD CONSTRAINT poison CHECK (id <> '{bad['id']}')"
        )
        await site.projector.once()
        assert await site.projector.readiness_problems() == []
        assert await site.states(bad) == []
        assert [await site.states(one) for one in good] == [["DRAFT"]] * 6
        assert set(await site.parked()) == {"transitions"}
        (one,) = await site.projector.retry()
        assert (one.tries, "poison" in one.reason) == (2, True)
        await site.made.call("complete", bad)
        await site.projector.once()
        await owner.execute("ALTER TABLE analytics.transitions DROP CONSTRAINT poison")
    assert await site.projector.retry() == []
    assert await site.states(bad) == ["DRAFT", "COMPLETED"]


async def test_what_cannot_even_be_parked_is_not_skipped(site: ProjectionSite) -> None:
    """Fault 21, where the note of it fails, too: the view stands still and says so."""
    draft = await site.made.create_draft()
    await site.projector.once()
    await site.made.call("complete", draft)
    await site.renamed(draft, COMPLETED, UNKNOWN)
    async with connection(site.url) as owner:
        at = await owner.fetchval(PROGRESS, site.organisation, "transitions")
        await owner.execute("ALTER TABLE projection.parked ADD CONSTRAINT no_room CHECK (false)")
        for _ in range(2):
            await site.projector.once()
            problems = [f"{view} of {site.organisation} stands still" for view in VIEWS]
            assert await site.projector.readiness_problems() == problems
            for view in VIEWS:
                assert await owner.fetchval(PROGRESS, site.organisation, view) == at
        await owner.execute("ALTER TABLE projection.parked DROP CONSTRAINT no_room")
    await site.renamed(draft, UNKNOWN, COMPLETED)
    await site.projector.once()
    assert await site.projector.readiness_problems() == []
    assert await site.states(draft) == ["DRAFT", "COMPLETED"]
    assert await is_true(site.url)


async def test_an_older_program_writes_no_rows_of_newer_views(site: ProjectionSite) -> None:
    """Fault 23: at the switch of a rebuild by a newer program, the older ones stop to write."""
    service = site.made.api.service
    async with connection(site.url) as owner:
        events = await owner.fetchval("SELECT count(*) FROM ledger.events")
        raised = (
            "UPDATE ledger.view_versions SET version = version + {} WHERE view = 'views.contacts'"
        )
        await owner.execute(raised.format(1))
        try:
            name, says = await site.made.create_refused()
            assert (name, says) == ("SERVICEUNAVAILABLE", "nothing was written")
            async with service.http.get(service.admin_url + "/health/ready") as ready:
                assert (ready.status, "views" in await ready.text()) == (503, True)
            assert (await site.made.show_contact(site.made.recipient))["id"] == site.made.recipient
            assert await owner.fetchval("SELECT count(*) FROM ledger.events") == events
        finally:
            await owner.execute(raised.format(-1))
    assert await site.made.new_contact()


@pytest.mark.parametrize("share", ["0.1", "0.5", "0.9", "1"])
async def test_a_killed_rebuild_is_gone_on_with(site: ProjectionSite, share: str) -> None:
    """Fault 24: at the given shares of the events, and in the middle of the switch (1)."""
    before = await view_rows(site.url)
    await died("rebuild", site.url, share)
    assert await view_rows(site.url) == before
    contact = await site.made.new_contact()
    assert (await site.made.show_contact(contact))["id"] == contact
    async with connection(site.url) as asked:
        done = await asked.fetchval("SELECT sum(events) FROM views_next.heads")
        total = await asked.fetchval("SELECT count(*) FROM ledger.events")
    report = await run_rebuild(site.url)
    assert report.resumed
    assert report.switched
    assert report.differences == []
    # What was folded is not folded again, but for entities that were touched since.
    assert report.events < total - done + 100
    assert (await run_verify(site.url)).differences == []


@pytest.mark.parametrize("share", ["0.1", "0.5", "0.9"])
async def test_a_killed_projector_counts_everything_once(site: ProjectionSite, share: str) -> None:
    """Fault 24, of the other views: killed inside the transaction of a batch."""
    await site.projector.once()
    await site.projector.close()
    async with connection(site.url) as owner:
        transitions = await owner.fetch(TRANSITIONS)
        await owner.execute(
            "UPDATE projection.checkpoints SET position = 0 WHERE view <> 'history'"
        )
        await owner.execute("TRUNCATE analytics.daily_events, analytics.transitions")
    await died("project", site.url, share)
    assert not await is_true(site.url)
    async with connection(site.url) as owner:
        await owner.execute("UPDATE projection.checkpoints SET lease_holder = NULL")
    await site.projector.once()
    assert await is_true(site.url)
    async with connection(site.url) as owner:
        assert await owner.fetch(TRANSITIONS) == transitions


async def test_a_leader_that_slept_finds_that_it_was_overtaken(site: ProjectionSite) -> None:
    """Fault 25: paused for longer than its lease while another one works on."""
    await site.projector.close()
    async with program(site.url) as sleeper:
        await caught_up(site.url)
        sleeper.child.send_signal(signal.SIGSTOP)
        for _ in range(3):
            await site.made.new_contact()
        async with program(site.url):
            await caught_up(site.url)
            assert await is_true(site.url)
            sleeper.child.send_signal(signal.SIGCONT)
            for _ in range(10):
                await site.made.new_contact()
            await caught_up(site.url)
    assert await is_true(site.url)


async def died(what: str, url: str, share: str) -> None:
    """Runs a program that kills itself, and sees that it did."""
    key = environment(url)["CRMLEDGER_SERVICE_KEY"]
    command = ("-m", "tests.faults.crashing_programs", what, url, key, share)
    child = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT)
    assert await child.wait() == -signal.SIGKILL


async def test_a_batch_that_sleeps_lets_others_go_on(site: ProjectionSite) -> None:
    """Fault 25, asleep in the middle of a batch: the server ends its transaction with its lease."""
    await site.made.new_contact()
    organisation, view = site.organisation, ANALYTICS["daily_events"]
    sleeper = Projector(site.url, RING, lease=1)
    held = await sleeper._connect()
    async with connection(site.url) as owner:
        await owner.execute("UPDATE projection.checkpoints SET lease_holder = NULL")
        at = await owner.fetchval(PROGRESS, organisation, view.name)
    await held.execute("BEGIN")
    moved = "UPDATE projection.checkpoints SET position = $3 WHERE organisation = $1 AND view = $2"
    await held.execute(moved, organisation, view.name, at + 1)
    async with asyncio.timeout(60):
        await site.projector.once()
    assert await is_true(site.url)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await held.execute("COMMIT")
    await sleeper.close()
