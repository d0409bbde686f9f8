"""``crmledger history``: the history of one entity at the terminal."""

from __future__ import annotations

import sys
from zoneinfo import ZoneInfo

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from domain.errors import ServiceError
from infra.cli.runtime import err, open_command_application, out
from infra.settings import Settings
from services.audit.access import TerminalReader
from services.audit.field_history import FieldChange, HistoryEntry

__all__ = ["history"]

SOURCE = "crmledger history"


async def history(organisation: str, entity: str, *, start: int = 1) -> None:
    """Print the history of an entity; the access is recorded.

    Parameters
    ----------
    organisation
        Name of the organisation.
    entity
        kind/id or kind/field=value, such as communication/number=CM000012.
    start
        The first version to print; at most 200 are printed.
    """
    try:
        async with open_command_application(Settings.from_environment()) as application:
            reader = TerminalReader(await application.operator.context(organisation), SOURCE)
            identified = await application.historian.find_entity(reader.organisation, entity)
            page = await application.historian.history(reader, identified, start)
    except ServiceError as error:
        err.print(f"crmledger: {error.message}: {error.description}", markup=False)
        sys.exit(1)
    out.print(
        f"[bold]{escape(page.entity)}[/]  versions {page.first} to {page.last} of {page.versions},"
        f" position {page.position}",
        highlight=False,
    )
    for entry in page.entries:
        out.print(_render(entry, application.zone), highlight=False)


def _render(entry: HistoryEntry, zone: ZoneInfo) -> Group:
    """One entry: the sentence, user and time, and the field changes."""
    by, at = entry.by, entry.at.astimezone(zone)
    user = by["user"] or {}
    who = user.get("person_name") or user.get("username") or user.get("id") or "the operator"
    place = by["unit"] and (by["unit"]["name"] or by["unit"]["id"])
    origin = [who, place, by["client"] or by["source"], f"{at:%Y-%m-%d %H:%M:%S %Z}"]
    table = Table.grid(padding=(0, 2))
    for change in entry.changes:
        table.add_row(*_row(change))
    related = [
        f"    {label} {event.entity} at position {event.position}: {event.sentence}"
        for label, events in (("caused by", entry.causes), ("led to", entry.effects))
        for event in events
    ]
    return Group(
        f"\n[bold]{entry.version:3}[/] {escape(entry.sentence)}",
        f"    [dim]{escape(' · '.join(filter(None, origin)))} · position {entry.position}[/]",
        table,
        *map(escape, related),
    )


def _row(change: FieldChange) -> tuple[str, str, str]:
    before = "" if change.before is None else f"[red]- {escape(str(change.before))}[/]"
    after = "" if change.after is None else f"[green]+ {escape(str(change.after))}[/]"
    return f"    {escape(change.field)}", before, after
