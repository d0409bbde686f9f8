"""``crmledger views``, ``crmledger project`` and ``crmledger replay``."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import asyncpg
import orjson
from cyclopts import App, Parameter
from rich.filesize import decimal
from rich.table import Column, Table

from domain.errors import Refusal
from domain.fields import ReadContext
from infra.cli.runtime import database, err, out, prepare_schema, progress
from infra.encryption import KeyRing
from infra.postgres.pool import ConnectionPool
from infra.projections.parked import ParkedEntity, list_parked
from infra.projections.projector import Projector
from infra.projections.reset import reset_projection
from infra.projections.temporal import TemporalViews
from infra.rebuild.rebuild import RebuildError, discard_all, rebuild, rollback
from infra.rebuild.replay import LedgerReplayer
from infra.rebuild.replay_receipt import CANONICAL
from infra.rebuild.status import ProjectionStatus, view_states
from infra.rebuild.table_diff import LIMIT, Difference
from infra.rebuild.verify import verify
from infra.settings import Settings
from services.audit.as_of import PositionOrDate

__all__ = ["FOLDING", "replay", "views"]

views = App(name="views", help="Read models, and tables of analysts.")

FOLDING = 600.0
"""Seconds that a statement may take which drops what an older program has folded."""

SHOWN = 20
"""Differing rows that are printed."""


@asynccontextmanager
async def _ready() -> AsyncIterator[tuple[str, KeyRing, ZoneInfo]]:
    """A database at this program's schema, and what is needed to read its events."""
    settings = Settings.from_environment()
    async with database(settings) as url:
        await prepare_schema(url, own=settings.embedded)
        yield url, KeyRing(settings.service_key), ZoneInfo(settings.time_zone)


@contextmanager
def _refusals() -> Iterator[None]:
    """One line and exit status 1 for what a command cannot do."""
    try:
        yield
    except (RebuildError, ValueError, asyncpg.InsufficientPrivilegeError) as error:
        err.print(f"crmledger: {error}", style="red", markup=False, highlight=False)
        sys.exit(1)


@contextmanager
def _bar(what: str) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """A bar of events: what sets its end, and what moves it."""
    with progress() as bar:
        task = bar.add_task(what, total=None)
        yield (
            lambda count: bar.update(task, total=max(count, 1)),
            lambda count: bar.advance(task, count),
        )


@views.command(name="list")
async def list_() -> None:
    """List the views: rows, size, version, lag and parked entities."""
    with _refusals():
        async with _ready() as (url, _, _):
            states = await view_states(url)
    table = Table(Column("view", no_wrap=True), "rows", "size", "version", "lag", "parked")
    for state in states:
        rows, size = f"{state.rows:,}", decimal(state.size)
        parked = f"{state.parked:,}" if state.lag_positions is not None else ""
        table.add_row(state.name, rows, size, _version(state), _behind(state), parked)
    out.print(table)


def _version(state: ProjectionStatus) -> str:
    stale = state.version != state.wanted
    return f"{state.version or '-'} (this program: {state.wanted})" if stale else f"{state.version}"


def _behind(state: ProjectionStatus) -> str:
    if state.lag_positions is None:
        return "never"
    if state.lag_positions < 0:
        return f"ahead by {-state.lag_positions:,} positions"
    return f"{state.lag_positions:,} positions, {state.lag_seconds:.1f} s"


@views.command(name="rebuild")
async def rebuild_(
    *,
    accept_differences: Annotated[
        bool,
        Parameter(help="Switch even if rows differ, as for a new version of a view."),
    ] = False,
) -> None:
    """Rebuild the views from the ledger, compare them with the live ones and switch.

    The service runs meanwhile. An interrupted rebuild resumes. The previous tables are kept for
    `views rollback`.
    """
    with _refusals():
        async with _ready() as (url, ring, zone):
            with _bar("events") as (total, advance):
                report = await rebuild(
                    url,
                    ring,
                    zone,
                    accept_differences=accept_differences,
                    total=total,
                    advance=advance,
                )
    _show(report.differences)
    for one in report.unreadable[:SHOWN]:
        err.print(f"cannot be read: {one}", markup=False, highlight=False, soft_wrap=True)
    speed = report.events / report.seconds if report.seconds else 0
    resumed = " more" if report.resumed else ""
    out.print(
        f"{report.events:,}{resumed} events replayed, {speed:,.0f} per second", highlight=False
    )
    if not report.switched:
        err.print("The live views stay; the new ones are in views_next.")
        if report.unreadable:
            err.print(
                f"{len(report.unreadable):,} entities cannot be read, as by an older program."
            )
        else:
            err.print("`views rebuild --accept-differences` switches all the same.")
        sys.exit(1)
    out.print(
        f"Switched; writes were blocked for {report.writes_blocked_seconds * 1000:,.0f} ms.",
        highlight=False,
    )


@views.command(name="rollback")
async def rollback_() -> None:
    """Switch back to the tables from before the last rebuild, caught up with the ledger."""
    with _refusals():
        async with _ready() as (url, ring, zone):
            report = await rollback(url, ring, zone)
    _show(report.differences)
    out.print("Switched back.")


@views.command(name="verify")
async def verify_() -> None:
    """Replay the ledger and compare every row of the views; exits with 1 if one differs."""
    with _refusals():
        async with _ready() as (url, ring, zone):
            with _bar("events") as (total, advance):
                findings = await verify(url, ring, zone, total=total, advance=advance)
    _show(findings.differences)
    out.print(f"{findings.events:,} events, {findings.rows:,} rows", highlight=False)
    if findings.differences:
        sys.exit(1)


@views.command(name="discard")
async def discard_() -> None:
    """Drop the tables that a rebuild has left: the previous or the unfinished ones."""
    with _refusals():
        async with _ready() as (url, _, _):
            found = await discard_all(url)
    out.print(f"Dropped: {', '.join(found)}." if found else "Nothing to drop.")


@views.command(name="parked")
async def parked_() -> None:
    """List parked entities: those whose events a projection could not apply, and why."""
    async with _ready() as (url, _, _):
        connection = await asyncpg.connect(url)
        try:
            found = await list_parked(connection)
        finally:
            await connection.close()
    _print_parked(found)


@views.command(name="retry")
async def retry_(view: str | None = None) -> None:
    """Retry parked entities, of one view or all; exits with 1 if some are still parked."""
    with _refusals():
        async with _ready() as (url, ring, zone):
            lanes = ConnectionPool(url, 1, timeout=FOLDING)
            projector = Projector(url, TemporalViews(lanes, ring, zone))
            found = await projector.retry(view)
            await projector.close()
            await lanes.close()
    _print_parked(found)
    if found:
        sys.exit(1)


def _print_parked(found: list[ParkedEntity]) -> None:
    if not found:
        out.print("Nothing is parked.")
        return
    table = Table("view", "organisation", "entity", "from position", "tries", "reason")
    for one in found:
        place = f"{one.position:,}"
        entity = one.stream.hex.upper()
        table.add_row(one.view, one.organisation, entity, place, f"{one.tries}", one.reason)
    out.print(table)


@views.command(name="reset")
async def reset_(view: str) -> None:
    """Reset a projection: empty its table, to be rebuilt by the projector from the first event on."""
    with _refusals():
        async with _ready() as (url, _, _):
            await reset_projection(url, view)
    out.print(f"{view} is reset; the projector rebuilds it.", highlight=False)


def _show(differences: list[Difference]) -> None:
    for difference in differences[:SHOWN]:
        err.print(str(difference), markup=False, highlight=False, soft_wrap=True)
    if differences:
        more = " or more" if len(differences) >= LIMIT else ""
        err.print(f"{len(differences):,}{more} rows differ", highlight=False)


async def replay(
    organisation: str,
    *,
    at: Annotated[
        str | None, Parameter(help="A position or a date; by default the head of the ledger.")
    ] = None,
    entity: Annotated[
        str | None, Parameter(help="KIND/ID: print this entity only, and create no schema.")
    ] = None,
    schema: Annotated[
        str | None, Parameter(help="Name of the schema; by default replay_ORGANISATION_POSITION.")
    ] = None,
) -> None:
    """Rebuild an organisation as of a position, in a schema of its own, and print a receipt.

    The receipt is identical wherever the same program replays the same events.
    """
    with _refusals():
        async with _ready() as (url, ring, zone):
            when = _when(at, zone)
            replayer = LedgerReplayer(url, ring, zone, organisation)
            if entity:
                found = await replayer.entity(entity, when)
            else:
                with _bar("events") as (total, advance):
                    found = await replayer.whole(when, schema, total=total, advance=advance)
    print(orjson.dumps(found, option=CANONICAL | orjson.OPT_INDENT_2).decode())  # noqa: T201


def _when(at: str | None, zone: ZoneInfo) -> int | datetime | None:
    """The position or time that is meant. Raises ``ValueError`` if it is neither."""
    if at is None:
        return None
    try:
        return PositionOrDate(name="at").read(
            at, "--at", ReadContext(zone, datetime.now(zone).date())
        )
    except Refusal as error:
        raise ValueError(f"{error.description}: {error.message}") from error
