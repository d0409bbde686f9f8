"""Methods 5 to 10: communications (contract communications.md, sections 2 to 8)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from domain.changes import merged
from domain.communication import (
    CATEGORY,
    CONTACT,
    DIRECTION,
    EXTERNAL_SYSTEM,
    FILING,
    LIFE_CYCLE_STATE,
    MEDIA,
    REFERENCES,
    TEXTS,
    UDF,
    UNRESTRICTED,
    Communication,
    with_parameter,
)
from domain.contact_fields import email_address
from domain.errors import (
    EntityNotFound,
    InvalidLifeCycleState,
    InvalidParameterValue,
    MandatoryParameter,
)
from domain.fields import Field, Level, Parameters, Row, Values, keep, mandatory, when
from domain.nested import Reference
from domain.queue_entry import QueueEntry
from domain.reference_entities import identifiable
from domain.scalars import CONTENT, Date
from services.call import Call
from services.communication_documents import COMMUNICATION, COMPACT_COMMUNICATION
from services.endpoint import command, create, query
from services.ids import id_text
from services.paging import PAGING, page
from services.ports import Select
from services.queue import queued
from services.tag_values import filled_in

ON = Reference(name="communication", to=identifiable("communication"))
TEMPLATE = Reference(name="template", to=identifiable("communication_template"))
SUBJECT, TEXT, TO, NOTES = TEXTS
TEMPLATED = (DIRECTION, MEDIA, SUBJECT, TEXT)
FROM_TEMPLATE = (*(row.name for row in TEMPLATED), CATEGORY.name, EXTERNAL_SYSTEM.name)


def _unless_template(level: Level) -> Any:
    return lambda given: Level.OPTIONAL if given.get("template") else level


def _addressed(given: Values) -> Level:
    return Level.MANDATORY if given.get("media") == "EMAIL" else Level.OPTIONAL


def _check_recipient(values: Values) -> None:
    """An e-mail goes to an address (section 5.1)."""
    if values.get("media") == "EMAIL" and values.get("to") and not email_address(values["to"]):
        raise InvalidParameterValue("to")


PASSIVE: tuple[Field, ...] = (*UDF, REFERENCES)
CREATE = Parameters(
    mandatory(CONTACT),
    TEMPLATE,
    CATEGORY,
    EXTERNAL_SYSTEM,
    *(when(row, _unless_template(Level.MANDATORY)) for row in TEMPLATED),
    when(TO, _addressed),
    NOTES,
    LIFE_CYCLE_STATE,
    *FILING,
    *PASSIVE,
    UNRESTRICTED,
    check=_check_recipient,
)
UPDATE = Parameters(
    mandatory(ON),
    TEMPLATE,
    CATEGORY,
    EXTERNAL_SYSTEM,
    *(when(row, _unless_template(Level.KEPT)) for row in TEMPLATED),
    TO,
    NOTES,
    LIFE_CYCLE_STATE,
    *(keep(row) if row.name == "owned_by_group" else row for row in FILING),
    *PASSIVE,
    UNRESTRICTED.for_update(),
)
LIST = Parameters(
    CONTACT,
    CATEGORY,
    DIRECTION,
    MEDIA,
    *PAGING,
    at_least_one=("contact_information", "category"),
)
IDENTIFIED: tuple[Row, ...] = (mandatory(ON),)
ON_COMMUNICATION: Values = {"on": ON, "aggregate": Communication}
STORED = frozenset(row.name for row in (*TEMPLATED, TO, NOTES, CATEGORY, EXTERNAL_SYSTEM, *FILING))


@query(5, "communications/show", Parameters(*IDENTIFIED), COMMUNICATION)
def show(call: Call) -> Select:
    """Shows one communication."""
    return Select("communications", {"id": call.given["communication"]})


@query(6, "communications/list", LIST, COMMUNICATION, many=True)
def list_(call: Call) -> Select:
    """Lists the communications of a contact or of a category."""
    columns = ("contact_information", "category", "direction", "media")
    return page("communications", {name: call.given.get(name) for name in columns}, call.given)


def _followed(given: Values) -> list[str]:
    """The communication that a new one follows up."""
    reference = (given.get("referring_to") or {}).get("communication")
    return [reference] if reference else []


@create(
    7,
    "communications/create",
    CREATE,
    COMMUNICATION,
    numbers=("communication", "communication_code", "communication_queue"),
    also=_followed,
)
def create_(call: Call) -> Iterable[Communication | QueueEntry]:
    """Creates a communication, complete unless it is said to be a draft."""
    given = {name: value for name, value in call.given.items() if value is not None}
    parameters = _parameters([], given.get("unrestricted_parameter_set"), call)
    defaults = _template(call) | {"owned_by_group": call.own_group}
    details = _finished(defaults | _stored(given), given["contact_information"], parameters, call)
    details["from"] = _sender(details, call)
    final = given.get("life_cycle_state") != "DRAFT"
    communication = Communication.begin(
        Communication.Recorded if final else Communication.Drafted,
        call.by,
        id=call.new_id(),
        number=f"CM{call.number('communication'):06d}",
        code=_code(given, call),
        contact_information=given["contact_information"],
        details={name: value for name, value in details.items() if value is not None},
        parameters=parameters,
    )
    return [communication, *queued(communication, call)]


@command(
    8,
    "communications/update",
    UPDATE,
    COMMUNICATION,
    numbers=("communication_queue",),
    **ON_COMMUNICATION,
)
def update(communication: Communication, call: Call) -> list[QueueEntry]:
    """Changes a draft and, if it is said to be completed, completes it."""
    communication.require("DRAFT")
    given = call.given
    if set(given) == {"communication"}:
        return []
    parameters = _parameters(
        communication.parameters, given.get("unrestricted_parameter_set"), call
    )
    values = _template(call) | _stored(given) | _references(communication, given)
    now = merged(communication.details, values)
    finished = _finished(now, communication.contact_information, parameters, call)
    if any(finished.get(n) != communication.details.get(n) for n in ("direction", "media")):
        finished["from"] = _sender(finished, call)
    communication.amend(finished, parameters, call.by)
    return complete(communication, call) if given.get("life_cycle_state") == "COMPLETED" else []


@command(
    9,
    "communications/complete",
    Parameters(*IDENTIFIED),
    COMPACT_COMMUNICATION,
    shows="compact",
    numbers=("communication_queue",),
    **ON_COMMUNICATION,
)
def complete(communication: Communication, call: Call) -> list[QueueEntry]:
    """Makes a draft final and queues it if it is to be sent."""
    communication.complete(call.by)
    return list(queued(communication, call))


@command(
    10,
    "communications/set_as_viewed",
    Parameters(*IDENTIFIED, Date(name="viewed_on")),
    COMPACT_COMMUNICATION,
    shows="compact",
    **ON_COMMUNICATION,
)
def set_as_viewed(communication: Communication, call: Call) -> None:
    """Notes that the contact has seen a communication."""
    communication.mark_viewed(call.given.get("viewed_on") or call.now, call.by)


def _stored(given: Values) -> Values:
    """The given passive fields; a null beside a template counts as not given (section 5.2)."""
    stored = STORED | {row.name for row in PASSIVE}
    templated = given.get("template") is not None
    return {
        name: value
        for name, value in given.items()
        if name in stored and not (value is None and templated and name in FROM_TEMPLATE)
    }


def _template(call: Call) -> Values:
    """The values of the given template. Raises as section 5.2 says."""
    id_ = call.given.get("template")
    if id_ is None:
        return {}
    template = call.directory.fields("communication_template", id_)
    allowed = template.get("allowed_unit") or ()
    if allowed and call.session.unit not in allowed:
        raise EntityNotFound(TEMPLATE.parameter)
    if template.get("life_cycle_state") != "EFFECTIVE":
        raise InvalidLifeCycleState(TEMPLATE.parameter)
    return {name: template[name] for name in FROM_TEMPLATE if template.get(name) is not None}


def _references(communication: Communication, given: Values) -> Values:
    """The links as an update changes them; null removes all (section 3)."""
    if "referring_to" not in given:
        return {}
    links: Values | None = given["referring_to"]
    if links is None:
        links = dict.fromkeys(communication.details.get("referring_to") or {})
    if links.get("communication") == id_text(communication.id):
        raise InvalidParameterValue("referring_to.communication_identifier")
    return {"referring_to": links}


def _parameters(current: list[Values], items: list[Values] | None, call: Call) -> list[Values]:
    for n, item in enumerate(items or ()):
        at = f"{UNRESTRICTED.name}[{n}]"
        current = with_parameter(current, item, call.new_id_text(), at)
    return current


def _finished(values: Values, contact: str, parameters: list[Values], call: Call) -> Values:
    """Complete values with their tags resolved, within the limits. Raises as section 5 says."""
    for row in (*TEMPLATED, *((TO,) if values.get("media") == "EMAIL" else ())):
        if not (values.get(row.name) or "").strip():
            raise MandatoryParameter(row.name)
    _check_recipient(values)
    texts = {name: values[name] for name in (SUBJECT.name, TEXT.name)}
    links = values.get("referring_to") or {}
    values = values | filled_in(texts, contact, links, parameters, call)
    system = values.get(EXTERNAL_SYSTEM.name)
    limits = (
        CONTENT,
        (call.settings.get("content_limits") or {}).get(values["media"]),
        call.directory.fields(EXTERNAL_SYSTEM.name, system).get("message_character_limit"),
    )
    if len(values["content"]) > min(limit for limit in limits if limit is not None):
        raise InvalidParameterValue("content")
    return values


def _sender(values: Values, call: Call) -> str | None:
    """Who an outgoing e-mail or SMS is from (section 5.3)."""
    settings = {"EMAIL": "default_email_address", "SMS": "default_sms_sender"}
    if values["direction"] != "OUTGOING" or values["media"] not in settings:
        return None
    sender: str | None = call.settings.get(settings[values["media"]])
    return sender


def _code(given: Values, call: Call) -> str:
    """The code of the communication that is followed up, else a new one (section 6)."""
    for followed in _followed(given):
        communication = call.others[followed]
        assert isinstance(communication, Communication)
        return communication.code
    return str(call.number("communication_code"))
