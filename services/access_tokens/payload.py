"""The payloads of access token events (access_tokens.md, sections 3 to 6)."""

from __future__ import annotations

import string
from collections.abc import Iterator
from uuid import UUID

from domain.access_token import AUTHENTICATION_CODE, IDENTIFIER, RELATIONS, UDF, AccessToken
from domain.access_token_policy import TokenSettings
from domain.errors import (
    EntityNotFound,
    InvalidLifeCycleState,
    InvalidParameterValue,
    MandatoryParameter,
    ParticipantNotOwned,
    SemiOptionalParameter,
)
from domain.fields import JsonObject
from domain.reference.records import Record
from domain.scalar_fields import IDENTIFYING
from services.access_tokens.codes import authentication_code, random_text
from services.ids import format_id
from services.pipeline.request import Call
from services.pipeline.shown_secrets import secret_owner
from services.side_effects import LimitTokens

__all__ = [
    "PASS_CODE",
    "amendment",
    "creation_payload",
    "random_pass_code",
    "related_records",
    "settings_of",
    "store_pass_code",
    "validate_pass_code",
]

PASS_CODE = "pass_code"  # noqa: S105 (its name)
PASS_CODE_DIGITS = 6
IDENTIFIER_CHARACTERS = {
    "UNIQUE_NUMBER": string.digits,
    "UNIQUE_ID": string.digits + string.ascii_uppercase,
}
IDENTIFIER_LENGTH = 10


def settings_of(call: Call, classification: str | None) -> TokenSettings:
    """The settings of a classification, or the organisation's active definition."""
    kind = "access_token_classification"
    fields = call.directory.fields(kind, classification) if classification else None
    return TokenSettings.for_token(fields, call.settings)


def related_records(call: Call) -> Iterator[UUID]:
    """The streams of the account and participant that a new token belongs to."""
    for kind in RELATIONS:
        id_ = call.params.get(kind)
        if id_:
            yield call.record_id(kind, id_)


def creation_payload(call: Call, id_: UUID) -> JsonObject:
    """The payload of a new token's first event; stores its pass code. Raises as section 6.4 says."""
    settings = settings_of(call, call.params.get("classification"))
    relations = {kind: call.params[kind] for kind in RELATIONS if call.params.get(kind)}
    _check_alive(call, relations)
    codes = _first_codes(call, settings)
    pass_code = _first_pass_code(call, settings, codes)
    _check_relations(call, settings, relations)
    secrets = {PASS_CODE: store_pass_code(call, id_, pass_code)} if pass_code else {}
    return {
        "number": f"ACT{call.next_number('access_token'):010d}",
        "codes": codes,
        "secrets": secrets,
        "classification": call.params.get("classification"),
        "relations": relations,
        "details": _details(call, keep_nulls=False),
    }


def amendment(token: AccessToken, call: Call) -> tuple[JsonObject, str | None, JsonObject]:
    """Codes, the key id of the pass code (as `AccessToken.amend` takes it) and other fields.

    Raises as section 6.5 says.
    """
    settings, params = settings_of(call, token.classification), call.params
    codes = {name: params[name] for name in _CODES if name in params}
    if AUTHENTICATION_CODE.name in codes and codes[AUTHENTICATION_CODE.name] is None:
        codes[AUTHENTICATION_CODE.name] = authentication_code()
        call.generated_params.add(AUTHENTICATION_CODE.name)
    _check_identifier(token, settings, codes)
    identifier = codes.get(IDENTIFIER.name, token.codes.get(IDENTIFIER.name))
    pass_code = _next_pass_code(token, settings, call, identifier)
    return codes, pass_code, _details(call, keep_nulls=True)


def store_pass_code(call: Call, token: UUID, pass_code: str) -> str:
    """Stores a verifier of a token's new pass code. Returns its key id."""
    return call.store_secret(secret_owner(format_id(token)), PASS_CODE, pass_code)


def random_pass_code(settings: TokenSettings) -> str:
    """A random pass code: six digits, or the characters that the settings require."""
    return random_text(settings.minimum_characters(PASS_CODE), length=PASS_CODE_DIGITS)


def validate_pass_code(settings: TokenSettings, pass_code: str) -> str:
    """``pass_code``, if a caller may choose it. Raises `InvalidParameterValue`."""
    if len(pass_code) > IDENTIFYING or not settings.allows(PASS_CODE, pass_code):
        raise InvalidParameterValue(PASS_CODE)
    return pass_code


_CODES = (AUTHENTICATION_CODE.name, IDENTIFIER.name)


def _details(call: Call, *, keep_nulls: bool) -> JsonObject:
    """The given user-defined fields, with or without nulls."""
    details = {field.name: call.params[field.name] for field in UDF if field.name in call.params}
    return {name: value for name, value in details.items() if keep_nulls or value is not None}


def _current_record(call: Call, kind: str, id_: str) -> Record:
    """An account or participant that is not retired. Raises `EntityNotFound`."""
    record = call.record(kind, id_)
    if record is None or record.is_retired:
        raise EntityNotFound(f"{kind}_identifier")
    return record


def _check_alive(call: Call, relations: JsonObject) -> None:
    for kind, id_ in relations.items():
        if _current_record(call, kind, id_).fields.get("life_cycle_state") == "TERMINATED":
            raise InvalidLifeCycleState(f"{kind}_identifier")


def _first_codes(call: Call, settings: TokenSettings) -> JsonObject:
    codes: JsonObject = {}
    for name, required in zip(_CODES, (True, settings.needs_identifier), strict=True):
        code = call.params.get(name)
        if code is None and settings.is_generated(name):
            call.generated_params.add(name)
            code = authentication_code() if name == _CODES[0] else _identifier(settings)
        elif code is not None and name == IDENTIFIER.name and not settings.allows(name, code):
            raise InvalidParameterValue(name)
        if code is None and required:
            raise MandatoryParameter(name)
        codes[name] = code
    return codes


def _identifier(settings: TokenSettings) -> str:
    alphabet = IDENTIFIER_CHARACTERS[settings.values["identifier_creation"]]
    return random_text(
        settings.minimum_characters(IDENTIFIER.name), length=IDENTIFIER_LENGTH, alphabet=alphabet
    )


def _first_pass_code(call: Call, settings: TokenSettings, codes: JsonObject) -> str | None:
    pass_code: str | None = call.params.get(PASS_CODE)
    has_identifier = codes[IDENTIFIER.name] is not None
    if settings.is_generated(PASS_CODE):
        if pass_code is not None:
            raise InvalidParameterValue(PASS_CODE)
        return random_pass_code(settings) if has_identifier else None
    if pass_code is None:
        if has_identifier and IDENTIFIER.name not in call.generated_params:
            raise MandatoryParameter(PASS_CODE)
        return None
    if not has_identifier:
        raise InvalidParameterValue(PASS_CODE)
    return validate_pass_code(settings, pass_code)


def _check_relations(call: Call, settings: TokenSettings, relations: JsonObject) -> None:
    """Refuses relations that do not fit; the limits are compared when the token is written."""
    if settings.is_generated(PASS_CODE) and not relations:
        raise SemiOptionalParameter(", ".join(f"{kind}_identifier" for kind in RELATIONS))
    account, participant = (relations.get(kind) for kind in RELATIONS)
    if account and participant:
        owner = _current_record(call, "rewards_participant", participant).fields[
            "accounts_receivable"
        ]
        if owner != account:
            raise ParticipantNotOwned("rewards_participant_identifier")
    call.side_effects.extend(
        LimitTokens(kind, of, settings.values[f"max_per_{kind}"]) for kind, of in relations.items()
    )


def _check_identifier(token: AccessToken, settings: TokenSettings, codes: JsonObject) -> None:
    name = IDENTIFIER.name
    if name not in codes or codes[name] == token.codes.get(name):
        return
    if codes[name] is None:
        if not settings.values["allow_no_identifier"]:
            raise MandatoryParameter(name)
    elif not settings.allows(name, codes[name]):
        raise InvalidParameterValue(name)


def _next_pass_code(
    token: AccessToken, settings: TokenSettings, call: Call, identifier: str | None
) -> str | None:
    pass_code: str | None = call.params.get(PASS_CODE)
    if identifier is None:
        if pass_code is not None:
            raise InvalidParameterValue(PASS_CODE)
        return "" if PASS_CODE in token.secrets else None
    if pass_code is None:
        if PASS_CODE in call.params or identifier != token.codes.get(IDENTIFIER.name):
            raise MandatoryParameter(PASS_CODE)
        return None
    if PASS_CODE in call.matching_secrets:
        return None
    return store_pass_code(call, token.id, validate_pass_code(settings, pass_code))
