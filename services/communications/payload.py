"""The payloads of communication events (contract communications.md, sections 3 to 7).

The order is that of section 8.4: template, given fields, references, unrestricted parameters,
``from``, tags; then the limits, which are measured on the resolved text.
"""

from __future__ import annotations

from uuid import UUID

from domain.communication import (
    CATEGORY,
    DIRECTION,
    EXTERNAL_SYSTEM,
    INSERTED_VALUES,
    MEDIA,
    OWNERSHIP,
    REFERENCES,
    TEXTS,
    UDF,
    Communication,
    are_addresses,
)
from domain.composite_fields import Reference
from domain.diff import apply_diff
from domain.errors import (
    AccessDenied,
    EntityNotFound,
    InvalidLifeCycleState,
    InvalidParameterValue,
    MandatoryParameter,
)
from domain.fields import Field, JsonObject
from domain.reference.catalogue import identifiable
from domain.unrestricted_parameters import UNRESTRICTED, UnrestrictedParameters
from services.communications.tags import render_texts
from services.ids import format_id
from services.pipeline.request import Call

__all__ = [
    "TEMPLATE",
    "TEMPLATED",
    "amendment",
    "check_consumer_may_write",
    "check_recipient",
    "creation_payload",
    "followed_communication",
]

SUBJECT, TEXT, TO, NOTES = TEXTS
TEMPLATE = Reference(name="template", target=identifiable("communication_template"))
TEMPLATED: tuple[Field, ...] = (DIRECTION, MEDIA, SUBJECT, TEXT)
"""The fields of every communication, from the caller or from a template."""

FROM_TEMPLATE = (*(field.name for field in TEMPLATED), CATEGORY.name, EXTERNAL_SYSTEM.name)
STORED = frozenset(
    field.name
    for field in (*TEMPLATED, TO, NOTES, CATEGORY, EXTERNAL_SYSTEM, *OWNERSHIP, *UDF, REFERENCES)
)


def check_recipient(values: JsonObject) -> None:
    """Raises `InvalidParameterValue` for an e-mail to something else than addresses (section 5.1)."""
    if values.get("media") == "EMAIL" and values.get("to") and not are_addresses(values["to"]):
        raise InvalidParameterValue(TO.name)


def followed_communication(call: Call) -> list[UUID]:
    """The id of the communication that a new one follows up; empty if there is none."""
    reference = (call.params.get(REFERENCES.name) or {}).get("communication")
    return [UUID(reference)] if reference else []


def check_consumer_may_write(call: Call, details: JsonObject) -> None:
    """Raises `AccessDenied` for a consumer that writes what is not incoming (common.md, section 11)."""
    if call.session.customer and details.get(DIRECTION.name) != "INCOMING":
        raise AccessDenied(DIRECTION.name)


def creation_payload(call: Call) -> JsonObject:
    """The payload of a new communication's first event. Raises as sections 3 to 7 say."""
    params = {name: value for name, value in call.params.items() if value is not None}
    contact: str = params["contact_information"]
    details = (
        _template_values(call) | {"owned_by_group": call.default_group} | _passive_fields(params)
    )
    check_consumer_may_write(call, details)
    _check_complete(details)
    parameters = _apply_parameters([], params, call)
    details["from"] = _sender(details, call)
    details = _resolve_tags(details, contact, parameters, call)
    return {
        "number": f"CM{call.next_number('communication'):06d}",
        "code": _code(call),
        "contact_information": contact,
        "details": {name: value for name, value in details.items() if value is not None},
        "parameters": parameters,
    }


def amendment(communication: Communication, call: Call) -> tuple[JsonObject, list[JsonObject]]:
    """Details and unrestricted parameters after an update. Raises as sections 3 to 7 say."""
    params, before = call.params, communication.details
    details = apply_diff(before, _template_values(call) | _passive_fields(params))
    check_consumer_may_write(call, details)
    _check_complete(details)
    details = apply_diff(details, _changed_references(communication, params))
    if details.get(TEXT.name) != before.get(TEXT.name):
        details[INSERTED_VALUES] = None
    parameters = _apply_parameters(communication.parameters, params, call)
    if any(details.get(field.name) != before.get(field.name) for field in (DIRECTION, MEDIA)):
        details["from"] = _sender(details, call)
    return _resolve_tags(details, communication.contact_information, parameters, call), parameters


def _passive_fields(params: JsonObject) -> JsonObject:
    """The given passive fields; a null beside a template counts as not given (section 5.2)."""
    has_template = params.get(TEMPLATE.name) is not None
    return {
        name: value
        for name, value in params.items()
        if name in STORED and not (value is None and has_template and name in FROM_TEMPLATE)
    }


def _template_values(call: Call) -> JsonObject:
    """The values of the given template. Raises as section 5.2 says."""
    id_ = call.params.get(TEMPLATE.name)
    if id_ is None:
        return {}
    template = call.directory.fields(TEMPLATE.target.entity, id_)
    allowed = template.get("allowed_unit") or ()
    if allowed and call.session.unit not in allowed:
        raise EntityNotFound(TEMPLATE.parameter)
    if template.get("life_cycle_state") != "EFFECTIVE":
        raise InvalidLifeCycleState(TEMPLATE.parameter)
    return {name: template[name] for name in FROM_TEMPLATE if template.get(name) is not None}


def _check_complete(values: JsonObject) -> None:
    """Raises `MandatoryParameter` without direction or media, or an e-mail's address (section 5.1).

    Subject and content may be missing: who gives no template is asked for them before.
    """
    for field in (DIRECTION, MEDIA, *((TO,) if values.get("media") == "EMAIL" else ())):
        if not (values.get(field.name) or "").strip():
            raise MandatoryParameter(field.name)
    check_recipient(values)


def _changed_references(communication: Communication, params: JsonObject) -> JsonObject:
    """The references after an update; null removes all (section 3)."""
    if REFERENCES.name not in params:
        return {}
    links: JsonObject | None = params[REFERENCES.name]
    if links is None:
        links = dict.fromkeys(communication.details.get(REFERENCES.name) or {})
    if links.get("communication") == format_id(communication.id):
        raise InvalidParameterValue(f"{REFERENCES.name}.communication_identifier")
    return {REFERENCES.name: links}


def _apply_parameters(
    current: list[JsonObject], params: JsonObject, call: Call
) -> list[JsonObject]:
    parameters = UnrestrictedParameters(current)
    for n, item in enumerate(params.get(UNRESTRICTED.name) or ()):
        parameters.apply(item, call.new_id_text(), f"{UNRESTRICTED.name}[{n}]")
    return parameters.to_list()


def _resolve_tags(
    values: JsonObject, contact: str, parameters: list[JsonObject], call: Call
) -> JsonObject:
    """The values with the tags of both texts resolved, within the limits of section 5.4."""
    texts = {field: values.get(field.name) for field in (SUBJECT, TEXT)}
    links = values.get(REFERENCES.name) or {}
    places = values.get(INSERTED_VALUES) or ()
    values = values | render_texts(texts, contact, links, parameters, call, places)
    system = call.directory.fields(EXTERNAL_SYSTEM.name, values.get(EXTERNAL_SYSTEM.name))
    limits = (
        (call.settings.get("content_limits") or {}).get(values["media"]),
        system.get("message_character_limit"),
    )
    if any(limit is not None and len(values[TEXT.name] or "") > limit for limit in limits):
        raise InvalidParameterValue(TEXT.name)
    return values


def _sender(values: JsonObject, call: Call) -> str | None:
    """The sender of an outgoing e-mail or SMS (section 5.3)."""
    settings = {"EMAIL": "default_email_address", "SMS": "default_sms_sender"}
    if values["direction"] != "OUTGOING" or values["media"] not in settings:
        return None
    sender: str | None = call.settings.get(settings[values["media"]])
    return sender


def _code(call: Call) -> str:
    """The code of the communication that this one follows up, else a new one (section 6)."""
    for id_ in followed_communication(call):
        communication = call.related[id_]
        assert isinstance(communication, Communication)
        return communication.code
    return str(call.next_number("communication_code"))
