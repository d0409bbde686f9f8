"""Sending what waits in the queue without an external system (contract communications.md, 9.1).

Whoever sends an entry has leased it. A message that a server has taken is noted beside the lease
before it becomes an event, so that a process that dies in between leaves nothing to be sent again. The
outcome is the event that `queue/process` or `queue/reject` would have written; where somebody else
was faster, theirs stands.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.aggregate import Aggregate, Attribution
from domain.communication import Communication
from domain.errors import ConcurrentUpdate, Refusal, ServiceUnavailable
from domain.queue_entry import ERROR_CODE, QueueEntry
from services.backoff import Backoff
from services.context import CallContext, ContextQuery
from services.ids import message_key
from services.pipeline.command_runner import update_aggregate
from services.ports import EventStore
from services.side_effects import SideEffect

__all__ = [
    "MEDIA",
    "DeliveryLeases",
    "LeasedEntry",
    "Message",
    "MessageDelivery",
    "SendPolicy",
    "SendResult",
    "Transport",
]

T = TypeVar("T")

MEDIA = ("EMAIL", "SMS")
"""What the service can send by itself."""
SOURCE = "crmledger send"
MAX_ERROR_LENGTH = 500
"""Characters of what a server said that are kept."""
PAUSES = (0.1, 5.0)
"""Seconds between two attempts to record an outcome: the first, and the longest."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a server is handed; ``idempotency_key`` is the same however often that happens."""

    idempotency_key: str
    sender: str | None
    to: str
    subject: str
    content: str


@dataclass(frozen=True, slots=True)
class LeasedEntry:
    """An entry that is ours to send for a while.

    ``tries`` is how often it was put off, ``sent`` that a server has taken it already, ``failures``
    how often in a row the server could not be used.
    """

    entry: str
    fence: int
    tries: int
    sent: bool
    failures: int


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of a message.

    ``sent``; ``rejected`` for good; ``deferred``: it may go next time; ``unavailable``: the server cannot be
    used at all, which is no fault of the message. ``code`` says nothing of persons, ``text`` may,
    ``wait`` is how many seconds the server wants to be left alone.
    """

    name: Literal["sent", "rejected", "deferred", "unavailable"]
    code: str = ""
    text: str = ""
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """How fast a server is used and how often a message is tried, all processes together."""

    messages_per_second: int
    connections: int
    timeout_seconds: int
    tries: int
    first_wait_seconds: int
    longest_wait_seconds: int

    @property
    def lease(self) -> float:
        """Seconds for which an entry is leased: twice what a try may take."""
        return 2.0 * self.timeout_seconds

    def wait(self, failures: int, minimum: float = 0.0) -> float:
        """Seconds to wait after so many failures: doubled from one to the next, up to half of it by chance."""
        backoff = Backoff(float(self.first_wait_seconds), float(self.longest_wait_seconds))
        return backoff.pause(failures, minimum)


class Transport(Protocol):
    """An organisation's e-mail server or SMS gateway."""

    policy: SendPolicy

    async def send(self, message: Message) -> SendResult:
        """Hands over one message. Takes no longer than ``limits.timeout_seconds``; raises nothing."""


class DeliveryLeases(Protocol):
    """The leases. Every method raises `ServiceUnavailable`."""

    async def renew(
        self, organisation: str, leased: LeasedEntry, seconds: float, *, sent: bool
    ) -> bool:
        """Whether the lease still stands; then it is prolonged, and noted what was sent."""

    async def defer(
        self, organisation: str, leased: LeasedEntry, tries: int, seconds: float, error: str
    ) -> bool:
        """Gives the lease back; the entry is not tried again within so many seconds."""

    async def open_circuit(
        self, organisation: str, media: str, failures: int, seconds: float, error: str
    ) -> None:
        """Leaves a server alone for a while."""

    async def complete(self, organisation: str, entry: str) -> None:
        """Drops what is kept of an entry that is decided."""


class MessageDelivery:
    """Sends leased entries and records what became of them."""

    def __init__(self, store: EventStore, leases: DeliveryLeases, zone: ZoneInfo) -> None:
        self._store = store
        self._leases = leases
        self._zone = zone

    async def deliver(
        self, context: CallContext, media: str, transport: Transport, leased: LeasedEntry
    ) -> str:
        """Sends one entry and records it: the outcome's name, ``superseded`` or ``lease_lost``.

        ``superseded``: somebody else had decided the entry. ``lease_lost``: the lease had ended and another
        process has the entry now. A database that is away is waited for, since what was sent must be
        recorded.
        """
        organisation, started = context.directory.organisation, time.monotonic()
        message = await _retry(lambda: self._message(context, leased.entry))
        if message is None:
            await _retry(lambda: self._leases.complete(organisation, leased.entry))
            return "superseded"
        if time.monotonic() - started > transport.policy.timeout_seconds:
            # The database was away: a try that began now could go on when the lease has ended.
            return "lease_lost"
        result = SendResult("sent") if leased.sent else await _send(transport, message)
        if result.name == "deferred" and leased.tries + 1 >= transport.policy.tries:
            text = f"{result.text} (tried {leased.tries + 1} times)".strip()
            result = SendResult("rejected", result.code, text)
        if result.name in ("sent", "rejected"):
            return await self._record(context, transport, leased, result)
        return await self._defer(organisation, media, transport, leased, result)

    async def _message(self, context: CallContext, entry: str) -> Message | None:
        """What an entry sends; None if it is decided already."""
        organisation, stream = context.directory.organisation, UUID(entry)
        loaded = await self._store.load(organisation, [stream])
        queue_entry = loaded.aggregates.get(stream)
        if not isinstance(queue_entry, QueueEntry) or queue_entry.state != "PENDING":
            return None
        communication_id = UUID(queue_entry.communication)
        loaded = await self._store.load(organisation, [communication_id])
        communication = loaded.aggregates[communication_id]
        assert isinstance(communication, Communication)
        details = communication.details
        default_sender = (
            "default_email_address" if queue_entry.media == "EMAIL" else "default_sms_sender"
        )
        return Message(
            idempotency_key=message_key(organisation, entry),
            sender=details.get("from") or context.directory.settings.get(default_sender),
            to=details.get("to") or "",
            subject=details.get("subject") or "",
            content=details.get("content") or "",
        )

    async def _record(
        self, context: CallContext, transport: Transport, leased: LeasedEntry, result: SendResult
    ) -> str:
        organisation, seconds = context.directory.organisation, transport.policy.lease
        sent = result.name == "sent"
        if not await _retry(lambda: self._leases.renew(organisation, leased, seconds, sent=sent)):
            return "lease_lost"
        is_recorded = await _retry(lambda: self._decide(organisation, leased.entry, result))
        await _retry(lambda: self._leases.complete(organisation, leased.entry))
        return result.name if is_recorded else "superseded"

    async def _decide(self, organisation: str, entry: str, result: SendResult) -> bool:
        """Makes the outcome an event; False if somebody else has decided the entry."""
        context = await self._store.load_context(organisation, ContextQuery())
        decided = False

        def decide(queued: Aggregate, by: Attribution) -> Iterable[SideEffect]:
            nonlocal decided
            assert isinstance(queued, QueueEntry)
            decided = queued.state == "PENDING"
            if decided and result.name == "sent":
                queued.process(by)
            elif decided:
                queued.reject(result.code[: ERROR_CODE.max_length], _error_text(result), by)
            return ()

        try:
            await update_aggregate(
                self._store, self._zone, context, UUID(entry), decide, SOURCE, "communication_queue"
            )
        except ConcurrentUpdate as error:
            raise ServiceUnavailable("concurrent updates") from error
        except Refusal:
            # The contact was forgotten meanwhile, and what waited for it taken off the queue.
            return False
        return decided

    async def _defer(
        self,
        organisation: str,
        media: str,
        transport: Transport,
        leased: LeasedEntry,
        result: SendResult,
    ) -> str:
        policy, is_away = transport.policy, result.name == "unavailable"
        if is_away or result.wait:
            requested = min(result.wait, float(policy.longest_wait_seconds))
            pause = policy.wait(leased.failures + 1, requested) if is_away else requested
            await _retry(
                lambda: self._leases.open_circuit(
                    organisation, media, leased.failures, pause, result.code
                )
            )
        wait = 0.0 if is_away else policy.wait(leased.tries + 1, result.wait)
        still_leased = await _retry(
            lambda: self._leases.defer(organisation, leased, 0 if is_away else 1, wait, result.code)
        )
        return result.name if still_leased else "lease_lost"


async def _send(transport: Transport, message: Message) -> SendResult:
    if not message.to.strip():
        return SendResult("rejected", "NO_RECIPIENT", "The communication does not say to whom")
    return await transport.send(message)


def _error_text(result: SendResult) -> str:
    """What the server said, on one line; a reject must say something."""
    line = " ".join("".join(c if c.isprintable() else " " for c in result.text).split())
    return line[:MAX_ERROR_LENGTH] or result.code


async def _retry(work: Callable[[], Awaitable[T]]) -> T:
    """Does what has to be done, however long the database is away: each of it may be repeated."""
    pause, longest = PAUSES
    while True:
        try:
            return await work()
        except ServiceUnavailable:
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)
