"""Methods 47 to 56: service requests through their life cycle (service_requests.md, section 6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from uuid import UUID

from domain.aggregate import Aggregate
from domain.communication import Communication
from domain.composite_fields import Reference
from domain.errors import MandatoryParameter
from domain.fields import JsonObject, Level, Parameters, ParameterSpec, mandatory, not_null
from domain.queue_entry import QueueEntry
from domain.reference.catalogue import identifiable
from domain.scheduling import check_dates
from domain.service_request import ServiceRequest
from domain.service_request_fields import (
    ANSWERS,
    ASSIGNED_TO,
    CALLER,
    CALLER_TEXTS,
    CATEGORY,
    COMPLETION,
    FILING,
    LEVELS,
    REASON,
    REFERRING_TO,
    SETS,
    START_DATE,
    STATUS,
    TEXTS,
    TYPE,
    UDF,
)
from domain.token_credentials import TokenReference
from services.pipeline.method import command, create
from services.pipeline.request import Call
from services.service_requests.notifications import (
    NOTIFICATION_SEQUENCES,
    notified_customer,
    status_notifications,
)
from services.service_requests.payload import (
    amendment,
    creation_transition,
    given_texts,
    transition_of,
)
from services.service_requests.projection import SERVICE_REQUEST
from services.service_requests.rules import (
    check_allowed,
    check_contact,
    check_state,
    check_transition,
    related_streams,
    requested_reason,
    requested_status,
    type_of,
)
from services.service_requests.sets import apply_items, product_streams

ON = Reference(name="service_request", target=identifiable("service_request"))
ACCEPTED_BY = Reference(name="accepted_by", target=identifiable("contact_information"))
RESPONSE, TEMPORARY_RESOLUTION, FINAL_RESOLUTION = ANSWERS

Notifications = Iterable[Communication | QueueEntry]


def _check_update(params: JsonObject) -> None:
    """Refuses an update that resolves without a status (section 6.2), and dates out of order."""
    check_dates(params)
    for field in (TEMPORARY_RESOLUTION, FINAL_RESOLUTION):
        if params.get(field.name) is not None and params.get(STATUS.name) is None:
            raise MandatoryParameter(STATUS.parameter)


def _related_streams(call: Call) -> Iterator[UUID]:
    return chain(related_streams(call), product_streams(call))


def _notified_streams(call: Call) -> Iterator[UUID]:
    return chain(_related_streams(call), notified_customer(call))


CREATE = Parameters(
    mandatory(TYPE),
    mandatory(
        TokenReference(name="accounts_receivable", target=identifiable("accounts_receivable"))
    ),
    CALLER,
    *CALLER_TEXTS,
    *TEXTS,
    mandatory(STATUS),
    mandatory(CATEGORY),
    *map(mandatory, LEVELS[:2]),
    *FILING,
    *UDF,
    START_DATE,
    *COMPLETION,
    ASSIGNED_TO,
    REFERRING_TO,
    *ANSWERS,
    *SETS.values(),
    exactly_one=[field.name for field in COMPLETION],
    check=check_dates,
)
UPDATE = Parameters(
    mandatory(ON),
    *CALLER_TEXTS,
    *TEXTS,
    not_null(CATEGORY),
    *map(not_null, LEVELS[:2]),
    *(not_null(field) if field.name == "owned_by_group" else field for field in FILING),
    *UDF,
    not_null(START_DATE),
    *COMPLETION,
    not_null(replace(ASSIGNED_TO, levels={"unit": Level.NOT_NULL})),
    REFERRING_TO,
    not_null(STATUS),
    *ANSWERS,
    *(items.for_update() for items in SETS.values()),
    at_most_one=[field.name for field in COMPLETION],
    check=_check_update,
)


STAFF_ONLY = {field.name: field.parameter for field in ANSWERS} | {
    f"{ASSIGNED_TO.name}.user": f"{ASSIGNED_TO.parameter}.user_identifier"
}
"""What a customer, whose request is a wish, may not say (common.md, section 11)."""


@create(
    47,
    "service_requests/create",
    CREATE,
    SERVICE_REQUEST,
    sequences=("service_request", *NOTIFICATION_SEQUENCES),
    related=_notified_streams,
    open_to_consumers=True,
    staff_only=STAFF_ONLY,
)
def create_(call: Call) -> list[Aggregate]:
    """Opens a service request, in any state but cancelled; for a customer in a pending one."""
    transition, payload = creation_transition(call)
    event = ServiceRequest.Opened
    request = ServiceRequest.create(event, call.actor, id=call.new_id(), **payload)
    apply_items(request, call)
    request.advance(
        transition.to, transition.status, transition.answers, call.wall_clock, call.actor
    )
    return [request, *status_notifications(request, "", call)]


ON_REQUEST: JsonObject = {"identified_by": (ON,), "related": _related_streams}
ON_STATUS_CHANGE: JsonObject = ON_REQUEST | {
    "sequences": NOTIFICATION_SEQUENCES,
    "related": _notified_streams,
}
"""Options of methods that change the status, about which the caller may be notified."""


def _step_parameters(*specs: ParameterSpec) -> Parameters:
    """The parameters of a method that advances a service request by one step."""
    return Parameters(mandatory(ON), *TEXTS, *specs)


@command(48, "service_requests/update", UPDATE, SERVICE_REQUEST, **ON_STATUS_CHANGE)
def update(request: ServiceRequest, call: Call) -> Notifications:
    """Changes a service request and, if a later status is given, takes it there."""
    transition, details = amendment(request, call)
    former = request.status
    request.amend(details, call.actor)
    apply_items(request, call)
    request.advance(
        transition.to, transition.status, transition.answers, call.wall_clock, call.actor
    )
    return status_notifications(request, former, call)


@command(
    49,
    "service_requests/respond",
    _step_parameters(mandatory(STATUS), mandatory(RESPONSE)),
    SERVICE_REQUEST,
    **ON_STATUS_CHANGE,
)
def respond(request: ServiceRequest, call: Call) -> Notifications:
    """Gives the customer a response, or another one in place of one that is not accepted."""
    return advance(request, call, "RESPONDED")


@command(
    50,
    "service_requests/temporary_resolve",
    _step_parameters(STATUS, mandatory(TEMPORARY_RESOLUTION)),
    SERVICE_REQUEST,
    **ON_STATUS_CHANGE,
)
def temporary_resolve(request: ServiceRequest, call: Call) -> Notifications:
    """Resolves a service request for the time being."""
    return advance(request, call, "TEMPORARY_RESOLVED")


@command(
    51,
    "service_requests/final_resolve",
    _step_parameters(mandatory(STATUS), mandatory(FINAL_RESOLUTION)),
    SERVICE_REQUEST,
    **ON_STATUS_CHANGE,
)
def final_resolve(request: ServiceRequest, call: Call) -> Notifications:
    """Resolves a service request for good."""
    return advance(request, call, "FINAL_RESOLVED")


@command(
    52,
    "service_requests/complete",
    _step_parameters(mandatory(STATUS)),
    SERVICE_REQUEST,
    **ON_STATUS_CHANGE,
)
def complete(request: ServiceRequest, call: Call) -> Notifications:
    """Completes a service request that was resolved for good."""
    return advance(request, call, "COMPLETED")


@command(
    53,
    "service_requests/response_accept",
    _step_parameters(mandatory(ACCEPTED_BY)),
    SERVICE_REQUEST,
    open_to_consumers=True,
    **ON_REQUEST,
)
def response_accept(request: ServiceRequest, call: Call) -> None:
    """Accepts the response for the customer."""
    accept(request, call, RESPONSE.name)


@command(
    54,
    "service_requests/temporary_resolution_accept",
    _step_parameters(mandatory(ACCEPTED_BY)),
    SERVICE_REQUEST,
    open_to_consumers=True,
    **ON_REQUEST,
)
def temporary_resolution_accept(request: ServiceRequest, call: Call) -> None:
    """Accepts the temporary resolution for the customer."""
    accept(request, call, TEMPORARY_RESOLUTION.name)


@command(
    55,
    "service_requests/final_resolution_accept",
    _step_parameters(ACCEPTED_BY),
    SERVICE_REQUEST,
    open_to_consumers=True,
    **ON_REQUEST,
)
def final_resolution_accept(request: ServiceRequest, call: Call) -> None:
    """Accepts the final resolution for the customer, in the caller's name unless it is said."""
    accept(request, call, FINAL_RESOLUTION.name)


@command(
    56,
    "service_requests/cancel",
    Parameters(mandatory(ON), STATUS, REASON),
    SERVICE_REQUEST,
    open_to_consumers=True,
    **ON_STATUS_CHANGE,
)
def cancel(request: ServiceRequest, call: Call) -> Notifications:
    """Withdraws a service request before anybody has responded."""
    request.require("PENDING")
    type_, former = type_of(call, request.type), request.status
    status = requested_status(call, type_, "CANCELLED")
    reason = requested_reason(call, type_)
    for kind, id_ in (("status", status), (REASON.name, reason)):
        check_allowed(type_, kind, id_)
    check_state(call, status, "CANCELLED")
    request.cancel(status, reason, call.actor)
    return status_notifications(request, former, call)


def advance(request: ServiceRequest, call: Call, to: str) -> Notifications:
    """Advances a service request by one step to the state ``to``. Returns the notifications.

    Raises `InvalidLifeCycleState` where no step leads there, and what `requested_status`,
    `check_transition` and `check_state` do.
    """
    request.require_next_state(to)
    transition = transition_of(
        request, call, requested_status(call, type_of(call, request.type), to)
    )
    check_transition(call, transition, to)
    former = request.status
    request.amend(given_texts(call), call.actor)
    request.advance(to, transition.status, transition.answers, call.wall_clock, call.actor)
    return status_notifications(request, former, call)


def accept(request: ServiceRequest, call: Call, answer: str) -> None:
    """Records that somebody has accepted an answer now; the caller if nobody is named.

    Raises what `ServiceRequest.check_acceptable` and `check_contact` do.
    """
    request.check_acceptable(answer)
    caller = request.contact_information
    accepting = call.params.get(ACCEPTED_BY.name) or caller
    check_contact(call, caller, accepting)
    request.amend(given_texts(call), call.actor)
    request.accept(answer, accepting, call.wall_clock, call.actor)
