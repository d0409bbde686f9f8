"""Identifiers: how a caller names an entity (contract common.md, section 3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from domain.errors import InvalidIdentifier, InvalidParameterType, SemiOptionalParameter
from domain.parsing import comparable, is_blank, read_enumeration, read_object, read_text

__all__ = ["Identifier", "IdentifierFields", "is_unset", "normalised"]

_HEXADECIMAL_ID = re.compile(r"[0-9a-fA-F]{32}")


class Identifier(msgspec.Struct, frozen=True):
    """One entity, named by one of its identifier fields.

    ``path`` is the parameter that held it, for the description of a refusal; ``allow_retired`` is set
    where it identifies an entity that is referred to already, which may be a retired record.
    """

    entity: str
    field: str
    value: str
    path: str
    allow_retired: bool = False


@dataclass(frozen=True, slots=True)
class IdentifierFields:
    """The identifier fields of one kind of entity (reference_entities.md, section 3).

    ``case_insensitive`` fields are compared without regard to case; ``enumerated`` ones hold a word of
    a list. A value has at most ``max_length`` characters.
    """

    entity: str
    fields: tuple[str, ...]
    case_insensitive: frozenset[str] = frozenset()
    enumerated: Mapping[str, frozenset[str]] | None = None
    max_length: int = 255

    def read(self, value: object, path: str, *, textual: bool) -> Identifier | None:
        """The identifier in a JSON object or, where ``textual``, in ``field=value``.

        None if no field has a value. Raises `InvalidIdentifier` for anything else and for a field not
        listed (checked before counting), and `SemiOptionalParameter` for several fields with a value.
        """
        members = [p for p in _members(value, path, textual=textual) if not is_blank(p[1])]
        if any(name not in self.fields for name, _ in members):
            raise InvalidIdentifier(path)
        if not members:
            return None
        if len(members) > 1:
            raise SemiOptionalParameter(path)
        field, member = members[0]
        if isinstance(member, dict | list):
            raise InvalidParameterType(f"{path}.{field}")
        return Identifier(self.entity, field, self._value(field, member, path), path)

    def _value(self, field: str, member: object, path: str) -> str:
        if self.enumerated and field in self.enumerated:
            return read_enumeration(member, f"{path}.{field}", self.enumerated[field])
        return normalised(
            field,
            read_text(member, f"{path}.{field}", self.max_length),
            case_insensitive=field in self.case_insensitive,
        )


def _members(value: object, path: str, *, textual: bool) -> list[tuple[str, object]]:
    """The fields with their values; one field for each repetition of a query parameter."""
    if textual and isinstance(value, list):
        return [pair for text in value for pair in _members(text, path, textual=True)]
    if textual and isinstance(value, str):
        if not value.lstrip().startswith("{"):
            field, separator, member = value.partition("=")
            if not separator:
                raise InvalidIdentifier(path)
            return [(field.strip(), member)]
        try:
            value = msgspec.json.decode(value)
        except (ValueError, RecursionError) as error:
            raise InvalidIdentifier(path) from error
    return list(read_object(value, path, InvalidIdentifier).items())


def is_unset(value: object) -> bool:
    """True for an identifier in JSON that has no value, in itself or in any field (section 4)."""
    if isinstance(value, dict):
        return all(map(is_blank, value.values()))
    return value == [] or is_blank(value)


def normalised(field: str, value: str, *, case_insensitive: bool = False) -> str:
    """An identifying value as it is compared: without surrounding blanks, ids in upper case."""
    value = value.strip()
    if field == "id" and _HEXADECIMAL_ID.fullmatch(value):
        return value.upper()
    return comparable(value, ignore_case=case_insensitive)
