"""The demo organisation: loaded once, found again, and loaded anew where the database is another."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from infra.app import open_application
from infra.demo.load import ORGANISATION, USER, DemoSecrets, load_demo
from infra.settings import Settings
from tests.fixtures.service import Api, environment, run_in_process

STATES = {
    "pending": 1,
    "responded_pending_acceptance": 1,
    "responded": 2,
    "completed": 1,
    "overdue": 3,
}


async def load(database: str, path: Path) -> tuple[DemoSecrets, int]:
    """Loads the demo organisation; what it made up, and how many events there are now."""
    settings = Settings.from_environment(environment(database))
    async with open_application(settings, database) as application:
        made_up = await load_demo(application, path, lambda _: None)
    connection = await asyncpg.connect(database)
    try:
        return made_up, await connection.fetchval(
            "SELECT count(*) FROM ledger.events WHERE topic NOT LIKE 'session.%'"
        )
    finally:
        await connection.close()


async def test_loading_it_again_changes_nothing(database: str, tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "demo.json"
    made_up, events = await load(database, path)
    assert path.stat().st_mode & 0o077 == 0
    assert await load(database, path) == (made_up, events)
    async with run_in_process(database) as service:
        api = Api(service, organisation=ORGANISATION)
        api.token = await api.login(USER, made_up.passwords[USER])
        latest = await api.get("communications/queue/get_latest", number=1, media="EMAIL")
        contact = latest[0]["communication"]["contact_information"]["id"]
        identifier = f"id={contact}"
        assert await api.get("communications/list", contact_information_identifier=identifier)
        for state, count in STATES.items():
            found = await api.get(f"service_requests/get_{state}")
            assert len(found) == count, state


async def test_lost_secrets_are_made_up_anew(database: str, tmp_path: Path) -> None:
    first, _ = await load(database, tmp_path / "one.json")
    second, _ = await load(database, tmp_path / "two.json")
    assert first.passwords != second.passwords
    async with run_in_process(database) as service:
        api = Api(service, organisation=ORGANISATION)
        assert await api.login(USER, second.passwords[USER])
