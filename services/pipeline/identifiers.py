"""From identifiers to ids: what a caller named, in the order of the parameters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from domain.errors import EntityNotFound, EntityNotUnique
from domain.fields import JsonObject, ReadContext
from domain.identifiers import Identifier
from domain.reference.catalogue import ENTITIES, KINDS
from domain.token_credentials import Credential
from services.pipeline.fields_set import read_fields_set
from services.reference_cache import Match

if TYPE_CHECKING:
    from services.pipeline.method import Method
    from services.pipeline.request import Call, Request

__all__ = [
    "CredentialProver",
    "Named",
    "ParsedParameters",
    "identifiers",
    "is_stored",
    "parse_parameters",
    "resolve_identifiers",
    "single_match",
    "stored_identifiers",
]

Named = Identifier | Credential
CredentialProver = Callable[[Credential, Sequence[Match]], Awaitable[str]]


class ParsedParameters(msgspec.Struct, frozen=True):
    """The parameters of a call as read.

    ``named`` are the identifiers among ``values``, ``stored`` those that the database must be asked
    for, ``response_keys`` the wanted keys of the answer, None for all.
    """

    values: JsonObject = {}
    response_keys: frozenset[str] | None = None
    named: Sequence[Named] = ()
    stored: tuple[Identifier, ...] = ()


_NAMING = (Identifier, Credential, dict, list)
"""What an entity can be named by or in; all other values are passed over."""


def identifiers(given: JsonObject) -> list[Named]:
    """Every identifier of an entity among given values, in the order of the parameters.

    Those of entries inside one entity (an address, a parameter) are left to that entity.
    """
    found: list[Named] = []
    _gather(given, found)
    return found


def _gather(value: Any, found: list[Named]) -> None:
    if isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            if isinstance(member, _NAMING):
                _gather(member, found)
    elif isinstance(value, Credential) or value.entity in ENTITIES:
        found.append(value)


def is_stored(identifier: Identifier) -> bool:
    """Whether the database must be asked; the set-up is in the directory."""
    kind = KINDS.get(identifier.entity)
    return kind is None or not kind.cached


def stored_identifiers(named: Iterable[Named]) -> tuple[Identifier, ...]:
    """What the database must be asked for, each once; of a credential what names its token."""
    plain = (one.name if isinstance(one, Credential) else one for one in named)
    return tuple(dict.fromkeys(one for one in plain if one is not None and is_stored(one)))


def parse_parameters(method: Method, request: Request, reading: ReadContext) -> ParsedParameters:
    """Return the parameters of a call as read. Raises what one of them is refused with."""
    values = method.parameters.read({**request.parameters, **request.files}, reading)
    response_keys = read_fields_set(
        request.parameters.get("fields_set"),
        textual=request.from_query_or_form,
        aliases=method.aliases,
    )
    named = identifiers(values)
    return ParsedParameters(values, response_keys, named, stored_identifiers(named))


async def resolve_identifiers(call: Call, prove: CredentialProver) -> Call:
    """Return the call with every identifier among its parameters replaced by the id it means.

    A method that writes refers anew: retired records do not exist for it; else, and for what is
    kept, they are found when nothing current is (reference_entities.md, section 1).

    :param prove: finds the entity of a credential, or refuses it.
    Raises `EntityNotFound` or `EntityNotUnique` naming the parameter.
    """
    parsed, directory = call.parsed, call.directory
    matches = dict(zip(parsed.stored, call.context.matches, strict=True))
    ids: dict[Named, str] = {}
    refs: list[str] = []
    for one in parsed.named:
        if isinstance(one, Credential):
            id_ = await prove(one, matches.get(one.name, ()) if one.name else ())
        else:
            stored = is_stored(one)
            found = matches[one] if stored else directory.matches(one)
            current_only = call.method.writes and not one.allow_retired
            id_ = single_match(found, one.path, current_only=current_only)
        ids[one] = id_
        if isinstance(one, Credential) or stored:
            refs.append(f"{one.entity}/{id_}")
    return structs.replace(call, params=_replaced(parsed.values, ids), refs=tuple(refs))


def single_match(found: Sequence[Match], at: str, *, current_only: bool = False) -> str:
    """The id of the one entity among those found; retired ones count when nothing current is
    found, and not at all where ``choosing``.

    Raises `EntityNotFound` or `EntityNotUnique` naming ``at``.
    """
    current = [match for match in found if not match.retired]
    found = current if current or current_only else found
    if not found:
        raise EntityNotFound(at)
    if len(found) > 1:
        raise EntityNotUnique(at)
    return found[0].id


def _replaced(value: Any, ids: Mapping[Named, str]) -> Any:
    if isinstance(value, dict):
        return {
            name: _replaced(member, ids) if isinstance(member, _NAMING) else member
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [_replaced(member, ids) for member in value]
    return ids.get(value, value) if isinstance(value, Identifier | Credential) else value
