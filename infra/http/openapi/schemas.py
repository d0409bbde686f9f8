"""The parts that every module of the description puts together: types, objects, parameters, operations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from domain.errors import ServiceError
from domain.fields import JsonSchema, Level, Parameters

__all__ = [
    "COUNT",
    "EXAMPLE_ID",
    "NULLABLE_TEXT",
    "NULLABLE_TIMESTAMP",
    "SCHEMA_PREFIX",
    "TEXT",
    "TIMESTAMP",
    "Document",
    "array",
    "envelope",
    "error_responses",
    "failure",
    "json_content",
    "object_of",
    "operation",
    "path_parameter",
    "query_parameter",
    "query_parameters",
    "refs",
    "schema_ref",
]

Document = dict[str, Any]

SCHEMA_PREFIX = "#/components/schemas/"
EXAMPLE_ID = "18686813304341ECAFC8175A85594C9B"
TEXT: JsonSchema = {"type": "string"}
NULLABLE_TEXT: JsonSchema = {"type": ["string", "null"]}
COUNT: JsonSchema = {"type": "integer", "minimum": 0}
TIMESTAMP: JsonSchema = {"type": "string", "format": "date-time"}
NULLABLE_TIMESTAMP: JsonSchema = {"type": ["string", "null"], "format": "date-time"}


def object_of(properties: Mapping[str, JsonSchema]) -> JsonSchema:
    """Return the schema of an object that has all of these properties."""
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def array(items: JsonSchema) -> JsonSchema:
    """Return the schema of an array of such items."""
    return {"type": "array", "items": items}


def schema_ref(name: str) -> JsonSchema:
    """Return a reference to a schema of the components."""
    return {"$ref": SCHEMA_PREFIX + name}


def refs(node: Any) -> Iterator[str]:
    """Yield every ``$ref`` of a description."""
    if isinstance(node, Mapping):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for member in node.values():
            yield from refs(member)
    elif isinstance(node, list):
        for member in node:
            yield from refs(member)


def envelope(data: JsonSchema) -> JsonSchema:
    """Return the schema of a successful response that carries ``data``."""
    return object_of({"status": schema_ref("ok"), "data": data})


def json_content(schema: JsonSchema) -> Document:
    """Return the content of a body that is JSON of this schema."""
    return {"application/json": {"schema": schema}}


def failure(description: str) -> Document:
    """Return a response of another HTTP status than 200, which carries the envelope of an error."""
    return {"description": f"{description}.", "content": json_content(schema_ref("error"))}


def error_responses(errors: Iterable[type[ServiceError]]) -> Document:
    """Return the responses of errors that have an HTTP status of their own, by status."""
    return {
        str(error.status): {"$ref": f"#/components/responses/{error.__name__}"}
        for error in sorted(errors, key=lambda error: error.status)
    }


def path_parameter(name: str, schema: JsonSchema, description: str = "") -> Document:
    """Return a parameter that stands in the path."""
    described = {"description": description} if description else {}
    return {"name": name, "in": "path", "required": True} | described | {"schema": schema}


def query_parameter(
    name: str, schema: JsonSchema, description: str = "", *, required: bool = False
) -> Document:
    """Return a parameter of a query; its schema may hold the description instead."""
    described = {"description": description} if description else {}
    mandatory = {"required": True} if required else {}
    return {"name": name, "in": "query"} | described | mandatory | {"schema": schema}


def query_parameters(
    parameters: Parameters,
    descriptions: Mapping[str, str] = {},
    schemas: Mapping[str, JsonSchema] = {},
) -> list[Document]:
    """Return the parameters of a query as a method reads them.

    :param descriptions: by parameter; those without one have none.
    :param schemas: by parameter, instead of those that the fields give.
    """
    return [
        query_parameter(
            field.parameter,
            schemas.get(field.parameter) or field.schema(),
            descriptions.get(field.parameter, ""),
            required=level is Level.MANDATORY,
        )
        for field, level in parameters
    ]


def operation(
    tag: str,
    name: str,
    summary: str,
    *,
    security: str,
    content: Document,
    refusals: Mapping[str, Document],
    errors: Iterable[type[ServiceError]],
    description: str = "",
    parameters: Sequence[Document] = (),
) -> Document:
    """Return an operation that is not part of the CRM.COM API: its refusals have an HTTP status.

    :param security: the security scheme of the components that a call must satisfy.
    :param content: the content of the response if the call succeeds, by media type.
    :param refusals: the responses to calls that are refused, by HTTP status.
    :param errors: the errors of transport and service that may occur besides.
    """
    described = {"description": description} if description else {}
    listed = {"parameters": list(parameters)} if parameters else {}
    responses = {
        "200": {"description": "The result.", "content": content},
        **refusals,
        **error_responses(errors),
    }
    return {
        "operationId": f"{tag}_{name}",
        "tags": [tag],
        "summary": summary,
        **described,
        "security": [{security: []}],
        **listed,
        "responses": responses,
    }
