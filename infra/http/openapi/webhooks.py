"""What operators see of webhooks and do to them, and what subscribers are sent, in the description."""

from __future__ import annotations

from collections.abc import Mapping

from domain.errors import InternalError, ServiceUnavailable
from domain.fields import JsonSchema, Level, Parameters
from infra.http.openapi.components import EXAMPLE_ID, Document, answer, failure, query_parameter
from infra.http.operators.webhooks import LIST, REPLAY, RESUME, WEBHOOKS

__all__ = ["TAG", "message", "webhooks"]

TAG = "webhooks"
"""The tag of webhooks."""

TEXT: JsonSchema = {"type": "string"}
MAYBE: JsonSchema = {"type": ["string", "null"]}
COUNT: JsonSchema = {"type": "integer", "minimum": 0}
MOMENT: JsonSchema = {"type": "string", "format": "date-time"}
MAYBE_MOMENT: JsonSchema = {"type": ["string", "null"], "format": "date-time"}
STATES: JsonSchema = {
    "type": "string",
    "enum": ["ACTIVE", "FAILING", "PAUSED", "GONE", "AHEAD", "NOT_EFFECTIVE", "RETIRED"],
    "description": "`FAILING`: an event that was sent in vain waits; `PAUSED`: one was not acknowledged for"
    " three days; `GONE`: the consumer answered 410; `AHEAD`: the ledger is shorter than what was told.",
}
STANDING: Mapping[str, JsonSchema] = {
    "id": TEXT,
    "name": MAYBE,
    "url": TEXT,
    "state": STATES,
    "position": COUNT | {"description": "Up to here events are told, passed over or pending."},
    "head": COUNT,
    "pending": COUNT,
    "lag_positions": {"type": "integer"},
    "lag_seconds": {"type": "number", "minimum": 0},
    "delivered_at": MAYBE_MOMENT,
    "failing_since": MAYBE_MOMENT,
    "stopped_at": MAYBE_MOMENT,
}
ATTEMPT: Mapping[str, JsonSchema] = {
    "position": COUNT,
    "try": COUNT,
    "made_at": MOMENT,
    "milliseconds": COUNT,
    "outcome": {
        "type": "string",
        "enum": ["DELIVERED", "GONE", "REFUSED", "TIMEOUT", "UNREACHABLE", "FORBIDDEN_ADDRESS"],
    },
    "status": {"type": ["integer", "null"]},
}
SAID: Mapping[str, str] = {"from": "The first position to tell again, with the same ids."}


def webhooks() -> dict[str, Document]:
    """The operators' paths."""
    id_ = {"name": "id", "in": "path", "required": True, "schema": TEXT}
    one: Document = {"parameters": [id_]}
    rows = {"type": "array", "items": _object(STANDING)}
    attempts = {"type": "array", "items": _object(ATTEMPT)}
    nothing: JsonSchema = {"type": "object", "maxProperties": 0}
    return {
        WEBHOOKS: {"get": _operation("list", "How each subscription stands.", LIST, rows)},
        f"{WEBHOOKS}/{{id}}/deliveries": one
        | {"get": _operation("deliveries", "The delivery log, the last first.", LIST, attempts)},
        f"{WEBHOOKS}/{{id}}/replay": one
        | {"post": _operation("replay", "Tells all from a position on again.", REPLAY, nothing)},
        f"{WEBHOOKS}/{{id}}/resume": one
        | {"post": _operation("resume", "Sends what waits now; ends a stop.", RESUME, nothing)},
    }


def message() -> dict[str, Document]:
    """What a subscriber is sent."""
    entity = _object({"kind": TEXT, "id": TEXT | {"examples": [EXAMPLE_ID]}})
    data = {
        "organisation": TEXT,
        "position": COUNT,
        "entity": entity,
        "version": COUNT | {"description": "Dense for each entity, from 1."},
        "link": MAYBE | {"description": "Where a session reads the entity, if a method shows it."},
    }
    topic = TEXT | {"examples": ["communication.completed"]}
    schema = _object({"type": topic, "timestamp": MOMENT, "data": _object(data)})
    headers = [
        {"name": f"webhook-{name}", "in": "header", "required": True, "schema": TEXT}
        for name in ("id", "timestamp", "signature")
    ]
    operation = {
        "operationId": f"{TAG}_told",
        "tags": [TAG],
        "summary": "An event was recorded.",
        "description": "Signed as Standard Webhooks says. It may come more than once, always with the"
        " same `webhook-id`; the events of one entity come in their order.",
        "parameters": headers,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "2XX": {"description": "Acknowledged: the next event about the entity may come."},
            "410": {"description": "Nothing more is sent until an operator resumes."},
            "default": {"description": "It is sent again, later and later."},
        },
        "security": [],
    }
    return {"recorded": {"post": operation}}


def _operation(name: str, summary: str, parameters: Parameters, result: JsonSchema) -> Document:
    asked = [
        query_parameter(
            row.parameter,
            row.schema(),
            SAID.get(row.parameter, ""),
            required=rule is Level.MANDATORY,
        )
        for row, rule in parameters
    ]
    content = {"application/json": {"schema": answer(result)}}
    return {
        "operationId": f"{TAG}_{name}",
        "tags": [TAG],
        "summary": summary,
        "security": [{"operator_key": []}],
        "parameters": asked,
        "responses": {
            "200": {"description": "The result.", "content": content},
            "400": failure("A parameter is wrong, and named"),
            "401": failure("The operator key is missing or wrong"),
            "404": failure("There is no such organisation or subscription"),
        }
        | {
            str(e.status): {"$ref": f"#/components/responses/{e.__name__}"}
            for e in (InternalError, ServiceUnavailable)
        },
    }


def _object(properties: Mapping[str, JsonSchema]) -> JsonSchema:
    return {"type": "object", "properties": dict(properties), "required": list(properties)}
