"""The credentials by which a caller presents an access token (contract access_tokens.md, section 1).

In the plain form of section 1.2 a token is identified like every other entity. Here are the forms
that prove possession: an authentication code, an identifier with its pass code, a one-time password.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from domain.composite_fields import Reference
from domain.errors import (
    InvalidIdentifier,
    InvalidParameterValue,
    MandatoryParameter,
    SemiOptionalParameter,
)
from domain.fields import Field, JsonSchema, ReadContext
from domain.identifiers import Identifier, IdentifierFields, is_unset, normalised
from domain.parsing import is_blank, read_object, read_text

__all__ = [
    "ACCESS_TOKEN",
    "Credential",
    "CredentialReference",
    "TokenNameField",
    "TokenReference",
    "credential_schema",
]

ACCESS_TOKEN = IdentifierFields("access_token", ("authentication_code", "identifier"))
"""The plain form (section 1.2)."""

TOKEN_IDENTIFIER = "access_token_identifier"  # noqa: S105 (the name of a parameter)
CREDENTIAL_MEMBERS = (*ACCESS_TOKEN.fields, "pass_code")
ONE_TIME_PASSWORD = "one_time_password"  # noqa: S105 (the name of a parameter)
DIGITS = 6


@dataclass(frozen=True, slots=True)
class Credential:
    """An access token as a caller presents it, in the parameter ``path``.

    ``entity`` is the entity that it shall identify: the token itself, or the accounts receivable or
    rewards participant that it is related to (section 1.3).
    """

    path: str
    entity: str = ACCESS_TOKEN.entity
    authentication_code: str | None = None
    identifier: str | None = None
    pass_code: str | None = None
    one_time_password: str | None = None

    @property
    def name(self) -> Identifier | None:
        """The identifier of the token; None where only a one-time password is presented."""
        for field in ACCESS_TOKEN.fields:
            value = getattr(self, field)
            if value is not None:
                return Identifier(ACCESS_TOKEN.entity, field, value, self.path)
        return None

    @property
    def secret(self) -> str:
        """The name of the secret that it holds; empty for an authentication code alone."""
        for name in (ONE_TIME_PASSWORD, "pass_code"):
            if getattr(self, name) is not None:
                return name
        return ""


def read_credential(
    value: object, path: str, *, allow_one_time_password: bool = False
) -> Credential | None:
    """The credential in a JSON object; None if no field has a value.

    Raises `InvalidIdentifier` for a field that is not listed, `SemiOptionalParameter` for too few
    or too many, `MandatoryParameter` for an identifier without its pass code,
    `InvalidParameterValue` for a pass code without an identifier.
    """
    members = {
        name: member
        for name, member in read_object(value, path, InvalidIdentifier).items()
        if not is_blank(member)
    }
    if not members.keys() <= {
        *CREDENTIAL_MEMBERS,
        *((ONE_TIME_PASSWORD,) if allow_one_time_password else ()),
    }:
        raise InvalidIdentifier(path)
    if not members:
        return None
    names = [name for name in ACCESS_TOKEN.fields if name in members]
    if len(names) > 1 or not (names or ONE_TIME_PASSWORD in members):
        raise SemiOptionalParameter(path)
    texts = {name: _read(name, member, f"{path}.{name}") for name, member in members.items()}
    if "pass_code" in members and names != ["identifier"]:
        raise InvalidParameterValue(f"{path}.pass_code")
    if "pass_code" in members and ONE_TIME_PASSWORD in members:
        raise SemiOptionalParameter(path)
    if names == ["identifier"] and not members.keys() & {"pass_code", ONE_TIME_PASSWORD}:
        raise MandatoryParameter(f"{path}.pass_code")
    return Credential(path, **texts)


def _read(name: str, member: object, path: str) -> str:
    """The text of a member: names without surrounding blanks, secrets as they are (common.md, 3)."""
    text = read_text(member, path)
    if name == ONE_TIME_PASSWORD:
        # The contract documents an Integer and prints a text: a number has lost its leading zeros.
        return text.zfill(DIGITS) if isinstance(member, int) else text
    return text if name == "pass_code" else normalised(name, text)


def credential_schema(*, allow_one_time_password: bool = False) -> JsonSchema:
    """The JSON Schema of a credential."""
    texts: JsonSchema = {name: {"type": ["string", "null"]} for name in CREDENTIAL_MEMBERS}
    if allow_one_time_password:
        texts[ONE_TIME_PASSWORD] = {"type": ["string", "integer", "null"]}
    return {"type": "object", "properties": texts, "additionalProperties": False}


@dataclass(frozen=True, kw_only=True)
class CredentialReference(Reference):
    """An access token that is presented with its proof, not only identified (section 1.1)."""

    target: IdentifierFields = ACCESS_TOKEN

    def read(self, value: Any, path: str, context: ReadContext) -> Credential | None:  # type: ignore[override]
        return read_credential(value, path)

    def schema(self) -> JsonSchema:
        return credential_schema()


@dataclass(frozen=True, kw_only=True)
class TokenReference(Reference):
    """An entity that can also be identified by an access token related to it (section 1.3)."""

    def read(  # type: ignore[override]
        self, value: Any, path: str, context: ReadContext
    ) -> Identifier | Credential | None:
        if not isinstance(value, dict):
            return super().read(value, path, context)
        plain = {name: member for name, member in value.items() if name != TOKEN_IDENTIFIER}
        shown = value.get(TOKEN_IDENTIFIER)
        if is_unset(shown):
            return super().read(plain, path, context)
        others = {name for name, member in plain.items() if not is_blank(member)}
        if not others <= set(self.target.fields):
            raise InvalidIdentifier(path)
        if others:
            raise SemiOptionalParameter(path)
        credential = read_credential(
            shown, f"{path}.{TOKEN_IDENTIFIER}", allow_one_time_password=True
        )
        return credential and replace(credential, entity=self.target.entity)

    def schema(self) -> JsonSchema:
        by_token = {
            "type": "object",
            "properties": {TOKEN_IDENTIFIER: credential_schema(allow_one_time_password=True)},
            "required": [TOKEN_IDENTIFIER],
            "additionalProperties": False,
        }
        return {"anyOf": [super().schema(), by_token]}


@dataclass(frozen=True, kw_only=True)
class TokenNameField(Field):
    """One of the two names of an access token, given as a parameter of its own (section 1.2)."""

    def read(self, value: Any, path: str, context: ReadContext) -> Identifier:
        name = normalised(self.name, read_text(value, path))
        return Identifier(ACCESS_TOKEN.entity, self.name, name, path)

    def schema(self) -> JsonSchema:
        return {"type": "string"}
