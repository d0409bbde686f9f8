"""Templates and files of the web pages, and the formats of values on them.

The frame of the history pages is that of the console, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from services.audit.event_descriptions import humanize
from services.audit.field_history import Blame, FieldChange, HistoryEntry, Ref
from services.audit.history_service import EntitySnapshot
from services.reference_cache import ReferenceCache

__all__ = ["ASSETS", "HEADERS", "asset", "render", "timeline"]

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # Not `no-referrer`: browsers then hide the origin of forms, too.
    "Referrer-Policy": "same-origin",
}
"""Sent with every page: browsers refuse what the policy does not name."""

ASSETS: Final = {
    "history.css": "text/css; charset=utf-8",
    "history.js": "text/javascript; charset=utf-8",
}
NAMING: Final = ("number", "username", "name")
"""Fields that name an entity."""
FOLDERS: Final = ("history", "console")
"""The folders of templates."""
SHORT = 12
"""Characters of a random id that are shown."""


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A field at one version: its value, the entry that set it, and the change by that entry."""

    field: str
    value: Any
    entry: HistoryEntry
    change: FieldChange | None


@cache
def asset(name: str, folder: str = "history") -> bytes:
    """The content of a static file."""
    return (files("infra.http.browser") / "assets" / folder / name).read_bytes()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("infra.http.browser", f"assets/{folder}") for folder in FOLDERS]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["entity"] = lambda value: isinstance(value, Ref)
    environment.filters |= {"path": _path, "field": _field}
    return environment


def render(
    template: str, zone: ZoneInfo, references: ReferenceCache | None, /, **values: Any
) -> bytes:
    """A page as HTML in which every value is escaped.

    :param zone: the time zone of the times on it.
    :param references: for the names of the entities on it.
    """
    page = _environment().get_template(template)
    return page.render(
        values,
        moment=lambda moment: f"{moment.astimezone(zone):%d %b %Y, %H:%M:%S %Z}",
        label=lambda ref: _label(ref, references),
    ).encode()


def timeline(snapshot: EntitySnapshot) -> Mapping[str, Any]:
    """The variables of an entity's page."""
    history, version = snapshot.history, snapshot.version
    values = {blame.field: blame.value for blame in snapshot.fields}
    kind, _, id_ = history.entity.partition("/")
    name = next((str(values[name]) for name in NAMING if name in values), id_)
    current = next(entry for entry in history.entries if entry.version == version)
    return {
        "kind": humanize(kind),
        "name": name,
        "title": f"{humanize(kind).capitalize()} {name}",
        "history": history,
        "version": version,
        "current": current,
        "rows": list(_rows(snapshot.fields, current)),
    }


def _rows(fields: list[Blame], current: HistoryEntry) -> Iterator[FieldRow]:
    """Every field with a value, and those that the current entry has emptied, by name."""
    changed = {change.field: change for change in current.changes}
    rows = [FieldRow(f.field, f.value, f.entry, changed.get(f.field)) for f in fields]
    emptied = [change for change in current.changes if change.after is None]
    rows += [FieldRow(change.field, None, current, change) for change in emptied]
    yield from sorted(rows, key=lambda row: row.field)


def _path(ref: str) -> str:
    return quote(ref, safe="/")


def _field(name: str) -> str:
    """The path of a field for people; ids of items in brackets are shortened."""
    name, bracket, path = name.partition("[")
    item, _, member = path.partition("]")
    parts = [humanize(part) for part in name.split(".")]
    if bracket:
        parts += [item[-SHORT:], *(humanize(part) for part in member.split(".") if part)]
    return " › ".join(parts)


def _label(ref: str, references: ReferenceCache | None) -> str:
    """The kind of an entity with its name among the reference records, or else its id."""
    kind, _, id_ = ref.partition("/")
    fields = references.fields(kind, id_) if references else {}
    name = next((fields[name] for name in NAMING if fields.get(name)), None)
    return f"{humanize(kind)} {name or id_}"
