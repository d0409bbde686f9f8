"""Three senders, one of which is killed every now and then: nothing is lost, and order is kept.

``CRMLEDGER_TEST_SENDING_ENTRIES`` is how many messages there are (120), ``CRMLEDGER_TEST_SENDING_RATE``
how many may be sent in a second (60), ``CRMLEDGER_TEST_SENDING_KILLS`` how many processes are killed at
most (3), ``CRMLEDGER_TEST_SENDING_KILL_SECONDS`` how often (1). On purpose, with the figures printed:

    CRMLEDGER_TEST_SENDING_ENTRIES=10000 CRMLEDGER_TEST_SENDING_RATE=1000 CRMLEDGER_TEST_SENDING_KILLS=1000000 \
        .venv/bin/pytest -s --timeout 3600 tests/sending/test_kill.py
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import aiohttp
import pytest

from tests.fixtures.communications import CommunicationsClient
from tests.fixtures.delivery import Mailbox, delivery_client
from tests.fixtures.organisation import query_rows
from tests.fixtures.service import environment, run_in_process

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ENTRIES = int(os.environ.get("CRMLEDGER_TEST_SENDING_ENTRIES", "120"))
RATE = int(os.environ.get("CRMLEDGER_TEST_SENDING_RATE", "60"))
KILLS = int(os.environ.get("CRMLEDGER_TEST_SENDING_KILLS", "3"))
KILL_SECONDS = float(os.environ.get("CRMLEDGER_TEST_SENDING_KILL_SECONDS", "1"))
CONTACTS = max(10, ENTRIES // 50)
CONNECTIONS = 20
"""Of all processes together; those of a process that was killed are free again after its leases."""
PROCESSES = 3

PENDING = "SELECT count(*) FROM views.queue_entries WHERE organisation = $1 AND life_cycle_state = 'PENDING'"
HELD = "SELECT * FROM delivery.entries WHERE organisation = $1"
OUTCOMES = """
SELECT stream_id, array_agg(topic ORDER BY position) AS topics FROM ledger.events
 WHERE organisation = $1 AND topic LIKE 'queue_entry.%' GROUP BY 1
"""


class Program:
    """A ``crmledger send`` that is started anew after it was killed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.child: asyncio.subprocess.Process | None = None
        self.address = ""

    async def start(self) -> None:
        self.child = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "infra.cli.main",
                "send",
                "--poll-interval",
                "0.1",
                "--admin-port",
                "0",
            ),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "COLUMNS": "200"} | environment(self._url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self.child.stdout is not None
        line = (await self.child.stdout.readline()).decode()
        found = re.search(r"http://[0-9.]+:\d+", line)
        self.address = found[0] if found else ""

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        assert self.child is not None
        with contextlib.suppress(ProcessLookupError):
            self.child.send_signal(number)
        return await self.child.wait()


class DeliverySetup:
    """An e-mail server that now and then is busy, and refuses nobody but nobody."""

    def __init__(self, box: Mailbox) -> None:
        self.box = box
        self._busy: set[str] = set()
        self._seen = asyncio.Event()
        box.answer = self.answer
        box.on_mail = self.taken

    async def answer(self, command: str, address: str) -> str | None:
        if address.startswith("nobody"):
            return "550 5.1.1 Nobody here" if command == "RCPT" else None
        if command == "RCPT" and random.random() < 0.01 and address not in self._busy:
            self._busy.add(address)
            return "451 4.7.1 Busy"
        return None

    async def taken(self) -> None:
        """Takes its time to say so: whoever is killed meanwhile cannot know that the message has arrived."""
        self._seen.set()
        await asyncio.sleep(0.02)

    async def next_mail(self) -> None:
        """The moment at which a message has arrived and its sender does not know it yet."""
        self._seen.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._seen.wait()


async def write(desk: CommunicationsClient) -> None:
    """The messages, to each contact one after the other; every fiftieth to an address that is none."""

    async def to(contact: int) -> None:
        named = {"contact_information_identifier": {"id": desk.contacts[contact]}}
        for n in range(contact, ENTRIES, CONTACTS):
            name = "nobody" if n % 50 == 7 else f"c{contact}"
            body = {"media": "EMAIL", "to": f"{name}@b", "content": f"{contact} {n}"}
            await desk.create(**named, **body)

    for first in range(0, CONTACTS, 20):
        await asyncio.gather(*map(to, range(first, min(first + 20, CONTACTS))))


async def pending(desk: CommunicationsClient) -> int:
    ((found,),) = await query_rows(desk.api, PENDING)
    return int(found)


async def torment(desk: CommunicationsClient, town: DeliverySetup, programs: list[Program]) -> int:
    """Kills a program every so often until everything is decided: how many were."""
    kills, starting = 0, set()
    while await pending(desk):
        await asyncio.sleep(KILL_SECONDS if kills < KILLS else 0.1)
        running = [p for p in programs if p not in {one for one, _ in starting}]
        if running and kills < KILLS:
            await town.next_mail()
            victim = random.choice(running)
            await victim.end()
            kills += 1
            starting.add((victim, asyncio.create_task(victim.start())))
        starting = {(one, task) for one, task in starting if not task.done()}
    await asyncio.gather(*(task for _, task in starting))
    return kills


async def test_killed_senders_lose_nothing(database: str, box: Mailbox) -> None:
    async with run_in_process(database) as service:
        desk = await delivery_client(service, CONTACTS)
        await write(desk)
        settings = box.settings(
            messages_per_second=RATE,
            connections=CONNECTIONS,
            timeout_seconds=3,
            tries=100,
            first_wait_seconds=1,
            longest_wait_seconds=2,
        )
        await desk.register_settings(email_server=settings, default_email_address="crm@example.org")
        town, programs = DeliverySetup(box), [Program(database) for _ in range(PROCESSES)]
        try:
            await asyncio.gather(*(program.start() for program in programs))
            began = time.monotonic()
            kills = await torment(desk, town, programs)
            seconds = time.monotonic() - began
            await well(programs[0])
            # What the killed held of entries that are decided goes after their leases.
            async with asyncio.timeout(60):
                while await query_rows(desk.api, HELD):
                    await asyncio.sleep(0.05)
            assert [await program.end(signal.SIGTERM) for program in programs] == [0] * PROCESSES
        finally:
            for program in programs:
                if program.child is not None:
                    await program.end()
        arrived = Counter(mail.content for mail in box.received)
        print(
            f"\n{ENTRIES} entries to {CONTACTS} contacts in {seconds:.1f} s, {kills} kills:"
            f" {box.connections} connections, {len(box.received)} messages arrived,"
            f" {len(box.received) - len(arrived)} of them again; of {box.unheard} the sender was gone"
            " before it heard so"
        )
        await check(desk, box, kills)


async def well(program: Program) -> None:
    """A sender says on its second port that it works, as soon as it does, and what it has done."""
    async with aiohttp.ClientSession(program.address) as http, asyncio.timeout(60):
        while True:
            async with http.get("/health/ready") as ready, http.get("/metrics") as metrics:
                said = (ready.status, await ready.text())
                if said[0] == 200 and "crmledger_sending_waiting{" in await metrics.text():
                    break
            await asyncio.sleep(0.05)
        assert said == (200, '{"ready":true,"problems":[]}')


async def check(desk: CommunicationsClient, box: Mailbox, kills: int) -> None:
    """One outcome for each entry, no message lost, none twice under two names, none before its turn."""
    topics = Counter(tuple(row["topics"]) for row in await query_rows(desk.api, OUTCOMES))
    refused = sum(n % 50 == 7 for n in range(ENTRIES))
    assert topics == {
        ("queue_entry.queued", "queue_entry.processed"): ENTRIES - refused,
        ("queue_entry.queued", "queue_entry.rejected"): refused,
    }
    keys: dict[str, set[str]] = defaultdict(set)
    order: dict[str, list[int]] = defaultdict(list)
    for mail in box.received:
        keys[mail.content].add(mail.key)
        contact, n = mail.content.split()
        order[contact].append(int(n))
    assert len(keys) == ENTRIES - refused
    assert all(len(found) == 1 for found in keys.values())
    assert len({key for found in keys.values() for key in found}) == len(keys)
    # Again, but never after a later one: whoever was killed had not yet recorded it.
    assert all(numbers == sorted(numbers) for numbers in order.values())
    # Each because its sender did not hear, or did not live to note, that it had arrived.
    assert len(box.received) - len(keys) <= box.unheard + kills * CONNECTIONS
    assert await query_rows(desk.api, HELD) == []
