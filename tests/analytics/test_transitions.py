"""Transitions: every state once, whoever feeds them, in whatever batches."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import asyncpg
import pytest

from domain.aggregate import EVENTS
from infra.analytics.events import ENTITIES
from infra.projections.projector import Projector
from infra.projections.reset import reset_projection
from tests.fixtures.communications import CommunicationsClient
from tests.fixtures.read_models import connection
from tests.fixtures.service import RING
from tests.fixtures.waits import wait_until_blocked

FED = """
SELECT entity, id, state, topic, entered_position, entered_at, left_position, left_at, actor, unit, seconds,
       changed_position
  FROM analytics.transitions WHERE organisation = $1 ORDER BY id, entered_position
"""
EVENTS_OF = """
SELECT upper(replace(stream_id::text, '-', '')) AS id, topic, position, recorded_at,
       metadata ->> 'user' AS actor, metadata ->> 'unit' AS unit
  FROM ledger.events WHERE organisation = $1 ORDER BY 1, position
"""


@pytest.fixture
def client(populated_client: CommunicationsClient) -> CommunicationsClient:
    return populated_client


async def truth(asked: asyncpg.Connection, organisation: str) -> list[tuple[object, ...]]:
    """What the ledger says, told by the domain's events one after the other."""
    entered: list[tuple[str, asyncpg.Record]] = []
    for event in await asked.fetch(EVENTS_OF, organisation):
        entity = event["topic"].partition(".")[0]
        state = EVENTS[event["topic"]].TO
        former = entered[-1] if entered and entered[-1][1]["id"] == event["id"] else None
        if entity in ENTITIES and state and (former is None or former[0] != state):
            entered.append((state, event))
    rows: list[tuple[object, ...]] = []
    for (state, event), (_, after) in pairwise([*entered, ("", None)]):
        left = after if after is not None and after["id"] == event["id"] else None
        at, ended = event["recorded_at"], left and left["recorded_at"]
        rows.append(
            (
                event["topic"].partition(".")[0],
                event["id"],
                state,
                event["topic"],
                event["position"],
                at,
                left and left["position"],
                ended,
                event["actor"],
                event["unit"],
                (ended - at).total_seconds() if ended else None,
                left["position"] if left else event["position"],
            )
        )
    return rows


async def is_true(url: str, organisation: str) -> bool:
    async with connection(url) as asked:
        fed = [tuple(row) for row in await asked.fetch(FED, organisation)]
        return bool(fed) and fed == await truth(asked, organisation)


async def test_every_state_is_entered_and_left_once(
    client: CommunicationsClient, database: str
) -> None:
    for most in (1, 3, 1_000_000):
        projector = Projector(database, RING, batch_size=most)
        await projector.once()
        assert await is_true(database, client.api.organisation)
        await client.call_queue("reject", await client.create_email())
        await projector.once()
        assert await is_true(database, client.api.organisation)
        await reset_projection(database, "transitions")
        assert not await is_true(database, client.api.organisation)
        await projector.close()


async def test_what_stays_in_its_state_is_no_transition(
    client: CommunicationsClient, database: str
) -> None:
    projector = Projector(database, RING, batch_size=1)
    entry = await client.create_email()
    for _ in range(3):
        await client.call_queue("reject", entry)
        await projector.once()
    await client.call_queue("process", entry)
    await projector.once()
    await projector.close()
    asked = "SELECT state, left_at IS NULL AS lasts FROM analytics.transitions WHERE id = $1 ORDER BY entered_position"
    async with connection(database) as owner:
        rows = [tuple(row) for row in await owner.fetch(asked, entry["id"])]
    assert rows == [("PENDING", False), ("REJECTED", False), ("COMPLETED", True)]


async def test_rivals_write_each_state_once(client: CommunicationsClient, database: str) -> None:
    rivals = [Projector(database, RING, batch_size=2, lease=lease) for lease in (-1, -1, 5)]
    for _ in range(3):
        await client.call_queue("process", await client.create_email())
        await asyncio.gather(*(rival.once() for rival in rivals))
    while not await is_true(database, client.api.organisation):
        await asyncio.gather(*(rival.once() for rival in rivals))
    for rival in rivals:
        await rival.close()


async def test_a_batch_that_began_before_is_not_kept(
    client: CommunicationsClient, database: str
) -> None:
    projector = Projector(database, RING, batch_size=1_000_000)
    async with connection(database) as other:
        await projector.once()
        await client.create_email()
        async with other.transaction():
            await other.execute("LOCK TABLE projection.checkpoints IN EXCLUSIVE MODE")
            feeding = asyncio.create_task(projector.once())
            again = asyncio.create_task(reset_projection(database, "transitions"))
            await wait_until_blocked(other, 2, "relation")
        await asyncio.gather(feeding, again)
        await projector.once()
    assert await is_true(database, client.api.organisation)
    await projector.close()


async def test_only_what_is_fed_can_be_fed_again(database: str) -> None:
    with pytest.raises(ValueError, match="the projector feeds no contacts"):
        await reset_projection(database, "contacts")
