"""The self-test of an installation: each check tests one thing and reports it in one line.

A check is a function from a `CheckContext` to a `CheckResult`; its name is the function's. The cost of a
check does not grow with the ledger, but for ``deep`` ones, which read all of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import asyncpg
import msgspec

from infra.settings import Settings

__all__ = [
    "LEAST",
    "Check",
    "CheckContext",
    "CheckReport",
    "CheckResult",
    "Connection",
    "Verdict",
    "run",
    "summarize",
]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Verdict = Literal["ok", "warning", "failed", "unknown"]

LEAST = 150_000
"""The oldest supported PostgreSQL, as ``server_version_num``."""
SECONDS = 60.0
"""Timeout of a check that is not deep."""
SHOWN = 5
"""Problems that a result names."""


@dataclass(frozen=True, slots=True)
class CheckContext:
    """The subject of the checks: a database, by a connection of its owner, and this machine's settings."""

    connection: Connection
    settings: Settings


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a check; ``unknown`` if it cannot be checked from this machine."""

    verdict: Verdict
    message: str


def summarize(problems: Sequence[str]) -> str:
    """The first problems, and the number of the others."""
    rest = f"; and {len(problems) - SHOWN:,} more" if len(problems) > SHOWN else ""
    return "; ".join(problems[:SHOWN]) + rest


Check: TypeAlias = Callable[[CheckContext], Awaitable[CheckResult]]


class CheckReport(msgspec.Struct, frozen=True):
    """A result with the name of its check, as it is printed."""

    check: str
    verdict: Verdict
    message: str


async def run(
    url: str, settings: Settings, checks: Sequence[Check], *, seconds: float | None = SECONDS
) -> list[CheckReport]:
    """Run checks on the database at ``url``. Return their reports, in order.

    A check that cannot be run has failed; the others are run all the same. Without a database there is
    one report.

    :param seconds: timeout of each check; None: no timeout.
    """
    try:
        connection = await asyncpg.connect(
            url, timeout=5, server_settings={"application_name": "crmledger check"}
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return [CheckReport("database", "failed", f"cannot be reached: {_reason(error)}")]
    try:
        context = CheckContext(connection, settings)
        return [await _run(check, context, seconds) for check in checks]
    finally:
        await connection.close()


async def _run(check: Check, context: CheckContext, seconds: float | None) -> CheckReport:
    try:
        async with asyncio.timeout(seconds):
            result = await check(context)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        result = CheckResult("failed", f"could not be checked: {_reason(error)}")
    return CheckReport(check.__name__.replace("_", " "), result.verdict, result.message)


def _reason(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
