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
from infra.rebuild.status import ProjectionStatus, load_statuses
from infra.rebuild.table_diff import LIMIT, Difference
from infra.rebuild.verify import verify
from infra.settings import Settings
from services.audit.as_of import PositionOrDate

__all__ = ["RESET_TIMEOUT", "replay", "views"]

views = App(name="views", help="Read models, and tables of analysts.")

RESET_TIMEOUT = 600.0
"""Seconds that a statement may take which drops the rows of an older program."""

MAX_PRINTED = 20
"""Differing rows that are printed."""


@asynccontextmanager
async def _open_database() -> AsyncIterator[tuple[str, KeyRing, ZoneInfo]]:
    """Open the database at this program's schema, with the keys and the time zone to read its events."""
    settings = Settings.from_environment()
    async with database(settings) as url:
        await prepare_schema(url, own=settings.embedded)
        yield url, KeyRing(settings.service_key), ZoneInfo(settings.time_zone)


@contextmanager
def _exit_on_refusal() -> Iterator[None]:
    """Print one line and exit with status 1 if a command is refused."""
    try:
        yield
    except (RebuildError, ValueError, asyncpg.InsufficientPrivilegeError) as error:
        err.print(f"crmledger: {error}", style="red", markup=False, highlight=False)
        sys.exit(1)


@contextmanager
def _progress_bar(label: str) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Show a progress bar of events; yield the functions that set its total and advance it."""
    with progress() as bar:
        task = bar.add_task(label, total=None)
        yield (
            lambda count: bar.update(task, total=max(count, 1)),
            lambda count: bar.advance(task, count),
        )


@views.command(name="list")
async def list_() -> None:
    """List the views: rows, size, version, lag and parked entities."""
    with _exit_on_refusal():
        async with _open_database() as (url, _, _):
            states = await load_statuses(url)
    table = Table(Column("view", no_wrap=True), "rows", "size", "version", "lag", "parked")
    for state in states:
        rows, size = f"{state.rows:,}", decimal(state.size)
        parked = f"{state.parked:,}" if state.lag_positions is not None else ""
        table.add_row(state.name, rows, size, _version(state), _lag(state), parked)
    out.print(table)


def _version(state: ProjectionStatus) -> str:
    stale = state.version != state.program_version
    return (
        f"{state.version or '-'} (this program: {state.program_version})"
        if stale
        else f"{state.version}"
    )


def _lag(state: ProjectionStatus) -> str:
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
    with _exit_on_refusal():
        async with _open_database() as (url, ring, zone):
            with _progress_bar("events") as (total, advance):
                report = await rebuild(
                    url,
                    ring,
                    zone,
                    accept_differences=accept_differences,
                    total=total,
                    advance=advance,
                )
    _print_differences(report.differences)
    for unreadable in report.unreadable[:MAX_PRINTED]:
        err.print(f"cannot be read: {unreadable}", markup=False, highlight=False, soft_wrap=True)
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
    with _exit_on_refusal():
        async with _open_database() as (url, ring, zone):
            report = await rollback(url, ring, zone)
    _print_differences(report.differences)
    out.print("Switched back.")


@views.command(name="verify")
async def verify_() -> None:
    """Replay the ledger and compare every row of the views; exits with 1 if one differs."""
    with _exit_on_refusal():
        async with _open_database() as (url, ring, zone):
            with _progress_bar("events") as (total, advance):
                report = await verify(url, ring, zone, total=total, advance=advance)
    _print_differences(report.differences)
    out.print(f"{report.events:,} events, {report.rows:,} rows", highlight=False)
    if report.differences:
        sys.exit(1)


@views.command(name="discard")
async def discard_() -> None:
    """Drop the tables that a rebuild has left: the previous or the unfinished ones."""
    with _exit_on_refusal():
        async with _open_database() as (url, _, _):
            schemas = await discard_all(url)
    out.print(f"Dropped: {', '.join(schemas)}." if schemas else "Nothing to drop.")


@views.command(name="parked")
async def parked_() -> None:
    """List parked entities: those whose events a projection could not apply, and why."""
    async with _open_database() as (url, _, _):
        connection = await asyncpg.connect(url)
        try:
            entities = await list_parked(connection)
        finally:
            await connection.close()
    _print_parked(entities)


@views.command(name="retry")
async def retry_(view: str | None = None) -> None:
    """Retry parked entities, of one view or all; exits with 1 if some are still parked."""
    with _exit_on_refusal():
        async with _open_database() as (url, ring, zone):
            lanes = ConnectionPool(url, 1, timeout=RESET_TIMEOUT)
            projector = Projector(url, TemporalViews(lanes, ring, zone))
            entities = await projector.retry(view)
            await projector.close()
            await lanes.close()
    _print_parked(entities)
    if entities:
        sys.exit(1)


def _print_parked(entities: list[ParkedEntity]) -> None:
    if not entities:
        out.print("Nothing is parked.")
        return
    table = Table("view", "organisation", "entity", "from position", "tries", "reason")
    for parked_entity in entities:
        position = f"{parked_entity.position:,}"
        entity = parked_entity.stream.hex.upper()
        table.add_row(
            parked_entity.view,
            parked_entity.organisation,
            entity,
            position,
            f"{parked_entity.tries}",
            parked_entity.reason,
        )
    out.print(table)


@views.command(name="reset")
async def reset_(view: str) -> None:
    """Reset a projection: empty its table, to be rebuilt by the projector from the first event on."""
    with _exit_on_refusal():
        async with _open_database() as (url, _, _):
            await reset_projection(url, view)
    out.print(f"{view} is reset; the projector rebuilds it.", highlight=False)


def _print_differences(differences: list[Difference]) -> None:
    for difference in differences[:MAX_PRINTED]:
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
    with _exit_on_refusal():
        async with _open_database() as (url, ring, zone):
            target = _position_or_time(at, zone)
            replayer = LedgerReplayer(url, ring, zone, organisation)
            if entity:
                document = await replayer.replay_entity(entity, target)
            else:
                with _progress_bar("events") as (total, advance):
                    document = await replayer.replay_organisation(
                        target, schema, total=total, advance=advance
                    )
    print(orjson.dumps(document, option=CANONICAL | orjson.OPT_INDENT_2).decode())  # noqa: T201


def _position_or_time(at: str | None, zone: ZoneInfo) -> int | datetime | None:
    """Return a position or a time. Raises ``ValueError`` for any other text."""
    if at is None:
        return None
    try:
        return PositionOrDate(name="at").read(
            at, "--at", ReadContext(zone, datetime.now(zone).date())
        )
    except Refusal as error:
        raise ValueError(f"{error.description}: {error.message}") from error
