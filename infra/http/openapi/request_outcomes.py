"""What became of a call, in the description; no part of the CRM.COM API."""

from __future__ import annotations

from domain.errors import InternalError, ServiceUnavailable, TooManyRequests
from domain.fields import JsonSchema
from infra.http.openapi.components import Document, answer, failure
from infra.http.request_outcomes import KEY, REQUESTS
from services.request_outcomes import COMMITTED, NOT_COMMITTED, RETENTION

__all__ = ["OUTCOMES", "outcomes"]

OUTCOMES = "requests"
"""The tag of what is asked about calls."""

MOMENT: JsonSchema = {"type": "string", "format": "date-time"}
SAID: dict[str, JsonSchema] = {
    KEY: {"type": "string"},
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
    "since": MOMENT
    | {
        "description": f"What was written before then is not known any more ({RETENTION.days} days)."
    },
    "position": {
        "type": ["integer", "null"],
        "minimum": 0,
        "description": "The last position that the call has written.",
    },
    "recorded_at": MOMENT | {"type": ["string", "null"]},
    "answer": {
        "type": ["object", "null"],
        "description": "`data` as it was first answered; null once it is older than 24 hours,"
        " empty if a person was forgotten since.",
    },
}


def outcomes() -> dict[str, Document]:
    """The paths of outcomes."""
    key: Document = {
        "name": KEY,
        "in": "path",
        "required": True,
        "description": "The `Idempotency-Key` of the call, percent-encoded.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    }
    ask = _operation("ask", "What became of the call with this key.")
    revoke = _operation(
        "revoke",
        "Revoke the key: a call that was not written is refused if it still arrives.",
    )
    return {
        f"{REQUESTS}{{{KEY}}}": {"parameters": [key], "get": ask},
        f"{REQUESTS}{{{KEY}}}/revoke": {"parameters": [key], "post": revoke},
    }


def _operation(name: str, summary: str) -> Document:
    said: JsonSchema = {"type": "object", "properties": SAID, "required": list(SAID)}
    content = {"application/json": {"schema": answer(said)}}
    transport = (TooManyRequests, InternalError, ServiceUnavailable)
    return {
        "operationId": f"{OUTCOMES}_{name}",
        "tags": [OUTCOMES],
        "summary": summary,
        "description": "Tells whoever made the call: the same user of the same organisation, in the"
        " session of a customer the same account. To others a key looks like one that never came.",
        "security": [{"session": []}],
        "responses": {
            "200": {"description": "The result.", "content": content},
            "400": failure("This can be no key"),
            "401": failure("The token is missing, not valid or has expired"),
        }
        | {str(e.status): {"$ref": f"#/components/responses/{e.__name__}"} for e in transport},
    }
