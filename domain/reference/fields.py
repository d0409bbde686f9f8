"""The fields that registered records share, and the kinds of field that only records have."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from domain.composite_fields import Object
from domain.errors import InvalidParameterType, InvalidParameterValue
from domain.fields import Field, JsonObject, JsonSchema, ReadContext
from domain.parsing import read_enumeration
from domain.scalar_fields import IDENTIFYING, NOTES, Boolean, Enumeration, Integer, Text

__all__ = [
    "ALTERNATIVE_CODE",
    "CODE",
    "DESCRIPTION",
    "GUESS_LIMITS",
    "GUESS_SETTINGS",
    "LANGUAGES",
    "MEDIA_TYPES",
    "NAME",
    "NUMBER",
    "REFERENCE_NUMBER",
    "TOKEN_DEFINITION",
    "TOKEN_SETTINGS",
    "EnumerationSet",
    "OptionalObject",
    "state",
]

NUMBER = Text(name="number", max_length=IDENTIFYING)
NAME = Text(name="name", max_length=IDENTIFYING)
CODE = Text(name="code", max_length=IDENTIFYING)
ALTERNATIVE_CODE = Text(name="alternative_code", max_length=IDENTIFYING)
REFERENCE_NUMBER = Text(name="reference_number", max_length=IDENTIFYING)
DESCRIPTION = Text(name="description", max_length=NOTES)

MEDIA_TYPES = ("EMAIL", "SMS", "PHONE", "LETTER", "FACE_TO_FACE")

LANGUAGES = (
    "ARA",
    "DAN",
    "ENG",
    "EST",
    "FIN",
    "FRA",
    "DEU",
    "ELL",
    "JPN",
    "VIE",
    "MAL",
    "IND",
    "TAI",
    "LAV",
    "LIT",
    "NNO",
    "POL",
    "POR",
    "RUS",
    "SPA",
    "SWE",
    "UKR",
    "CMN",
    "TGL",
    "HIN",
    "CUSTOM1",
    "CUSTOM2",
    "CUSTOM3",
    "CUSTOM4",
    "CUSTOM5",
    "CUSTOM6",
    "CUSTOM7",
    "CUSTOM8",
)
"""The languages that a contact can prefer (contact_information.md, section 3)."""

MAX_CHARACTERS = IDENTIFYING
"""The length of a text that identifies (common.md, section 7): no setting can ask for more."""

MAX_MINUTES = 366 * 24 * 60
"""A year: the longest life of a one-time password."""


def state(*allowed: str, name: str = "life_cycle_state") -> Enumeration:
    """The field of a record's state, where the contract closes the list of states."""
    return Enumeration(name=name, allowed=allowed)


@dataclass(frozen=True, kw_only=True)
class OptionalObject(Object):
    """An object inside a record, null as a whole while none of its members is set.

    Like a record it refuses unknown members, and an absent member has its default.
    ``check`` refuses members that contradict each other.
    """

    absent_as_null: bool = True
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    check: Callable[[JsonObject, str], None] | None = None

    def read(self, value: Any, path: str, context: ReadContext) -> Any:
        known = {field.parameter for field in self.fields}
        for name in value if isinstance(value, dict) else ():
            if name not in known:
                raise InvalidParameterValue(f"{path}.{name}")
        parsed = super().read(value, path, context)
        members = {
            field.name: self.defaults.get(field.name) if member is None else member
            for field in self.fields
            for member in (parsed.get(field.name),)
        }
        if all(member is None for member in members.values()):
            return None
        if self.check:
            self.check(members, path)
        return members


@dataclass(frozen=True, kw_only=True)
class EnumerationSet(Field):
    """A set of words of a list, stored in the list's order and spelling.

    ``allowed`` is a function where the list is complete only once all modules are imported.
    """

    allowed: tuple[str, ...] | Callable[[], tuple[str, ...]]

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that may be chosen."""
        return self.allowed() if callable(self.allowed) else self.allowed

    def read(self, value: Any, path: str, context: ReadContext) -> list[str]:
        if not isinstance(value, list):
            raise InvalidParameterType(path)
        choices = {word.upper(): word for word in self.choices}
        chosen = {read_enumeration(item, f"{path}[{n}]", choices) for n, item in enumerate(value)}
        return [word for upper, word in choices.items() if upper in chosen]

    def to_response(self, stored: Any, zone: ZoneInfo) -> Any:
        return list(stored or ())

    def schema(self) -> JsonSchema:
        items = {"type": "string", "enum": list(self.choices)}
        return {"type": "array", "items": items, "uniqueItems": True}

    def response_schema(self) -> JsonSchema:
        return self.schema()


def _characters(name: str) -> Integer:
    return Integer(name=name, minimum=0, maximum=MAX_CHARACTERS)


TOKEN_SETTINGS: tuple[Field, ...] = (
    Enumeration(name="identifier_creation", allowed=("NONE", "UNIQUE_NUMBER", "UNIQUE_ID")),
    Enumeration(name="identifier_format", allowed=("EMAIL", "NUMBER", "PHONE", "FREE_TEXT")),
    _characters("identifier_min_length"),
    _characters("identifier_min_letters"),
    _characters("identifier_min_digits"),
    _characters("identifier_min_special"),
    Enumeration(name="pass_code_creation", allowed=("NONE", "AUTOMATIC")),
    _characters("pass_code_min_length"),
    _characters("pass_code_min_letters"),
    _characters("pass_code_min_digits"),
    _characters("pass_code_min_special"),
    Enumeration(name="authentication_code_creation", allowed=("NONE", "AUTOMATIC")),
    Boolean(name="allow_no_identifier"),
    Boolean(name="generate_verification_code"),
    Integer(name="verification_code_length", minimum=1, maximum=MAX_CHARACTERS),
    Integer(name="otp_lifetime_minutes", minimum=1, maximum=MAX_MINUTES),
    Integer(name="max_per_accounts_receivable", minimum=0),
    Integer(name="max_per_rewards_participant", minimum=0),
    Boolean(name="not_effective_when_unrelated"),
)
"""The settings of a definition or classification of access tokens (access_tokens.md, section 3)."""

TOKEN_DEFINITION: dict[str, Any] = {
    "identifier_creation": "NONE",
    "identifier_format": "FREE_TEXT",
    "identifier_min_length": 1,
    "identifier_min_letters": 0,
    "identifier_min_digits": 0,
    "identifier_min_special": 0,
    "pass_code_creation": "NONE",
    "pass_code_min_length": 1,
    "pass_code_min_letters": 0,
    "pass_code_min_digits": 0,
    "pass_code_min_special": 0,
    "authentication_code_creation": "AUTOMATIC",
    "allow_no_identifier": False,
    "generate_verification_code": False,
    "verification_code_length": 7,
    "otp_lifetime_minutes": 10,
    "max_per_accounts_receivable": None,
    "max_per_rewards_participant": None,
    "not_effective_when_unrelated": True,
}
"""The definition of an organisation that registered none."""

NOTICE_LIMIT = 10
"""The notices that a customer may cause in an hour, of an organisation that set no other number."""

GUESS_SETTINGS: tuple[Field, ...] = (
    Integer(name="attempts_per_source", minimum=1, maximum=1000),
    Integer(name="attempts_per_token", minimum=1, maximum=1000),
    Integer(name="attempts_per_spray", minimum=1, maximum=1_000_000),
    Integer(name="first_wait_seconds", minimum=1, maximum=86400),
    Integer(name="longest_wait_seconds", minimum=1, maximum=86400),
)
"""The limits of guesses at the secrets of access tokens and users; an extension of ours."""

GUESS_LIMITS: dict[str, Any] = {
    "attempts_per_source": 5,
    "attempts_per_token": 20,
    "attempts_per_spray": 50,
    "first_wait_seconds": 30,
    "longest_wait_seconds": 900,
}
"""The limits of an organisation that registered none."""
