"""The operations of the description: one for each method, the image download, registration."""

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
from infra.http.api.routes import IMAGES, POSITION, REPLAYED, STALENESS
from infra.http.openapi.components import FIELDS_SET, TOKEN, result_schema
from infra.http.openapi.schemas import (
    COUNT,
    EXAMPLE_ID,
    TEXT,
    Document,
    array,
    envelope,
    error_responses,
    failure,
    json_content,
    object_of,
    operation,
    path_parameter,
    query_parameter,
    query_parameters,
    schema_ref,
)
from infra.http.operators.reference import LIST_PARAMETERS, REFERENCE
from services.pipeline.method import BASE, Method

__all__ = [
    "REFERENCE_TAG",
    "image_paths",
    "method_paths",
    "own_parameters",
    "reference_paths",
    "tag",
]

REFERENCE_TAG = "reference"
"""The tag of registration, which is not part of the CRM.COM API."""

RESULT = "The result; or a refusal, whose `status.code` is not `OK`."
TEXT_OR_LIST: JsonSchema = {"type": ["string", "array", "null"], "items": {"type": "string"}}
ANYWHERE = (InvalidRequest, InternalError, ServiceUnavailable)


def method_paths(methods: Iterable[Method]) -> dict[str, Document]:
    """Return every method by path, under its one verb."""
    return {BASE + method.path: {method.verb.lower(): _operation(method)} for method in methods}


def tag(method: Method) -> str:
    """Return the tag of a method: the resource that its path begins with."""
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
    success = _result(result_schema(method))
    if method.verb == "POST" and method.needs_session:
        success["headers"] = {REPLAYED: {"$ref": f"#/components/headers/{REPLAYED}"}}
    if method.verb == "GET" and method.needs_session:
        parameters.append({"$ref": "#/components/parameters/max_staleness"})
        success["headers"] = {
            name: {"$ref": f"#/components/headers/{name}"} for name in (STALENESS, POSITION)
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
    if method.needs_session:
        operation["security"] = [{}, {"session": []}]
    elif "_key/" in method.path:
        operation["security"] = [{"web_api_key": []}]
    return operation | {"responses": {"200": success} | error_responses(errors)}


def _groups(method: Method) -> str:
    """The sentences that say which parameters are semi-optional."""
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
    """Return the parameters that a method takes in a query besides the token."""
    parameters = [_query_parameter(field, level) for field, level in method.parameters]
    if method.fields_set:
        parameters.append({"$ref": "#/components/parameters/fields_set"})
    return parameters


def _query_parameter(field: Field, level: LevelRule) -> Document:
    schema = _textual(field)
    sentences = [
        field.description,
        schema.pop("description", ""),
        f"Since {field.since}." if field.since else "",
    ]
    description = " ".join(filter(None, sentences))
    return query_parameter(field.parameter, schema, description, required=level is Level.MANDATORY)


def _textual(field: Field) -> JsonSchema:
    """The schema of a parameter in a query or a form, where identifiers are texts."""
    if not isinstance(field, Reference):
        return field.schema()
    first, fields = field.target.fields[0], ", ".join(f"`{name}`" for name in field.target.fields)
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
    if method.fields_set:
        schema["properties"] |= {"fields_set": fields_set | FIELDS_SET}
    content_type = "multipart/form-data" if method.multipart else "application/json"
    content = {content_type: {"schema": schema}}
    return {"required": bool(schema.get("required")), "content": content}


def _result(result: JsonSchema) -> Document:
    schema = {"oneOf": [envelope(result), schema_ref("error")]}
    return {"description": RESULT, "content": json_content(schema)}


def image_paths() -> dict[str, Document]:
    """Return the download of a profile photo, by path."""
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
        | error_responses((*ANYWHERE, TooManyRequests)),
    }
    return {IMAGES: {"get": operation}}


def reference_paths() -> dict[str, Document]:
    """Return the methods of registration, by path; they are not part of the CRM.COM API."""
    organisation = query_parameter("organisation", TEXT, "Where the record does not say it.")
    listed = query_parameters(LIST_PARAMETERS)
    record = schema_ref("record")
    kind = path_parameter("kind", TEXT | {"enum": list(KINDS)})
    id_ = path_parameter("id", TEXT | {"pattern": "^[A-Za-z0-9_.:-]{1,64}$"})
    lines = TEXT | {"description": "One record a line, each a JSON object."}
    return {
        f"{REFERENCE}{{kind}}": {
            "parameters": [kind],
            "get": _operator(
                "list",
                "Lists the records of a kind by their ids.",
                array(record),
            )
            | {"parameters": listed},
            "post": _operator(
                "import",
                "Registers records, one a line, and reports refused lines.",
                _import_report(),
                RequestTooLarge,
            )
            | {
                "parameters": [organisation],
                "requestBody": _request_body({"application/jsonl": {"schema": lines}}),
            },
        },
        f"{REFERENCE}{{kind}}/{{id}}": {
            "parameters": [kind, id_],
            "get": _operator("show", "Shows one record.", record) | {"parameters": listed[:1]},
            "put": _operator(
                "register",
                "Registers a record, or replaces it as a whole.",
                _registration_result(),
                RequestTooLarge,
            )
            | {"parameters": [organisation], "requestBody": _request_body(json_content(record))},
        },
    }


SECRET: JsonSchema = TEXT | {
    "description": "Where one was made up: it is shown here and never again.",
}


def _registration_result() -> JsonSchema:
    actions = {"type": "string", "enum": ["CREATED", "UPDATED", "UNCHANGED"]}
    result = object_of({"id": TEXT, "result": actions})
    result["properties"]["secret"] = SECRET
    return result


def _import_report() -> JsonSchema:
    line = {"type": "integer", "minimum": 1}
    refused = array(object_of({"line": line, "code": TEXT, "description": TEXT}))
    report = object_of({"created": COUNT, "updated": COUNT, "unchanged": COUNT, "refused": refused})
    report["properties"]["secrets"] = array(object_of({"line": line, "secret": SECRET}))
    return report


def _operator(name: str, summary: str, result: JsonSchema, *errors: type[ServiceError]) -> Document:
    return operation(
        REFERENCE_TAG,
        name,
        summary,
        security="operator_key",
        content=json_content(envelope(result)),
        refusals={
            "401": failure("The operator key is missing or wrong"),
            "404": failure("There is no such kind, organisation or record"),
            "400": failure("The request could not be read or is refused"),
        },
        errors=(InternalError, ServiceUnavailable, *errors),
    )


def _request_body(content: Document) -> Document:
    return {"required": True, "content": content}
