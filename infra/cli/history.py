"""``crmledger history``: what happened to one entity, at the terminal."""

from __future__ import annotations

import sys
from zoneinfo import ZoneInfo

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from domain.errors import ServiceError
from infra.cli.operators import open_command_application
from infra.cli.runtime import err, out
from infra.settings import Settings
from services.audit.access import TerminalReader
from services.audit.field_history import FieldChange, HistoryEntry

__all__ = ["history"]

SOURCE = "crmledger history"


async def history(organisation: str, entity: str, *, start: int = 1) -> None:
    """Prints the history of an entity; that it was read is recorded.

    Parameters
    ----------
    organisation
        Name of the organisation.
    entity
        kind/id or kind/field=value, such as communication/number=CM000012.
    start
        The version to begin with; at most 200 are printed.
    """
    try:
        async with open_command_application(Settings.from_environment()) as running:
            reader = TerminalReader(await running.operator.context(organisation), SOURCE)
            named = await running.historian.find_entity(reader.organisation, entity)
            told = await running.historian.history(reader, named, start)
    except ServiceError as error:
        err.print(f"crmledger: {error.message}: {error.description}", markup=False)
        sys.exit(1)
    out.print(
        f"[bold]{escape(told.entity)}[/]  versions {told.first} to {told.last} of {told.versions},"
        f" position {told.position}",
        highlight=False,
    )
    for entry in told.entries:
        out.print(_shown(entry, running.zone), highlight=False)


def _shown(entry: HistoryEntry, zone: ZoneInfo) -> Group:
    """One entry: the sentence, who and when, and the differences."""
    by, at = entry.by, entry.at.astimezone(zone)
    user = by["user"] or {}
    who = user.get("person_name") or user.get("username") or user.get("id") or "the operator"
    place = by["unit"] and (by["unit"]["name"] or by["unit"]["id"])
    origin = [who, place, by["client"] or by["source"], f"{at:%Y-%m-%d %H:%M:%S %Z}"]
    table = Table.grid(padding=(0, 2))
    for change in entry.changes:
        table.add_row(*_row(change))
    beside = [
        f"    {label} {one.entity} at position {one.position}: {one.sentence}"
        for label, told in (("caused by", entry.causes), ("brought about", entry.effects))
        for one in told
    ]
    return Group(
        f"\n[bold]{entry.version:3}[/] {escape(entry.sentence)}",
        f"    [dim]{escape(' · '.join(filter(None, origin)))} · position {entry.position}[/]",
        table,
        *map(escape, beside),
    )


def _row(change: FieldChange) -> tuple[str, str, str]:
    before = "" if change.before is None else f"[red]- {escape(str(change.before))}[/]"
    after = "" if change.after is None else f"[green]+ {escape(str(change.after))}[/]"
    return f"    {escape(change.field)}", before, after
