"""Webhooks in the description: the operators' methods, and the requests that subscribers are sent."""

from __future__ import annotations

from collections.abc import Mapping

from domain.errors import InternalError, ServiceUnavailable
from domain.fields import JsonSchema, Parameters
from infra.http.openapi.schemas import (
    COUNT,
    EXAMPLE_ID,
    NULLABLE_TEXT,
    NULLABLE_TIMESTAMP,
    TEXT,
    TIMESTAMP,
    Document,
    array,
    envelope,
    failure,
    json_content,
    object_of,
    operation,
    path_parameter,
    query_parameters,
)
from infra.http.operators.webhooks import (
    LIST_PARAMETERS,
    REPLAY_PARAMETERS,
    RESUME_PARAMETERS,
    WEBHOOKS,
)

__all__ = ["WEBHOOKS_TAG", "webhook_messages", "webhook_paths"]

WEBHOOKS_TAG = "webhooks"
"""The tag of webhooks."""

STATES: JsonSchema = {
    "type": "string",
    "enum": ["ACTIVE", "FAILING", "PAUSED", "GONE", "AHEAD", "NOT_EFFECTIVE", "RETIRED"],
    "description": "`FAILING`: an event that was sent in vain waits; `PAUSED`: one was not acknowledged for"
    " three days; `GONE`: the consumer answered 410; `AHEAD`: the ledger is shorter than what was told.",
}
STATUS: Mapping[str, JsonSchema] = {
    "id": TEXT,
    "name": NULLABLE_TEXT,
    "url": TEXT,
    "state": STATES,
    "position": COUNT | {"description": "Up to here events are told, passed over or pending."},
    "head": COUNT,
    "pending": COUNT,
    "lag_positions": {"type": "integer"},
    "lag_seconds": {"type": "number", "minimum": 0},
    "delivered_at": NULLABLE_TIMESTAMP,
    "failing_since": NULLABLE_TIMESTAMP,
    "stopped_at": NULLABLE_TIMESTAMP,
}
ATTEMPT: Mapping[str, JsonSchema] = {
    "position": COUNT,
    "try": COUNT,
    "made_at": TIMESTAMP,
    "milliseconds": COUNT,
    "outcome": {
        "type": "string",
        "enum": ["DELIVERED", "GONE", "REFUSED", "TIMEOUT", "UNREACHABLE", "FORBIDDEN_ADDRESS"],
    },
    "status": {"type": ["integer", "null"]},
}
DESCRIPTIONS: Mapping[str, str] = {"from": "The first position to tell again, with the same ids."}


def webhook_paths() -> dict[str, Document]:
    """Return the operators' methods about subscriptions, by path."""
    subscription: Document = {"parameters": [path_parameter("id", TEXT)]}
    statuses, attempts = array(object_of(STATUS)), array(object_of(ATTEMPT))
    nothing: JsonSchema = {"type": "object", "maxProperties": 0}
    return {
        WEBHOOKS: {
            "get": _operation("list", "How each subscription stands.", LIST_PARAMETERS, statuses)
        },
        f"{WEBHOOKS}/{{id}}/deliveries": subscription
        | {
            "get": _operation(
                "deliveries", "The delivery log, the last first.", LIST_PARAMETERS, attempts
            )
        },
        f"{WEBHOOKS}/{{id}}/replay": subscription
        | {
            "post": _operation(
                "replay", "Tells all from a position on again.", REPLAY_PARAMETERS, nothing
            )
        },
        f"{WEBHOOKS}/{{id}}/resume": subscription
        | {
            "post": _operation(
                "resume", "Sends what waits now; ends a stop.", RESUME_PARAMETERS, nothing
            )
        },
    }


def webhook_messages() -> dict[str, Document]:
    """Return the request that a subscriber is sent."""
    entity = object_of({"kind": TEXT, "id": TEXT | {"examples": [EXAMPLE_ID]}})
    data = {
        "organisation": TEXT,
        "position": COUNT,
        "entity": entity,
        "version": COUNT | {"description": "Dense for each entity, from 1."},
        "link": NULLABLE_TEXT
        | {"description": "Where a session reads the entity, if a method shows it."},
    }
    topic = TEXT | {"examples": ["communication.completed"]}
    schema = object_of({"type": topic, "timestamp": TIMESTAMP, "data": object_of(data)})
    headers = [
        {"name": f"webhook-{name}", "in": "header", "required": True, "schema": TEXT}
        for name in ("id", "timestamp", "signature")
    ]
    message = {
        "operationId": f"{WEBHOOKS_TAG}_told",
        "tags": [WEBHOOKS_TAG],
        "summary": "An event was recorded.",
        "description": "Signed as Standard Webhooks says. It may come more than once, always with the"
        " same `webhook-id`; the events of one entity come in their order.",
        "parameters": headers,
        "requestBody": {"required": True, "content": json_content(schema)},
        "responses": {
            "2XX": {"description": "Acknowledged: the next event about the entity may come."},
            "410": {"description": "Nothing more is sent until an operator resumes."},
            "default": {"description": "It is sent again, later and later."},
        },
        "security": [],
    }
    return {"recorded": {"post": message}}


def _operation(name: str, summary: str, parameters: Parameters, result: JsonSchema) -> Document:
    return operation(
        WEBHOOKS_TAG,
        name,
        summary,
        security="operator_key",
        parameters=query_parameters(parameters, DESCRIPTIONS),
        content=json_content(envelope(result)),
        refusals={
            "400": failure("A parameter is wrong, and named"),
            "401": failure("The operator key is missing or wrong"),
            "404": failure("There is no such organisation or subscription"),
        },
        errors=(InternalError, ServiceUnavailable),
    )
