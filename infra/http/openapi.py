"""The OpenAPI description, made from the registry of methods.

``python -m infra.http.openapi > docs/openapi.json`` writes the copy that is kept in the repository.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from typing import Any

import orjson

import services
from domain.errors import (
    CATALOGUE,
    InternalError,
    InvalidRequest,
    KeyReused,
    MethodNotFound,
    RequestTooLarge,
    ServiceError,
    ServiceUnavailable,
    StillRunning,
    TooManyRequests,
    TransportError,
)
from domain.fields import Field, JsonSchema, Level, Rule
from domain.identifiers import Identifiable
from domain.nested import Reference
from domain.reference_entities import KINDS
from infra.http.api import BASE, IMAGES
from infra.http.openapi_components import answer, data, schema_ref, schemas
from infra.http.reference import LIST, REFERENCE
from services.endpoint import METHODS, Method

__all__ = ["document", "openapi_json"]

Document = dict[str, Any]

EXAMPLE_ID = "18686813304341ECAFC8175A85594C9B"
DESCRIPTION = f"""\
An event-sourced CRM service that speaks the CRM.COM Web API v2.

**Logging in.** `POST {BASE}authentication/token` with `username`, `password` and `organisation`
answers a `token` that is valid for two hours. A system logs in with a web API key instead, sent as
the user name of a Basic header with an empty password. Every other method needs the token: in the
query of a GET, in the JSON body of a POST, as a field of a form.

**Answers** are always an object of `status` and `data`. A refusal comes with HTTP status 200, too:
a call has succeeded when `status.code` is `OK`, else `status.description` names the parameter at
fault. Only these errors have another HTTP status:

| HTTP | `status.code` | |
|---|---|---|
{{transport}}

**Identifiers** name an entity by exactly one of its fields: in JSON as an object,
`"communication_identifier": {{{{"number": "CM000680"}}}}`; in a query or a form as `field=value`,
`communication_identifier=number=CM000680`.

**`fields_set`** keeps only the named top-level keys of the object, or of each object of a list:
`fields_set=id,number`. Unknown names are ignored.

**Parameters.** On an update an absent parameter stays as it is and null unsets it. Unknown
parameters are ignored. Dates are `YYYY-MM-DDTHH:MM:SS` on the wall clock of the service's time
zone. Numbers are also accepted as texts, and enumerations in any case.

**`Idempotency-Key`** makes a POST repeatable: the same key with the same body gives the first
answer again, for 24 hours.
"""

RESULT = "The result; or a refusal, whose `status.code` is not `OK`."
ANYWHERE = (InvalidRequest, InternalError, ServiceUnavailable)
OPERATOR = "reference"
TOKEN: JsonSchema = {"type": "string", "description": "The token that a login answered."}
FIELDS_SET: JsonSchema = {
    "description": "The wanted keys of the result, separated by commas; all if absent.",
    "examples": ["id,number"],
}


def document() -> Document:
    """The whole description."""
    for module in pkgutil.iter_modules(services.__path__):
        importlib.import_module(f"services.{module.name}")  # the registry is full when all are there
    methods = sorted(METHODS.values(), key=lambda method: method.number)
    paths: dict[str, Document] = {
        BASE + method.path: {method.verb.lower(): _operation(method)} for method in methods
    }
    tags = [*dict.fromkeys(_tag(method) for method in methods), OPERATOR]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "crmledger",
            "version": version("crmledger"),
            "description": DESCRIPTION.format(transport=_transport_table()).format(),
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in tags],
        "paths": paths | {IMAGES: {"get": _image()}} | _reference(),
        "components": {
            "schemas": schemas(methods),
            "parameters": {
                "token": _query("token", {"type": "string"}, TOKEN["description"], required=True),
                "fields_set": _query(
                    "fields_set",
                    {"type": "string", "examples": FIELDS_SET["examples"]},
                    FIELDS_SET["description"],
                ),
                "idempotency_key": {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "description": "With the same key and body again, the first answer is repeated.",
                    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
                },
            },
            "responses": _error_responses(),
            "securitySchemes": {
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
            },
        },
    }


@cache
def openapi_json() -> bytes:
    """The description as it is served."""
    return orjson.dumps(document())


def _tag(method: Method) -> str:
    return method.path.partition("/")[0]


def _operation(method: Method) -> Document:
    parameters = _query_parameters(method) if method.verb == "GET" else []
    errors: list[type[ServiceError]] = [*ANYWHERE]
    if method.verb == "POST":
        errors.append(RequestTooLarge)
    if method.kind != "open":
        errors.append(TooManyRequests)
    if method.verb == "POST" and method.kind != "open":
        parameters.append({"$ref": "#/components/parameters/idempotency_key"})
        errors += [KeyReused, StillRunning]
    described = _groups(method)
    operation: Document = {
        "operationId": method.path.replace("/", "_"),
        "tags": [_tag(method)],
        "summary": method.summary,
    }
    operation |= {"description": described} if described else {}
    operation |= {"parameters": parameters} if parameters else {}
    operation |= {"requestBody": _body(method)} if method.verb == "POST" else {}
    if method.kind == "open" and "_key/" in method.path:
        operation["security"] = [{"web_api_key": []}]
    return operation | {"responses": {"200": _result(data(method))} | _failures(errors)}


def _groups(method: Method) -> str:
    """Which parameters are semi-optional."""
    table = method.parameters
    return " ".join(
        f"{many} of these parameters must be given: {', '.join(f'`{name}`' for name in names)}."
        for many, group in (("Exactly one", table.exactly_one), ("At least one", table.at_least_one))
        if (names := [row.parameter for row, _ in table if row.name in group])
    )


def _query_parameters(method: Method) -> list[Document]:
    own = [_query_parameter(row, rule) for row, rule in method.parameters]
    first = {"$ref": "#/components/parameters/token"}
    last = [{"$ref": "#/components/parameters/fields_set"}] if method.fields_set else []
    return [first, *own, *last]


def _query_parameter(row: Field, rule: Rule) -> Document:
    required = rule is Level.MANDATORY
    said = [_notation(row.to)] if isinstance(row, Reference) else []
    said += [f"Since {row.since}."] if row.since else []
    return _query(row.parameter, _textual(row), " ".join(said), required=required)


def _query(
    name: str, schema: JsonSchema, description: str = "", *, required: bool = False
) -> Document:
    described = {"description": description} if description else {}
    mandatory = {"required": True} if required else {}
    return {"name": name, "in": "query"} | described | mandatory | {"schema": schema}


def _textual(row: Field) -> JsonSchema:
    """A parameter in a query or a form, where identifiers are texts."""
    if not isinstance(row, Reference):
        return row.schema()
    field = row.to.fields[0]
    return {"type": "string", "examples": [f"{field}={EXAMPLE_ID if field == 'id' else '1234'}"]}


def _notation(to: Identifiable) -> str:
    fields = ", ".join(f"`{name}`" for name in to.fields)
    return f"Written `field=value`, with one of the fields {fields}."


def _body(method: Method) -> Document:
    if method.multipart:
        properties = {row.parameter: _textual(row) for row, _ in method.parameters}
        for row, _ in method.parameters:
            if isinstance(row, Reference):
                properties[row.parameter] |= {"description": _notation(row.to)}
        schema = method.parameters.schema() | {"properties": properties}
    else:
        schema = method.parameters.schema()
    required = schema.get("required", [])
    properties = schema["properties"]
    if method.kind != "open":
        properties, required = {"token": TOKEN} | properties, ["token", *required]
    if method.fields_set:
        many = {} if method.multipart else {"items": {"type": "string"}}
        kind = "string" if method.multipart else ["string", "array", "null"]
        properties = properties | {"fields_set": {"type": kind} | many | FIELDS_SET}
    schema |= {"properties": properties} | ({"required": required} if required else {})
    content_type = "multipart/form-data" if method.multipart else "application/json"
    return {"required": bool(required), "content": {content_type: {"schema": schema}}}


def _result(result: JsonSchema) -> Document:
    schema = {"oneOf": [answer(result), schema_ref("error")]}
    return {"description": RESULT, "content": {"application/json": {"schema": schema}}}


def _failures(errors: Iterable[type[ServiceError]]) -> Document:
    by_status = sorted(errors, key=lambda error: error.status)
    return {
        str(error.status): {"$ref": f"#/components/responses/{error.__name__}"}
        for error in by_status
    }


def _error_responses() -> Document:
    found = {}
    for error in (*ANYWHERE, MethodNotFound, RequestTooLarge, TooManyRequests, KeyReused, StillRunning):
        found[error.__name__] = _failure(error.message)
        if error in (TooManyRequests, ServiceUnavailable):
            seconds = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            found[error.__name__]["headers"] = {"Retry-After": seconds}
    return dict(sorted(found.items()))


def _failure(description: str) -> Document:
    content = {"application/json": {"schema": schema_ref("error")}}
    return {"description": f"{description}.", "content": content}


def _transport_table() -> str:
    return "\n".join(
        f"| {error.status} | `{error.code}` | {error.message} |"
        for error in CATALOGUE.values()
        if issubclass(error, TransportError)
    )


def _image() -> Document:
    photo = {"type": "string", "examples": [EXAMPLE_ID]}
    pictures: Document = {f"image/{format_}": {} for format_ in ("jpeg", "png", "gif")}
    return {
        "operationId": "image_download",
        "tags": ["contact_information"],
        "summary": "Downloads a profile photo.",
        "description": f"The `file_content_url` of a photo object with the token: `{IMAGES}?id=&token=`.",
        "parameters": [
            _query("id", photo, "The id of the photo.", required=True),
            {"$ref": "#/components/parameters/token"},
        ],
        "responses": {
            "200": {"description": "The picture.", "content": pictures},
            "401": _failure("The token is not valid or has expired"),
            "404": _failure("There is no such photo, or the session may not see it"),
        }
        | _failures((*ANYWHERE, TooManyRequests)),
    }


def _reference() -> dict[str, Document]:
    """The operator's own paths; they are no part of the CRM.COM API."""
    organisation = _query("organisation", {"type": "string"}, "Where the record does not say it.")
    listed, one = [_query_parameter(*row) for row in LIST], _query_parameter(*LIST.rows[0])
    record, counted = schema_ref("record"), {"type": "integer", "minimum": 0}
    kind = _path_parameter("kind", {"type": "string", "enum": list(KINDS)})
    id_ = _path_parameter("id", {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,64}$"})
    words = {"type": "string", "enum": ["CREATED", "UPDATED", "UNCHANGED"]}
    refused = _object(line={"type": "integer", "minimum": 1}, code={"type": "string"}, description={"type": "string"})
    report = _object(
        created=counted, updated=counted, unchanged=counted, refused={"type": "array", "items": refused}
    )
    lines = {"type": "string", "description": "One record a line, each a JSON object."}
    return {
        f"{REFERENCE}{{kind}}": {
            "parameters": [kind],
            "get": _operator("list", "Lists the records of a kind by their ids.", {"type": "array", "items": record})
            | {"parameters": listed},
            "post": _operator("import", "Registers records, one a line, and reports refused lines.", report, RequestTooLarge)
            | {"parameters": [organisation], "requestBody": _content("application/jsonl", lines)},
        },
        f"{REFERENCE}{{kind}}/{{id}}": {
            "parameters": [kind, id_],
            "get": _operator("show", "Shows one record.", record) | {"parameters": [one]},
            "put": _operator("register", "Registers a record, or replaces it as a whole.", _object(id={"type": "string"}, result=words), RequestTooLarge)
            | {"parameters": [organisation], "requestBody": _content("application/json", record)},
        },
    }


def _operator(name: str, summary: str, result: JsonSchema, *errors: type[ServiceError]) -> Document:
    content = {"application/json": {"schema": answer(result)}}
    return {
        "operationId": f"{OPERATOR}_{name}",
        "tags": [OPERATOR],
        "summary": summary,
        "security": [{"operator_key": []}],
        "responses": {
            "200": {"description": "The result.", "content": content},
            "401": _failure("The operator key is missing or wrong"),
            "404": _failure("There is no such kind, organisation or record"),
        }
        | _failures((*ANYWHERE, *errors))
        | {"400": _failure("The request could not be read or is refused")},
    }


def _content(content_type: str, schema: JsonSchema) -> Document:
    return {"required": True, "content": {content_type: {"schema": schema}}}


def _object(**properties: JsonSchema) -> JsonSchema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _path_parameter(name: str, schema: JsonSchema) -> Document:
    return {"name": name, "in": "path", "required": True, "schema": schema}


if __name__ == "__main__":
    sys.stdout.buffer.write(
        orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
