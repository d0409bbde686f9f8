"""The reference pages in docs/reference, generated from the tables that the service runs on.

``python -m infra.docs`` writes them; a test fails if they are not current.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path

import services.registry  # noqa: F401 (fills the registries)
from domain.aggregate import AGGREGATES, EVENTS, Aggregate, CreationEvent, DomainEvent
from domain.errors import CATALOGUE
from domain.fields import Level
from domain.reference.catalogue import KINDS
from domain.reference.records import RecordKind
from infra.analytics.relations import OBJECTS
from services.audit.event_descriptions import template
from services.pipeline.method import BASE, METHODS, Method

__all__ = ["FOLDER", "PAGES", "write"]

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
ADMINISTRATIVE = {"originator_id", "originator_version", "originator_topic", "timestamp"}
NOTICE = "<!-- Written by `python -m infra.docs`. Do not edit. -->"


def table(head: str, rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Yield the lines of a Markdown table; ``head`` is its first line without the outer bars."""
    yield f"| {head} |"
    yield "|" + " --- |" * (head.count("|") + 1)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"


def methods() -> Iterator[str]:
    """Yield every method with its parameters."""
    yield "# Methods"
    yield f"\nPaths stand below `{BASE}`. Numbers are those of the contract."
    for method in sorted(METHODS.values(), key=lambda method: method.number):
        yield f"\n## {method.number}. {method.verb} {method.path}\n"
        yield method.summary
        yield ""
        yield from table("parameter | level | type | note", _parameters(method))


def _parameters(method: Method) -> Iterator[tuple[str, str, str, str]]:
    if method.needs_session:
        yield "`token`", "mandatory", "Text", ""
    semi_optional = method.parameters.exactly_one | method.parameters.at_least_one
    for field, level in method.parameters:
        level_name = level.value if isinstance(level, Level) else "depends on the others"
        level_name = "semi-optional" if field.name in semi_optional else level_name
        yield f"`{field.parameter}`", level_name, type(field).__name__, field.description
    if method.fields_set:
        yield "`fields_set`", "optional", "Text", ""


def errors() -> Iterator[str]:
    """Yield the catalogue of refusals."""
    yield "# Errors\n"
    yield "What a call is refused with. Decide on `status.code`, not on the HTTP status.\n"
    rows = ((f"`{e.code}`", e.status, e.message) for e in CATALOGUE.values())
    yield from table("code | HTTP | message", rows)


def events() -> Iterator[str]:
    """Yield every event of every aggregate, and the life cycles that they form.

    Events that may happen in any state and do not change it are not drawn.
    """
    yield "# Events and life cycles\n"
    yield "What the ledger can say, by the entity it says it of. Values in italics belong to a"
    yield "person and are encrypted with the contact's key; members of an event stand in braces in what"
    yield "its history says."
    for topic, aggregate in sorted(AGGREGATES.items()):
        aggregate_events = [event for name, event in EVENTS.items() if name.startswith(f"{topic}.")]
        if aggregate_events:
            yield f"\n## {topic}\n"
            yield _first_line(aggregate)
            yield from _diagram(aggregate_events)
            yield from table("event | says | payload", map(_event_row, aggregate_events))


def _first_line(documented: type[Aggregate]) -> str:
    return (documented.__doc__ or "").strip().partition("\n")[0].replace("``", "`")


def _event_row(event: type[DomainEvent]) -> tuple[str, str, str]:
    names = [f.name for f in fields(event) if f.name not in ADMINISTRATIVE | {"user", "unit"}]
    payload = (f"*{name}*" if name in event.PERSONAL else name for name in names)
    return f"`{event.TOPIC}`", template(event), ", ".join(payload)


def _diagram(aggregate_events: list[type[DomainEvent]]) -> Iterator[str]:
    states = {event.TO for event in aggregate_events if event.TO} | {
        s for event in aggregate_events for s in event.FROM
    }
    arrows: dict[tuple[str, str], list[str]] = {}
    for event in (event for event in aggregate_events if event.FROM or event.TO):
        is_creation = issubclass(event, CreationEvent)
        for source in ("[*]",) if is_creation else event.FROM or tuple(sorted(states)):
            arrows.setdefault((source, event.TO or source), []).append(event.__name__)
    yield "\n```mermaid\nstateDiagram-v2"
    for (source, target), names in arrows.items():
        yield f"    {source} --> {target}: {', '.join(names)}"
    yield "```\n"


def kinds() -> Iterator[str]:
    """Yield every kind of record that can be registered."""
    yield "# Registered records\n"
    yield "Kinds of `/reference/v1/{kind}` and of `crmledger import`, with the fields of a record."
    yield "Unique identifier fields carry a `!`. Every record also has `id` and may have `retired`."
    for kind in KINDS.values():
        yield f"\n## {kind.key}\n"
        identifiers = (f"`{name}{'!' * unique}`" for name, unique in kind.identifier_fields)
        yield f"Identified by: {', '.join(identifiers)}\n"
        rows = (
            (f"`{row.parameter}`", type(row).__name__, "yes" if rule is Level.MANDATORY else "")
            for row, rule in kind.parameters
        )
        yield from table("field | type | mandatory", [*rows, *_secrets(kind)])


def _secrets(kind: RecordKind) -> Iterator[tuple[str, str, str]]:
    for name in kind.secrets:
        storage = "sealed" if name in kind.encrypted else "hashed"
        storage += ", made up if none is given" if name in kind.generated else ""
        yield f"`{name}`", f"secret, kept {storage}", ""


def analytics() -> Iterator[str]:
    """Yield the data dictionary of analysts."""
    yield "# Data dictionary\n"
    yield "The objects of the schema `analytics` ([how to use them](../analytics.md)). Columns in italics"
    yield "belong to a person: they are null unless an operator has granted them."
    for relation in OBJECTS.values():
        yield f"\n## {relation.name}\n"
        yield f"{relation.description} {_increments(relation.position)}\n"
        rows = (
            (
                f"*{column.name}*" if column.personal else f"`{column.name}`",
                column.type,
                column.description,
            )
            for column in relation.columns
        )
        yield from table("column | type | meaning", rows)


def _increments(position: str) -> str:
    if not position:
        return "Exported as a whole."
    return f"Exported in ranges of `{position}`."


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "methods.md": methods,
    "errors.md": errors,
    "events.md": events,
    "records.md": kinds,
    "analytics.md": analytics,
}
"""The pages by file name."""


def text(page: str) -> str:
    """Return one page as it should be."""
    return "\n".join([NOTICE, *PAGES[page]()]) + "\n"


def write() -> None:
    """Write all pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for page in PAGES:
        (FOLDER / page).write_text(text(page), encoding="utf-8")


if __name__ == "__main__":
    write()
