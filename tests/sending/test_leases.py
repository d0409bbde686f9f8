"""Who sends what and when: order, leases and their fences, rates, and outcomes that others decided."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from infra.delivery.dispatcher import MessageDispatcher
from infra.delivery.leases import PostgresDeliveryLeases
from infra.postgres.pool import ConnectionPool
from services.communications.delivery import LeasedEntry, SendPolicy
from tests import sending_world
from tests.communications_world import Desk, events
from tests.sending_world import Mailbox, due, entries, sender, sent_by
from tests.world import EXTERNAL_SYSTEM, rows

LIMITS = SendPolicy(
    messages_per_second=1000,
    connections=10,
    timeout_seconds=30,
    tries=8,
    first_wait_seconds=30,
    longest_wait_seconds=3600,
)


@pytest_asyncio.fixture
async def leases(office: Desk) -> AsyncIterator[PostgresDeliveryLeases]:
    lanes = ConnectionPool(office.api.service.database, 1)
    yield PostgresDeliveryLeases(lanes)
    await lanes.close()


async def say(office: Desk, *contents: str, contact: int = 0, **more: object) -> None:
    for content in contents:
        to = {"contact_information_identifier": {"id": office.contacts[contact]}}
        await office.say(**{"media": "EMAIL", "to": "a@b", "content": content} | to | more)


async def claimed(
    leases: PostgresDeliveryLeases, office: Desk, limits: SendPolicy = LIMITS, most: int = 10
) -> list[LeasedEntry]:
    return await leases.claim(office.api.organisation, "EMAIL", 1, most, limits)


async def opened(office: Desk, box: Mailbox, **more: object) -> None:
    await office.settings(
        email_server=box.settings(**more), default_email_address="crm@example.org"
    )


async def test_a_later_message_waits_for_an_earlier_one_of_the_same_contact(
    office: Desk, working: MessageDispatcher, box: Mailbox
) -> None:
    busy = ["451 Later"]

    async def once_busy(command: str, address: str) -> str | None:
        return busy.pop() if command == "DATA" and busy else None

    box.answer = once_busy
    await opened(office, box)
    await say(office, "1", "2", "3")
    await sent_by(working, 3)
    assert box.received == []
    await say(office, "other", contact=1)
    await sent_by(working, 2)
    assert [mail.content for mail in box.received] == ["other"]
    await due(office.api.service.database)
    await sent_by(working, 3)
    assert [mail.content for mail in box.received] == ["other", "1", "2", "3"]


async def test_one_of_a_contact_is_under_way_at_a_time(
    office: Desk, leases: PostgresDeliveryLeases
) -> None:
    await say(office, "1", "2")
    await say(office, "3", contact=1)
    assert len(await claimed(leases, office)) == 2
    assert await claimed(leases, office) == []


async def test_what_an_external_system_drains_is_not_ours_and_ours_is_not_its(
    office: Desk, working: MessageDispatcher, box: Mailbox
) -> None:
    system = {"communication_queue_external_system_identifier": {"id": EXTERNAL_SYSTEM}}
    await opened(office, box)
    await say(office, "theirs", **system)
    await say(office, "ours")
    path, named = "communications/queue/get_latest", f"id={EXTERNAL_SYSTEM}"
    query = {"communication_queue_external_system_identifier": named, "number": 10}
    assert len(await office.api.get(path, **query)) == 1
    await sent_by(working, 2)
    assert [mail.content for mail in box.received] == ["ours"]
    (theirs,) = await office.api.get(path, **query)
    assert (await office.queue("process", theirs))["status"]["code"] == "OK"
    assert len(await events(office.api, "queue_entry.processed")) == 2
    await sent_by(working)
    assert len(box.received) == 1


async def test_without_a_server_entries_wait_as_ever(
    office: Desk, working: MessageDispatcher, box: Mailbox
) -> None:
    await say(office, "1")
    await sent_by(working)
    await office.settings(email_server=box.settings(), email_server_enabled=False)
    await sent_by(working)
    assert await entries(office) == [("PENDING", None, None)]
    assert await rows(office.api, "SELECT * FROM outward.servers WHERE organisation = $1") == []


async def test_who_lost_a_lease_can_change_nothing(
    office: Desk, leases: PostgresDeliveryLeases
) -> None:
    await say(office, "1")
    tenant = office.api.organisation
    (first,) = await claimed(leases, office)
    await due(office.api.service.database)
    (second,) = await claimed(leases, office)
    assert second.fence > first.fence
    assert not await leases.renew(tenant, first, 60, sent=True)
    assert not await leases.defer(tenant, first, 1, 0, "late")
    assert not await leases.renew("another", second, 60, sent=True)
    assert await leases.renew(tenant, second, 60, sent=False)
    assert await leases.defer(tenant, second, 1, 0, "SMTP 450")
    assert not await leases.renew(tenant, second, 60, sent=True)
    (third,) = await claimed(leases, office)
    assert (third.tries, third.sent) == (1, False)


async def test_what_was_sent_and_not_recorded_is_not_sent_again(
    office: Desk, leases: PostgresDeliveryLeases, working: MessageDispatcher, box: Mailbox
) -> None:
    await opened(office, box)
    await say(office, "1", "2")
    (killed,) = await claimed(leases, office)
    assert await leases.renew(office.api.organisation, killed, 60, sent=True)
    await due(office.api.service.database)
    await sent_by(working, 2)
    assert [mail.content for mail in box.received] == ["2"]
    assert [state for state, _, _ in await entries(office)] == ["COMPLETED", "COMPLETED"]


async def test_what_arrived_and_is_not_known_to_have_goes_again_under_the_same_name(
    office: Desk, working: MessageDispatcher, box: Mailbox
) -> None:
    arrived = asyncio.Event()

    async def silent() -> None:
        arrived.set()
        await asyncio.sleep(30)

    box.on_mail = silent
    await opened(office, box)
    await say(office, "1", "2")
    await working.once()
    await arrived.wait()
    for task in list(working._under_way):
        task.cancel()
    await working.idle()
    box.on_mail = None
    await due(office.api.service.database)
    async with sender(office.api.service.database) as other:
        await sent_by(other, 2)
    assert [mail.content for mail in box.received] == ["1", "1", "2"]
    first, again, second = (mail.key for mail in box.received)
    assert first == again != second


@pytest.mark.parametrize("method", ["process", "reject", "remove"])
@pytest.mark.parametrize("reply", [None, "550 No"])
async def test_what_others_decide_meanwhile_stands(
    office: Desk, working: MessageDispatcher, box: Mailbox, method: str, reply: str | None
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait(command: str, address: str) -> str | None:
        if command == "DATA":
            reached.set()
            await go_on.wait()
            return reply
        return None

    box.answer = wait
    await opened(office, box)
    entry = await office.mail()
    await working.once()
    await reached.wait()
    await office.queue(method, entry)
    before = await entries(office)
    go_on.set()
    await working.idle()
    assert await entries(office) == before
    assert len(await events(office.api, "queue_entry.")) == 2
    assert await rows(office.api, "SELECT * FROM outward.deliveries WHERE organisation = $1") == []


async def test_a_contact_that_is_forgotten_on_the_way(
    office: Desk, working: MessageDispatcher, box: Mailbox
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait(command: str, address: str) -> str | None:
        reached.set()
        await go_on.wait()
        return "550 No such user" if command == "RCPT" else None

    box.answer = wait
    await opened(office, box)
    await say(office, "1")
    await working.once()
    await reached.wait()
    told = await working._ledger.load_context(office.api.organisation, sending_world.NOTHING)
    await sending_world.forget(working, told, office.reader)
    go_on.set()
    await working.idle()
    assert [state for state, _, _ in await entries(office)] == ["COMPLETED_AND_REMOVED"]
    assert await events(office.api, "queue_entry.rejected") == []


async def test_an_outcome_of_a_lost_lease_is_not_recorded(
    office: Desk, leases: PostgresDeliveryLeases, working: MessageDispatcher, box: Mailbox
) -> None:
    taken: list[LeasedEntry] = []

    async def overtaken(command: str, address: str) -> str | None:
        if command == "RCPT":
            await due(office.api.service.database)
            taken.extend(await claimed(leases, office))
            return "550 No"
        return None

    box.answer = overtaken
    await opened(office, box)
    await say(office, "1")
    await sent_by(working)
    assert await entries(office) == [("PENDING", None, None)]
    assert await leases.renew(office.api.organisation, taken[0], 60, sent=False)


async def test_senders_that_race_send_each_message_once(
    office: Desk, working: MessageDispatcher, box: Mailbox
) -> None:
    await opened(office, box, connections=10)
    for n in range(5):
        await say(office, f"{n}a", contact=0)
        await say(office, f"{n}b", contact=1)
    async with sender(office.api.service.database) as other:
        for _ in range(15):
            await asyncio.gather(working.once(), other.once())
            await asyncio.gather(working.idle(), other.idle())
    sent = [mail.content for mail in box.received]
    assert [c for c in sent if "a" in c] == [f"{n}a" for n in range(5)]
    assert [c for c in sent if "b" in c] == [f"{n}b" for n in range(5)]
    assert len(await events(office.api, "queue_entry.processed")) == 10


async def test_rates_and_places_are_shared(office: Desk, leases: PostgresDeliveryLeases) -> None:
    office.contacts += [await office.contact() for _ in range(6)]
    for contact in range(8):
        await say(office, "1", contact=contact)
    slow = SendPolicy(3, 10, 30, 8, 30, 3600)
    assert len(await claimed(leases, office, slow)) == 3
    assert await claimed(leases, office, slow) == []
    few = SendPolicy(1000, 5, 30, 8, 30, 3600)
    await leases.claim("nobody", "EMAIL", 1, 10, few)
    for _ in range(50):
        if more := await claimed(leases, office, few):
            break
        await asyncio.sleep(0.05)
    assert len(more) == 2
    assert await claimed(leases, office, few) == []
    assert len(await claimed(leases, office, most=1)) == 1


async def test_one_message_finds_out_whether_a_server_is_back(
    office: Desk, leases: PostgresDeliveryLeases
) -> None:
    tenant = office.api.organisation
    await say(office, "1")
    await say(office, "2", contact=1)
    for one in await claimed(leases, office):
        await leases.open_circuit(tenant, "EMAIL", one.failures, 3600, "SMTP UNREACHABLE")
        await leases.defer(tenant, one, 0, 0, "SMTP UNREACHABLE")
    assert await claimed(leases, office) == []
    await due(office.api.service.database)
    (probe,) = await claimed(leases, office)
    assert probe.failures == 1
    assert await claimed(leases, office) == []
    assert await leases.defer(tenant, probe, 1, 0, "SMTP 450")
    assert len(await claimed(leases, office)) == 2


async def test_a_sender_that_is_told_to_stop_finishes_what_is_under_way(
    office: Desk, working: MessageDispatcher, box: Mailbox
) -> None:
    reached, stop = asyncio.Event(), asyncio.Event()

    async def slow(command: str, address: str) -> str | None:
        if command == "DATA":
            reached.set()
            await asyncio.sleep(0.2)
        return None

    box.answer = slow
    await opened(office, box)
    await say(office, "1", "2")
    running = asyncio.create_task(working.run(stop))
    await reached.wait()
    stop.set()
    await running
    assert [mail.content for mail in box.received] == ["1"]
    assert [state for state, _, _ in await entries(office)] == ["COMPLETED", "PENDING"]
    assert await rows(office.api, "SELECT * FROM outward.deliveries WHERE organisation = $1") == []


async def test_the_bell_makes_it_look_at_once(office: Desk, box: Mailbox) -> None:
    """With the longest of pauses only the bell wakes it."""
    await opened(office, box)
    stop = asyncio.Event()
    async with sender(office.api.service.database, pause=600) as hearing:
        running = asyncio.create_task(hearing.run(stop))
        for content in ("1", "2"):
            await say(office, content)
            async with asyncio.timeout(20):
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
