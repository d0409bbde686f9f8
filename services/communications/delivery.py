"""Delivery of queue entries without an external system (contract communications.md, 9.1).

An entry is leased before it is sent. That a server has accepted the message is stored with the lease
before it becomes an event, so that it is not sent again if the process dies in between. The result
is the event that `queue/process` or `queue/reject` would have written; if somebody else has decided
the entry meanwhile, their event remains.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.aggregate import Aggregate, Attribution
from domain.communication import (
    AUTOMATIC,
    CATEGORY,
    INSERTED_VALUES,
    Communication,
)
from domain.errors import ConcurrentUpdate, Refusal, ServiceUnavailable
from domain.queue_entry import ERROR_CODE, QueueEntry
from services.backoff import Backoff
from services.context import CallContext, ContextQuery
from services.ids import message_key
from services.pipeline.command_runner import update_aggregate
from services.ports import EventStore
from services.side_effects import SideEffect

__all__ = [
    "INTERNAL_ERROR",
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
"""The media that the service can send itself."""
SOURCE = "crmledger send"
INTERNAL_ERROR = "INTERNAL"
"""The code of a message that cannot be sent because of an error of the service itself."""
MAX_ERROR_LENGTH = 500
"""Characters of a server's error text that are stored."""
PAUSES = (0.1, 5.0)
"""Seconds between two attempts to record a result: the first and the longest pause."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message for a server; ``idempotency_key`` is the same at every attempt.

    ``inserted_values`` are the places of the content where values of tags stand, each with its first
    and its last offset, that would mean something in HTML. Messages that the service has written itself
    are ``is_automatic``. ``contact`` and ``category`` are ids.
    """

    idempotency_key: str
    sender: str | None
    to: str
    subject: str
    content: str
    inserted_values: Sequence[Sequence[int]] = ()
    contact: str = ""
    category: str | None = None
    is_automatic: bool = False
    is_last_try: bool = False


@dataclass(frozen=True, slots=True)
class LeasedEntry:
    """An entry that this process has leased.

    ``tries`` is how often it was deferred, ``sent`` is true if a server has accepted it already,
    ``failures`` how often in a row the server could not be used.
    """

    entry: str
    fence: int
    tries: int
    sent: bool
    failures: int


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result of sending a message.

    ``sent``; ``rejected`` for good; ``deferred``: deferred, another attempt may succeed; ``unavailable``: the
    server is unavailable, whatever the message. ``code`` contains no personal data, ``text`` may; those
    of a ``sent`` one, if any, tell which recipients were refused. ``wait`` is the pause in seconds that
    the server asks for.
    """

    name: Literal["sent", "rejected", "deferred", "unavailable"]
    code: str = ""
    text: str = ""
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """The rate and the retries of a server, of all processes together."""

    messages_per_second: int
    connections: int
    timeout_seconds: int
    tries: int
    first_wait_seconds: int
    longest_wait_seconds: int

    @property
    def lease(self) -> float:
        """Seconds for which an entry is leased: twice the timeout of an attempt."""
        return 2.0 * self.timeout_seconds

    def wait(self, failures: int, minimum: float = 0.0) -> float:
        """Return the seconds to wait after ``failures`` failures: doubled each time, half of it by chance."""
        backoff = Backoff(float(self.first_wait_seconds), float(self.longest_wait_seconds))
        return backoff.pause(failures, minimum)


class Transport(Protocol):
    """An organisation's e-mail server or SMS gateway."""

    policy: SendPolicy

    async def send(self, message: Message) -> SendResult:
        """Hands over one message. Takes at most ``policy.timeout_seconds``.

        It raises only by mistake: what fails because of the message or the server is a result.
        """


class DeliveryLeases(Protocol):
    """The leases of queue entries. Every method raises `ServiceUnavailable`."""

    async def renew(
        self, organisation: str, leased: LeasedEntry, seconds: float, *, sent: bool
    ) -> bool:
        """Renews a lease and stores if the message was sent. Returns False if the lease has ended."""

    async def defer(
        self, organisation: str, leased: LeasedEntry, tries: int, seconds: float, error: str
    ) -> bool:
        """Ends the lease; the entry is not tried again within ``seconds``. False if it had ended."""

    async def open_circuit(
        self, organisation: str, media: str, failures: int, seconds: float, error: str
    ) -> None:
        """Stops using a server for ``seconds``."""

    async def complete(self, organisation: str, entry: str) -> None:
        """Deletes the lease of an entry that is decided."""


class MessageDelivery:
    """Sends leased entries and records the results."""

    def __init__(
        self,
        store: EventStore,
        leases: DeliveryLeases,
        zone: ZoneInfo,
        report: Callable[[str, str], None],
    ) -> None:
        """:param report: is called with organisation and entry while an error of our own is handled."""
        self._store = store
        self._leases = leases
        self._zone = zone
        self._report = report

    async def deliver(
        self, context: CallContext, media: str, transport: Transport, leased: LeasedEntry
    ) -> str:
        """Sends one entry and records it. Returns the result's name, ``superseded`` or ``lease_lost``.

        ``superseded``: somebody else had decided the entry. ``lease_lost``: the lease had ended and another
        process has the entry now. Waits for a database that is unavailable, because a message that
        was sent must be recorded.
        """
        organisation = context.directory.organisation
        try:
            result = await self._attempt(context, transport, leased)
        except Exception as error:
            if leased.sent:
                raise
            # No reason to hold up the contact's later messages for longer than any other failure.
            self._report(organisation, leased.entry)
            result = SendResult(
                "deferred", INTERNAL_ERROR, f"{type(error).__name__} in the service"
            )
        if not isinstance(result, SendResult):
            return result
        if result.name == "deferred" and leased.tries + 1 >= transport.policy.tries:
            text = f"{result.text} (tried {leased.tries + 1} times)".strip()
            result = SendResult("rejected", result.code, text)
        if result.name in ("sent", "rejected"):
            return await self._record(context, transport, leased, result)
        return await self._defer(organisation, media, transport, leased, result)

    async def _attempt(
        self, context: CallContext, transport: Transport, leased: LeasedEntry
    ) -> SendResult | str:
        """The result of one try; ``superseded`` or ``lease_lost`` if there was none."""
        organisation, started = context.directory.organisation, time.monotonic()
        message = await _retry(lambda: self._message(context, transport.policy, leased))
        if message is None:
            await _retry(lambda: self._leases.complete(organisation, leased.entry))
            return "superseded"
        if time.monotonic() - started > transport.policy.timeout_seconds:
            # The database was unavailable: an attempt that began now could outlast the lease.
            return "lease_lost"
        return SendResult("sent") if leased.sent else await _send(transport, message)

    async def _message(
        self, context: CallContext, policy: SendPolicy, leased: LeasedEntry
    ) -> Message | None:
        """The message of an entry; None if the entry is decided already."""
        organisation, stream = context.directory.organisation, UUID(leased.entry)
        loaded = await self._store.load(organisation, [stream])
        queue_entry = loaded.aggregates.get(stream)
        if not isinstance(queue_entry, QueueEntry) or queue_entry.state != "PENDING":
            return None
        communication_id = UUID(queue_entry.communication)
        loaded = await self._store.load(organisation, [communication_id])
        communication = loaded.aggregates[communication_id]
        assert isinstance(communication, Communication)
        details = communication.details
        is_email = queue_entry.media == "EMAIL"
        default_sender = "default_email_address" if is_email else "default_sms_sender"
        return Message(
            idempotency_key=message_key(organisation, leased.entry),
            sender=details.get("from") or context.directory.settings.get(default_sender),
            to=details.get("to") or "",
            subject=details.get("subject") or "",
            content=details.get("content") or "",
            inserted_values=details.get(INSERTED_VALUES) or (),
            contact=communication.contact_information,
            category=details.get(CATEGORY.name),
            is_automatic=bool(details.get(AUTOMATIC)),
            is_last_try=leased.tries + 1 >= policy.tries,
        )

    async def _record(
        self, context: CallContext, transport: Transport, leased: LeasedEntry, result: SendResult
    ) -> str:
        organisation, seconds = context.directory.organisation, transport.policy.lease
        sent = result.name == "sent"
        if not await _retry(lambda: self._leases.renew(organisation, leased, seconds, sent=sent)):
            return "lease_lost"
        decided = await _retry(lambda: self._decide(organisation, leased.entry, result))
        await _retry(lambda: self._leases.complete(organisation, leased.entry))
        return result.name if decided else "superseded"

    async def _decide(self, organisation: str, entry_id: str, result: SendResult) -> bool:
        """Records the result as an event. Returns False if somebody else has decided the entry."""
        context = await self._store.load_context(organisation, ContextQuery())
        decided = False

        def decide(entry: Aggregate, by: Attribution) -> Iterable[SideEffect]:
            nonlocal decided
            assert isinstance(entry, QueueEntry)
            decided = entry.state == "PENDING"
            if decided and result.code:
                entry.reject(result.code[: ERROR_CODE.max_length], _error_text(result), by)
            if decided and result.name == "sent":
                # After a reject, a completed entry still carries its error (section 9.2).
                entry.process(by)
            return ()

        try:
            await update_aggregate(
                self._store,
                self._zone,
                context,
                UUID(entry_id),
                decide,
                SOURCE,
                "communication_queue",
            )
        except ConcurrentUpdate as error:
            raise ServiceUnavailable("concurrent updates") from error
        except Refusal:
            # The contact was erased meanwhile, and its entries were removed from the queue.
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
    """The server's text on one line; its code if there is none, for a reject needs a text."""
    line = " ".join("".join(c if c.isprintable() else " " for c in result.text).split())
    return line[:MAX_ERROR_LENGTH] or result.code


async def _retry(work: Callable[[], Awaitable[T]]) -> T:
    """Repeats ``work`` until the database is available; ``work`` must be idempotent."""
    pause, longest = PAUSES
    while True:
        try:
            return await work()
        except ServiceUnavailable:
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)
