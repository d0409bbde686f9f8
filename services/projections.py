"""Projections: every entity's documents and searched columns, as a pure function of its state.

The write of a command, the rebuild and the verification all call `project`; there is no second
definition of what show and list return.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

from domain.aggregate import Aggregate
from domain.fields import JsonObject, ResponseShape
from domain.reference.catalogue import CACHED_SHAPES
from services.reference_expansion import references

__all__ = [
    "COMPACTS",
    "MAX_FOLLOW_UPS",
    "PROJECTIONS",
    "Projection",
    "ViewRow",
    "document",
    "project",
    "projection",
]

MAX_FOLLOW_UPS = 100
"""The most follow-ups of a communication that are shown (communications.md, section 6)."""


@dataclass(frozen=True, slots=True)
class ViewRow:
    """One row of a view.

    ``columns`` are the searched columns (and for ``entities`` the kind and the identifying
    ``names``), ``document`` is JSON with places for what it shows of others.
    """

    view: str
    stream: UUID
    version: int
    columns: JsonObject
    document: bytes | None = None
    refs: tuple[str, ...] = ()


@dataclass(slots=True)
class Projection:
    """The read side of one entity.

    ``full``, ``compact`` and ``photo`` are documents, ``names`` the identifying values by field,
    ``claims`` what no other entity may have at the same time, each with the parameter to name.
    ``owners`` are the entities (``kind/id``) that it belongs to: a consumer session sees what
    belongs to its customer, directly or through further owners. ``secrets`` are the valid key ids.
    ``extra`` are fields that no document shows, for the history of the entity; its form is that of
    a document.
    """

    rows: list[ViewRow] = field(default_factory=list)
    full: bytes = b""
    compact: bytes | None = None
    photo: bytes | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, str] = field(default_factory=dict)
    global_claims: Mapping[str, str] = field(default_factory=dict)
    owners: Sequence[str] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    retired: bool = False


ProjectionFunction = Callable[[Any, Mapping[str, Any], ZoneInfo], Projection]

COMPACTS: dict[str, ResponseShape] = {}
"""The compact object of every entity that is shown inside others, by entity."""

PROJECTIONS: dict[type[Aggregate], ProjectionFunction] = {}
"""The projection of each aggregate."""


def projection(aggregate: type[Aggregate]) -> Callable[[ProjectionFunction], ProjectionFunction]:
    """Declare the projection of an aggregate: (aggregate, organisation's settings, zone)."""

    def declare(function: ProjectionFunction) -> ProjectionFunction:
        if aggregate in PROJECTIONS:
            raise TypeError(f"{aggregate.__name__} is projected twice")
        PROJECTIONS[aggregate] = function
        return function

    return declare


def project(aggregate: Aggregate, settings: Mapping[str, Any], zone: ZoneInfo) -> Projection:
    """Return the rows, documents, names and claims of an aggregate in its present state."""
    return PROJECTIONS[type(aggregate)](aggregate, settings, zone)


_NOT_STORED = frozenset({*CACHED_SHAPES, "follow_ups"})
"""The kinds of objects that are shown but not stored as an entity's compact object."""


def document(shape: ResponseShape, values: JsonObject, zone: ZoneInfo) -> bytes:
    """Return a document as it is stored."""
    return orjson.dumps(shape.render(values, zone))


def stored_references(document: bytes) -> tuple[str, ...]:
    """Return the entities that a document shows and that the database must be asked for."""
    return tuple(ref for ref in references(document) if ref.partition("/")[0] not in _NOT_STORED)


def entity_row(
    kind: str, aggregate: Aggregate, id_: str, projection: Projection, names: Mapping[str, str]
) -> ViewRow:
    """Return the row by which others find an entity, with its compact object."""
    columns: JsonObject = {
        "kind": kind,
        "id": id_,
        "names": dict(names),
        "retired": projection.retired,
    }
    columns["owners"] = list(projection.owners)
    compact = projection.compact
    refs = stored_references(compact) if compact else ()
    return ViewRow("entities", aggregate.id, aggregate.version, columns, compact, refs)
