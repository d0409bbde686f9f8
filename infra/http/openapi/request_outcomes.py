"""Request outcomes in the description; they are not part of the CRM.COM API."""

from __future__ import annotations

from collections.abc import Mapping

from domain.errors import InternalError, ServiceUnavailable, TooManyRequests
from domain.fields import JsonSchema
from infra.http.openapi.schemas import (
    TEXT,
    TIMESTAMP,
    Document,
    envelope,
    failure,
    json_content,
    object_of,
    operation,
    path_parameter,
)
from infra.http.request_outcomes import KEY, REQUESTS
from services.request_outcomes import COMMITTED, NOT_COMMITTED, RETENTION

__all__ = ["OUTCOMES_TAG", "outcome_paths"]

OUTCOMES_TAG = "requests"
"""The tag of the methods about request outcomes."""

OUTCOME: Mapping[str, JsonSchema] = {
    KEY: TEXT,
    "outcome": {
        "type": "string",
        "enum": [COMMITTED, NOT_COMMITTED],
        "description": f"`{NOT_COMMITTED}`: no call with this key was written. It was refused, has never"
        " come, or is still on its way: a refused call leaves no trace.",
    },
    "final": {
        "type": "boolean",
        "description": "Whether that stays so: always for what was written, else once the key is revoked.",
    },
    "since": TIMESTAMP
    | {
        "description": f"What was written before then is not known any more ({RETENTION.days} days)."
    },
    "position": {
        "type": ["integer", "null"],
        "minimum": 0,
        "description": "The last position that the call has written.",
    },
    "recorded_at": TIMESTAMP | {"type": ["string", "null"]},
    "answer": {
        "type": ["object", "null"],
        "description": "`data` as it was first answered; null once it is older than 24 hours,"
        " empty if a person was forgotten since.",
    },
}


def outcome_paths() -> dict[str, Document]:
    """Return the methods about request outcomes, by path."""
    key = path_parameter(
        KEY,
        TEXT | {"minLength": 1, "maxLength": 255},
        "The `Idempotency-Key` of the call, percent-encoded.",
    )
    ask = _operation("ask", "The outcome of the call with this key.")
    revoke = _operation(
        "revoke",
        "Revoke the key: a call that was not written is refused if it still arrives.",
    )
    return {
        f"{REQUESTS}{{{KEY}}}": {"parameters": [key], "get": ask},
        f"{REQUESTS}{{{KEY}}}/revoke": {"parameters": [key], "post": revoke},
    }


def _operation(name: str, summary: str) -> Document:
    return operation(
        OUTCOMES_TAG,
        name,
        summary,
        description="Tells whoever made the call: the same user of the same organisation, in the"
        " session of a customer the same account. To others a key looks like one that never came.",
        security="session",
        content=json_content(envelope(object_of(OUTCOME))),
        refusals={
            "400": failure("This can be no key"),
            "401": failure("The token is missing, not valid or has expired"),
        },
        errors=(TooManyRequests, InternalError, ServiceUnavailable),
    )
