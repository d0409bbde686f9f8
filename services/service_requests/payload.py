"""What a service request holds after a create or an update (contract service_requests.md, 5 and 6)."""

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
    answers_given,
    check,
    check_account,
    check_caller_texts,
    state_of,
    type_of,
)

__all__ = ["amendment", "creation_case", "given_texts", "transition_of"]

URGENCY, IMPACT, PRIORITY = (field.name for field in LEVELS)
PASSIVE = tuple(
    field.name for field in (*CALLER_TEXTS, *TEXTS, CATEGORY, *LEVELS[:2], *FILING, *UDF)
)
DATES = {START_DATE.name, *(field.name for field in COMPLETION)}


def given_texts(call: Call) -> JsonObject:
    """Description and notes, which every method may replace."""
    return {field.name: call.params[field.name] for field in TEXTS if field.name in call.params}


def creation_case(call: Call) -> tuple[Transition, JsonObject]:
    """The case of a new service request, checked, and the payload of its first event.

    Raises what `check_account`, `check_caller_texts`, `scheduled` and `check` do, and
    `MandatoryParameter` where nobody is assigned.
    """
    given = {name: value for name, value in call.params.items() if value is not None}
    caller, type_ = check_account(call), type_of(call, given["type"])
    check_caller_texts(type_, given)
    details = schedule({START_DATE.name: call.wall_clock}, given)
    details |= {"owned_by_group": call.default_group} | _passive(given) | _priority(call, given)
    details |= {"assigned_to": _assigned(type_, given)} | _references(given)
    case = Transition(
        type=type_,
        account=given[ACCOUNT],
        caller=caller,
        to=state_of(call, given["status"]),
        status=given["status"],
        given=answers_given(call),
        assigned_to=given.get("assigned_to"),
        referring_to=given.get(REFERRING_TO.name),
    )
    check(call, case)
    return case, {
        "number": f"SR{call.next_number('service_request'):08d}",
        "type": given["type"],
        ACCOUNT: case.account,
        "contact_information": caller,
        "status": case.status if case.to == "PENDING" else None,
        "details": {name: value for name, value in details.items() if value is not None},
    }


def amendment(request: ServiceRequest, call: Call) -> tuple[Transition, JsonObject]:
    """The case of an update, checked, and the passive fields that it gives as they are kept.

    Raises `InvalidLifeCycleState`, and what `check_caller_texts`, `scheduled` and `check` do.
    """
    given, before = call.params, request.details
    case = transition_of(request, call)
    request.require_reachable(case.to)
    check_caller_texts(case.type, given, amending=True)
    details = schedule(before, given) if DATES & given.keys() else {}
    details |= _passive(given) | _references(given)
    if any(given.get(name, before[name]) != before[name] for name in (URGENCY, IMPACT)):
        details |= _priority(call, before | given)
    if case.assigned_to:
        details |= {"assigned_to": case.assigned_to}
    check(call, case)
    return case, details


def transition_of(request: ServiceRequest, call: Call, status: str | None = None) -> Transition:
    """The case of a call on a service request.

    :param status: the wanted one; the one given, else the present one, if it is not said.
    """
    given = call.params
    status = status or given.get("status") or request.status
    before, assigned_to = request.details["assigned_to"], given.get("assigned_to")
    return Transition(
        type=type_of(call, request.type),
        account=request.accounts_receivable,
        caller=request.contact_information,
        to=state_of(call, status),
        status=status,
        stored=request.answers,
        given=answers_given(call),
        assigned_to=_reassigned(before, assigned_to) if assigned_to else None,
        referring_to=given.get(REFERRING_TO.name),
    )


def _passive(given: JsonObject) -> JsonObject:
    return {name: given[name] for name in PASSIVE if name in given}


def _priority(call: Call, values: JsonObject) -> JsonObject:
    """The priority level by the organisation's matrix (section 5.2)."""
    matrix = (entry.fields for entry in call.directory.choosable("service_request_priority"))
    return {PRIORITY: priority(values[URGENCY], values[IMPACT], matrix)}


def _assigned(type_: Mapping[str, Any], given: JsonObject) -> JsonObject:
    """Unit and user of a new service request, from the call or the type's rule (section 5.4)."""
    assigned: JsonObject = given.get("assigned_to") or type_.get("default_assigned_to") or {}
    if not assigned.get("unit"):
        raise MandatoryParameter("assigned_to")
    return {"unit": assigned["unit"], "user": assigned.get("user")}


def _reassigned(before: JsonObject, given: JsonObject) -> JsonObject:
    """Given members replace, absent ones stay; a new unit without a user clears the user."""
    moved = given.get("unit", before["unit"]) != before["unit"]
    return before | ({"user": None} if moved else {}) | given


def _references(given: JsonObject) -> JsonObject:
    """A given reference takes the place of the former one; null clears it, ``{}`` says nothing."""
    if given.get(REFERRING_TO.name, {}) == {}:
        return {}
    links = given[REFERRING_TO.name] or {}
    return {REFERRING_TO.name: {field.name: links.get(field.name) for field in REFERRING_TO.fields}}
