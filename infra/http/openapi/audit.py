"""The audit methods in the description; they are not part of the CRM.COM API."""

from __future__ import annotations

from collections.abc import Mapping

from domain.errors import InternalError, ServiceUnavailable, TooManyRequests
from domain.fields import JsonSchema, Parameters, nullable
from infra.http.audit.events import EVENT_PARAMETERS, NDJSON
from infra.http.audit.history import BLAME_PARAMETERS, HISTORY_PARAMETERS
from infra.http.audit.routes import AUDIT
from infra.http.openapi.components import result_schema
from infra.http.openapi.methods import own_parameters
from infra.http.openapi.schemas import (
    COUNT,
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
    query_parameters,
)
from services.audit.as_of import AS_OF, methods

__all__ = ["AUDIT_TAG", "as_of_paths", "audit_paths"]

AUDIT_TAG = "audit"
"""The tag of the audit methods."""

ANY_OBJECT: JsonSchema = {"type": "object"}
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
"""The meaning of each parameter."""


def audit_paths() -> dict[str, Document]:
    """Return the audit methods by path."""
    lines = {NDJSON: {"schema": {"type": "string", "description": LINES}}}
    return {
        f"{AUDIT}head": _reading(
            "head", "The last position of the ledger.", Parameters(), object_of(HEAD)
        ),
        f"{AUDIT}history": _reading(
            "history", "What happened to one entity.", HISTORY_PARAMETERS, object_of(PAGE)
        ),
        f"{AUDIT}blame": _reading(
            "blame",
            "For each field of an entity, the event that set it.",
            BLAME_PARAMETERS,
            object_of(BLAMED),
        ),
        f"{AUDIT}events": _reading(
            "events",
            "Events as they are stored, in their order.",
            EVENT_PARAMETERS,
            object_of(FEED),
            lines,
        ),
    }


def as_of_paths() -> dict[str, Document]:
    """Return the as-of form of every method that only reads, by path."""
    return {
        f"{AUDIT}as_of/{method.path}": _operation(
            f"as_of_{method.path.replace('/', '_')}",
            f"As of a position: {method.summary}",
            [*_query_parameters(AS_OF), *own_parameters(method)],
            json_content(envelope(result_schema(method))),
        )
        for method in methods()
    }


def _reading(
    name: str,
    summary: str,
    parameters: Parameters,
    data: JsonSchema,
    other_content: Mapping[str, Document] | None = None,
) -> Document:
    content = json_content(envelope(data)) | dict(other_content or {})
    return _operation(name, summary, _query_parameters(parameters), content)


def _query_parameters(parameters: Parameters) -> list[Document]:
    return query_parameters(parameters, DESCRIPTIONS, {"ledger": LEDGER})


def _operation(name: str, summary: str, parameters: list[Document], content: Document) -> Document:
    described = operation(
        AUDIT_TAG,
        name,
        summary,
        description="For users with the role `auditor`. The reading itself is recorded.",
        security="session",
        content=content,
        refusals=REFUSALS,
        errors=(TooManyRequests, InternalError, ServiceUnavailable),
    )
    return {"get": described | ({"parameters": parameters} if parameters else {})}


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
    "recorded_at": NULLABLE_TIMESTAMP,
}
BY = object_of(
    {
        "user": {"type": ["object", "null"]},
        "unit": {"type": ["object", "null"]},
        "session": NULLABLE_TEXT,
        "client": NULLABLE_TEXT,
        "source": NULLABLE_TEXT,
    }
)
NEIGHBOURS = array(object_of({"position": COUNT, "entity": TEXT, "topic": TEXT, "sentence": TEXT}))
EVENT_HEAD = {
    "position": COUNT,
    "version": COUNT,
    "topic": TEXT,
    "sentence": TEXT,
    "at": TIMESTAMP,
    "by": BY,
    "request": NULLABLE_TEXT,
}
ENTRY = EVENT_HEAD | {
    "recorded_at": TIMESTAMP,
    "method": NULLABLE_TEXT,
    "command": NULLABLE_TEXT,
    "correlation": NULLABLE_TEXT,
    "causation": NULLABLE_TEXT,
    "changes": array(object_of({"field": TEXT, "before": {}, "after": {}})),
    "causes": NEIGHBOURS,
    "effects": NEIGHBOURS,
}
PAGE = {
    "entity": TEXT,
    "position": COUNT,
    "versions": COUNT,
    "from": COUNT,
    "to": COUNT,
    "entries": array(object_of(ENTRY)),
}
BLAMED = {
    "entity": TEXT,
    "position": COUNT,
    "version": COUNT,
    "fields": array(object_of({"field": TEXT, "value": {}} | EVENT_HEAD)),
}
EVENT = {
    "organisation": TEXT,
    "position": COUNT,
    "stream_id": TEXT,
    "version": COUNT,
    "topic": TEXT,
    "schema_version": COUNT,
    "subject": NULLABLE_TEXT,
    "payload": ANY_OBJECT,
    "metadata": ANY_OBJECT,
    "recorded_at": TIMESTAMP,
    "event_hash": TEXT,
}
FEED = {
    "ledger": TEXT,
    "from": COUNT,
    "to": COUNT,
    "count": COUNT,
    "left_out": COUNT,
    "head": COUNT,
    "seal": nullable(object_of({"number": COUNT, "first": COUNT, "last": COUNT, "root": TEXT})),
    "events": array(object_of(EVENT)),
}
