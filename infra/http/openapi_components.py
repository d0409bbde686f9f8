"""The schemas that the description of the API refers to by name.

They come from the same tables that read calls and make answers: shapes, identifiers, kinds of
records, the catalogue of errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from domain.errors import CATALOGUE
from domain.fields import JsonSchema, Shape, nullable
from domain.nested import identifier_schema
from domain.reference_entities import ENTITIES, KINDS, SECRETS
from domain.registration import Kind
from services.documents import COMPACTS
from services.endpoint import Method

__all__ = ["answer", "data", "refs", "schema_ref", "schemas"]

PREFIX = "#/components/schemas/"
TEXT: JsonSchema = {"type": "string"}


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


def schemas(methods: Iterable[Method]) -> dict[str, JsonSchema]:
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
        if method.returns:
            add(method.returns.name, _shape(method.returns))
            if method.fields_set:
                add(f"{method.returns.name}_fields", _fields(method.returns))
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
    if method.returns is None:
        return schema_ref("nothing")
    one = schema_ref(method.returns.name)
    if method.fields_set:
        one = {"anyOf": [one, schema_ref(f"{method.returns.name}_fields")]}
    return {"type": "array", "items": one} if method.many else one


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


def _shape(shape: Shape) -> JsonSchema:
    """An object of an answer; what has an id is never without it."""
    schema = shape.schema()
    if "id" in schema["properties"]:
        schema["properties"]["id"] = TEXT
    return schema


def _fields(shape: Shape) -> JsonSchema:
    return {
        "type": "object",
        "description": "What is left with `fields_set`: the keys that it names, each whole.",
        "propertyNames": {"enum": [row.key for row in shape.rows]},
    }


def _record(kind: Kind) -> JsonSchema:
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
