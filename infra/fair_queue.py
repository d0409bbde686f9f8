"""A bounded queue for work that costs much and that anybody may ask for, with fair shares.

Sources take turns, and the accounts of one source do. Nobody waits behind a flood of others: a source
beyond its share is refused at once, and if the queue is full, the source that fills it yields. Sources
that have succeeded before get every second turn.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from domain.errors import TooManyRequests
from infra.observability.limits import note_limit
from infra.observability.metrics import SLOW_HASHES_REFUSED, SLOW_HASHES_WAITING

__all__ = ["CallerGoneError", "FairQueue"]

RETRY_AFTER = 1
"""Seconds after which a refused caller may try again."""


class CallerGoneError(ConnectionError):
    """The caller has hung up while it waited; its work is not begun."""


@dataclass(eq=False, slots=True)
class _Waiter:
    source: str
    account: str
    is_gone: Callable[[], bool]
    turn: asyncio.Future[None]


@dataclass(slots=True)
class _Ring:
    """Waiters by source and account, each of which takes turns."""

    sources: OrderedDict[str, OrderedDict[str, deque[_Waiter]]] = field(default_factory=OrderedDict)

    def add(self, waiter: _Waiter) -> None:
        """Let a waiter wait behind the others of its source and account."""
        accounts = self.sources.setdefault(waiter.source, OrderedDict())
        accounts.setdefault(waiter.account, deque()).append(waiter)

    def remove(self, waiter: _Waiter) -> None:
        """Let a waiter go."""
        accounts = self.sources[waiter.source]
        accounts[waiter.account].remove(waiter)
        if not accounts[waiter.account]:
            del accounts[waiter.account]
        if not accounts:
            del self.sources[waiter.source]

    def next(self) -> _Waiter | None:
        """Return whose turn it is, and let its source and account go to the end."""
        if not self.sources:
            return None
        source, accounts = next(iter(self.sources.items()))
        account, waiters = next(iter(accounts.items()))
        waiter = waiters[0]
        accounts.move_to_end(account)
        self.sources.move_to_end(source)
        self.remove(waiter)
        return waiter

    def last_of(self, source: str) -> _Waiter:
        """Return the waiter of a source that came last of its fullest account."""
        return max(self.sources[source].values(), key=len)[-1]


class FairQueue:
    """Slots that sources share.

    :param slots: how many may work at the same time; ``waiting`` how many may wait in all,
        ``per_source`` from one source.
    :param known: sources that are remembered to have succeeded.
    """

    def __init__(
        self,
        slots: int,
        *,
        waiting: int = 256,
        per_source: int = 64,
        known: int = 10_000,
    ) -> None:
        self._free = slots
        self._limits = waiting, per_source
        self._rings = (_Ring(), _Ring())
        self._waiting: Counter[str] = Counter()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._max_known = known
        self._turns = 0

    def note_success(self, source: str) -> None:
        """Remember that a source has succeeded."""
        self._known[source] = None
        self._known.move_to_end(source)
        if len(self._known) > self._max_known:
            self._known.popitem(last=False)

    @asynccontextmanager
    async def slot(
        self, source: str, account: str, is_gone: Callable[[], bool]
    ) -> AsyncIterator[None]:
        """Wait for a slot and hold it.

        :param is_gone: True once the caller has hung up.
        Raises `TooManyRequests` beyond the source's share, and `CallerGoneError`.
        """
        if self._free and not self._waiting:
            self._free -= 1
        else:
            await self._wait(source, account, is_gone)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, source: str, account: str, is_gone: Callable[[], bool]) -> None:
        self._make_room(source)
        waiter = _Waiter(source, account, is_gone, asyncio.get_running_loop().create_future())
        self._rings[source not in self._known].add(waiter)
        self._count(waiter, 1)
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.cancelled():
                self._leave(waiter)
            elif waiter.turn.exception() is None:
                self._pass_on()
            raise

    def _make_room(self, source: str) -> None:
        """Refuse a source beyond its share; if all places are taken, the source that has most yields one."""
        waiting, per_source = self._limits
        if self._waiting[source] >= per_source:
            raise _refused("share")
        if self._waiting.total() < waiting:
            return
        fullest, count = self._waiting.most_common(1)[0]
        if count <= self._waiting[source] + 1:
            raise _refused("full")
        ring = next(ring for ring in self._rings if fullest in ring.sources)
        displaced = ring.last_of(fullest)
        self._leave(displaced)
        displaced.turn.set_exception(_refused("full"))

    def _leave(self, waiter: _Waiter) -> None:
        for ring in self._rings:
            accounts = ring.sources.get(waiter.source, OrderedDict())
            if waiter in accounts.get(waiter.account, ()):
                ring.remove(waiter)
                self._count(waiter, -1)

    def _count(self, waiter: _Waiter, step: int) -> None:
        self._waiting[waiter.source] += step
        # What is zero would be kept for ever.
        if not self._waiting[waiter.source]:
            del self._waiting[waiter.source]
        SLOW_HASHES_WAITING.set(self._waiting.total())

    def _pass_on(self) -> None:
        """Give a slot that has become free to whose turn it is."""
        while True:
            self._turns += 1
            first, second = self._rings if self._turns % 2 else reversed(self._rings)
            waiter = first.next() or second.next()
            if waiter is None:
                self._free += 1
                return
            self._count(waiter, -1)
            if waiter.turn.done():
                continue
            if waiter.is_gone():
                SLOW_HASHES_REFUSED.labels("gone").inc()
                waiter.turn.set_exception(CallerGoneError())
                continue
            waiter.turn.set_result(None)
            return


def _refused(reason: str) -> TooManyRequests:
    SLOW_HASHES_REFUSED.labels(reason).inc()
    note_limit("slow_hashes")
    return TooManyRequests("too many logins are under way", retry_after=RETRY_AFTER)
