"""The parts of background workers: the loop and its end, tasks, leases, circuit breakers, gauges."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, Gauge

from domain.errors import ServiceUnavailable
from infra import worker
from infra.worker import CircuitBreaker, LagGauges, Lease, RunningTasks, Worker
from services.backoff import Backoff

KEY = ("ORG", "EMAIL")


@dataclass
class Clock:
    """The clock that leases and circuit breakers read."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


class Counting(Worker):
    """Counts its looks, and fails in those that ``failures`` lists."""

    def __init__(self, failures: dict[int, Exception] | None = None, pause: float = 0.0) -> None:
        super().__init__(pause)
        self.failures = failures or {}
        self.looks = 0
        self.firsts = 0
        self.releases = 0
        self.problems: list[list[str]] = []
        self.seconds: float | None = None

    async def _look(self, stop: asyncio.Event) -> list[str]:
        self.problems.append(await self.readiness_problems())
        self.looks += 1
        if self.looks in self.failures:
            raise self.failures[self.looks]
        if self.looks == 4:
            stop.set()
        return [f"look {self.looks}"]

    async def _first_look(self, stop: asyncio.Event) -> None:
        self.firsts += 1
        await super()._first_look(stop)

    def _drain_seconds(self) -> float | None:
        return self.seconds

    async def _release(self) -> None:
        self.releases += 1


async def run(counting: Counting) -> None:
    stop = asyncio.Event()
    try:
        async with asyncio.timeout(60):
            await counting.run(stop)
    finally:
        assert stop.is_set()


async def test_it_looks_until_it_is_told_to_stop_and_then_releases() -> None:
    counting = Counting()
    await run(counting)
    assert (counting.looks, counting.firsts, counting.releases) == (4, 1, 1)
    assert counting.problems == [["starting"], ["look 1"], ["look 2"], ["look 3"]]
    assert await counting.readiness_problems() == ["look 4"]


async def test_a_database_that_is_away_is_waited_for() -> None:
    counting = Counting({1: ServiceUnavailable("away"), 3: ServiceUnavailable("gone")})
    await run(counting)
    assert counting.problems == [["starting"], ["away"], ["look 2"], ["gone"]]
    assert counting.firsts == 2  # until it succeeds


async def test_any_other_failure_ends_it_and_what_it_has_started() -> None:
    counting = Counting({2: ValueError("unexpected")})
    with pytest.raises(ValueError, match="unexpected"):
        await run(counting)
    assert (counting.looks, counting.releases) == (2, 1)


async def test_the_end_of_a_task_makes_the_next_look_at_once() -> None:
    counting, stop, go_on = Counting(pause=600), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go_on.wait()

    running = asyncio.create_task(counting.run(stop))
    async with asyncio.timeout(60):
        while counting.looks < 1:
            await asyncio.sleep(0)
        counting._under_way.start(KEY, work())
        go_on.set()
        while counting.looks < 2:
            await asyncio.sleep(0)
        stop.set()
        await running


async def test_it_finishes_what_is_under_way_before_it_releases() -> None:
    counting, seen = Counting(), []

    async def work() -> None:
        await asyncio.sleep(0)
        seen.append(counting.releases)

    counting._under_way.start(KEY, work())
    await counting.close()
    assert seen == [0]
    assert counting.releases == 1


async def test_what_takes_too_long_is_cancelled() -> None:
    counting = Counting()
    counting.seconds = 0.0
    counting._under_way.start(KEY, asyncio.Event().wait())  # type: ignore[arg-type]
    (task,) = counting._under_way
    await counting.close()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_tasks_are_counted_by_key_until_they_have_ended() -> None:
    ended: list[tuple[str, bool]] = []
    tasks = RunningTasks[str](lambda key, task: ended.append((key, task.exception() is None)))
    go_on = asyncio.Event()

    async def work(*, fails: bool) -> None:
        await go_on.wait()
        if fails:
            raise ValueError

    for key, fails in (("a", False), ("a", True), ("b", False)):
        tasks.start(key, work(fails=fails))
    assert (len(tasks), tasks.count("a"), tasks.count("b"), tasks.count("c")) == (3, 2, 1, 0)
    assert tasks.keys() == {"a", "b"}
    go_on.set()
    await tasks.drain()
    assert len(tasks) == 0
    assert sorted(ended) == [("a", False), ("a", True), ("b", True)]


async def test_a_lease_is_counted_from_before_it_was_asked_for(clock: Clock) -> None:
    lease = Lease(30)
    assert not lease.covers(0)

    async def grant(seconds: float) -> bool:
        assert seconds == 30
        clock.now += 5  # the answer is slow
        return True

    assert await lease.take(grant)
    assert lease.covers(24)
    assert not lease.covers(25)


async def test_a_lease_that_is_refused_ends_when_it_would_have(clock: Clock) -> None:
    lease = Lease(30)

    async def answer(result: str | None) -> str | None:
        return result

    assert await lease.take(lambda _: answer("granted")) == "granted"
    clock.now += 20
    assert await lease.take(lambda _: answer(None)) is None
    assert lease.covers(9)
    assert not lease.covers(10)
    assert await lease.take(lambda _: answer("renewed")) == "renewed"
    assert lease.covers(29)


def test_a_circuit_breaker_trips_when_different_things_fail(clock: Clock) -> None:
    breaker = CircuitBreaker(3, Backoff(10, 40, jitter=0))
    for _ in range(5):
        breaker.fail("a")
    breaker.fail("b")
    assert not breaker.is_tripped
    assert breaker.free(8, 2) == 6
    breaker.fail("c", failures=0)  # under way together with the first: counts once
    assert breaker.is_tripped
    assert breaker.is_open
    assert breaker.failures == 6
    assert breaker.free(8, 0) == 0
    clock.now += 40
    assert not breaker.is_open
    assert breaker.free(8, 0) == 1  # half-open
    assert breaker.free(8, 1) == 0


def test_a_success_closes_a_circuit_breaker_but_ends_no_pause(clock: Clock) -> None:
    breaker = CircuitBreaker(1, Backoff(10, 40, jitter=0))
    breaker.fail("a")
    breaker.succeed()
    assert (breaker.failures, breaker.is_tripped, breaker.is_open) == (0, False, True)
    clock.now += 10
    assert breaker.free(8, 0) == 8
    breaker.fail("a")
    breaker.reset()
    assert breaker.free(8, 0) == 8


def test_a_circuit_breaker_opens_for_as_long_as_it_is_asked_to(clock: Clock) -> None:
    breaker = CircuitBreaker(2, Backoff(10, 40, jitter=0))
    breaker.fail("a", at_least=100)
    assert not breaker.is_tripped
    assert breaker.is_open
    clock.now += 70
    breaker.fail("b")  # the pause of 20 s is over before
    clock.now += 29
    assert breaker.is_open
    clock.now += 1
    assert not breaker.is_open


def test_gauges_are_set_and_removed_together() -> None:
    registry = CollectorRegistry()
    gauges = [Gauge(name, name, ["view"], registry=registry) for name in ("positions", "seconds")]
    lag = LagGauges(*gauges)
    lag.set(("a",), 3, 1.5)
    assert registry.get_sample_value("positions", {"view": "a"}) == 3
    assert registry.get_sample_value("seconds", {"view": "a"}) == 1.5
    with pytest.raises(ValueError, match="argument"):
        lag.set(("a",), 3)
    lag.remove(("a",))
    assert registry.get_sample_value("positions", {"view": "a"}) is None
    assert registry.get_sample_value("seconds", {"view": "a"}) is None
