"""From identifiers to ids: what a caller named, in the order of the parameters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from domain.credentials import Credential
from domain.errors import EntityNotFound, EntityNotUnique
from domain.fields import Values
from domain.identifiers import Identifier
from domain.reference_entities import ENTITIES, KINDS
from services.directory import Directory, Match

__all__ = ["Proving", "asked", "identifiers", "is_stored", "only", "resolved"]

Named = Identifier | Credential
Proving = Callable[[Credential, Sequence[Match]], Awaitable[str]]


def identifiers(given: Any) -> Iterator[Named]:
    """Every identifier of an entity among given values, in the order of the parameters.

    Those of entries inside one entity (an address, a parameter) are left to that entity.
    """
    if isinstance(given, Credential):
        yield given
    elif isinstance(given, Identifier):
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


def asked(named: Iterable[Named]) -> tuple[Identifier, ...]:
    """What the database must be asked for, each once; of a credential what names its token."""
    plain = (one.name if isinstance(one, Credential) else one for one in named)
    return tuple(dict.fromkeys(one for one in plain if one is not None and is_stored(one)))


async def resolved(
    given: Values,
    matches: Mapping[Identifier, Sequence[Match]],
    directory: Directory,
    prove: Proving,
    *,
    choosing: bool,
) -> tuple[Values, tuple[str, ...]]:
    """The given values with every identifier replaced by the id it means, and what they refer to.

    The second are the entities outside the directory, as ``kind/id``.

    Where ``choosing`` (a POST refers anew), retired records do not exist; else, and for what is
    kept, they are found when nothing current is (reference_entities.md, section 1). ``prove`` finds the entity of a
    credential, or refuses it. Raises `EntityNotFound` or `EntityNotUnique` naming the parameter.
    """
    ids: dict[Named, str] = {}
    refs: list[str] = []
    for named in identifiers(given):
        if isinstance(named, Credential):
            found = matches.get(named.name, ()) if named.name else ()
            ids[named] = await prove(named, found)
            refs.append(f"{named.entity}/{ids[named]}")
            continue
        stored = is_stored(named)
        found = matches[named] if stored else directory.matches(named)
        ids[named] = only(found, named.at, choosing=choosing and not named.kept)
        if stored:
            refs.append(f"{named.entity}/{ids[named]}")
    return {name: _replaced(value, ids) for name, value in given.items()}, tuple(refs)


def only(found: Sequence[Match], at: str, *, choosing: bool = False) -> str:
    """The id of the one entity among those found; retired ones count when nothing current is
    found, and not at all where ``choosing``.

    Raises `EntityNotFound` or `EntityNotUnique` naming ``at``.
    """
    current = [match for match in found if not match.retired]
    found = current if current or choosing else found
    if not found:
        raise EntityNotFound(at)
    if len(found) > 1:
        raise EntityNotUnique(at)
    return found[0].id


def _replaced(value: Any, ids: Mapping[Named, str]) -> Any:
    if isinstance(value, Identifier | Credential):
        return ids.get(value, value)
    if isinstance(value, dict):
        return {name: _replaced(member, ids) for name, member in value.items()}
    if isinstance(value, list):
        return [_replaced(member, ids) for member in value]
    return value
