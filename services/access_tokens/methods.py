"""Methods 26 to 34, O1 and O2: access tokens (contract access_tokens.md)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from domain.access_token import AUTHENTICATION_CODE, IDENTIFIER, UDF, AccessToken
from domain.composite_fields import Reference
from domain.errors import InvalidParameterValue, InvalidVerificationCode
from domain.fields import JsonObject, Parameters, ParameterSpec, ReadContext, mandatory
from domain.parsing import read_text, wall_clock
from domain.reference.catalogue import identifiable
from domain.scalar_fields import IDENTIFYING, NOTES, Text
from domain.token_credentials import CredentialReference, TokenNameField
from services.access_tokens.codes import digits
from services.access_tokens.payload import (
    PASS_CODE,
    amendment,
    creation_payload,
    random_pass_code,
    related_records,
    settings_of,
    store_pass_code,
    validate_pass_code,
)
from services.access_tokens.projection import (
    ACCESS_TOKEN,
    ONE_TIME_PASSWORD,
    RESET_PASS,
    RESET_VERIFICATION,
    STATE,
)
from services.context import ViewQuery
from services.ids import format_id
from services.pipeline.method import command, create, query
from services.pipeline.paging import NUMBER, PAGING, page
from services.pipeline.request import Call
from services.pipeline.shown_secrets import secret_owner

ON = CredentialReference(name="access_token")
ACCOUNT = Reference(name="accounts_receivable", target=identifiable("accounts_receivable"))
PARTICIPANT = Reference(name="rewards_participant", target=identifiable("rewards_participant"))
CLASSIFICATION = Reference(
    name="classification", target=identifiable("access_token_classification")
)
CODE = Text(name="verification_code", max_length=IDENTIFYING)
ONE_TIME_PASSWORD_DIGITS = 6


def _not_blank(text: str) -> str | None:
    return text if text.strip() else None


CODES = tuple(
    Text(name=name, max_length=IDENTIFYING, clean=_not_blank)
    for name in (AUTHENTICATION_CODE.name, IDENTIFIER.name, PASS_CODE)
)


@dataclass(frozen=True, kw_only=True)
class NewPassCode(Text):
    """The pass code that verify sets: its form is checked after the code, so only its type here."""

    def read(self, value: Any, path: str, context: ReadContext) -> str:
        return read_text(value, path, NOTES)


KEYS = (TokenNameField(name=AUTHENTICATION_CODE.name), TokenNameField(name=IDENTIFIER.name))
PLAIN = Parameters(*KEYS, exactly_one=[field.name for field in KEYS])
IDENTIFIED: tuple[ParameterSpec, ...] = (mandatory(ON),)
SHOWN: JsonObject = {"aliases": {"rewards_participant": "reward_participant"}}
ON_TOKEN: JsonObject = SHOWN | {"identified_by": (ON,)}
BY_KEY: JsonObject = {"identified_by": KEYS, "open_to_consumers": True}


@query(
    26,
    "access_tokens/show",
    Parameters(*IDENTIFIED),
    ACCESS_TOKEN,
    verb="POST",
    prefetch_from="access_tokens",
    open_to_consumers=True,
    **SHOWN,
)
def show(call: Call) -> ViewQuery:
    """Shows one access token; a POST, so that no credentials travel in a URL."""
    return ViewQuery("access_tokens", {"id": call.params["access_token"]})


@query(
    27,
    "access_tokens/list",
    Parameters(
        ACCOUNT,
        PARTICIPANT,
        CLASSIFICATION,
        *PAGING,
        exactly_one=("accounts_receivable", "rewards_participant"),
    ),
    ACCESS_TOKEN,
    is_list=True,
    open_to_consumers=True,
    **SHOWN,
)
def list_(call: Call) -> ViewQuery:
    """Lists the access tokens of an account or of a rewards participant."""
    columns = ("accounts_receivable", "rewards_participant", "classification")
    return page("access_tokens", {name: call.params.get(name) for name in columns}, call.params)


@query(
    28,
    "access_tokens/get_not_associated",
    Parameters(mandatory(NUMBER), STATE),
    ACCESS_TOKEN,
    is_list=True,
    **SHOWN,
)
def get_not_associated(call: Call) -> ViewQuery:
    """Lists access tokens that belong to no account or participant that is still there."""
    state = call.params.get("life_cycle_state")
    return page("access_tokens", {"associated": False, "life_cycle_state": state}, call.params)


@create(
    29,
    "access_tokens/create",
    Parameters(*CODES, ACCOUNT, PARTICIPANT, CLASSIFICATION, *UDF),
    ACCESS_TOKEN,
    sequences=("access_token",),
    related=related_records,
    **SHOWN,
)
def create_(call: Call) -> list[AccessToken]:
    """Issues an access token, to be verified first if its settings say so."""
    id_ = call.new_id()
    payload = creation_payload(call, id_)
    settings = settings_of(call, payload["classification"])
    if not settings.is_verified:
        return [AccessToken.create(AccessToken.Issued, call.actor, id=id_, **payload)]
    code = digits(settings.values["verification_code_length"])
    payload["secrets"] |= {CODE.name: _store_code(call, format_id(id_), code)}
    return [AccessToken.create(AccessToken.IssuedUnverified, call.actor, id=id_, **payload)]


@command(
    30,
    "access_tokens/update",
    Parameters(*IDENTIFIED, *CODES, *UDF),
    ACCESS_TOKEN,
    open_to_consumers=True,
    compared_secrets=(PASS_CODE,),
    **ON_TOKEN,
)
def update(token: AccessToken, call: Call) -> None:
    """Changes codes, pass code and user-defined fields."""
    token.amend(*amendment(token, call), call.actor)


@command(
    31,
    "access_tokens/verify",
    Parameters(*IDENTIFIED, mandatory(CODE), NewPassCode(name=PASS_CODE)),
    ACCESS_TOKEN,
    open_to_consumers=True,
    required_code=(CODE.name, InvalidVerificationCode),
    **ON_TOKEN,
)
def verify(token: AccessToken, call: Call) -> None:
    """Makes an access token effective whose verification code is shown.

    A pass code that may not be set leaves the verification code as it is (section 6.6).
    """
    token.require(AccessToken.PENDING)
    key_id, pass_code = None, call.params.get(PASS_CODE)
    if pass_code is not None:
        settings = settings_of(call, token.classification)
        if settings.is_generated(PASS_CODE):
            raise InvalidParameterValue(PASS_CODE)
        _check_identified(token, PASS_CODE)
        key_id = store_pass_code(call, token.id, validate_pass_code(settings, pass_code))
    token.raise_event(token.Verified, call.actor, pass_code=key_id)
    call.one_time_fields[CODE.name] = call.params[CODE.name]


@command(32, "access_tokens/reset_pass_code", PLAIN, RESET_PASS, **BY_KEY)
def reset_pass_code(token: AccessToken, call: Call) -> None:
    """Gives an access token a new pass code, which only this answer shows."""
    token.require(AccessToken.EFFECTIVE)
    _check_identified(token, AUTHENTICATION_CODE.name)
    code = random_pass_code(settings_of(call, token.classification))
    token.raise_event(
        token.PassCodeReset, call.actor, pass_code=store_pass_code(call, token.id, code)
    )
    call.one_time_fields["random_pass_code"] = code


@command(33, "access_tokens/reset_verification_code", PLAIN, RESET_VERIFICATION, **BY_KEY)
def reset_verification_code(token: AccessToken, call: Call) -> None:
    """Gives an access token a new verification code, which only this answer shows."""
    token.require(AccessToken.PENDING)
    code = digits(settings_of(call, token.classification).values["verification_code_length"])
    key_id = _store_code(call, format_id(token.id), code)
    token.raise_event(token.VerificationCodeReset, call.actor, verification_code=key_id)


@command(
    34,
    "access_tokens/generate_otp",
    Parameters(*IDENTIFIED),
    ONE_TIME_PASSWORD,
    open_to_consumers=True,
    identified_by=(ON,),
)
def generate_otp(token: AccessToken, call: Call) -> None:
    """Gives out a one-time password, which only this answer shows; a former one is void."""
    name, code, owner = (
        "one_time_password",
        digits(ONE_TIME_PASSWORD_DIGITS),
        secret_owner(format_id(token.id)),
    )
    lifetime = settings_of(call, token.classification).values["otp_lifetime_minutes"]
    expires_at = call.actor.at + timedelta(minutes=lifetime)
    key_id = call.store_secret(owner, name, code, slow=False, expires_at=expires_at)
    call.generated_params.add(name)
    payload = {name: key_id, "expires_at": expires_at.isoformat()}
    token.raise_event(token.OneTimePasswordGenerated, call.actor, **payload)
    call.one_time_fields.update({name: code, "expiration_date": wall_clock(expires_at, call.zone)})


@command(57, "access_tokens/set_as_effective", Parameters(*IDENTIFIED), ACCESS_TOKEN, **ON_TOKEN)
def set_as_effective(token: AccessToken, call: Call) -> None:
    """Makes an access token usable again."""
    token.raise_event(token.Enabled, call.actor)


@command(
    58, "access_tokens/set_as_not_effective", Parameters(*IDENTIFIED), ACCESS_TOKEN, **ON_TOKEN
)
def set_as_not_effective(token: AccessToken, call: Call) -> None:
    """Makes an access token authenticate nobody."""
    token.disable(call.actor)


def _store_code(call: Call, token_id: str, code: str) -> str:
    """Stores a verifier of a verification code, which only this answer shows. Returns its key id."""
    call.one_time_fields[CODE.name] = code
    return call.store_secret(secret_owner(token_id), CODE.name, code, slow=False)


def _check_identified(token: AccessToken, path: str) -> None:
    """Refuses a token without an identifier: it has no pass code (sections 6.6 and 6.7)."""
    if token.codes.get(IDENTIFIER.name) is None:
        raise InvalidParameterValue(path)
