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

from domain.errors import Refusal
from domain.fields import ReadContext
from infra.cli.runtime import database, prepare_schema
from infra.cli.terminal import err, exit_with, out, progress
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
        yield url, KeyRing(*settings.service_keys), ZoneInfo(settings.time_zone)


@contextmanager
def _exit_on_refusal() -> Iterator[None]:
    """Print one line and exit with status 1 if a command is refused."""
    try:
        yield
    except (RebuildError, ValueError, asyncpg.InsufficientPrivilegeError) as error:
        exit_with(error)


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
    rows = []
    for state in states:
        count, size = f"{state.rows:,}", decimal(state.size)
        parked = f"{state.parked:,}" if state.lag_positions is not None else ""
        rows.append((state.name, count, size, _version(state), _lag(state), parked))
    out.print_table(("view", "rows", "size", "version", "lag", "parked"), rows)


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
        err.print_line(f"cannot be read: {unreadable}")
    speed = report.events / report.seconds if report.seconds else 0
    resumed = " more" if report.resumed else ""
    out.print_line(f"{report.events:,}{resumed} events replayed, {speed:,.0f} per second")
    if not report.switched:
        err.print_line("The live views stay; the new ones are in views_next.")
        if report.unreadable:
            err.print_line(
                f"{len(report.unreadable):,} entities cannot be read, as by an older program."
            )
        else:
            err.print_line("`views rebuild --accept-differences` switches all the same.")
        sys.exit(1)
    out.print_line(
        f"Switched; writes were blocked for {report.writes_blocked_seconds * 1000:,.0f} ms."
    )


@views.command(name="rollback")
async def rollback_() -> None:
    """Switch back to the tables from before the last rebuild, caught up with the ledger."""
    with _exit_on_refusal():
        async with _open_database() as (url, ring, zone):
            report = await rollback(url, ring, zone)
    _print_differences(report.differences)
    out.print_line("Switched back.")


@views.command(name="verify")
async def verify_() -> None:
    """Replay the ledger and compare every row of the views; exits with 1 if one differs."""
    with _exit_on_refusal():
        async with _open_database() as (url, ring, zone):
            with _progress_bar("events") as (total, advance):
                report = await verify(url, ring, zone, total=total, advance=advance)
    _print_differences(report.differences)
    out.print_line(f"{report.events:,} events, {report.rows:,} rows")
    if report.differences:
        sys.exit(1)


@views.command(name="discard")
async def discard_() -> None:
    """Drop the tables that a rebuild has left: the previous or the unfinished ones."""
    with _exit_on_refusal():
        async with _open_database() as (url, _, _):
            schemas = await discard_all(url)
    out.print_line(f"Dropped: {', '.join(schemas)}." if schemas else "Nothing to drop.")


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
            projector = Projector(url, ring, TemporalViews(lanes, ring, zone))
            entities = await projector.retry(view)
            await projector.close()
            await lanes.close()
    _print_parked(entities)
    if entities:
        sys.exit(1)


def _print_parked(entities: list[ParkedEntity]) -> None:
    if not entities:
        out.print_line("Nothing is parked.")
        return
    rows = [
        (
            parked.view,
            parked.organisation,
            parked.stream.hex.upper(),
            f"{parked.position:,}",
            f"{parked.tries}",
            parked.reason,
        )
        for parked in entities
    ]
    out.print_table(("view", "organisation", "entity", "from position", "tries", "reason"), rows)


@views.command(name="reset")
async def reset_(view: str) -> None:
    """Reset a projection: empty its table, to be rebuilt by the projector from the first event on."""
    with _exit_on_refusal():
        async with _open_database() as (url, _, _):
            await reset_projection(url, view)
    out.print_line(f"{view} is reset; the projector rebuilds it.")


def _print_differences(differences: list[Difference]) -> None:
    for difference in differences[:MAX_PRINTED]:
        err.print_line(str(difference))
    if differences:
        more = " or more" if len(differences) >= LIMIT else ""
        err.print_line(f"{len(differences):,}{more} rows differ")


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
    out.print_document(orjson.dumps(document, option=CANONICAL | orjson.OPT_INDENT_2))


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
