"""From identifiers to ids: what a caller named, in the order of the parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from domain.errors import EntityNotFound, EntityNotUnique
from domain.fields import Values
from domain.identifiers import Identifier
from domain.reference_entities import ENTITIES, KINDS
from services.directory import Directory, Match

__all__ = ["identifiers", "is_stored", "resolved"]


def identifiers(given: Any) -> Iterator[Identifier]:
    """Every identifier of an entity among given values, in the order of the parameters.

    Those of entries inside one entity (an address, a parameter) are left to that entity.
    """
    if isinstance(given, Identifier):
        if given.entity in ENTITIES:
            yield given
    elif isinstance(given, dict):
        for value in given.values():
            yield from identifiers(value)
    elif isinstance(given, list):
        for value in given:
            yield from identifiers(value)


def is_stored(identifier: Identifier) -> bool:
    """Whether the database must be asked; the set-up is in the directory."""
    kind = KINDS.get(identifier.entity)
    return kind is None or not kind.directory


def resolved(
    given: Values,
    matches: Mapping[Identifier, Sequence[Match]],
    directory: Directory,
    *,
    choosing: bool,
) -> tuple[Values, tuple[str, ...]]:
    """The given values with every identifier replaced by the id it means, and what they refer to.

    The second are the entities outside the directory, as ``kind/id``.

    Where ``choosing`` (a POST refers anew), retired records do not exist; else they are found
    when nothing current is (reference_entities.md, section 1). Raises `EntityNotFound` or
    `EntityNotUnique` naming the parameter.
    """

    refs: list[str] = []

    def one(identifier: Identifier) -> str:
        found = matches[identifier] if is_stored(identifier) else directory.matches(identifier)
        current = [match for match in found if not match.retired]
        found = current if current or choosing else list(found)
        if not found:
            raise EntityNotFound(identifier.at)
        if len(found) > 1:
            raise EntityNotUnique(identifier.at)
        if is_stored(identifier):
            refs.append(f"{identifier.entity}/{found[0].id}")
        return found[0].id

    def replaced(value: Any) -> Any:
        if isinstance(value, Identifier):
            return one(value) if value.entity in ENTITIES else value
        if isinstance(value, dict):
            return {name: replaced(member) for name, member in value.items()}
        if isinstance(value, list):
            return [replaced(member) for member in value]
        return value

    return {name: replaced(value) for name, value in given.items()}, tuple(refs)
