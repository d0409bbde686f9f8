"""The audit methods in the description; they are no part of the CRM.COM API."""

from __future__ import annotations

from collections.abc import Mapping

from domain.errors import InternalError, ServiceUnavailable, TooManyRequests
from domain.fields import JsonSchema, Level, Parameters, nullable
from infra.http.audit.events import EVENT_PARAMETERS, NDJSON
from infra.http.audit.history import BLAME, HISTORY
from infra.http.audit.routes import AUDIT
from infra.http.openapi.components import Document, answer, data, failure, query_parameter
from infra.http.openapi.methods import own_parameters
from services.audit.as_of import AS_OF, methods

__all__ = ["AUDITING", "as_of_paths", "audit"]

AUDITING = "audit"
"""The tag of what auditors read."""

TEXT: JsonSchema = {"type": "string"}
MAYBE: JsonSchema = {"type": ["string", "null"]}
COUNT: JsonSchema = {"type": "integer", "minimum": 0}
MOMENT: JsonSchema = {"type": "string", "format": "date-time"}
OPEN: JsonSchema = {"type": "object"}
LEDGER: JsonSchema = {"type": ["string", "null"], "enum": ["EVENTS", "ACCESS", None]}

DESCRIPTIONS: Mapping[str, str] = {
    "as_of": "A position, or a date: the last position recorded at or before it.",
    "entity": "An entity as `kind/id` or `kind/field=value`, such as `communication/number=CM000012`.",
    "from": "The first version to tell; the first of all if it is left out.",
    "to": "The last version to tell; at most 200 are told at once.",
    "version": "As it was at that version; now if it is left out.",
    "field": "Only this field.",
    "after": "The position after which to read; 0 if it is left out.",
    "limit": "Most events to answer: 100 if it is left out, at most 1000 on a JSON page; no bound for lines.",
    "stream": "Events about one entity: the id of its stream, or the entity as in a history.",
    "topic": "Events of a topic, or of all whose topic begins so: `communication`.",
    "actor": "Events that a user brought about, by id or username.",
    "request": "Events of one request, by its `X-Request-Id`.",
    "cause": "Events of a chain of calls: those of a request, and of the requests that named it in `X-Correlation-Id`.",
    "since": "Events recorded then or later.",
    "until": "Events recorded before then.",
    "wait": "Seconds to wait for the first event where there is none yet.",
    "ledger": "`ACCESS`: not the events themselves, but who has read them.",
}
"""What each parameter means."""


def audit() -> dict[str, Document]:
    """The audit methods by their paths."""
    lines = {NDJSON: {"schema": {"type": "string", "description": LINES}}}
    return {
        f"{AUDIT}head": _reading(
            "head", "The last position of the ledger.", Parameters(), _object(HEAD)
        ),
        f"{AUDIT}history": _reading(
            "history", "What happened to one entity.", HISTORY, _object(PAGE)
        ),
        f"{AUDIT}blame": _reading(
            "blame", "For each field of an entity, the event that set it.", BLAME, _object(BLAMED)
        ),
        f"{AUDIT}events": _reading(
            "events",
            "Events as they are stored, in their order.",
            EVENT_PARAMETERS,
            _object(FEED),
            lines,
        ),
    }


def as_of_paths() -> dict[str, Document]:
    """The methods that only read, as of a position."""
    return {
        f"{AUDIT}as_of/{method.path}": _operation(
            f"as_of_{method.path.replace('/', '_')}",
            f"As of a position: {method.summary}",
            [*_asked(AS_OF), *own_parameters(method)],
            {"application/json": {"schema": answer(data(method))}},
        )
        for method in methods()
    }


def _reading(
    name: str,
    summary: str,
    parameters: Parameters,
    data: JsonSchema,
    more: Mapping[str, Document] | None = None,
) -> Document:
    content = {"application/json": {"schema": answer(data)}} | dict(more or {})
    return _operation(name, summary, _asked(parameters), content)


def _asked(parameters: Parameters) -> list[Document]:
    return [
        query_parameter(
            row.parameter,
            LEDGER if row.name == "ledger" else row.schema(),
            DESCRIPTIONS[row.parameter],
            required=rule is Level.MANDATORY,
        )
        for row, rule in parameters
    ]


def _operation(
    name: str, summary: str, asked: list[Document], content: Mapping[str, Document]
) -> Document:
    transport = (TooManyRequests, InternalError, ServiceUnavailable)
    operation: Document = {
        "operationId": f"{AUDITING}_{name}",
        "tags": [AUDITING],
        "summary": summary,
        "description": "For users with the role `auditor`. The reading itself is recorded.",
        "security": [{"session": []}],
        "responses": {"200": {"description": "The result.", "content": dict(content)}}
        | REFUSALS
        | {str(e.status): {"$ref": f"#/components/responses/{e.__name__}"} for e in transport},
    }
    return {"get": operation | ({"parameters": asked} if asked else {})}


def _object(properties: Mapping[str, JsonSchema]) -> JsonSchema:
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _list(properties: Mapping[str, JsonSchema]) -> JsonSchema:
    return {"type": "array", "items": _object(properties)}


REFUSALS: Document = {
    "400": failure("A parameter is wrong, and named"),
    "401": failure("The token is missing, not valid or has expired"),
    "403": failure("The user is no auditor"),
    "404": failure("There is no such entity or user"),
}
LINES = "One event a line; on the last line `page` says what they are about."
HEAD = {
    "organisation": TEXT,
    "position": COUNT,
    "recorded_at": {"type": ["string", "null"], "format": "date-time"},
}
BY = _object(
    {
        "user": {"type": ["object", "null"]},
        "unit": {"type": ["object", "null"]},
        "session": MAYBE,
        "client": MAYBE,
        "source": MAYBE,
    }
)
NEIGHBOURS = _list({"position": COUNT, "entity": TEXT, "topic": TEXT, "sentence": TEXT})
TOLD = {
    "position": COUNT,
    "version": COUNT,
    "topic": TEXT,
    "sentence": TEXT,
    "at": MOMENT,
    "by": BY,
    "request": MAYBE,
}
ENTRY = TOLD | {
    "recorded_at": MOMENT,
    "method": MAYBE,
    "command": MAYBE,
    "correlation": MAYBE,
    "causation": MAYBE,
    "changes": _list({"field": TEXT, "before": {}, "after": {}}),
    "causes": NEIGHBOURS,
    "effects": NEIGHBOURS,
}
PAGE = {
    "entity": TEXT,
    "position": COUNT,
    "versions": COUNT,
    "from": COUNT,
    "to": COUNT,
    "entries": _list(ENTRY),
}
BLAMED = {
    "entity": TEXT,
    "position": COUNT,
    "version": COUNT,
    "fields": _list({"field": TEXT, "value": {}} | TOLD),
}
EVENT = {
    "organisation": TEXT,
    "position": COUNT,
    "stream_id": TEXT,
    "version": COUNT,
    "topic": TEXT,
    "schema_version": COUNT,
    "subject": MAYBE,
    "payload": OPEN,
    "metadata": OPEN,
    "recorded_at": MOMENT,
    "event_hash": TEXT,
}
FEED = {
    "ledger": TEXT,
    "from": COUNT,
    "to": COUNT,
    "count": COUNT,
    "left_out": COUNT,
    "head": COUNT,
    "seal": nullable(_object({"number": COUNT, "first": COUNT, "last": COUNT, "root": TEXT})),
    "events": _list(EVENT),
}
