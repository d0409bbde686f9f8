"""What anyone may send adds no entry to what a process keeps in memory."""

from __future__ import annotations

from infra.app import open_application
from infra.settings import Settings
from tests.fixtures.communications import communications_client
from tests.fixtures.service import environment, run_in_process

BLANKS = (" ", "\u00a0", "\u2003", "\u3000", "\t", "\u2028", "\u200a")


async def test_blanks_around_the_name_of_an_organisation(database: str) -> None:
    async with run_in_process(database) as service:
        name = (await communications_client(service)).api.organisation
    settings = Settings.from_environment(environment(database))
    async with open_application(settings, database) as application:
        store = application.ledger
        for n in range(1, 40):
            spelling = BLANKS[n % len(BLANKS)] * n + name + BLANKS[(n + 1) % len(BLANKS)] * n
            assert await store.organisation(spelling) == name
            assert await store.organisation(f"nobody {n}") is None
        assert len(store._names) == 1
