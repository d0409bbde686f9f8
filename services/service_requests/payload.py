"""The payloads of service request events (contract service_requests.md, sections 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.errors import MandatoryParameter
from domain.fields import JsonObject
from domain.scheduling import priority, schedule
from domain.service_request import ServiceRequest
from domain.service_request_fields import (
    CALLER_TEXTS,
    CATEGORY,
    COMPLETION,
    FILING,
    LEVELS,
    REFERRING_TO,
    START_DATE,
    TEXTS,
    UDF,
)
from services.pipeline.request import Call
from services.service_requests.rules import (
    ACCOUNT,
    Transition,
    check_account,
    check_caller_texts,
    check_transition,
    read_answers,
    state_of,
    type_of,
)

__all__ = ["amendment", "creation_transition", "given_texts", "transition_of"]

URGENCY, IMPACT, PRIORITY = (field.name for field in LEVELS)
PASSIVE = tuple(
    field.name for field in (*CALLER_TEXTS, *TEXTS, CATEGORY, *LEVELS[:2], *FILING, *UDF)
)
DATES = {START_DATE.name, *(field.name for field in COMPLETION)}


def given_texts(call: Call) -> JsonObject:
    """The given description and notes, which every method may replace."""
    return {field.name: call.params[field.name] for field in TEXTS if field.name in call.params}


def creation_transition(call: Call) -> tuple[Transition, JsonObject]:
    """The transition of a new service request, checked, and the payload of its first event.

    Raises what `check_account`, `check_caller_texts`, `schedule` and `check_transition` do, and
    `MandatoryParameter` where nobody is assigned.
    """
    params = {name: value for name, value in call.params.items() if value is not None}
    caller, type_ = check_account(call), type_of(call, params["type"])
    check_caller_texts(type_, params)
    details = schedule({START_DATE.name: call.wall_clock}, params)
    details |= {"owned_by_group": call.default_group} | _passive(params) | _priority(call, params)
    details |= {"assigned_to": _assignment(type_, params)} | _changed_references(params)
    transition = Transition(
        type=type_,
        account=params[ACCOUNT],
        caller=caller,
        to=state_of(call, params["status"]),
        status=params["status"],
        answers=read_answers(call),
        assigned_to=params.get("assigned_to"),
        referring_to=params.get(REFERRING_TO.name),
    )
    # What a customer opens is a wish, which only staff takes further (common.md, section 11).
    check_transition(call, transition, "PENDING" if call.session.customer else None)
    return transition, {
        "number": f"SR{call.next_number('service_request'):08d}",
        "type": params["type"],
        ACCOUNT: transition.account,
        "contact_information": caller,
        "status": transition.status if transition.to == "PENDING" else None,
        "details": {name: value for name, value in details.items() if value is not None},
    }


def amendment(request: ServiceRequest, call: Call) -> tuple[Transition, JsonObject]:
    """The transition of an update, checked, and the given passive fields as they are stored.

    Raises `InvalidLifeCycleState`, and what `check_caller_texts`, `schedule` and
    `check_transition` do.
    """
    params, before = call.params, request.details
    transition = transition_of(request, call)
    request.require_reachable(transition.to)
    check_caller_texts(transition.type, params, amending=True)
    details = schedule(before, params) if DATES & params.keys() else {}
    details |= _passive(params) | _changed_references(params)
    if any(params.get(name, before[name]) != before[name] for name in (URGENCY, IMPACT)):
        details |= _priority(call, before | params)
    if transition.assigned_to:
        details |= {"assigned_to": transition.assigned_to}
    check_transition(call, transition)
    return transition, details


def transition_of(request: ServiceRequest, call: Call, status: str | None = None) -> Transition:
    """The transition that a call requests of a service request.

    :param status: the requested status; None for the given one, else the present one.
    """
    params = call.params
    status = status or params.get("status") or request.status
    before, assigned_to = request.details["assigned_to"], params.get("assigned_to")
    return Transition(
        type=type_of(call, request.type),
        account=request.accounts_receivable,
        caller=request.contact_information,
        to=state_of(call, status),
        status=status,
        stored=request.answers,
        answers=read_answers(call),
        assigned_to=_change_assignment(before, assigned_to) if assigned_to else None,
        referring_to=params.get(REFERRING_TO.name),
    )


def _passive(params: JsonObject) -> JsonObject:
    return {name: params[name] for name in PASSIVE if name in params}


def _priority(call: Call, values: JsonObject) -> JsonObject:
    """The priority level by the organisation's matrix (section 5.2)."""
    matrix = (entry.fields for entry in call.directory.choosable("service_request_priority"))
    return {PRIORITY: priority(values[URGENCY], values[IMPACT], matrix)}


def _assignment(type_: Mapping[str, Any], params: JsonObject) -> JsonObject:
    """The unit and user of a new service request, from the call or its type (section 5.4)."""
    assigned: JsonObject = params.get("assigned_to") or type_.get("default_assigned_to") or {}
    if not assigned.get("unit"):
        raise MandatoryParameter("assigned_to")
    return {"unit": assigned["unit"], "user": assigned.get("user")}


def _change_assignment(before: JsonObject, assignment: JsonObject) -> JsonObject:
    """The assignment with given members replaced; a new unit without a user clears the user."""
    is_moved = assignment.get("unit", before["unit"]) != before["unit"]
    return before | ({"user": None} if is_moved else {}) | assignment


def _changed_references(params: JsonObject) -> JsonObject:
    """A given reference, which replaces the former one; null clears it, ``{}`` changes nothing."""
    if params.get(REFERRING_TO.name, {}) == {}:
        return {}
    links = params[REFERRING_TO.name] or {}
    return {REFERRING_TO.name: {field.name: links.get(field.name) for field in REFERRING_TO.fields}}
