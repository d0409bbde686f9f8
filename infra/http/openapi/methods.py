"""The operations of the description: one for each method, the image download, the operator's paths."""

from __future__ import annotations

from collections.abc import Iterable

from domain.composite_fields import Reference
from domain.errors import (
    InternalError,
    InvalidRequest,
    KeyReused,
    RequestTooLarge,
    ServiceError,
    ServiceUnavailable,
    TooManyRequests,
)
from domain.fields import Field, JsonSchema, Level, LevelRule
from domain.reference.catalogue import KINDS
from infra.http.api.routes import AGE, IMAGES, POSITION
from infra.http.openapi.components import (
    EXAMPLE_ID,
    FIELDS_SET,
    TOKEN,
    Document,
    answer,
    data,
    failure,
    query_parameter,
    schema_ref,
)
from infra.http.operators.reference import LIST, REFERENCE
from services.pipeline.method import BASE, Method

__all__ = ["OPERATOR", "image", "method_paths", "own_parameters", "reference", "tag"]

OPERATOR = "reference"
"""The tag of what is not part of the CRM.COM API."""

RESULT = "The result; or a refusal, whose `status.code` is not `OK`."
TEXT_OR_LIST: JsonSchema = {"type": ["string", "array", "null"], "items": {"type": "string"}}
ANYWHERE = (InvalidRequest, InternalError, ServiceUnavailable)


def method_paths(methods: Iterable[Method]) -> dict[str, Document]:
    """The path of every method with its one verb."""
    return {BASE + method.path: {method.verb.lower(): _operation(method)} for method in methods}


def tag(method: Method) -> str:
    """The resource that a method is listed under."""
    return method.path.partition("/")[0]


def _operation(method: Method) -> Document:
    parameters = _query_parameters(method) if method.verb == "GET" else []
    errors: list[type[ServiceError]] = [*ANYWHERE]
    if method.verb == "POST":
        errors.append(RequestTooLarge)
    if method.needs_session:
        errors.append(TooManyRequests)
    if method.verb == "POST" and method.needs_session:
        parameters.append({"$ref": "#/components/parameters/idempotency_key"})
        errors += [KeyReused]
    success = _result(data(method))
    if method.verb == "GET" and method.needs_session:
        parameters.append({"$ref": "#/components/parameters/max_staleness"})
        success["headers"] = {
            name: {"$ref": f"#/components/headers/{name}"} for name in (AGE, POSITION)
        }
    described = _groups(method)
    operation: Document = {
        "operationId": method.path.replace("/", "_"),
        "tags": [tag(method)],
        "summary": method.summary,
    }
    operation |= {"description": described} if described else {}
    operation |= {"parameters": parameters} if parameters else {}
    operation |= {"requestBody": _body(method)} if method.verb == "POST" else {}
    if not method.needs_session and "_key/" in method.path:
        operation["security"] = [{"web_api_key": []}]
    return operation | {"responses": {"200": success} | _failures(errors)}


def _groups(method: Method) -> str:
    """Which parameters are semi-optional."""
    table = method.parameters
    return " ".join(
        f"{many} of these parameters must be given: {', '.join(f'`{name}`' for name in names)}."
        for many, group in (
            ("Exactly one", table.exactly_one),
            ("At least one", table.at_least_one),
        )
        if (names := [row.parameter for row, _ in table if row.name in group])
    )


def _query_parameters(method: Method) -> list[Document]:
    return [{"$ref": "#/components/parameters/token"}, *own_parameters(method)]


def own_parameters(method: Method) -> list[Document]:
    """What a query may hold besides the token."""
    own = [_query_parameter(row, rule) for row, rule in method.parameters]
    last = [{"$ref": "#/components/parameters/fields_set"}] if method.fields_set else []
    return [*own, *last]


def _query_parameter(row: Field, rule: LevelRule) -> Document:
    schema = _textual(row)
    said = [schema.pop("description", ""), f"Since {row.since}." if row.since else ""]
    required = rule is Level.MANDATORY
    return query_parameter(row.parameter, schema, " ".join(filter(None, said)), required=required)


def _textual(row: Field) -> JsonSchema:
    """A parameter in a query or a form, where identifiers are texts."""
    if not isinstance(row, Reference):
        return row.schema()
    first, fields = row.target.fields[0], ", ".join(f"`{name}`" for name in row.target.fields)
    return {
        "type": "string",
        "description": f"Written `field=value`, with one of the fields {fields}.",
        "examples": [f"{first}={EXAMPLE_ID if first == 'id' else '1234'}"],
    }


def _body(method: Method) -> Document:
    schema, fields_set = method.parameters.schema(), TEXT_OR_LIST
    if method.multipart:
        schema["properties"] = {row.parameter: _textual(row) for row, _ in method.parameters}
        fields_set = {"type": "string"}
    if method.needs_session:
        schema["properties"] = {"token": TOKEN} | schema["properties"]
        schema["required"] = ["token", *schema.get("required", [])]
    if method.fields_set:
        schema["properties"] |= {"fields_set": fields_set | FIELDS_SET}
    content_type = "multipart/form-data" if method.multipart else "application/json"
    content = {content_type: {"schema": schema}}
    return {"required": bool(schema.get("required")), "content": content}


def _result(result: JsonSchema) -> Document:
    schema = {"oneOf": [answer(result), schema_ref("error")]}
    return {"description": RESULT, "content": {"application/json": {"schema": schema}}}


def _failures(errors: Iterable[type[ServiceError]]) -> Document:
    by_status = sorted(errors, key=lambda error: error.status)
    return {
        str(error.status): {"$ref": f"#/components/responses/{error.__name__}"}
        for error in by_status
    }


def image() -> dict[str, Document]:
    """The download of a profile photo."""
    photo = {"type": "string", "examples": [EXAMPLE_ID]}
    pictures: Document = {f"image/{format_}": {} for format_ in ("jpeg", "png", "gif")}
    operation = {
        "operationId": "image_download",
        "tags": ["contact_information"],
        "summary": "Downloads a profile photo.",
        "description": "Its address is the `file_content_url` of the photo, with `&token=` appended.",
        "parameters": [
            query_parameter("id", photo, "The id of the photo.", required=True),
            {"$ref": "#/components/parameters/token"},
        ],
        "responses": {
            "200": {"description": "The picture.", "content": pictures},
            "401": failure("The token is not valid or has expired"),
            "404": failure("There is no such photo, or the session may not see it"),
        }
        | _failures((*ANYWHERE, TooManyRequests)),
    }
    return {IMAGES: {"get": operation}}


def reference() -> dict[str, Document]:
    """The operator's own paths; they are no part of the CRM.COM API."""
    organisation = query_parameter(
        "organisation", {"type": "string"}, "Where the record does not say it."
    )
    listed = [
        query_parameter(row.parameter, row.schema(), required=rule is Level.MANDATORY)
        for row, rule in LIST
    ]
    record = schema_ref("record")
    kind = _path_parameter("kind", {"type": "string", "enum": list(KINDS)})
    id_ = _path_parameter("id", {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,64}$"})
    words = {"type": "string", "enum": ["CREATED", "UPDATED", "UNCHANGED"]}
    lines = {"type": "string", "description": "One record a line, each a JSON object."}
    return {
        f"{REFERENCE}{{kind}}": {
            "parameters": [kind],
            "get": _operator(
                "list",
                "Lists the records of a kind by their ids.",
                {"type": "array", "items": record},
            )
            | {"parameters": listed},
            "post": _operator(
                "import",
                "Registers records, one a line, and reports refused lines.",
                _report(),
                RequestTooLarge,
            )
            | {"parameters": [organisation], "requestBody": _content("application/jsonl", lines)},
        },
        f"{REFERENCE}{{kind}}/{{id}}": {
            "parameters": [kind, id_],
            "get": _operator("show", "Shows one record.", record) | {"parameters": listed[:1]},
            "put": _operator(
                "register",
                "Registers a record, or replaces it as a whole.",
                _registered(words),
                RequestTooLarge,
            )
            | {"parameters": [organisation], "requestBody": _content("application/json", record)},
        },
    }


SECRET: JsonSchema = {
    "type": "string",
    "description": "Where one was made up: it is shown here and never again.",
}


def _registered(words: JsonSchema) -> JsonSchema:
    said = _object(id={"type": "string"}, result=words)
    said["properties"]["secret"] = SECRET
    return said


def _report() -> JsonSchema:
    counted: JsonSchema = {"type": "integer", "minimum": 0}
    refused = _object(
        line={"type": "integer", "minimum": 1},
        code={"type": "string"},
        description={"type": "string"},
    )
    said = _object(
        created=counted,
        updated=counted,
        unchanged=counted,
        refused={"type": "array", "items": refused},
    )
    made_up = _object(line={"type": "integer", "minimum": 1}, secret=SECRET)
    said["properties"]["secrets"] = {"type": "array", "items": made_up}
    return said


def _operator(name: str, summary: str, result: JsonSchema, *errors: type[ServiceError]) -> Document:
    content = {"application/json": {"schema": answer(result)}}
    return {
        "operationId": f"{OPERATOR}_{name}",
        "tags": [OPERATOR],
        "summary": summary,
        "security": [{"operator_key": []}],
        "responses": {
            "200": {"description": "The result.", "content": content},
            "401": failure("The operator key is missing or wrong"),
            "404": failure("There is no such kind, organisation or record"),
        }
        | _failures((*ANYWHERE, *errors))
        | {"400": failure("The request could not be read or is refused")},
    }


def _content(content_type: str, schema: JsonSchema) -> Document:
    return {"required": True, "content": {content_type: {"schema": schema}}}


def _object(**properties: JsonSchema) -> JsonSchema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _path_parameter(name: str, schema: JsonSchema) -> Document:
    return {"name": name, "in": "path", "required": True, "schema": schema}
