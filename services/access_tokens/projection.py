"""The projection of access tokens: documents for callers, and columns to find them by.

Shapes: contract access_tokens.md, section 7. No document holds a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from domain.access_token import (
    AUTHENTICATION_CODE,
    IDENTIFIER,
    LIFE_CYCLE_STATES,
    UDF,
    AccessToken,
)
from domain.composite_fields import Reference
from domain.fields import Field, JsonObject, ResponseShape
from domain.identifiers import normalised
from domain.parsing import local_time
from domain.reference.catalogue import identifiable
from domain.scalar_fields import Date, Enumeration, Text
from services.ids import format_id
from services.log_information import LOG_INFORMATION, USER, log_information
from services.projections import (
    Projection,
    ViewRow,
    document,
    entity_row,
    projection,
    stored_references,
)

__all__ = [
    "ACCESS_TOKEN",
    "COMPACT_ACCESS_TOKEN",
    "ONE_TIME_PASSWORD",
    "RESET_PASS",
    "RESET_VERIFICATION",
    "STATE",
]

STATE = Enumeration(name="life_cycle_state", allowed=LIFE_CYCLE_STATES)
_BEGINNING: tuple[Field, ...] = (Text(name="id"), Text(name="number"))
_NAMED = (*_BEGINNING, STATE, AUTHENTICATION_CODE, IDENTIFIER)
VERIFICATION_CODE = Text(name="verification_code")

ACCESS_TOKEN = ResponseShape(
    "full_access_token",
    *_NAMED,
    VERIFICATION_CODE,
    Date(name="verified_date", java_format=True),
    Reference(name="verified_by_user", target=USER),
    *UDF,
    Reference(name="classification", target=identifiable("access_token_classification")),
    Reference(name="accounts_receivable", target=identifiable("accounts_receivable")),
    Reference(
        name="rewards_participant",
        response_name="reward_participant",
        target=identifiable("rewards_participant"),
    ),
    LOG_INFORMATION,
)
RESET_PASS = ResponseShape(
    "pass_code_reset", *_NAMED, Text(name="random_pass_code"), LOG_INFORMATION
)
RESET_VERIFICATION = ResponseShape(
    "verification_code_reset", *_NAMED, VERIFICATION_CODE, LOG_INFORMATION
)
ONE_TIME_PASSWORD = ResponseShape(
    "one_time_password", *_BEGINNING, Text(name="one_time_password"), Date(name="expiration_date")
)
COMPACT_ACCESS_TOKEN = ResponseShape("access_token", *_BEGINNING, AUTHENTICATION_CODE, STATE)


@projection(AccessToken)
def access_token(token: AccessToken, settings: Mapping[str, Any], zone: ZoneInfo) -> Projection:
    """An access token: its row, its compact object, and the codes that it claims."""
    id_ = format_id(token.id)
    columns: JsonObject = {
        "id": id_,
        "classification": token.classification,
        "accounts_receivable": token.relations.get("accounts_receivable"),
        "rewards_participant": token.relations.get("rewards_participant"),
        "associated": token.is_associated,
        "life_cycle_state": token.state,
        "session_epoch": token.session_epoch,
    }
    values = token.details | token.codes | columns | {"number": token.number}
    values["log_information"] = log_information(token.created, token.stamp, zone)
    if token.verified:
        values["verified_date"] = local_time(token.verified.at, zone)
        values["verified_by_user"] = token.verified.user
    codes = {name: normalised(name, code) for name, code in token.codes.items() if code}
    result = Projection(
        full=document(ACCESS_TOKEN, values, zone),
        compact=document(COMPACT_ACCESS_TOKEN, values, zone),
        names=codes | {"number": token.number},
        claims={f"access_token.{name}={code}": name for name, code in codes.items()},
        owners=[f"{kind}/{related_id}" for kind, related_id in token.relations.items()],
        secrets=token.secrets,
        extra={"secrets": token.secrets, "related_entities": token.related_states},
    )
    refs = stored_references(result.full)
    result.rows = [
        ViewRow("access_tokens", token.id, token.version, columns, result.full, refs),
        entity_row("access_token", token, id_, result, result.names),
    ]
    return result
