"""The kinds of field that hold one value (contract common.md, sections 7 and 8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from domain.errors import InvalidParameterValue
from domain.fields import Field, JsonSchema, ReadContext
from domain.parsing import (
    java_date,
    read_boolean,
    read_date,
    read_enumeration,
    read_integer,
    read_number,
    read_text,
)

__all__ = [
    "CONTENT",
    "IDENTIFYING",
    "NOTES",
    "TEXT",
    "Boolean",
    "Date",
    "Enumeration",
    "Integer",
    "NonNegativeInteger",
    "Number",
    "Text",
    "udf",
]

IDENTIFYING = 255
TEXT = 4000
NOTES = 65_535
CONTENT = 1_000_000
"""The longest texts in characters: names and codes that identify, most texts, notes and descriptions,
and contents (common.md, section 7)."""


@dataclass(frozen=True, kw_only=True)
class Text(Field):
    """A String of at most ``max_length`` characters.

    ``clean`` returns the text to store, or None if the text is not allowed. Of an ``is_stripped`` one,
    blanks around it are no part of the text.
    """

    max_length: int = TEXT
    is_stripped: bool = False
    clean: Callable[[str], str | None] | None = None

    def read(self, value: Any, path: str, context: ReadContext) -> str:
        if self.is_stripped and isinstance(value, str):
            value = value.strip()
        text = read_text(value, path, self.max_length)
        cleaned = self.clean(text) if self.clean else text
        if cleaned is None:
            raise InvalidParameterValue(path)
        return cleaned

    def schema(self) -> JsonSchema:
        return {"type": "string", "maxLength": self.max_length}

    def response_schema(self) -> JsonSchema:
        # Composed names and notes that grow may be longer than what a call may give.
        return {"type": ["string", "null"]}


@dataclass(frozen=True, kw_only=True)
class Integer(Field):
    """An Integer within ``minimum``..``maximum``."""

    minimum: int = -(2**53) + 1
    maximum: int = 2**53 - 1

    def read(self, value: Any, path: str, context: ReadContext) -> int:
        return read_integer(value, path, self.minimum, self.maximum)

    def schema(self) -> JsonSchema:
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}


@dataclass(frozen=True, kw_only=True)
class Number(Field):
    """A Number or Float."""

    def read(self, value: Any, path: str, context: ReadContext) -> int | float:
        return read_number(value, path)

    def schema(self) -> JsonSchema:
        return {"type": "number"}


@dataclass(frozen=True, kw_only=True)
class NonNegativeInteger(Number):
    """A Number that must be an integer and at least ``minimum``."""

    minimum: int = 0

    def read(self, value: Any, path: str, context: ReadContext) -> int:
        number = read_number(value, path)
        if not isinstance(number, int) or number < self.minimum:
            raise InvalidParameterValue(path)
        return number

    def schema(self) -> JsonSchema:
        return {"type": "integer", "minimum": self.minimum}

    def response_schema(self) -> JsonSchema:
        return {"type": ["integer", "null"]}


@dataclass(frozen=True, kw_only=True)
class Boolean(Field):
    """A Boolean; ``numeric`` ones are sent as 1 and 0."""

    numeric: bool = False

    def read(self, value: Any, path: str, context: ReadContext) -> bool:
        return read_boolean(value, path)

    def to_response(self, stored: Any, zone: ZoneInfo) -> Any:
        return int(bool(stored)) if self.numeric else bool(stored)

    def schema(self) -> JsonSchema:
        return {"type": "boolean"}

    def response_schema(self) -> JsonSchema:
        return {"type": "integer", "enum": [0, 1]} if self.numeric else {"type": "boolean"}


@dataclass(frozen=True, kw_only=True)
class Date(Field):
    """A wall-clock date; ``java_format`` ones are sent in Java style, with the zone of the instant."""

    java_format: bool = False

    def read(self, value: Any, path: str, context: ReadContext) -> str:
        return read_date(value, path, context.zone, repeated=self.java_format)

    def to_response(self, stored: Any, zone: ZoneInfo) -> Any:
        return java_date(stored, zone) if self.java_format and stored else stored

    def schema(self) -> JsonSchema:
        return {"type": "string", "examples": ["2014-05-05T15:49:59"]}

    def response_schema(self) -> JsonSchema:
        example = "Mon May 05 15:49:59 EEST 2014" if self.java_format else "2014-05-05T15:49:59"
        return {"type": ["string", "null"], "examples": [example]}


@dataclass(frozen=True, kw_only=True)
class Enumeration(Field):
    """One word of the list ``allowed``."""

    allowed: tuple[str, ...]

    def read(self, value: Any, path: str, context: ReadContext) -> str:
        return read_enumeration(value, path, self.allowed)

    def schema(self) -> JsonSchema:
        return {"type": "string", "enum": list(self.allowed)}


def udf(*, string: int, floating: int, date: int, personal: bool = True) -> tuple[Field, ...]:
    """The user-defined fields of an entity: that many strings, floats and dates."""
    return (
        *(Text(name=f"udf_string_{n}", personal=personal) for n in range(1, string + 1)),
        *(Number(name=f"udf_float_{n}", personal=personal) for n in range(1, floating + 1)),
        *(Date(name=f"udf_date_{n}", personal=personal) for n in range(1, date + 1)),
    )
