"""``crmledger views`` as an operator types it, on a real server and on the embedded one."""

from __future__ import annotations

import asyncio

import pytest

from infra.projections.projector import Projector
from tests.fixtures.communications import CommunicationsClient
from tests.fixtures.databases import folder
from tests.fixtures.programs import start_program
from tests.fixtures.read_models import connection, views_of
from tests.fixtures.service import RING, environment

pytestmark = pytest.mark.slow


async def run(variables: dict[str, str], *words: str) -> tuple[int, str]:
    """Return the exit status and the output of a command."""
    child = await start_program(variables, *words, stderr=asyncio.subprocess.STDOUT)
    output, _ = await child.communicate()
    return child.returncode or 0, output.decode()


@pytest.fixture
def client(populated_client: CommunicationsClient) -> CommunicationsClient:
    return populated_client


async def test_the_life_of_views(client: CommunicationsClient, database: str) -> None:
    variables = environment(database)
    status, output = await run(variables, "views", "list")
    assert status == 0, output
    rows = {line.split()[1]: line for line in output.splitlines() if "." in line}
    assert "never" in rows["views.contacts"]
    assert " positions, " in rows["analytics.daily_events"]

    status, output = await run(variables, "views", "verify")
    assert status == 0, output
    status, output = await run(variables, "views", "rebuild")
    assert status == 0, output
    assert "Switched" in output
    status, output = await run(variables, "views", "rollback")
    assert status == 0, output
    assert await views_of(database) == {"views", "views_previous"}
    status, output = await run(variables, "views", "discard")
    assert (status, output) == (0, "Dropped: views_previous.\n")
    assert await views_of(database) == {"views"}


async def test_what_is_parked_is_listed_and_tried_again(
    client: CommunicationsClient, database: str
) -> None:
    variables = environment(database)
    nothing = (0, "Nothing is parked.\n")
    assert await run(variables, "views", "parked") == nothing
    draft = await client.create_draft()
    refuse = (
        f"ALTER TABLE analytics.transitions ADD CONSTRAINT poison CHECK (id <> '{draft['id']}')"
    )
    projector = Projector(database, RING)
    async with connection(database) as owner:
        await owner.execute(refuse)
        await projector.once()
        for command, status in (("parked", 0), ("retry", 1)):
            ended, output = await run(variables, "views", command)
            assert ended == status, output
            assert "CheckViolationError" in output
            assert draft["id"] in output
        listed = (await run(variables, "views", "list"))[1]
        assert (
            next(line for line in listed.splitlines() if "transitions" in line).split()[-2] == "1"
        )
        await owner.execute("ALTER TABLE analytics.transitions DROP CONSTRAINT poison")
    await projector.close()
    assert await run(variables, "views", "retry", "transitions") == nothing


async def test_a_wrong_row_is_named_and_exits_with_1(
    client: CommunicationsClient, database: str
) -> None:
    variables = environment(database)
    async with connection(database) as owner:
        await owner.execute(
            "UPDATE views.contacts SET phones = '{77}' WHERE id = $1", client.recipient
        )
    wrong = (
        f"views.contacts {client.api.organisation}/{client.recipient}: "
        "column phones: expected '{}', found '{77}'"
    )
    for command in ("verify", "rebuild"):
        status, output = await run(variables, "views", command)
        assert status == 1, output
        assert wrong in output
    status, output = await run(variables, "views", "rebuild", "--accept-differences")
    assert status == 0, output
    status, output = await run(variables, "views", "verify")
    assert status == 0, output


async def test_a_refusal_is_one_line(database: str) -> None:
    status, output = await run(environment(database), "views", "rollback")
    assert (status, output) == (1, "crmledger: there are no former views to go back to\n")


async def test_the_embedded_server_is_started_for_it() -> None:
    with folder() as home:
        variables = {"CRMLEDGER_DATA_DIR": str(home)}
        for command in ("rebuild", "verify", "list"):
            status, output = await run(variables, "views", command)
            assert status == 0, output
