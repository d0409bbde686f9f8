"""Fields that hold other fields, and fields that lead to other entities."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any, cast
from zoneinfo import ZoneInfo

from msgspec import structs

from domain.errors import (
    InvalidIdentifier,
    InvalidParameterType,
    InvalidParameterValue,
    MandatoryParameter,
    SemiOptionalParameter,
)
from domain.fields import (
    Field,
    JsonObject,
    JsonSchema,
    Level,
    Parameters,
    ReadContext,
    ResponseShape,
    nullable,
)
from domain.identifiers import Identifier, IdentifierFields, is_unset
from domain.parsing import is_blank, read_enumeration, read_integer, read_object

__all__ = ["ItemSet", "Object", "PartialDate", "Reference", "identifier_schema"]


def identifier_schema(target: IdentifierFields, links: Iterable[Reference] = ()) -> JsonSchema:
    """An identifier as a JSON object: exactly one of the fields, or of the links."""
    enumerated = target.enumerated or {}
    properties: JsonSchema = {
        name: {"type": "string"}
        | ({"enum": sorted(enumerated[name])} if name in enumerated else {})
        for name in target.fields
    }
    properties |= {link.parameter: link.schema() for link in links}
    return {
        "type": "object",
        "properties": properties,
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }


MAX_ITEMS = 1000
"""The most items of one set in one call; the contract's largest page (common.md, section 6)."""


@dataclass(frozen=True, kw_only=True)
class PartialDate(Field):
    """A day of the calendar as an object of Integers: all ``parts`` or none.

    With a year it must be a real day that is not in the future; without, one of a leap year.
    """

    parts: tuple[str, ...] = ("day", "month", "year")

    def read(self, value: Any, path: str, context: ReadContext) -> JsonObject | None:
        day_parts = read_object(value, path)
        members = {part: day_parts.get(part) for part in self.parts}
        blank = [is_blank(member) for member in members.values()]
        if all(blank):
            return None
        if any(blank):
            raise InvalidParameterValue(path)
        parts = {part: read_integer(v, f"{path}.{part}") for part, v in members.items()}
        try:
            day = date(parts.get("year", 2000), parts["month"], parts["day"])
        except (ValueError, OverflowError) as error:
            raise InvalidParameterValue(path) from error
        if "year" in parts and day > context.today:
            raise InvalidParameterValue(path)
        return parts

    def to_response(self, stored: Any, zone: ZoneInfo) -> Any:
        return {part: (stored or {}).get(part) for part in self.parts}

    def schema(self) -> JsonSchema:
        properties = {part: {"type": ["integer", "null"]} for part in self.parts}
        return {"type": "object", "properties": properties}

    def response_schema(self) -> JsonSchema:
        return self.schema() | {"required": list(self.parts)}


@dataclass(frozen=True, kw_only=True)
class Reference(Field):
    """A link to another entity: ``<name>_identifier`` in a call, its compact object in a response.

    ``alias`` is a second name that items of an updated set may use (contact_information.md,
    section 7). ``minimal`` ones show the fewer keys that compact objects hold in turn.
    """

    target: IdentifierFields
    alias: str = ""
    minimal: bool = False

    @cached_property
    def parameter(self) -> str:
        return f"{self.name}_identifier"

    @property
    def alternate_key(self) -> str:
        return self.alias or self.parameter

    def raw_value(self, raw: Mapping[str, Any], path: str, context: ReadContext) -> Any:
        value, alias_value = raw.get(self.parameter), raw.get(self.alias) if self.alias else None
        if context.textual and isinstance(value, list):
            return [text for text in value if not is_blank(text)] or None
        if context.updating and not is_unset(alias_value):
            if not is_unset(value):
                raise SemiOptionalParameter(path)
            return alias_value
        return None if is_blank(value) else value

    def read(self, value: Any, path: str, context: ReadContext) -> Identifier | None:
        return self.target.read(value, path, textual=context.textual)

    @cached_property
    def schema_name(self) -> str:
        """The name of the object that a response holds."""
        return f"{self.target.entity}_brief" if self.minimal else self.target.entity

    def to_response(self, stored: Any, zone: ZoneInfo) -> Any:
        return {"$ref": f"{self.schema_name}/{stored}"} if stored else None

    def schema(self) -> JsonSchema:
        return {"$ref": f"#/components/schemas/{self.target.entity}_identifier"}

    def response_schema(self) -> JsonSchema:
        return nullable({"$ref": f"#/components/schemas/{self.schema_name}"})


@dataclass(frozen=True, kw_only=True)
class Object(Field):
    """A nested object; ``forbid_unknown`` ones refuse keys they do not know.

    ``levels`` are those of its fields that are not optional, ``at_most_one`` is a group of which
    one may be given. An unset one is sent with every key null, or as null itself where it is
    ``absent_as_null``.
    """

    fields: tuple[Field, ...]
    forbid_unknown: bool = False
    absent_as_null: bool = False
    levels: Mapping[str, Level] = dataclasses.field(default_factory=dict)
    at_most_one: tuple[str, ...] = ()

    @cached_property
    def parameters(self) -> Parameters:
        """The parameters that a call may give inside it."""
        specs = ((field, self.levels.get(field.name, Level.OPTIONAL)) for field in self.fields)
        return Parameters(*specs, at_most_one=self.at_most_one)

    def read(self, value: Any, path: str, context: ReadContext) -> JsonObject:
        members = read_object(value, path)
        if self.forbid_unknown and not members.keys() <= {field.parameter for field in self.fields}:
            raise InvalidIdentifier(path)
        return self.parameters.read(members, context, path=f"{path}.")

    def to_response(self, stored: Any, zone: ZoneInfo) -> Any:
        if stored is None and self.absent_as_null:
            return None
        return self._response_shape.render(stored or {}, zone)

    @cached_property
    def _response_shape(self) -> ResponseShape:
        return ResponseShape(self.name, *self.fields)

    def schema(self) -> JsonSchema:
        schema = self.parameters.schema()
        return schema | {"additionalProperties": False} if self.forbid_unknown else schema

    def response_schema(self) -> JsonSchema:
        schema = self._response_shape.schema()
        return nullable(schema) if self.absent_as_null else schema


@dataclass(frozen=True, kw_only=True)
class ItemSet(Field):
    """A ``*_set`` parameter: items that are added, or on update added, changed and removed.

    ``fields`` are an item's fields, ``required`` those that an added item must have and a changed
    one may not null, ``exactly_one`` a group of which an added item has one, ``fixed`` those that a
    changed item ignores. ``item_identifier`` identifies an item inside its parent, as
    ``<entity>_identifier``, by fields of its own or by the entity to which one of its ``links`` leads; ``check`` refuses items
    whose fields contradict each other. A parsed item is a dict with ``action``, for changed and
    removed ones ``identifier`` (an `Identifier`, or an `Identifier` by the name of a link), and the
    given fields.
    """

    fields: tuple[Field, ...]
    item_identifier: IdentifierFields
    links: tuple[Reference, ...] = ()
    required: frozenset[str] = frozenset()
    exactly_one: tuple[str, ...] = ()
    fixed: frozenset[str] = frozenset()
    actions: tuple[str, ...] = ("ADD", "UPDATE", "REMOVE")
    updating: bool = False
    response_fields: tuple[Field, ...] = ()
    check: Callable[[JsonObject, str], None] | None = None

    def read(self, value: Any, path: str, context: ReadContext) -> list[JsonObject]:
        if not isinstance(value, list):
            raise InvalidParameterType(path)
        if len(value) > MAX_ITEMS:
            raise InvalidParameterValue(path)
        context = structs.replace(context, updating=self.updating)
        return [self._item(item, f"{path}[{n}]", context) for n, item in enumerate(value)]

    def _item(self, item: Any, path: str, context: ReadContext) -> JsonObject:
        item = read_object(item, path)
        action = self._action(item.get("action"), f"{path}.action")
        parsed: JsonObject = {"action": action}
        if action != "ADD":
            parsed["identifier"] = self._identifier(item, path, context)
        if action == "REMOVE":
            return parsed
        level = Level.MANDATORY if action == "ADD" else Level.NOT_NULL
        specs = (
            (field, level if field.name in self.required else Level.OPTIONAL)
            for field in self.fields
            if action == "ADD" or field.name not in self.fixed
        )
        group = self.exactly_one if action == "ADD" else ()
        parsed |= Parameters(*specs, exactly_one=group).read(item, context, path=f"{path}.")
        if self.check:
            self.check(parsed, path)
        return parsed

    def _action(self, value: Any, path: str) -> str:
        if is_blank(value):
            if self.updating:
                raise MandatoryParameter(path)
            return "ADD"
        return read_enumeration(value, path, self.actions if self.updating else ("ADD",))

    def _identifier(
        self, item: Mapping[str, Any], path: str, context: ReadContext
    ) -> Identifier | dict[str, Identifier]:
        name = f"{self.item_identifier.entity}_identifier"
        value, path = item.get(name), f"{path}.{name}"
        links = {link.parameter: link for link in self.links}
        members = {
            name: member
            for name, member in read_object(
                [] if is_blank(value) else value, path, InvalidIdentifier
            ).items()
            if not (is_unset(member) if name in links else is_blank(member))
        }
        if not members.keys() & links.keys():
            identifier = self.item_identifier.read(members, path, textual=False)
            if identifier is None:
                raise MandatoryParameter(path)
            return identifier
        if not members.keys() <= {*self.item_identifier.fields, *links}:
            raise InvalidIdentifier(path)
        if len(members) > 1:
            raise SemiOptionalParameter(path)
        ((name, member),) = members.items()
        target = links[name].read(member, f"{path}.{name}", context)
        return {links[name].name: structs.replace(cast(Identifier, target), allow_retired=True)}

    def to_response(self, stored: Any, zone: ZoneInfo) -> Any:
        return [self._response_shape.render(item, zone) for item in stored or ()]

    @cached_property
    def _response_shape(self) -> ResponseShape:
        return ResponseShape(self.name, *(self.response_fields or self.fields))

    def for_update(self) -> ItemSet:
        """The same set as an update takes it, with an action in each item."""
        return replace(self, updating=True)

    def schema(self) -> JsonSchema:
        required = [field.parameter for field in self.fields if field.name in self.required]
        properties: JsonSchema = {"action": nullable({"type": "string", "enum": ["ADD"]})}
        if self.updating:
            actions = {"type": "string", "enum": list(self.actions)}
            either = " or ".join(f.parameter for f in self.fields if f.name in self.exactly_one)
            needs = f"An added item needs {', '.join(filter(None, [*required, either]))}."
            properties = {
                "action": actions | {"description": needs},
                f"{self.item_identifier.entity}_identifier": identifier_schema(
                    self.item_identifier, self.links
                )
                | {"description": "Names the item that is changed or removed."},
            }
        for field in self.fields:
            schema = field.schema()
            properties[field.parameter] = (
                schema if field.name in self.required else nullable(schema)
            )
        item: JsonSchema = {"type": "object", "properties": properties}
        item["required"] = ["action"] if self.updating else required
        return {"type": "array", "items": item}

    def response_schema(self) -> JsonSchema:
        return {"type": "array", "items": self._response_shape.schema()}
