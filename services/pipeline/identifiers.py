"""From parameters to ids: parse what a caller gave, and resolve the identifiers among it."""

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
    "collect_identifiers",
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


_NAMING_TYPES = (Identifier, Credential, dict, list)
"""The types of values that are or hold identifiers; all others are skipped."""


def collect_identifiers(values: JsonObject) -> list[Named]:
    """Return every identifier of an entity among parsed values, in the order of the parameters.

    Those of entries inside one entity (an address, a parameter) are left to that entity.
    """
    named: list[Named] = []
    _collect_identifiers(values, named)
    return named


def _collect_identifiers(value: Any, named: list[Named]) -> None:
    if isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            if isinstance(member, _NAMING_TYPES):
                _collect_identifiers(member, named)
    elif isinstance(value, Credential) or value.entity in ENTITIES:
        named.append(value)


def is_stored(identifier: Identifier) -> bool:
    """True if the database must be asked; the set-up is in the reference cache."""
    kind = KINDS.get(identifier.entity)
    return kind is None or not kind.cached


def stored_identifiers(named: Iterable[Named]) -> tuple[Identifier, ...]:
    """Return the identifiers that the database must be asked for, each once; of a credential its token's."""
    identifiers = (one.name if isinstance(one, Credential) else one for one in named)
    return tuple(dict.fromkeys(one for one in identifiers if one is not None and is_stored(one)))


def parse_parameters(method: Method, request: Request, reading: ReadContext) -> ParsedParameters:
    """Return the parameters of a call as read. Raises what one of them is refused with."""
    values = method.parameters.read({**request.parameters, **request.files}, reading)
    response_keys = read_fields_set(
        request.parameters.get("fields_set"),
        textual=request.from_query_or_form,
        aliases=method.aliases,
    )
    identifiers = collect_identifiers(values)
    return ParsedParameters(values, response_keys, identifiers, stored_identifiers(identifiers))


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
    for identifier in parsed.named:
        if isinstance(identifier, Credential):
            id_ = await prove(
                identifier, matches.get(identifier.name, ()) if identifier.name else ()
            )
        else:
            stored = is_stored(identifier)
            candidates = matches[identifier] if stored else directory.matches(identifier)
            current_only = call.method.writes and not identifier.allow_retired
            id_ = single_match(candidates, identifier.path, current_only=current_only)
        ids[identifier] = id_
        if isinstance(identifier, Credential) or stored:
            refs.append(f"{identifier.entity}/{id_}")
    return structs.replace(call, params=_replace_identifiers(parsed.values, ids), refs=tuple(refs))


def single_match(matches: Sequence[Match], at: str, *, current_only: bool = False) -> str:
    """Return the id of the one entity among ``matches``; retired ones count if none is current.

    :param current_only: retired ones do not count at all.
    Raises `EntityNotFound` or `EntityNotUnique` naming ``at``.
    """
    current = [match for match in matches if not match.retired]
    matches = current if current or current_only else matches
    if not matches:
        raise EntityNotFound(at)
    if len(matches) > 1:
        raise EntityNotUnique(at)
    return matches[0].id


def _replace_identifiers(value: Any, ids: Mapping[Named, str]) -> Any:
    if isinstance(value, dict):
        return {
            name: _replace_identifiers(member, ids) if isinstance(member, _NAMING_TYPES) else member
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [_replace_identifiers(member, ids) for member in value]
    return ids.get(value, value) if isinstance(value, Identifier | Credential) else value
