"""Callers of a service while something goes on: what they have written must be read at once and always."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp

from tests.bench.examples import Example

__all__ = ["READERS", "WRITERS", "Seen", "calling"]

WRITERS, READERS = 16, 4
DRAFT = {"life_cycle_state": "DRAFT"}


@dataclass
class Seen:
    """How many calls were answered well, how many were not, and how many reads were behind.

    ``acknowledged`` is the last subject of each communication that a writer was told is written;
    ``recent`` are the newest of them.
    """

    written: int = 0
    read: int = 0
    failed: int = 0
    behind: int = 0
    acknowledged: dict[str, int] = field(default_factory=dict)
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=200))

    @property
    def faults(self) -> int:
        """What must not be."""
        return self.failed + self.behind

    def shown(self, subject: str, wanted: int) -> None:
        """Counts a read that was to show a subject, or a later one."""
        self.read += 1
        self.behind += int(subject) < wanted


async def _data(given: Example, seen: Seen, verb: str, path: str, **parts: Any) -> Any:
    """The data of an answer; None if the call was refused or failed, which is counted."""
    try:
        answer = await given.api.call(verb, f"communications/{path}", **parts)
    except (OSError, aiohttp.ClientError, TimeoutError):
        answer = {}
    if answer.get("status", {}).get("code") == "OK":
        return answer["data"]
    seen.failed += 1
    return None


async def _write(given: Example, seen: Seen, writer: int, done: asyncio.Event) -> None:
    """A new draft now and then, changed some times."""
    for n in count():
        if done.is_set():
            return
        body = given.bodies[(writer + n) % len(given.bodies)] | DRAFT | {"subject": "0"}
        made = await _data(given, seen, "POST", "create", body=body)
        for subject in range(5):
            if made is None or done.is_set():
                break
            seen.acknowledged[made["id"]] = subject
            if subject == 0:
                seen.recent.append(made["id"])
            seen.written += 1
            changed = {"communication_identifier": {"id": made["id"]}, "subject": str(subject + 1)}
            made = await _data(given, seen, "POST", "update", body=changed)


async def _read(given: Example, seen: Seen, done: asyncio.Event) -> None:
    while not done.is_set():
        if not seen.recent:
            await asyncio.sleep(0.01)
            continue
        id_ = random.choice(seen.recent)
        wanted = seen.acknowledged[id_]
        query = {"communication_identifier": f"id={id_}", "fields_set": "id,subject"}
        found = await _data(given, seen, "GET", "show", query=query)
        if found is not None:
            seen.shown(found["subject"], wanted)


@asynccontextmanager
async def calling(given: Example) -> AsyncIterator[Seen]:
    """Writers and readers meanwhile."""
    done, seen = asyncio.Event(), Seen()
    working = [asyncio.create_task(_write(given, seen, writer, done)) for writer in range(WRITERS)]
    working += [asyncio.create_task(_read(given, seen, done)) for _ in range(READERS)]
    try:
        yield seen
    finally:
        done.set()
        await asyncio.gather(*working)
