"""Methods 5 to 10: communications (contract communications.md, sections 2 to 8)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from domain.communication import (
    CATEGORY,
    CONTACT,
    DIRECTION,
    EXTERNAL_SYSTEM,
    LIFE_CYCLE_STATE,
    MEDIA,
    OWNERSHIP,
    REFERENCES,
    TEXTS,
    UDF,
    Communication,
)
from domain.composite_fields import Reference
from domain.fields import JsonObject, Level, Parameters, ParameterSpec, mandatory, not_null, when
from domain.parsing import local_time
from domain.queue_entry import QueueEntry
from domain.reference.catalogue import identifiable
from domain.unrestricted_parameters import UNRESTRICTED
from services.communications.payload import (
    TEMPLATE,
    TEMPLATED,
    amendment,
    check_consumer_may_write,
    check_recipient,
    creation_payload,
    followed_communication,
)
from services.communications.projection import COMMUNICATION, COMPACT_COMMUNICATION, VIEWED_ON
from services.communications.queue import queue_entry_for
from services.context import ViewQuery
from services.pipeline.method import command, create, query
from services.pipeline.paging import PAGING, page
from services.pipeline.request import Call

ON = Reference(name="communication", target=identifiable("communication"))
TO, NOTES = TEXTS[2:]


def _level_without_template(level: Level) -> Any:
    return lambda params: Level.OPTIONAL if params.get("template") else level


def _recipient_level(params: JsonObject) -> Level:
    return Level.MANDATORY if params.get("media") == "EMAIL" else Level.OPTIONAL


CREATE = Parameters(
    mandatory(CONTACT),
    TEMPLATE,
    CATEGORY,
    EXTERNAL_SYSTEM,
    *(when(field, _level_without_template(Level.MANDATORY)) for field in TEMPLATED),
    when(TO, _recipient_level),
    NOTES,
    LIFE_CYCLE_STATE,
    *OWNERSHIP,
    *UDF,
    REFERENCES,
    UNRESTRICTED,
    check=check_recipient,
)
UPDATE = Parameters(
    mandatory(ON),
    TEMPLATE,
    CATEGORY,
    EXTERNAL_SYSTEM,
    *(when(field, _level_without_template(Level.NOT_NULL)) for field in TEMPLATED),
    TO,
    NOTES,
    LIFE_CYCLE_STATE,
    *(not_null(field) if field.name == "owned_by_group" else field for field in OWNERSHIP),
    *UDF,
    REFERENCES,
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
IDENTIFIED: tuple[ParameterSpec, ...] = (mandatory(ON),)


@query(
    5,
    "communications/show",
    Parameters(*IDENTIFIED),
    COMMUNICATION,
    open_to_consumers=True,
    prefetch_from="communications",
)
def show(call: Call) -> ViewQuery:
    """Shows one communication."""
    return ViewQuery("communications", {"id": call.params["communication"]})


@query(6, "communications/list", LIST, COMMUNICATION, is_list=True, open_to_consumers=True)
def list_(call: Call) -> ViewQuery:
    """Lists the communications of a contact or of a category."""
    columns = ("contact_information", "category", "direction", "media")
    return page("communications", {name: call.params.get(name) for name in columns}, call.params)


@create(
    7,
    "communications/create",
    CREATE,
    COMMUNICATION,
    sequences=("communication", "communication_code", "communication_queue"),
    related=followed_communication,
    open_to_consumers=True,
)
def create_(call: Call) -> Iterable[Communication | QueueEntry]:
    """Creates a communication, complete unless it is said to be a draft."""
    final = call.params.get("life_cycle_state") != "DRAFT"
    event = Communication.Recorded if final else Communication.Drafted
    communication = Communication.create(
        event, call.actor, id=call.new_id(), **creation_payload(call)
    )
    return [communication, *queue_entry_for(communication, call)]


@command(
    8,
    "communications/update",
    UPDATE,
    COMMUNICATION,
    sequences=("communication_queue",),
    open_to_consumers=True,
    identified_by=(ON,),
)
def update(communication: Communication, call: Call) -> list[QueueEntry]:
    """Changes a draft and, if it is said to be completed, completes it."""
    check_consumer_may_write(call, communication.details)
    communication.require("DRAFT")
    if set(call.params) != {ON.name}:
        communication.amend(*amendment(communication, call), call.actor)
    final = call.params.get("life_cycle_state") == "COMPLETED"
    return complete(communication, call) if final else []


@command(
    9,
    "communications/complete",
    Parameters(*IDENTIFIED),
    COMPACT_COMMUNICATION,
    answer_with="compact",
    sequences=("communication_queue",),
    identified_by=(ON,),
)
def complete(communication: Communication, call: Call) -> list[QueueEntry]:
    """Makes a draft final and queues it if it is to be sent."""
    communication.complete(call.actor)
    return list(queue_entry_for(communication, call))


@command(
    10,
    "communications/set_as_viewed",
    Parameters(*IDENTIFIED, VIEWED_ON),
    COMPACT_COMMUNICATION,
    answer_with="compact",
    open_to_consumers=True,
    identified_by=(ON,),
)
def set_as_viewed(communication: Communication, call: Call) -> None:
    """Notes that the contact has seen a communication."""
    now = local_time(call.actor.at, call.zone)
    communication.mark_viewed(call.params.get(VIEWED_ON.name) or now, call.actor)
