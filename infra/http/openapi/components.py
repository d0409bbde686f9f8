"""The schemas that the description of the API refers to by name.

They come from the tables by which calls are read and responses are made: shapes, identifiers, kinds
of records, the catalogue of errors.
"""

from __future__ import annotations

from collections.abc import Iterable

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
from infra.http.api.routes import MAX_STALENESS, POSITION, REPLAYED, SECONDS_FORMAT, STALENESS
from infra.http.openapi.schemas import (
    COUNT,
    SCHEMA_PREFIX,
    TEXT,
    Document,
    array,
    failure,
    object_of,
    query_parameter,
    refs,
    schema_ref,
)
from services.pipeline.method import Method
from services.projections import COMPACTS

__all__ = [
    "FIELDS_SET",
    "TOKEN",
    "components",
    "result_schema",
]

TRANSPORT: tuple[type[ServiceError], ...] = (
    InvalidRequest,
    RequestTooLarge,
    KeyReused,
    TooManyRequests,
    InternalError,
    ServiceUnavailable,
)
"""The errors of a call to an existing method that have an HTTP status of their own."""

TOKEN: JsonSchema = TEXT | {
    "description": "The token that a login answered; a bearer header may hold it instead."
}
FIELDS_SET: JsonSchema = {
    "description": "The wanted keys of the result, separated by commas; all if absent.",
    "examples": ["id,number"],
}


def components(methods: Iterable[Method]) -> Document:
    """Return everything that the description refers to by name."""
    return {
        "schemas": _schemas(methods),
        "parameters": _parameters(),
        "headers": _headers(),
        "responses": {error.__name__: _transport_failure(error) for error in TRANSPORT},
        "securitySchemes": _security_schemes(),
    }


def _parameters() -> Document:
    """The parameters that many methods take, in the query or as a header."""
    return {
        "token": query_parameter("token", TOKEN),
        "fields_set": query_parameter("fields_set", TEXT | FIELDS_SET),
        "idempotency_key": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "With the same key and body again, the first answer is repeated.",
            "schema": TEXT | {"minLength": 1, "maxLength": 255},
        },
        "max_staleness": {
            "name": MAX_STALENESS,
            "in": "header",
            "description": "How many seconds old the answer may be; a replica may give it then.",
            "schema": TEXT | {"pattern": f"^{SECONDS_FORMAT.pattern}$", "examples": ["2"]},
        },
    }


def _headers() -> Document:
    """The headers that say how old the response of a replica is, and that one was given before."""
    return {
        REPLAYED: {
            "description": "`true` if the answer was given before, to the same Idempotency-Key.",
            "schema": TEXT | {"enum": ["true"]},
        },
        STALENESS: {
            "description": f"Where {MAX_STALENESS} was sent: how many seconds old the answer is at most.",
            "schema": {"type": "number", "minimum": 0},
        },
        POSITION: {
            "description": "The position of the ledger that a replica had reached.",
            "schema": COUNT,
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
    response = failure(error.message)
    if error in (TooManyRequests, ServiceUnavailable):
        seconds = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
        response["headers"] = {"Retry-After": seconds}
    return response


def _schemas(methods: Iterable[Method]) -> dict[str, JsonSchema]:
    """Return all schemas by name. Raises `TypeError` if two different ones have the same name."""
    schemas: dict[str, JsonSchema] = {}

    def add(name: str, schema: JsonSchema) -> None:
        if schemas.setdefault(name, schema) != schema:
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
                add(f"{method.response.name}_fields", _partial(method.response))
    for entity, identifiable in ENTITIES.items():
        add(f"{entity}_identifier", identifier_schema(identifiable))
    for kind in KINDS.values():
        add(f"{kind.key}_record", _record(kind))
    add("record", {"anyOf": [schema_ref(f"{key}_record") for key in KINDS]})
    _add_undeclared(schemas)
    return dict(sorted(schemas.items()))


def _add_undeclared(schemas: dict[str, JsonSchema]) -> None:
    """Add a schema for each entity that others embed, but whose compact object is not declared."""
    mentioned = {ref.removeprefix(SCHEMA_PREFIX) for ref in refs(schemas)}
    for name in sorted(mentioned - schemas.keys()):
        if name not in ENTITIES:
            raise TypeError(f"there is no schema {name}")
        schemas[name] = {"type": "object", "description": "The compact object of this entity."}


def result_schema(method: Method) -> JsonSchema:
    """Return the schema of ``data`` in the response of a method that succeeds."""
    if method.response is None:
        return schema_ref("nothing")
    schema = schema_ref(method.response.name)
    if method.fields_set:
        schema = {"anyOf": [schema, schema_ref(f"{method.response.name}_fields")]}
    return array(schema) if method.is_list else schema


def _status(code: JsonSchema, *, message: JsonSchema, description: JsonSchema) -> JsonSchema:
    members = {"code": code, "message": message, "description": description}
    return object_of({name: TEXT | schema for name, schema in members.items()})


def _error() -> JsonSchema:
    codes = {"enum": [error.code for error in CATALOGUE.values()]}
    message = {"minLength": 1, "description": "A short text for people."}
    description = {"description": "What is at fault: the name of the parameter if there is one."}
    status = _status(codes, message=message, description=description)
    return object_of({"status": status, "data": schema_ref("nothing")})


def _shape(shape: ResponseShape) -> JsonSchema:
    """The schema of a response object; an id, where there is one, is never null."""
    schema = shape.schema()
    if "id" in schema["properties"]:
        schema["properties"]["id"] = TEXT
    return schema


def _partial(shape: ResponseShape) -> JsonSchema:
    return {
        "type": "object",
        "description": "What is left with `fields_set`: the keys that it names, each whole.",
        "propertyNames": {"enum": [row.key for row in shape.fields]},
    }


def _record(kind: RecordKind) -> JsonSchema:
    """The schema of a record as it is registered; its secrets are never shown again."""
    schema = kind.parameters.schema()
    properties: dict[str, JsonSchema] = schema["properties"]
    for field in kind.fields:
        if field.name in kind.defaults:
            properties[field.parameter] |= {"default": kind.defaults[field.name]}
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
