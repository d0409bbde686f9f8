"""The field table: each parameter and response field of the contract, declared once.

A `Field` knows how it is read from a call, how a stored value is sent, and how both look in the
OpenAPI description. `Parameters` lists what one method accepts, `ResponseShape` the keys of one
object of a response; validation, identifier resolution, documents, documentation and audit labels
are all derived from these two. The rules are those of common.md, sections 3, 4, 7 and 8.

The kinds of field are in `domain.scalar_fields` (one value) and `domain.composite_fields` (other
fields, entities).

Parsed values are plain: text, numbers, booleans, dicts and lists, `Identifier` for a reference.
An absent parameter is absent from the result; ``None`` means that the caller sent null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from domain.errors import (
    InvalidParameterValue,
    MandatoryParameter,
    SemiOptionalParameter,
)
from domain.parsing import is_blank

__all__ = [
    "Field",
    "JsonObject",
    "JsonSchema",
    "Level",
    "ParameterSpec",
    "Parameters",
    "ReadContext",
    "ResponseShape",
    "mandatory",
    "not_null",
    "nullable",
    "when",
]

JsonObject = dict[str, Any]
JsonSchema = dict[str, Any]


class Level(Enum):
    """The level of a parameter: mandatory, optional or not applicable (common.md, section 4)."""

    OPTIONAL = "optional"
    MANDATORY = "mandatory"
    NOT_NULL = "optional, but neither null nor blank"
    NOT_APPLICABLE = "not applicable"


class ReadContext(msgspec.Struct, frozen=True):
    """The context in which a value is parsed.

    ``zone`` is the service's time zone and ``today`` its date; ``textual`` is set for query
    strings and forms, where identifiers are texts; ``updating`` for items of sets that carry an
    action.
    """

    zone: ZoneInfo
    today: date
    textual: bool = False
    updating: bool = False


@dataclass(frozen=True, kw_only=True)
class Field:
    """One parameter or response field.

    ``response_name`` is the name in responses where it differs; ``may_be_blank`` is set where a blank
    text is a value and not null; ``personal`` marks personal data, which is encrypted inside events;
    ``since`` is the release that added it. ``description`` tells callers what the name and the type
    do not.
    """

    name: str
    response_name: str = ""
    may_be_blank: bool = False
    personal: bool = False
    since: str = ""
    description: str = ""

    @property
    def parameter(self) -> str:
        """The name under which a call gives it."""
        return self.name

    def raw_value(self, raw: Mapping[str, Any], path: str, context: ReadContext) -> Any:
        """The raw value of this parameter among ``raw``; None if it is absent, null or blank.

        Of a parameter that a query string repeats, the last value counts.
        """
        value = raw.get(self.parameter)
        if context.textual and isinstance(value, list):
            value = value[-1]
        return None if is_blank(value) and not self.may_be_blank else value

    @property
    def alternate_key(self) -> str:
        """Another name under which a call may give it; `parameter` if there is none."""
        return self.parameter

    def read(self, value: Any, path: str, context: ReadContext) -> Any:
        """The value to store, parsed from one that is not null; None if it says as much as null.

        Raises the refusal for the parameter ``path``.
        """
        raise NotImplementedError

    def to_response(self, stored: Any, zone: ZoneInfo) -> Any:
        """A stored value (or None) as a response holds it."""
        return stored

    def schema(self) -> JsonSchema:
        """The JSON Schema of what a call may give."""
        raise NotImplementedError

    def response_schema(self) -> JsonSchema:
        """The JSON Schema of what a response holds."""
        return nullable(self.schema())

    @property
    def key(self) -> str:
        """The name in responses."""
        return self.response_name or self.name


def nullable(schema: JsonSchema) -> JsonSchema:
    """The schema of a value that may also be null."""
    if "type" in schema and isinstance(schema["type"], str):
        return (
            schema
            | {"type": [schema["type"], "null"]}
            | ({"enum": [*schema["enum"], None]} if "enum" in schema else {})
        )
    return {"anyOf": [schema, {"type": "null"}]}


LevelRule = Level | Callable[[JsonObject], Level]
ParameterSpec = Field | tuple[Field, LevelRule]


def mandatory(field: Field) -> ParameterSpec:
    """A parameter that must be given."""
    return field, Level.MANDATORY


def not_null(field: Field) -> ParameterSpec:
    """A parameter that may be absent but not null or blank."""
    return field, Level.NOT_NULL


def when(field: Field, rule: Callable[[JsonObject], Level]) -> ParameterSpec:
    """A parameter whose level depends on those read before it."""
    return field, rule


class Parameters:
    """The parameters of one method (or one nested object), in the order in which they are checked.

    ``exactly_one``, ``at_least_one`` and ``at_most_one`` name a group of semi-optional parameters,
    checked with the last of them; ``check`` refuses values that contradict each other. It is called
    after each parameter, so that the error of an earlier one is reported first.
    """

    def __init__(
        self,
        *specs: ParameterSpec,
        exactly_one: Iterable[str] = (),
        at_least_one: Iterable[str] = (),
        at_most_one: Iterable[str] = (),
        check: Callable[[JsonObject], None] | None = None,
    ) -> None:
        self.fields: tuple[tuple[Field, LevelRule], ...] = tuple(
            spec if isinstance(spec, tuple) else (spec, Level.OPTIONAL) for spec in specs
        )
        self.exactly_one = frozenset(exactly_one)
        self.at_least_one = frozenset(at_least_one)
        self.at_most_one = frozenset(at_most_one)
        self._check = check
        groups = self.exactly_one | self.at_least_one | self.at_most_one
        last = next((f.name for f, _ in reversed(self.fields) if f.name in groups), None)
        # Prepared once, so that a call looks nothing up.
        self._plan = [
            (
                field,
                Level.OPTIONAL if callable(rule) else rule,
                rule if callable(rule) else None,
                field.parameter,
                field.alternate_key,
                field.name == last,
            )
            for field, rule in self.fields
        ]

    def __iter__(self) -> Iterator[tuple[Field, LevelRule]]:
        return iter(self.fields)

    def map_fields(self, change: Callable[[Field], Field]) -> Parameters:
        """A copy with each field replaced by ``change(field)``."""
        specs = [(change(field), rule) for field, rule in self.fields]
        groups = {"exactly_one": self.exactly_one, "at_least_one": self.at_least_one}
        return Parameters(*specs, **groups, check=self._check)

    def read(self, raw: Mapping[str, Any], context: ReadContext, path: str = "") -> JsonObject:
        """The parsed values by field name. Raises the first refusal in the order of the fields."""
        parsed: JsonObject = {}
        for field, fixed, rule, name, alternate, closes in self._plan:
            level = rule(parsed) if rule else fixed
            if name in raw or alternate in raw or level is Level.MANDATORY:
                self._read(field, level, raw, context, f"{path}{name}", parsed)
                if self._check:
                    self._check(parsed)
            if closes:
                self._check_groups(parsed, path)
        return parsed

    @staticmethod
    def _read(
        field: Field,
        level: Level,
        raw: Mapping[str, Any],
        context: ReadContext,
        path: str,
        parsed: JsonObject,
    ) -> None:
        value = field.raw_value(raw, path, context)
        if value is not None:
            value = field.read(value, path, context)
        if value is None and (level is Level.MANDATORY or level is Level.NOT_NULL):
            raise MandatoryParameter(path)
        if value is not None and level is Level.NOT_APPLICABLE:
            raise InvalidParameterValue(path)
        parsed[field.name] = value

    def _check_groups(self, parsed: JsonObject, path: str) -> None:
        def count(group: frozenset[str]) -> int:
            return sum(parsed.get(name) is not None for name in group)

        for group, is_violated, rule in (
            (self.exactly_one, count(self.exactly_one) != 1, "Exactly one of {} is required"),
            (self.at_least_one, count(self.at_least_one) == 0, "At least one of {} is required"),
            (self.at_most_one, count(self.at_most_one) > 1, "At most one of {} is allowed"),
        ):
            if group and is_violated:
                parameters = (field.parameter for field, _ in self.fields if field.name in group)
                names = ", ".join(f"{path}{name}" for name in parameters)
                raise SemiOptionalParameter(names, rule=rule.format(names))

    def schema(self) -> JsonSchema:
        """The parameters as the JSON Schema of an object."""
        required = [field.parameter for field, rule in self.fields if rule is Level.MANDATORY]
        properties = {field.parameter: self._schema(field, rule) for field, rule in self.fields}
        return {"type": "object", "properties": properties} | (
            {"required": required} if required else {}
        )

    @staticmethod
    def _schema(field: Field, rule: LevelRule) -> JsonSchema:
        if rule in (Level.MANDATORY, Level.NOT_NULL):
            return field.schema()
        schema = nullable(field.schema())
        if callable(rule):
            schema["description"] = "Whether it must or may be given depends on other parameters."
        return schema


class ResponseShape:
    """One object of a response: its keys in order, each always present."""

    def __init__(self, name: str, *fields: Field) -> None:
        self.name = name
        self.fields = fields
        # Most values are sent as they are: only the others have a function to call.
        self._plan = [
            (
                field.key,
                field.name,
                None if type(field).to_response is Field.to_response else field.to_response,
            )
            for field in fields
        ]

    def render(self, values: Mapping[str, Any], zone: ZoneInfo) -> JsonObject:
        """The object for stored ``values`` by field name; a missing one is null."""
        get = values.get
        return {
            key: get(name) if convert is None else convert(get(name), zone)
            for key, name, convert in self._plan
        }

    def schema(self) -> JsonSchema:
        """The object as JSON Schema."""
        return {
            "type": "object",
            "properties": {field.key: field.response_schema() for field in self.fields},
            "required": [field.key for field in self.fields],
            "additionalProperties": False,
        }
