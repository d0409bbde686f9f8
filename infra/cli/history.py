"""``crmledger history``: the history of one entity at the terminal."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from domain.errors import ServiceError
from infra.cli.runtime import open_command_application
from infra.cli.terminal import Styled, exit_with, out
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
        exit_with(f"{error.message}: {error.description}")
    out.print_line(
        (page.entity, "bold"),
        f"  versions {page.first} to {page.last} of {page.versions}, position {page.position}",
    )
    for entry in page.entries:
        _print(entry, application.zone)


def _print(entry: HistoryEntry, zone: ZoneInfo) -> None:
    """Print one entry: the sentence, user and time, and the field changes."""
    by, at = entry.by, entry.at.astimezone(zone)
    user = by["user"] or {}
    who = user.get("person_name") or user.get("username") or user.get("id") or "the operator"
    place = by["unit"] and (by["unit"]["name"] or by["unit"]["id"])
    origin = [who, place, by["client"] or by["source"], f"{at:%Y-%m-%d %H:%M:%S %Z}"]
    at_position = f"{' · '.join(filter(None, origin))} · position {entry.position}"
    out.print_line()
    out.print_line((f"{entry.version:3}", "bold"), f" {entry.sentence}", wrapped=True)
    out.print_line((f"    {at_position}", "dim"), wrapped=True)
    out.print_grid(map(_row, entry.changes))
    for label, events in (("caused by", entry.causes), ("led to", entry.effects)):
        for event in events:
            related = f"{event.entity} at position {event.position}: {event.sentence}"
            out.print_line(f"    {label} {related}", wrapped=True)


def _row(change: FieldChange) -> tuple[Styled, Styled, Styled]:
    before = "" if change.before is None else f"- {change.before}"
    after = "" if change.after is None else f"+ {change.after}"
    return f"    {change.field}", (before, "red"), (after, "green")
