"""No test depends on how fast or how slow anything is: waits are for states, with a limit that only a hang reaches."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
LIMIT = 60
"""Seconds that a wait for a state has at least."""
CLOCKS = {"monotonic", "perf_counter", "time_ns"}

ALLOWED = {
    "audit/test_events.py::test_waiting_ends": "a wait lasts as long as was asked for, or longer",
    "audit/test_sealing.py::test_sealers_that_race_make_one_chain": "events must be older than a millisecond",
    "contract/test_outcomes.py::test_a_revocation_that_meets_its_call_is_right": "either may win",
    "contract/test_transport_limits.py::clock": "where the test's own clock begins",
    "faults/test_repeats.py::test_clients_that_go_away": "a client goes at any moment",
    "fixtures/leftovers.py::find_leftovers": "looks until nothing is left",
    "operations/test_replica.py::test_a_replica_that_has_fallen_behind_is_not_asked": "behind by as much, or more",
    "operations/test_stopping.py::told_to_stop": "prints how long it took",
    "sending/test_kill.py::next_mail": "kills at any moment if no message comes",
    "sending/test_kill.py::taken": "a server takes its time",
    "sending/test_kill.py::test_killed_senders_lose_nothing": "prints how long it took",
    "sending/test_leases.py::slow": "a server takes its time",
    "webhooks/test_delivery.py::answering": "a consumer takes its time",
}
"""Places that may, and why nothing depends on it."""


def calls(
    tree: ast.AST, where: str = "<module>", *, polling: bool = False
) -> Iterator[tuple[str, ast.Call, bool]]:
    """Every call, the innermost function that it stands in, and whether that repeats it until a state holds."""
    for node in ast.iter_child_nodes(tree):
        inner, repeats = where, polling or isinstance(node, ast.While)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner, repeats = node.name, False
        if isinstance(node, ast.Call):
            yield where, node, polling
        yield from calls(node, inner, polling=repeats)


def seconds(call: ast.Call, place: int) -> float | None:
    """The number that a call is given at a place, if it is written out."""
    if len(call.args) > place and isinstance(call.args[place], ast.Constant):
        return float(call.args[place].value)
    return None


def is_timed(call: ast.Call, *, polling: bool) -> bool:
    """Whether the outcome of a call may be a matter of speed."""
    name = getattr(call.func, "attr", "")
    if name == "sleep":
        return not polling and seconds(call, 0) != 0
    if name in ("timeout", "wait_for"):
        limit = seconds(call, 0 if name == "timeout" else 1)
        return limit is not None and limit < LIMIT
    return name in CLOCKS and ast.unparse(call.func).startswith("time.")


def offenders(name: str, text: str) -> set[str]:
    """The functions of a file in which something is timed."""
    return {
        f"{name}::{where}"
        for where, call, polling in calls(ast.parse(text))
        if is_timed(call, polling=polling)
    }


def test_no_test_is_a_matter_of_speed() -> None:
    found: set[str] = set()
    for path in sorted(TESTS.rglob("*.py")):
        name = path.relative_to(TESTS).as_posix()
        if not name.startswith("bench/"):
            found |= offenders(name, path.read_text("utf-8"))
    assert sorted(found - ALLOWED.keys()) == []
    assert sorted(ALLOWED.keys() - found) == [], "no longer needed"


def test_what_is_timed_is_found() -> None:
    for line in ("await asyncio.sleep(0.2)", "time.monotonic()", "await asyncio.wait_for(x, 5)"):
        assert offenders("a.py", f"async def test():\n    {line}") == {"a.py::test"}
    assert offenders("a.py", "async def test():\n    async with asyncio.timeout(9): pass")
    for line in ("await asyncio.sleep(0)", "await asyncio.wait_for(x, 60)"):
        assert not offenders("a.py", f"async def test():\n    {line}")
    assert not offenders("a.py", "async def test():\n    while x:\n        await asyncio.sleep(1)")
