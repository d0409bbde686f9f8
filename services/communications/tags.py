"""The values of the tags in a text (contract communications.md, section 4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from domain.communication import INSERTED_VALUES, TEXTS
from domain.contact_fields import DEMOGRAPHICS
from domain.errors import InvalidParameterValue
from domain.fields import Field, JsonObject
from domain.parsing import java_date
from domain.scalar_fields import Boolean, Date, Enumeration, Integer, Number, Text
from domain.template_tags import inserted_values, resolve
from services.pipeline.request import Call
from services.projections import COMPACTS

__all__ = ["render_texts"]

CONTENT = TEXTS[1]
SCALARS = (Text, Integer, Number, Boolean, Date, Enumeration)


def render_texts(
    texts: Mapping[Text, str | None],
    contact: str,
    references: JsonObject,
    parameters: Iterable[JsonObject],
    call: Call,
    places: Iterable[Sequence[int]],
) -> JsonObject:
    """The texts by field with their tags resolved, and the places of values that mean something in HTML.

    The texts hold all values as they are (section 4); if the content is HTML, who sends it escapes them.
    ``contact`` is the id of the communication's contact, ``references`` the ids it refers to by
    kind, ``parameters`` its unrestricted parameters, ``places`` are those of earlier values. Raises
    `InvalidParameterValue` for a text that becomes longer than its field can hold.
    """
    entities = {"contact_information": contact} | {k: v for k, v in references.items() if v}
    by_key = {parameter["key"]: parameter for parameter in parameters}

    @cache  # A long text may hold the same tag many thousand times.
    def value_of(entity: str, field: str) -> str | None:
        if entity.startswith("unrestricted_"):
            parameter = by_key.get(f"{entity}.{field}")
            return _parameter_text(parameter, call) if parameter else None
        return _entity_text(entity, entities.get(entity), field, call)

    resolved: JsonObject = {}
    for field, text in texts.items():
        resolved[field.name] = text and resolve(text, value_of, field.max_length)
        if text and resolved[field.name] is None:
            raise InvalidParameterValue(field.name)
    places = inserted_values(texts[CONTENT] or "", value_of, places)
    return resolved | {INSERTED_VALUES: places or None}


def _parameter_text(parameter: JsonObject, call: Call) -> str:
    kind = parameter["type"].lower()
    value = parameter[f"{kind}_value"]
    return java_date(value, call.zone) if kind == "date" else str(value)


def _entity_text(entity: str, id_: str | None, field: str, call: Call) -> str | None:
    shape = COMPACTS.get(entity)
    compact = call.compact_object(entity, id_) if shape else None
    if shape is None or compact is None:
        return None
    match = _scalar(shape.fields, compact, field)
    if match is None and entity == "contact_information":
        match = _scalar(DEMOGRAPHICS, compact.get("demographics") or {}, field)
    return _text(*match, call) if match else None


def _scalar(fields: Iterable[Field], compact: JsonObject, name: str) -> tuple[Field, Any] | None:
    """The field of that name and its value, if it is a scalar; else None."""
    for field in fields:
        if field.key == name and isinstance(field, SCALARS):
            return field, compact.get(name)
    return None


def _text(field: Field, value: Any, call: Call) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return (
        java_date(value, call.zone)
        if isinstance(field, Date) and not field.java_format
        else str(value)
    )
