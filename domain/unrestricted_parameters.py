"""Unrestricted parameters: the named values of a communication (contract communications.md, section 7)."""

from __future__ import annotations

from collections.abc import Iterable
from unicodedata import category

from domain.composite_fields import ItemSet
from domain.errors import (
    DuplicateEntity,
    EntityNotFound,
    EntityNotUnique,
    InvalidParameterValue,
    MandatoryParameter,
)
from domain.fields import Field, JsonObject
from domain.identifiers import Identifier, IdentifierFields
from domain.parsing import comparable
from domain.scalar_fields import CONTENT, IDENTIFYING, Date, Enumeration, Integer, Number, Text

__all__ = [
    "UNRESTRICTED",
    "UnrestrictedParameters",
    "apply_parameter_changes",
    "parameter_changes",
]

MAX_PARAMETERS = 1000
"""The most parameters of one communication."""

MAX_KEY = len("#unrestricted_integer.") + IDENTIFYING
"""The length of the longest key in characters, with the sign that makes it a tag."""


VALUES: dict[str, Field] = {
    "STRING": Text(name="string_value", max_length=CONTENT, may_be_blank=True),
    "FLOAT": Number(name="float_value"),
    "INTEGER": Integer(name="integer_value"),
    "DATE": Date(name="date_value", java_format=True),
}
"""The value member of each type of unrestricted parameter."""


def parameter_name(text: str) -> str | None:
    """``text`` if no character of it is a control character, else None."""
    return None if any(category(character) == "Cc" for character in text) else text


def _check_item_value(item: JsonObject, path: str) -> None:
    """Refuses a value of another type than the given one, and an added item without a value."""
    if item.get("type"):
        _check_value(item, item["type"], path, required=item["action"] == "ADD")


def _check_value(item: JsonObject, kind: str, path: str, *, required: bool) -> None:
    """Refuses a parameter whose value does not fit its type ``kind``.

    Raises `InvalidParameterValue` for a value of another type, and `MandatoryParameter` for null, or
    for none where it is ``required``.
    """
    name = VALUES[kind].name
    for value in VALUES.values():
        # Of another type, an empty text is no value: forms send all of their fields.
        if value.name != name and item.get(value.name) not in (None, ""):
            raise InvalidParameterValue(f"{path}.{value.name}")
    if item.get(name) is None and (required or name in item):
        raise MandatoryParameter(f"{path}.{name}")


_TYPE = Enumeration(name="type", allowed=tuple(VALUES))
_NAME = Text(name="name", max_length=IDENTIFYING, is_stripped=True, clean=parameter_name)

UNRESTRICTED = ItemSet(
    name="unrestricted_parameter_set",
    fields=(_TYPE, _NAME, *VALUES.values()),
    response_fields=(Text(name="id"), Text(name="key"), _NAME, _TYPE, *VALUES.values()),
    item_identifier=IdentifierFields(
        "unrestricted_parameter", ("id", "key", "name"), max_length=MAX_KEY
    ),
    required=frozenset({"type", "name"}),
    check=_check_item_value,
    personal=True,
)


class UnrestrictedParameters:
    """The parameters of one communication while a call changes them, in the order of creation."""

    def __init__(self, parameters: Iterable[JsonObject]) -> None:
        self._by_id = {parameter["id"]: parameter for parameter in parameters}
        self._ids = {comparable(p["key"]): id_ for id_, p in self._by_id.items()}

    def apply(self, item: JsonObject, new_id: str, path: str) -> None:
        """Adds, changes or removes the parameter that one item of a set describes.

        Raises `DuplicateEntity` for a key that is taken, `EntityNotFound` and `EntityNotUnique` for
        the identifier, `MandatoryParameter` and `InvalidParameterValue` for values.
        """
        if item["action"] == "ADD":
            self._put({"id": new_id} | _members(item, item["type"]), path)
            return
        current = self._find(item["identifier"])
        if item["action"] == "REMOVE":
            del self._ids[comparable(current["key"])]
            del self._by_id[current["id"]]
            return
        kind: str = item.get("type") or current["type"]
        is_other_type = kind != current["type"]
        _check_value(item, kind, path, required=is_other_type)
        base = {k: current[k] for k in ("id", "name")} if is_other_type else current
        self._put(base | _members(item, kind), path)

    def to_list(self) -> list[JsonObject]:
        """The parameters after all items. Raises `InvalidParameterValue` if they are too many."""
        if len(self._by_id) > MAX_PARAMETERS:
            raise InvalidParameterValue(UNRESTRICTED.name)
        return list(self._by_id.values())

    def _put(self, parameter: JsonObject, path: str) -> None:
        key, id_ = _key(parameter["type"], parameter["name"]), parameter["id"]
        if self._ids.get(comparable(key), id_) != id_:
            raise DuplicateEntity(f"{path}.name")
        if id_ in self._by_id:
            del self._ids[comparable(self._by_id[id_]["key"])]
        self._ids[comparable(key)] = id_
        self._by_id[id_] = parameter | {"key": key}

    def _find(self, identifier: Identifier) -> JsonObject:
        value = identifier.value
        if identifier.field == "id":
            matches = [value] if value in self._by_id else []
        else:
            is_name = identifier.field == "name"
            keys = [_key(kind, value) for kind in VALUES] if is_name else [value.removeprefix("#")]
            matches = [self._ids[k] for k in map(comparable, keys) if k in self._ids]
        if not matches:
            raise EntityNotFound(identifier.path)
        if len(matches) > 1:
            raise EntityNotUnique(identifier.path)
        return self._by_id[matches[0]]


def parameter_changes(
    before: Iterable[JsonObject], after: Iterable[JsonObject]
) -> tuple[list[JsonObject], list[str]]:
    """The parameters that are new or differ, each with its id and the members that do, and the ids
    of removed ones: what an event has to hold."""
    former = {parameter["id"]: parameter for parameter in before}
    changed = []
    for parameter in after:
        old = former.pop(parameter["id"], {})
        members = {n: parameter.get(n) for n in parameter | old if parameter.get(n) != old.get(n)}
        if members:
            changed.append({"id": parameter["id"]} | members)
    return changed, list(former)


def apply_parameter_changes(
    before: Iterable[JsonObject], changed: Iterable[JsonObject], removed: Iterable[str]
) -> list[JsonObject]:
    """The parameters after a change; the inverse of `parameter_changes`."""
    parameters = {parameter["id"]: parameter for parameter in before}
    for id_ in removed:
        parameters.pop(id_, None)
    for members in changed:
        merged = parameters.get(members["id"], {}) | members
        parameters[members["id"]] = {n: v for n, v in merged.items() if v is not None}
    return list(parameters.values())


def _key(kind: str, name: str) -> str:
    return f"unrestricted_{kind.lower()}.{name}"


def _members(item: JsonObject, kind: str) -> JsonObject:
    names = ("type", "name", VALUES[kind].name)
    return {name: item[name] for name in names if item.get(name) is not None}
