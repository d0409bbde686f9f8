"""The templates and files of the pages for people, and how values look on them.

The history pages have made them; what frames those frames the other pages, too.
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
"""With every page: what the policy does not name, the browser refuses."""

ASSETS: Final = {
    "history.css": "text/css; charset=utf-8",
    "history.js": "text/javascript; charset=utf-8",
}
NAMING: Final = ("number", "username", "name")
"""Fields that an entity is called by."""
FOLDERS: Final = ("history", "console")
"""Where templates are looked for."""
SHORT = 12
"""Characters of a random id that tell entities apart on a page."""


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A field at the version that is shown: its value, the entry that set it, what that changed."""

    field: str
    value: Any
    entry: HistoryEntry
    change: FieldChange | None


@cache
def asset(name: str, folder: str = "history") -> bytes:
    """The content of a file of the pages."""
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
    template: str, zone: ZoneInfo, directory: ReferenceCache | None, /, **values: Any
) -> bytes:
    """A page as HTML in which every value is escaped.

    :param zone: whose wall clock times are shown by.
    :param directory: where the names of what is referred to are looked up.
    """
    page = _environment().get_template(template)
    return page.render(
        values,
        moment=lambda moment: f"{moment.astimezone(zone):%d %b %Y, %H:%M:%S %Z}",
        label=lambda ref: _label(ref, directory),
    ).encode()


def timeline(view: EntitySnapshot) -> Mapping[str, Any]:
    """What the page of an entity shows, from what the historian says of it."""
    history, version = view.history, view.version
    called = {set_.field: set_.value for set_ in view.fields}
    kind, _, id_ = history.entity.partition("/")
    name = next((str(called[name]) for name in NAMING if name in called), id_)
    current = next(entry for entry in history.entries if entry.version == version)
    return {
        "kind": humanize(kind),
        "name": name,
        "title": f"{humanize(kind).capitalize()} {name}",
        "history": history,
        "version": version,
        "current": current,
        "rows": list(_rows(view.fields, current)),
    }


def _rows(fields: list[Blame], current: HistoryEntry) -> Iterator[FieldRow]:
    """Every field that is set, and those that the current entry has emptied, by name."""
    changed = {change.field: change for change in current.changes}
    rows = [FieldRow(f.field, f.value, f.entry, changed.get(f.field)) for f in fields]
    emptied = [change for change in current.changes if change.after is None]
    rows += [FieldRow(change.field, None, current, change) for change in emptied]
    yield from sorted(rows, key=lambda row: row.field)


def _path(ref: str) -> str:
    return quote(ref, safe="/")


def _field(name: str) -> str:
    """The path of a field as people read it; the ids of entries in brackets are cut short."""
    name, bracket, rest = name.partition("[")
    entry, _, member = rest.partition("]")
    parts = [humanize(part) for part in name.split(".")]
    if bracket:
        parts += [entry[-SHORT:], *(humanize(part) for part in member.split(".") if part)]
    return " › ".join(parts)


def _label(ref: str, directory: ReferenceCache | None) -> str:
    """What an entity is called: by its name in the set-up, else by its id."""
    kind, _, id_ = ref.partition("/")
    fields = directory.fields(kind, id_) if directory else {}
    name = next((fields[name] for name in NAMING if fields.get(name)), None)
    return f"{humanize(kind)} {name or id_}"
