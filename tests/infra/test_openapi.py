"""The description of the API is valid, whole, current, and true of what the service answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

import services.registry  # noqa: F401 (fills the registries)
from domain.errors import CATALOGUE
from domain.fields import Level, ResponseShape
from domain.reference.catalogue import ENTITIES, KINDS
from infra.http.api.routes import IMAGES
from infra.http.audit.routes import AUDIT
from infra.http.openapi.document import document, openapi_json, pretty_json
from infra.http.openapi.schemas import refs
from services.pipeline.method import BASE, METHODS, Method, Query
from services.projections import COMPACTS
from tests.contract.scenes import Api, Case, Scene, cases, requested_fields

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "infra.http.openapi.document"]
DESCRIBED = document()  # fills the registry, too
SCHEMAS = DESCRIBED["components"]["schemas"]
ALL = sorted(METHODS.values(), key=lambda method: method.number)
EVERY = pytest.mark.parametrize("method", ALL, ids=lambda method: method.path)
SHAPES = {shape.name: shape for shape in (*COMPACTS.values(), *(m.response for m in ALL)) if shape}


def operation(method: Method) -> dict[str, Any]:
    found: dict[str, Any] = DESCRIBED["paths"][BASE + method.path][method.verb.lower()]
    return found


def body(method: Method) -> dict[str, Any]:
    (content,) = operation(method)["requestBody"]["content"].values()
    found: dict[str, Any] = content["schema"]
    return found


def problems(value: object, schema: dict[str, Any]) -> list[str]:
    validator = Draft202012Validator(schema | {"components": DESCRIBED["components"]})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def test_it_is_valid() -> None:
    OpenAPIV31SpecValidator(DESCRIBED).validate()
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


def test_every_reference_resolves() -> None:
    for ref in refs(DESCRIBED):
        node = DESCRIBED
        for step in ref.removeprefix("#/").split("/"):
            node = node[step]


def test_paths_are_those_that_are_served() -> None:
    api = {BASE + method.path: {method.verb.lower()} for method in ALL}
    record = "/reference/v1/{kind}"
    others = {IMAGES: {"get"}, record: {"get", "post"}, f"{record}/{{id}}": {"get", "put"}}
    others |= {f"{AUDIT}{name}": {"get"} for name in ("head", "history", "blame", "events")}
    others |= {f"{AUDIT}as_of/{m.path}": {"get"} for m in ALL if isinstance(m, Query)}
    others |= {"/requests/v1/{key}": {"get"}, "/requests/v1/{key}/revoke": {"post"}}
    hooks = "/operator/v1/webhooks"
    others |= {hooks: {"get"}, f"{hooks}/{{id}}/deliveries": {"get"}}
    others |= {f"{hooks}/{{id}}/{act}": {"post"} for act in ("replay", "resume")}
    verbs = {path: set(item) - {"parameters"} for path, item in DESCRIBED["paths"].items()}
    assert verbs == api | others


def test_operation_ids_are_unique_and_summaries_are_there() -> None:
    operations = [
        item[verb]
        for item in DESCRIBED["paths"].values()
        for verb in ("get", "post", "put")
        if verb in item
    ]
    operations.append(DESCRIBED["webhooks"]["recorded"]["post"])
    assert len({one["operationId"] for one in operations}) == len(operations)
    assert all(one["summary"] and one["tags"] for one in operations)
    assert {tag["name"] for tag in DESCRIBED["tags"]} == {t for o in operations for t in o["tags"]}


@EVERY
def test_every_parameter_is_described(method: Method) -> None:
    names = {row.parameter for row, _ in method.parameters}
    needed = {row.parameter for row, rule in method.parameters if rule is Level.MANDATORY}
    if method.needs_session:
        names |= {"token"}  # a bearer header may hold it instead
    if method.fields_set:
        names |= {"fields_set"}
    if method.verb == "POST":
        schema = body(method)
        assert set(schema["properties"]) == names
        assert set(schema.get("required", [])) == needed
        assert ("multipart/form-data" in operation(method)["requestBody"]["content"]) is (
            method.multipart
        )
    else:
        shared = DESCRIBED["components"]["parameters"]
        given = [
            shared[p["$ref"].rpartition("/")[2]] if "$ref" in p else p
            for p in operation(method)["parameters"]
        ]
        assert {p["name"] for p in given if p["in"] == "query"} == names
        assert {p["name"] for p in given if p.get("required")} == needed


@EVERY
def test_only_a_reading_in_a_session_may_be_old(method: Method) -> None:
    reads = method.verb == "GET" and method.needs_session
    assert ("max_staleness" in str(operation(method).get("parameters"))) is reads
    headers = set(operation(method)["responses"]["200"].get("headers", {}))
    assert headers - {"Idempotent-Replayed"} == ({"X-Staleness", "X-Position"} if reads else set())


@EVERY
def test_a_key_of_the_idempotent_kind_is_for_writes_in_a_session(method: Method) -> None:
    writes = method.verb == "POST" and method.needs_session
    assert ("idempotency_key" in str(operation(method).get("parameters"))) is writes
    assert ("422" in operation(method)["responses"]) is writes
    headers = operation(method)["responses"]["200"].get("headers", {})
    assert ("Idempotent-Replayed" in headers) is writes


@EVERY
def test_only_logins_with_a_key_show_one(method: Method) -> None:
    wanted: Any = [{"web_api_key": []}] if "_key/token" in method.path else None
    if method.needs_session:
        wanted = [{}, {"session": []}]
    assert operation(method).get("security") == wanted


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_shape_has_the_keys_of_its_rows(shape: ResponseShape) -> None:
    schema = SCHEMAS[shape.name]
    keys = [row.key for row in shape.fields]
    assert [*schema["properties"]] == schema["required"] == keys
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_an_object_with_nothing_set_fits(shape: ResponseShape) -> None:
    values = shape.render({"id": "1"}, ZoneInfo("Asia/Nicosia"))
    if "follow_up_set" in values:
        values["follow_up_set"] = []
    assert not problems(values, SCHEMAS[shape.name])


@pytest.mark.parametrize("entity", ENTITIES)
def test_an_identifier_is_exactly_one_field(entity: str) -> None:
    schema = SCHEMAS[f"{entity}_identifier"]
    fields = ENTITIES[entity].fields
    assert not any(problems({field: "1"}, schema) for field in fields)
    assert problems({}, schema)
    assert problems({"colour": "1"}, schema)
    assert problems(dict.fromkeys(fields, "1"), schema) or len(fields) == 1


def test_every_code_is_named() -> None:
    codes = SCHEMAS["error"]["properties"]["status"]["properties"]["code"]["enum"]
    assert codes == [error.code for error in CATALOGUE.values()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_has_the_fields_of_its_kind(kind: str) -> None:
    properties = SCHEMAS[f"{kind}_record"]["properties"]
    fields = {row.parameter for row in KINDS[kind].fields} | set(KINDS[kind].secrets)
    assert set(properties) == fields | {"kind", "organisation", "id", "retired"}
    assert {n for n, p in properties.items() if p.get("writeOnly")} == set(KINDS[kind].secrets)


def test_the_kept_copy_is_current() -> None:
    kept = (ROOT / "docs" / "openapi.json").read_bytes()
    # Not ==, whose report would hold both.
    current = kept == pretty_json()
    assert current, "run: python -m infra.http.openapi.document > docs/openapi.json"


def test_it_is_the_same_in_another_process() -> None:
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    written = subprocess.run(
        COMMAND, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=60
    ).stdout
    same = written == pretty_json()
    assert same
    assert orjson.loads(written) == orjson.loads(openapi_json())


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
async def test_answers_of_the_service_fit(api: Api, case: Case) -> None:
    scene = Scene(api)
    await scene.prepare(case.given)
    answer = await scene.perform(case.call)
    method = METHODS[case.method]
    content = operation(method)["responses"]["200"]["content"]["application/json"]
    assert not problems(answer, content["schema"])
    if answer["status"]["code"] == "OK" and not requested_fields(case.call) and method.response:
        objects = answer["data"] if method.is_list else [answer["data"]]
        for one in objects:
            assert not problems(one, SCHEMAS[method.response.name])
