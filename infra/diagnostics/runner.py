"""The self-test of an installation: each check looks at one thing and says one line about it.

Every check is a function from a `CheckContext` to a `CheckResult`, and its name is the function's. What a check
costs does not grow with the ledger; only ``deep`` walks through all of it.
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
Verdict = Literal["ok", "warning", "failed", "unseen"]

LEAST = 150_000
"""The oldest PostgreSQL that will do, as ``server_version_num``."""
SECONDS = 60.0
"""For one check that is not deep."""
SHOWN = 5
"""Things at fault that a finding names."""


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What is looked at: a database, by a connection of its owner's, and this machine's settings."""

    connection: Connection
    settings: Settings


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check says; ``unseen`` if it cannot be seen from here."""

    verdict: Verdict
    said: str


def summarize(wrong: Sequence[str]) -> str:
    """The first things at fault, and how many more there are."""
    more = f"; and {len(wrong) - SHOWN:,} more" if len(wrong) > SHOWN else ""
    return "; ".join(wrong[:SHOWN]) + more


Check: TypeAlias = Callable[[CheckContext], Awaitable[CheckResult]]


class CheckReport(msgspec.Struct, frozen=True):
    """A finding with the name of its check, as it is printed."""

    check: str
    verdict: Verdict
    said: str


async def run(
    url: str, settings: Settings, checks: Sequence[Check], *, seconds: float | None = SECONDS
) -> list[CheckReport]:
    """What each check says of the database at ``url``, in order.

    A check that cannot be made has failed, and the others go on. Where there is no database the
    report is that one line.

    :param seconds: for each check; None: as long as it takes.
    """
    try:
        connection = await asyncpg.connect(
            url, timeout=5, server_settings={"application_name": "crmledger check"}
        )
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return [CheckReport("database", "failed", f"cannot be reached: {_why(error)}")]
    try:
        site = CheckContext(connection, settings)
        return [await _made(check, site, seconds) for check in checks]
    finally:
        await connection.close()


async def _made(check: Check, site: CheckContext, seconds: float | None) -> CheckReport:
    try:
        async with asyncio.timeout(seconds):
            found = await check(site)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        found = CheckResult("failed", f"could not be looked at: {_why(error)}")
    return CheckReport(check.__name__.replace("_", " "), found.verdict, found.said)


def _why(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
