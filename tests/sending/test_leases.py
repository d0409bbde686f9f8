"""Who sends what and when: order, leases and their fences, rates, and outcomes that others decided."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from infra.delivery.dispatcher import MessageDispatcher
from infra.delivery.leases import PostgresDeliveryLeases
from infra.postgres.pool import ConnectionPool
from services.communications.delivery import LeasedEntry, SendPolicy
from tests.fixtures import delivery as sending_world
from tests.fixtures.communications import CommunicationsClient, event_topics
from tests.fixtures.delivery import Mailbox, dispatch, make_due, message_dispatcher, queue_entries
from tests.fixtures.organisation import EXTERNAL_SYSTEM, query_rows
from tests.fixtures.waits import wait_until_listening

LIMITS = SendPolicy(
    messages_per_second=1000,
    connections=10,
    timeout_seconds=30,
    tries=8,
    first_wait_seconds=30,
    longest_wait_seconds=3600,
)

SPENT = """
SELECT bool_and(s.next_at = d.lease_expires_at - $2 * interval '1 second') AS exactly
  FROM delivery.transports s JOIN delivery.entries d USING (organisation, media)
 WHERE s.organisation = $1
"""
NEXT_AT = """
UPDATE delivery.transports SET next_at = clock_timestamp() + $2::interval WHERE organisation = $1
"""


@pytest_asyncio.fixture
async def leases(client: CommunicationsClient) -> AsyncIterator[PostgresDeliveryLeases]:
    lanes = ConnectionPool(client.api.service.database, 1)
    yield PostgresDeliveryLeases(lanes)
    await lanes.close()


async def say(
    client: CommunicationsClient, *contents: str, contact: int = 0, **more: object
) -> None:
    for content in contents:
        to = {"contact_information_identifier": {"id": client.contacts[contact]}}
        await client.create(**{"media": "EMAIL", "to": "a@b", "content": content} | to | more)


async def claimed(
    leases: PostgresDeliveryLeases,
    client: CommunicationsClient,
    limits: SendPolicy = LIMITS,
    most: int = 10,
) -> list[LeasedEntry]:
    return await leases.claim(client.api.organisation, "EMAIL", 1, most, limits)


async def opened(client: CommunicationsClient, box: Mailbox, **more: object) -> None:
    await client.register_settings(
        email_server=box.settings(**more), default_email_address="crm@example.org"
    )


async def test_a_later_message_waits_for_an_earlier_one_of_the_same_contact(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    busy = ["451 Later"]

    async def once_busy(command: str, address: str) -> str | None:
        return busy.pop() if command == "DATA" and busy else None

    box.answer = once_busy
    await opened(client, box)
    await say(client, "1", "2", "3")
    await dispatch(working, 3)
    assert box.received == []
    await say(client, "other", contact=1)
    await dispatch(working, 2)
    assert [mail.content for mail in box.received] == ["other"]
    await make_due(client.api.service.database)
    await dispatch(working, 3)
    assert [mail.content for mail in box.received] == ["other", "1", "2", "3"]


async def test_one_of_a_contact_is_under_way_at_a_time(
    client: CommunicationsClient, leases: PostgresDeliveryLeases
) -> None:
    await say(client, "1", "2")
    await say(client, "3", contact=1)
    assert len(await claimed(leases, client)) == 2
    assert await claimed(leases, client) == []


async def test_what_an_external_system_drains_is_not_ours_and_ours_is_not_its(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    system = {"communication_queue_external_system_identifier": {"id": EXTERNAL_SYSTEM}}
    await opened(client, box)
    await say(client, "theirs", **system)
    await say(client, "ours")
    path, named = "communications/queue/get_latest", f"id={EXTERNAL_SYSTEM}"
    query = {"communication_queue_external_system_identifier": named, "number": 10}
    assert len(await client.api.get(path, **query)) == 1
    await dispatch(working, 2)
    assert [mail.content for mail in box.received] == ["ours"]
    (theirs,) = await client.api.get(path, **query)
    assert (await client.call_queue("process", theirs))["status"]["code"] == "OK"
    assert len(await event_topics(client.api, "queue_entry.processed")) == 2
    await dispatch(working)
    assert len(box.received) == 1


async def test_without_a_server_entries_wait_as_ever(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    await say(client, "1")
    await dispatch(working)
    await client.register_settings(email_server=box.settings(), email_server_enabled=False)
    await dispatch(working)
    assert await queue_entries(client) == [("PENDING", None, None)]
    assert (
        await query_rows(client.api, "SELECT * FROM delivery.transports WHERE organisation = $1")
        == []
    )


async def test_who_lost_a_lease_can_change_nothing(
    client: CommunicationsClient, leases: PostgresDeliveryLeases
) -> None:
    await say(client, "1")
    tenant = client.api.organisation
    (first,) = await claimed(leases, client)
    await make_due(client.api.service.database)
    (second,) = await claimed(leases, client)
    assert second.fence > first.fence
    assert not await leases.renew(tenant, first, 60, sent=True)
    assert not await leases.defer(tenant, first, 1, 0, "late")
    assert not await leases.renew("another", second, 60, sent=True)
    assert await leases.renew(tenant, second, 60, sent=False)
    assert await leases.defer(tenant, second, 1, 0, "SMTP 450")
    assert not await leases.renew(tenant, second, 60, sent=True)
    (third,) = await claimed(leases, client)
    assert (third.tries, third.sent) == (1, False)


async def test_what_was_sent_and_not_recorded_is_not_sent_again(
    client: CommunicationsClient,
    leases: PostgresDeliveryLeases,
    working: MessageDispatcher,
    box: Mailbox,
) -> None:
    await opened(client, box)
    await say(client, "1", "2")
    (killed,) = await claimed(leases, client)
    assert await leases.renew(client.api.organisation, killed, 60, sent=True)
    await make_due(client.api.service.database)
    await dispatch(working, 2)
    assert [mail.content for mail in box.received] == ["2"]
    assert [state for state, _, _ in await queue_entries(client)] == ["COMPLETED", "COMPLETED"]


async def test_what_arrived_and_is_not_known_to_have_goes_again_under_the_same_name(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    arrived = asyncio.Event()

    async def silent() -> None:
        arrived.set()
        await asyncio.Event().wait()

    box.on_mail = silent
    await opened(client, box)
    await say(client, "1", "2")
    await working.once()
    await arrived.wait()
    for task in list(working._under_way):
        task.cancel()
    await working.idle()
    box.on_mail = None
    await make_due(client.api.service.database)
    async with message_dispatcher(client.api.service.database) as other:
        await dispatch(other, 2)
    assert [mail.content for mail in box.received] == ["1", "1", "2"]
    first, again, second = (mail.key for mail in box.received)
    assert first == again != second


@pytest.mark.parametrize("method", ["process", "reject", "remove"])
@pytest.mark.parametrize("reply", [None, "550 No"])
async def test_what_others_decide_meanwhile_stands(
    client: CommunicationsClient,
    working: MessageDispatcher,
    box: Mailbox,
    method: str,
    reply: str | None,
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait(command: str, address: str) -> str | None:
        if command == "DATA":
            reached.set()
            await go_on.wait()
            return reply
        return None

    box.answer = wait
    await opened(client, box)
    entry = await client.create_email()
    await working.once()
    await reached.wait()
    await client.call_queue(method, entry)
    before = await queue_entries(client)
    go_on.set()
    await working.idle()
    assert await queue_entries(client) == before
    assert len(await event_topics(client.api, "queue_entry.")) == 2
    assert (
        await query_rows(client.api, "SELECT * FROM delivery.entries WHERE organisation = $1") == []
    )


async def test_a_contact_that_is_forgotten_on_the_way(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait(command: str, address: str) -> str | None:
        reached.set()
        await go_on.wait()
        return "550 No such user" if command == "RCPT" else None

    box.answer = wait
    await opened(client, box)
    await say(client, "1")
    await working.once()
    await reached.wait()
    told = await working._ledger.load_context(client.api.organisation, sending_world.NOTHING)
    await sending_world.erase_contact(working, told, client.recipient)
    go_on.set()
    await working.idle()
    assert [state for state, _, _ in await queue_entries(client)] == ["COMPLETED_AND_REMOVED"]
    assert await event_topics(client.api, "queue_entry.rejected") == []


async def test_an_outcome_of_a_lost_lease_is_not_recorded(
    client: CommunicationsClient,
    leases: PostgresDeliveryLeases,
    working: MessageDispatcher,
    box: Mailbox,
) -> None:
    taken: list[LeasedEntry] = []

    async def overtaken(command: str, address: str) -> str | None:
        if command == "RCPT":
            await make_due(client.api.service.database)
            taken.extend(await claimed(leases, client))
            return "550 No"
        return None

    box.answer = overtaken
    await opened(client, box)
    await say(client, "1")
    await dispatch(working)
    assert await queue_entries(client) == [("PENDING", None, None)]
    assert await leases.renew(client.api.organisation, taken[0], 60, sent=False)


async def test_senders_that_race_send_each_message_once(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    await opened(client, box, connections=10)
    for n in range(5):
        await say(client, f"{n}a", contact=0)
        await say(client, f"{n}b", contact=1)
    async with message_dispatcher(client.api.service.database) as other:
        for _ in range(15):
            await asyncio.gather(working.once(), other.once())
            await asyncio.gather(working.idle(), other.idle())
    sent = [mail.content for mail in box.received]
    assert [c for c in sent if "a" in c] == [f"{n}a" for n in range(5)]
    assert [c for c in sent if "b" in c] == [f"{n}b" for n in range(5)]
    assert len(await event_topics(client.api, "queue_entry.processed")) == 10


async def test_rates_and_places_are_shared(
    client: CommunicationsClient, leases: PostgresDeliveryLeases
) -> None:
    client.contacts += [await client.new_contact() for _ in range(6)]
    for contact in range(8):
        await say(client, "1", contact=contact)
    slow = SendPolicy(3, 10, 30, 8, 30, 3600)
    assert len(await claimed(leases, client, slow)) == 3
    # A second's worth is spent up to the moment of the claim, from which the leases count.
    [spent] = await query_rows(client.api, SPENT, slow.lease)
    assert spent["exactly"]
    await query_rows(client.api, NEXT_AT, timedelta(hours=1))
    assert await claimed(leases, client, slow) == []
    await query_rows(client.api, NEXT_AT, timedelta(seconds=-1))
    few = SendPolicy(1000, 5, 30, 8, 30, 3600)
    await leases.claim("nobody", "EMAIL", 1, 10, few)
    assert len(await claimed(leases, client, few)) == 2
    assert await claimed(leases, client, few) == []
    assert len(await claimed(leases, client, most=1)) == 1


async def test_one_message_finds_out_whether_a_server_is_back(
    client: CommunicationsClient, leases: PostgresDeliveryLeases
) -> None:
    tenant = client.api.organisation
    await say(client, "1")
    await say(client, "2", contact=1)
    for one in await claimed(leases, client):
        await leases.open_circuit(tenant, "EMAIL", one.failures, 3600, "SMTP UNREACHABLE")
        await leases.defer(tenant, one, 0, 0, "SMTP UNREACHABLE")
    assert await claimed(leases, client) == []
    await make_due(client.api.service.database)
    (probe,) = await claimed(leases, client)
    assert probe.failures == 1
    assert await claimed(leases, client) == []
    assert await leases.defer(tenant, probe, 1, 0, "SMTP 450")
    assert len(await claimed(leases, client)) == 2


async def test_a_sender_that_is_told_to_stop_finishes_what_is_under_way(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    reached, stop = asyncio.Event(), asyncio.Event()

    async def slow(command: str, address: str) -> str | None:
        if command == "DATA":
            reached.set()
            await asyncio.sleep(0.2)
        return None

    box.answer = slow
    await opened(client, box)
    await say(client, "1", "2")
    running = asyncio.create_task(working.run(stop))
    await reached.wait()
    stop.set()
    await running
    assert [mail.content for mail in box.received] == ["1"]
    assert [state for state, _, _ in await queue_entries(client)] == ["COMPLETED", "PENDING"]
    assert (
        await query_rows(client.api, "SELECT * FROM delivery.entries WHERE organisation = $1") == []
    )


async def test_the_bell_makes_it_look_at_once(client: CommunicationsClient, box: Mailbox) -> None:
    """With the longest of pauses only the bell wakes it."""
    await opened(client, box)
    stop = asyncio.Event()
    async with message_dispatcher(client.api.service.database, pause=600) as hearing:
        await wait_until_listening(hearing._listener)
        running = asyncio.create_task(hearing.run(stop))
        for content in ("1", "2"):
            await say(client, content)
            async with asyncio.timeout(60):
                while content not in [mail.content for mail in box.received]:
                    await asyncio.sleep(0.01)
        stop.set()
        await running


def test_waits_grow_are_capped_and_differ() -> None:
    waits = [[LIMITS.wait(n) for _ in range(50)] for n in range(1, 12)]
    for n, drawn in enumerate(waits):
        whole = min(30 * 2**n, 3600)
        assert whole / 2 <= min(drawn) < max(drawn) <= whole
    assert LIMITS.wait(1, 900) == 900
    assert LIMITS.wait(1, 10**6) == 3600
