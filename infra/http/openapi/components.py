"""The schemas that the description of the API refers to by name.

They come from the same tables that read calls and make answers: shapes, identifiers, kinds of
records, the catalogue of errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from domain.composite_fields import identifier_schema
from domain.errors import (
    CATALOGUE,
    InternalError,
    InvalidRequest,
    KeyReused,
    RequestTooLarge,
    ServiceError,
    ServiceUnavailable,
    TooManyRequests,
)
from domain.fields import JsonSchema, ResponseShape, nullable
from domain.reference.catalogue import ENTITIES, KINDS, SECRETS
from domain.reference.records import RecordKind
from infra.http.api.routes import AGE, MOST, MOST_FORMAT, POSITION
from services.pipeline.method import Method
from services.projections import COMPACTS

__all__ = [
    "EXAMPLE_ID",
    "FIELDS_SET",
    "TOKEN",
    "Document",
    "answer",
    "components",
    "data",
    "failure",
    "query_parameter",
    "refs",
    "schema_ref",
]

Document = dict[str, Any]

TRANSPORT: tuple[type[ServiceError], ...] = (
    InvalidRequest,
    RequestTooLarge,
    KeyReused,
    TooManyRequests,
    InternalError,
    ServiceUnavailable,
)
"""What a call to an existing method can fail with that has an HTTP status of its own."""

PREFIX = "#/components/schemas/"
EXAMPLE_ID = "18686813304341ECAFC8175A85594C9B"
TEXT: JsonSchema = {"type": "string"}
TOKEN: JsonSchema = TEXT | {"description": "The token that a login answered."}
FIELDS_SET: JsonSchema = {
    "description": "The wanted keys of the result, separated by commas; all if absent.",
    "examples": ["id,number"],
}


def schema_ref(name: str) -> JsonSchema:
    """A reference to a schema of the components."""
    return {"$ref": PREFIX + name}


def refs(node: Any) -> Iterator[str]:
    """Every ``$ref`` in a description."""
    if isinstance(node, Mapping):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for member in node.values():
            yield from refs(member)
    elif isinstance(node, list):
        for member in node:
            yield from refs(member)


def components(methods: Iterable[Method]) -> Document:
    """All that the description refers to by name."""
    return {
        "schemas": _schemas(methods),
        "parameters": _parameters(),
        "headers": _headers(),
        "responses": {error.__name__: _transport_failure(error) for error in TRANSPORT},
        "securitySchemes": _security_schemes(),
    }


def _parameters() -> Document:
    """What many methods take, in the query or as a header."""
    return {
        "token": query_parameter("token", TOKEN, required=True),
        "fields_set": query_parameter("fields_set", TEXT | FIELDS_SET),
        "idempotency_key": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "With the same key and body again, the first answer is repeated.",
            "schema": TEXT | {"minLength": 1, "maxLength": 255},
        },
        "max_staleness": {
            "name": MOST,
            "in": "header",
            "description": "How many seconds old the answer may be; a replica may give it then.",
            "schema": TEXT | {"pattern": f"^{MOST_FORMAT.pattern}$", "examples": ["2"]},
        },
    }


def _headers() -> Document:
    """How old the answer of a replica is."""
    return {
        AGE: {
            "description": f"Where {MOST} was sent: how many seconds old the answer is at most.",
            "schema": {"type": "number", "minimum": 0},
        },
        POSITION: {
            "description": "The position of the ledger that a replica had reached.",
            "schema": {"type": "integer", "minimum": 0},
        },
    }


def _security_schemes() -> Document:
    return {
        "web_api_key": {
            "type": "http",
            "scheme": "basic",
            "description": "The web API key as user name, with an empty password.",
        },
        "operator_key": {
            "type": "http",
            "scheme": "bearer",
            "description": "The operator key of the service.",
        },
        "session": {
            "type": "http",
            "scheme": "bearer",
            "description": "The token of a session.",
        },
    }


def _transport_failure(error: type[ServiceError]) -> Document:
    found = failure(error.message)
    if error in (TooManyRequests, ServiceUnavailable):
        seconds = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
        found["headers"] = {"Retry-After": seconds}
    return found


def failure(description: str) -> Document:
    """A response of another HTTP status, which holds the envelope of an error."""
    content = {"application/json": {"schema": schema_ref("error")}}
    return {"description": f"{description}.", "content": content}


def query_parameter(
    name: str, schema: JsonSchema, description: str = "", *, required: bool = False
) -> Document:
    """A parameter of a query; the description may also stand in its schema."""
    described = {"description": description} if description else {}
    mandatory = {"required": True} if required else {}
    return {"name": name, "in": "query"} | described | mandatory | {"schema": schema}


def _schemas(methods: Iterable[Method]) -> dict[str, JsonSchema]:
    """All of them by name. Raises `TypeError` for a name that means two things."""
    found: dict[str, JsonSchema] = {}

    def add(name: str, schema: JsonSchema) -> None:
        if found.setdefault(name, schema) != schema:
            raise TypeError(f"two schemas are called {name}")

    add("ok", _status({"const": "OK"}, message={"const": ""}, description={"const": ""}))
    add("error", _error())
    add("nothing", {"type": "object", "maxProperties": 0})
    for shape in COMPACTS.values():
        add(shape.name, _shape(shape))
    for method in methods:
        if method.response:
            add(method.response.name, _shape(method.response))
            if method.fields_set:
                add(f"{method.response.name}_fields", _fields(method.response))
    for entity, identifiable in ENTITIES.items():
        add(f"{entity}_identifier", identifier_schema(identifiable))
    for kind in KINDS.values():
        add(f"{kind.key}_record", _record(kind))
    add("record", {"anyOf": [schema_ref(f"{key}_record") for key in KINDS]})
    _complete(found)
    return dict(sorted(found.items()))


def _complete(found: dict[str, JsonSchema]) -> None:
    """Entities that are shown somewhere, but whose compact object nobody declares."""
    mentioned = {ref.removeprefix(PREFIX) for ref in refs(found)}
    for name in sorted(mentioned - found.keys()):
        if name not in ENTITIES:
            raise TypeError(f"there is no schema {name}")
        found[name] = {"type": "object", "description": "The compact object of this entity."}


def data(method: Method) -> JsonSchema:
    """What stands under ``data`` when a method succeeds."""
    if method.response is None:
        return schema_ref("nothing")
    one = schema_ref(method.response.name)
    if method.fields_set:
        one = {"anyOf": [one, schema_ref(f"{method.response.name}_fields")]}
    return {"type": "array", "items": one} if method.is_list else one


def answer(data: JsonSchema) -> JsonSchema:
    """The envelope of a success."""
    return {
        "type": "object",
        "properties": {"status": schema_ref("ok"), "data": data},
        "required": ["status", "data"],
    }


def _status(code: JsonSchema, *, message: JsonSchema, description: JsonSchema) -> JsonSchema:
    return {
        "type": "object",
        "properties": {
            "code": TEXT | code,
            "message": TEXT | message,
            "description": TEXT | description,
        },
        "required": ["code", "message", "description"],
    }


def _error() -> JsonSchema:
    codes = {"enum": [error.code for error in CATALOGUE.values()]}
    message = {"minLength": 1, "description": "A short text for people."}
    description = {"description": "What is at fault: the name of the parameter if there is one."}
    return {
        "type": "object",
        "properties": {
            "status": _status(codes, message=message, description=description),
            "data": schema_ref("nothing"),
        },
        "required": ["status", "data"],
    }


def _shape(shape: ResponseShape) -> JsonSchema:
    """An object of an answer; what has an id is never without it."""
    schema = shape.schema()
    if "id" in schema["properties"]:
        schema["properties"]["id"] = TEXT
    return schema


def _fields(shape: ResponseShape) -> JsonSchema:
    return {
        "type": "object",
        "description": "What is left with `fields_set`: the keys that it names, each whole.",
        "propertyNames": {"enum": [row.key for row in shape.fields]},
    }


def _record(kind: RecordKind) -> JsonSchema:
    """A record as it is registered; its secrets are never shown again."""
    schema = kind.parameters.schema()
    properties: dict[str, JsonSchema] = schema["properties"]
    for row in kind.fields:
        if row.name in kind.defaults:
            properties[row.parameter] |= {"default": kind.defaults[row.name]}
    properties |= {
        name: nullable(SECRETS[name].schema()) | {"writeOnly": True} for name in kind.secrets
    }
    administrative = {
        "kind": {"const": kind.key},
        "organisation": TEXT,
        "id": TEXT | {"maxLength": 64},
        "retired": {"type": ["boolean", "null"], "default": False},
    }
    return schema | {"properties": administrative | properties, "additionalProperties": False}
