"""What is read: every entity's documents and searched columns, as a pure function of its state.

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

__all__ = ["COMPACTS", "PROJECTIONS", "Projection", "ViewRow", "document", "project", "projection"]


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
    """What one entity looks like from outside.

    ``full``, ``compact`` and ``photo`` are documents, ``names`` the identifying values by field,
    ``claims`` what no other entity may have at the same time, each with the parameter to name.
    ``owners`` are the entities (``kind/id``) whose it is: a consumer session sees what is its
    customer's, directly or through further owners. ``secrets`` are the key ids that count.
    ``extra`` is what belongs to the entity and no document shows, for its history; its form is
    that of a document.
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


Projecting = Callable[[Any, Mapping[str, Any], ZoneInfo], Projection]

COMPACTS: dict[str, ResponseShape] = {}
"""The compact object of every entity that is shown inside others, by entity."""

PROJECTIONS: dict[type[Aggregate], Projecting] = {}
"""How each aggregate is projected."""


def projection(aggregate: type[Aggregate]) -> Callable[[Projecting], Projecting]:
    """Declares the projection of an aggregate: (aggregate, organisation's settings, zone)."""

    def declare(function: Projecting) -> Projecting:
        if aggregate in PROJECTIONS:
            raise TypeError(f"{aggregate.__name__} is projected twice")
        PROJECTIONS[aggregate] = function
        return function

    return declare


def project(aggregate: Aggregate, settings: Mapping[str, Any], zone: ZoneInfo) -> Projection:
    """The rows, documents, names and claims of an aggregate in its present state."""
    return PROJECTIONS[type(aggregate)](aggregate, settings, zone)


_ELSEWHERE = frozenset({*CACHED_SHAPES, "follow_ups"})
"""What is shown and not stored as an entity's compact object."""


def document(shape: ResponseShape, values: JsonObject, zone: ZoneInfo) -> bytes:
    """A document as it is stored."""
    return orjson.dumps(shape.render(values, zone))


def stored_references(document: bytes) -> tuple[str, ...]:
    """The entities that a document shows and that the database must be asked for."""
    return tuple(ref for ref in references(document) if ref.partition("/")[0] not in _ELSEWHERE)


def entity_row(
    kind: str, aggregate: Aggregate, id_: str, shown: Projection, names: Mapping[str, str]
) -> ViewRow:
    """The row by which others find an entity and what they show of it."""
    columns: JsonObject = {"kind": kind, "id": id_, "names": dict(names), "retired": shown.retired}
    columns["owners"] = list(shown.owners)
    compact = shown.compact
    refs = stored_references(compact) if compact else ()
    return ViewRow("entities", aggregate.id, aggregate.version, columns, compact, refs)
